"""The update rules of chapter 1 against torch.optim, autograd and cases worked by hand, in
float64.
"""

import pytest
import torch

from labsupport.topics.weight_decay import reference as wd

STEPS = 10


def bowl(w):
    """A loss with curvature and coupling, so that gradients differ between coordinates and
    steps.
    """
    return (w.sin() * torch.linspace(1, 3, len(w), dtype=w.dtype)).sum() + 0.5 * (
        w[1:] * w[:-1]
    ).sum()


def gradient(w):
    leaf = w.detach().requires_grad_()
    return torch.autograd.grad(bowl(leaf), leaf)[0]


def start():
    return torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_torch(optimizer, **hyper):
    """The weights after STEPS steps of a torch optimizer."""
    w = torch.nn.Parameter(start())
    steps = optimizer([w], **hyper)
    for _ in range(STEPS):
        steps.zero_grad()
        bowl(w).backward()
        steps.step()
    return w.detach()


def by_us(step, states):
    """The weights after STEPS steps of ours; step(w, g, t, *state) -> (w, *state)."""
    w, state = start(), [torch.zeros(6, dtype=torch.float64)] * states
    for t in range(1, STEPS + 1):
        w, *state = step(w, gradient(w), t, *state)
    return w


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_sgd_with_decay_is_torch_sgd():
    ours = by_us(lambda w, g, t: (wd.sgd_step(w, g, lr=0.1, weight_decay=0.05),), 0)
    same(ours, by_torch(torch.optim.SGD, lr=0.1, weight_decay=0.05))


def test_sgd_with_decay_is_sgd_on_the_penalized_gradient():
    w, g = start(), gradient(start())
    same(
        wd.sgd_step(w, g, lr=0.1, weight_decay=0.3),
        wd.sgd_step(w, wd.l2_gradient(w, g, l2=0.3), lr=0.1),
    )


def test_the_l2_gradient_is_the_gradient_of_the_penalized_loss():
    w = start().requires_grad_()
    (expected,) = torch.autograd.grad(bowl(w) + 0.3 / 2 * w.square().sum(), w)
    same(wd.l2_gradient(w.detach(), gradient(w), l2=0.3), expected)


def test_torch_momentum_is_torch_sgd():
    ours = by_us(
        lambda w, g, t, v: wd.torch_momentum_step(w, g, v, lr=0.1, momentum=0.9, weight_decay=0.05),
        1,
    )
    same(ours, by_torch(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.05))


def test_the_lectures_l2_momentum_is_torch_sgd_with_dampening_from_zero_velocity():
    """PyTorch starts its velocity undamped; ours starts at zero. Rescaling lr by 1/(1 - mu) makes
    the two agree.
    """
    ours = by_us(
        lambda w, g, t, v: wd.momentum_step(
            w, g, v, lr=1.0, momentum=0.9, weight_decay=0.05, decoupled=False
        ),
        1,
    )
    same(ours, by_torch(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.05))


def test_the_two_decoupled_momentums_agree_after_both_conversions():
    lecture = by_us(
        lambda w, g, t, v: wd.momentum_step(w, g, v, lr=1.0, momentum=0.9, weight_decay=0.005), 1
    )
    pytorch = by_us(
        lambda w, g, t, v: wd.torch_momentum_step(
            w, g, v, lr=0.1, momentum=0.9, weight_decay=0.05, decoupled=True
        ),
        1,
    )
    same(lecture, pytorch)


def test_without_momentum_all_forms_are_sgd():
    w, g, v = start(), gradient(start()), start() * 3
    expected = wd.sgd_step(w, g, lr=0.1, weight_decay=0.2)
    for step in (wd.momentum_step, wd.torch_momentum_step):
        for decoupled in (True, False):
            same(
                step(w, g, v, lr=0.1, momentum=0.0, weight_decay=0.2, decoupled=decoupled)[0],
                expected,
            )


def test_adam_with_l2_is_torch_adam():
    ours = by_us(lambda w, g, t, m, v: wd.adam_step(w, g, m, v, t, lr=0.1, weight_decay=0.05), 2)
    same(ours, by_torch(torch.optim.Adam, lr=0.1, weight_decay=0.05))


def test_adamw_is_torch_adamw():
    ours = by_us(
        lambda w, g, t, m, v: wd.adamw_step(
            w, g, m, v, t, lr=0.1, weight_decay=0.05, betas=(0.8, 0.95), eps=1e-3
        ),
        2,
    )
    same(ours, by_torch(torch.optim.AdamW, lr=0.1, weight_decay=0.05, betas=(0.8, 0.95), eps=1e-3))


def test_without_decay_adamw_is_adam():
    w, g, m, v = start(), gradient(start()), start() / 9, start().square()
    for ours, theirs in zip(
        wd.adamw_step(w, g, m, v, 3, lr=0.1, weight_decay=0.0),
        wd.adam_step(w, g, m, v, 3, lr=0.1),
        strict=True,
    ):
        same(ours, theirs)


def test_the_first_adamw_step_by_hand():
    """m/(1-b1) = g and v/(1-b2) = g², so the step is lr·sign(g) = 0.1, and the decay 0.1·0.5·2 =
    0.1.
    """
    one = torch.ones(1, dtype=torch.float64)
    w, m, v = wd.adamw_step(
        2 * one, 4 * one, 0 * one, 0 * one, 1, lr=0.1, weight_decay=0.5, eps=0.0
    )
    same(torch.cat([w, m, v]), torch.tensor([1.8, 0.4, 0.016], dtype=torch.float64))


def test_adam_with_l2_decays_weights_with_large_gradients_least():
    """Two equal weights, one with a hundred times the gradient noise: L2 pulls it a hundred times
    less.
    """
    w, noise = torch.ones(2, dtype=torch.float64), torch.tensor([1.0, 100.0], dtype=torch.float64)
    args = (w, 0 * w, 0 * w, noise.square(), 1000)
    with_l2 = wd.adam_step(*args, lr=0.1, weight_decay=0.1, betas=(0.0, 0.999))[0]
    without = wd.adam_step(*args, lr=0.1, betas=(0.0, 0.999))[0]
    pull = without - with_l2
    assert pull[0] / pull[1] == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize("damped", [True, False])
def test_l2_and_decay_part_at_the_step_and_by_the_amount_of_the_closed_form(damped):
    hyper = dict(lr=0.1, momentum=0.9, weight_decay=0.05)
    step = wd.momentum_step if damped else wd.torch_momentum_step
    when, gap = wd.momentum_gap(start(), **hyper, damped=damped)
    w, v = (
        {d: start() for d in (False, True)},
        {d: torch.zeros(6, dtype=torch.float64) for d in (False, True)},
    )
    g = gradient(start())
    for t in range(1, when + 1):
        for d in (False, True):
            w[d], v[d] = step(w[d], g, v[d], **hyper, decoupled=d)
        if t < when:
            same(w[False], w[True])
    same(w[False] - w[True], gap)


def test_tiny_second_moments_do_not_divide_by_zero():
    zero = torch.zeros(3, dtype=torch.float32)
    assert torch.isfinite(wd.adamw_step(zero, zero, zero, zero, 1, lr=0.1)[0]).all()
    moved = wd.adam_step(zero, zero + 1e-30, zero, zero, 1, lr=0.1)[0]
    assert torch.isfinite(moved).all()


def test_inputs_are_left_as_they_were():
    tensors = [start(), gradient(start()), start() / 9, start().square()]
    before = [tensor.clone() for tensor in tensors]
    (
        wd.adamw_step(*tensors, 2, lr=0.1),
        wd.momentum_step(*tensors[:3], lr=0.1, momentum=0.9, weight_decay=0.1),
    )
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old)


def test_a_hyperparameter_may_differ_between_runs():
    w, g = torch.stack([start(), start()]), torch.stack([gradient(start())] * 2)
    both = wd.sgd_step(w, g, lr=torch.tensor([[0.1], [0.2]], dtype=torch.float64), weight_decay=0.1)
    same(both[1], wd.sgd_step(w[1], g[1], lr=0.2, weight_decay=0.1))


@pytest.mark.parametrize(
    ("step", "hyper", "named"),
    [
        (wd.sgd_step, dict(lr=-0.1), "lr is -0.1"),
        (wd.sgd_step, dict(lr=0.1, weight_decay=-1.0), "weight_decay is -1.0"),
        (
            lambda w, g, **h: wd.momentum_step(w, g, w, **h),
            dict(lr=0.1, momentum=1.0),
            "momentum is 1.0",
        ),
        (
            lambda w, g, **h: wd.torch_momentum_step(w, g, w, **h),
            dict(lr=0.1, momentum=-0.1),
            "momentum is -0.1",
        ),
        (lambda w, g, **h: wd.adamw_step(w, g, w, w, 0, **h), dict(lr=0.1), "t is 0"),
        (
            lambda w, g, **h: wd.adam_step(w, g, w, w, 1, **h),
            dict(lr=0.1, betas=(0.9, 1.0)),
            "beta2 is 1.0",
        ),
        (
            lambda w, g, **h: wd.adam_step(w, g, w, w, 1, **h),
            dict(lr=0.1, eps=-1e-8),
            "eps is -1e-08",
        ),
    ],
)
def test_a_bad_hyperparameter_is_named_with_its_value(step, hyper, named):
    with pytest.raises(ValueError, match=named):
        step(start(), start(), **hyper)


@pytest.mark.parametrize("fault", wd.fractions(0.1, 0.5))
def test_the_log_of_a_torch_run_is_diagnosed(fault):
    """A run of torch.optim.SGD whose L2 coefficient is what the fault amounts to, from zero weights
    on.
    """
    lr, decay = 0.1, 0.5
    w = torch.nn.Parameter(torch.zeros(6, dtype=torch.float64))
    steps = torch.optim.SGD([w], lr=lr, weight_decay=abs(wd.fractions(lr, decay)[fault]) / lr)
    rows = []
    for _ in range(STEPS):
        before, g = w.detach().clone(), gradient(w)
        w.grad = g if fault != "decay_sign" else g - 2 * decay * before
        steps.step()
        rows.append((before, g, w.detach().clone()))
    assert (
        wd.diagnose(*(torch.stack(column) for column in zip(*rows, strict=True)), lr, decay)
        == fault
    )
