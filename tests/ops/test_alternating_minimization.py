"""Alternating minimization: no update raises the cost, closed forms are minima, limits by hand,
clear errors.
"""

import pytest
import torch
import torch.nn.functional as F

from labsupport.ops import alternating_minimization as am
from labsupport.topics.alternating_minimization import reference as small


def problem(activation="relu", sizes=(6, 5, 4, 3), batch=7, seed=0, runs=()):
    """A random network with codes that are not what the forward pass says."""
    rng = torch.Generator().manual_seed(seed)
    ws = [
        torch.randn(*runs, o, i, generator=rng).double()
        for i, o in zip(sizes, sizes[1:], strict=False)
    ]
    bs = [torch.randn(*runs, o, generator=rng).double() for o in sizes[1:]]
    x, y = (
        torch.randn(*runs, batch, sizes[0], generator=rng).double(),
        torch.randint(sizes[-1], (*runs, batch), generator=rng),
    )
    codes = [
        c + torch.randn(c.shape, generator=rng).double() for c in am.encode(ws, bs, x, activation)
    ]
    return ws, bs, codes, x, y


def scan(wanted, predicted, stiffness, mu):
    c = torch.linspace(-8, 8, 160001, dtype=torch.float64)
    return (stiffness / 2 * (c.relu() - wanted) ** 2 + mu * (c - predicted) ** 2).min()


@pytest.mark.parametrize("activation", am.ACTIVATIONS)
@pytest.mark.parametrize("mu", [1e-3, 0.1, 10.0])
def test_no_code_update_raises_the_objective(activation, mu):
    for seed in range(20):
        ws, bs, codes, x, y = problem(activation, seed=seed)
        before = am.objective(ws, bs, codes, x, y, mu, activation)
        for _ in range(10):
            codes = am.update_codes(ws, bs, codes, x, y, mu, activation)
            after = am.objective(ws, bs, codes, x, y, mu, activation)
            assert after <= before * (1 + 1e-12)
            before = after


def test_code_updates_get_somewhere():
    ws, bs, codes, x, y = problem()
    start = am.objective(ws, bs, codes, x, y, 0.1)
    assert (
        am.objective(ws, bs, am.update_codes(ws, bs, codes, x, y, 0.1, steps=20), x, y, 0.1)
        < 0.8 * start
    )


def test_the_best_code_is_the_lowest_point_of_a_fine_scan():
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        wanted, predicted = (2 * torch.randn((), generator=rng).double() for _ in range(2))
        stiffness, mu = (torch.rand((), generator=rng).double() * 3 + 0.1 for _ in range(2))
        c = am.best_code(wanted, predicted, stiffness, mu)
        cost = stiffness / 2 * (c.relu() - wanted) ** 2 + mu * (c - predicted) ** 2
        assert cost <= scan(wanted, predicted, stiffness, mu) + 1e-12


def test_a_dead_unit_comes_to_life_where_that_is_cheaper():
    one = torch.tensor(1.0, dtype=torch.float64)
    assert am.best_code(one, -0.5 * one, 2.0, 0.5).item() == pytest.approx(0.5)
    assert am.best_code(one, -0.5 * one, 2.0, 10.0).item() == -0.5


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (64, 64), (1, 4)])
def test_the_bound_is_above_the_spectral_norm_and_not_far(shape):
    w = torch.randn(10, *shape, generator=torch.Generator().manual_seed(0)).double()
    ratio = am.norm_bound(w) / torch.linalg.matrix_norm(w, 2).square()
    assert ratio.min() >= 1 and ratio.max() < 64 ** (1 / 16) * 1.001


def test_the_bound_survives_weights_of_zero_and_of_any_scale_in_float32():
    w = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    assert am.norm_bound(torch.zeros(4, 4)).isfinite()
    for scale in (1e-8, 1e8):
        assert (am.norm_bound(scale * w) / scale**2).item() == pytest.approx(
            am.norm_bound(w).item(), rel=1e-4
        )


def test_ridge_weights_have_no_gradient_left():
    rng = torch.Generator().manual_seed(0)
    a, c, old = (torch.randn(*s, generator=rng).double() for s in ((9, 4), (9, 3), (3, 4)))
    w = am.ridge_weights(*am.moments(a, c), old, 0.3).requires_grad_()
    cost = (c - a @ w.mT).square().sum(1).mean() + 0.3 * (w - old).square().sum()
    assert torch.autograd.grad(cost, w)[0].abs().max() < 1e-10


def test_the_step_of_the_last_layer_never_raises_the_cross_entropy_and_ends_at_its_minimum():
    rng = torch.Generator().manual_seed(0)
    a, y = torch.randn(30, 4, generator=rng).double(), torch.randint(3, (30,), generator=rng)
    w, losses = 3 * torch.randn(3, 4, generator=rng).double(), []
    for _ in range(300):
        losses.append(F.cross_entropy(a @ w.mT, y).item())
        A, G = am.moments(a, am.output_slope(a @ w.mT, y))
        w = am.output_weights(A, G, w, 1e-9)
    assert all(after <= before + 1e-12 for before, after in zip(losses, losses[1:], strict=False))
    assert am.moments(a, am.output_slope(a @ w.mT, y))[1].abs().max() < 1e-4


def test_the_objective_at_the_forward_codes_is_the_loss_of_the_network():
    ws, bs, _, x, y = problem()
    h = x
    for w, b in zip(ws[:-1], bs[:-1], strict=True):
        h = F.linear(h, w, b).relu()
    loss = F.cross_entropy(F.linear(h, ws[-1], bs[-1]), y)
    assert am.objective(ws, bs, am.encode(ws, bs, x), x, y, 5.0).item() == pytest.approx(
        loss.item(), abs=1e-12
    )


def test_runs_side_by_side_are_runs_alone():
    ws, bs, codes, x, y = problem(runs=(3,))
    mu = torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)
    together = am.update_codes(ws, bs, codes, x, y, mu, steps=2)
    for r in range(3):
        alone = am.update_codes(
            [w[r] for w in ws],
            [b[r] for b in bs],
            [c[r] for c in codes],
            x[r],
            y[r],
            mu[r].item(),
            steps=2,
        )
        assert all(
            torch.allclose(one, many[r], atol=1e-12)
            for one, many in zip(alone, together, strict=True)
        )


def test_the_slope_in_the_codes_is_autograds_where_the_step_is_small():
    """With a large penalty the majorized step is a gradient step of length 1/(K + 2 mu) for units
    that are on.
    """
    ws, bs, _, x, y = problem("linear", sizes=(6, 5, 3))
    (c,) = codes = [am.encode(ws, bs, x, "linear")[0].requires_grad_()]
    (grad,) = torch.autograd.grad(am.objective(ws, bs, codes, x, y, 1e6, "linear") * len(x), c)
    moved = am.update_codes(ws, bs, [c.detach()], x, y, 1e6, "linear")[0] - c.detach()
    stiffness = am.norm_bound(ws[1]) / 2
    assert torch.allclose(moved, -grad / (stiffness + 2e6), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("mu", [0.0, -1.0, float("nan")])
def test_a_penalty_that_is_none_is_refused(mu):
    ws, bs, codes, x, y = problem()
    with pytest.raises(ValueError, match=f"mu is {mu}"):
        am.objective(ws, bs, codes, x, y, mu)


def test_codes_of_another_shape_are_refused():
    ws, bs, codes, x, y = problem()
    with pytest.raises(ValueError, match=r"code 2 has shape \(7, 3\)"):
        am.objective(ws, bs, [codes[0], codes[1][:, :3]], x, y, 1.0)
    with pytest.raises(ValueError, match="1 codes for 3 layers"):
        am.objective(ws, bs, codes[:1], x, y, 1.0)


def test_moments_that_do_not_fit_and_a_ridge_of_zero_are_refused():
    with pytest.raises(ValueError, match=r"A is \(2, 2\)"):
        am.ridge_weights(torch.eye(2), torch.ones(1, 3), torch.ones(1, 3), 0.1)
    with pytest.raises(ValueError, match="ridge is 0"):
        am.ridge_weights(torch.eye(3), torch.ones(1, 3), torch.ones(1, 3), 0.0)


def test_an_unknown_activation_is_refused():
    ws, bs, _, x, _ = problem()
    with pytest.raises(ValueError, match="'gelu'"):
        am.encode(ws, bs, x, "gelu")


def test_a_sweep_by_hand():
    c, w, v = small.sweep(
        torch.tensor([1.0, 2.0]),
        torch.tensor([2.0, 2.0]),
        torch.tensor(1.0),
        torch.tensor(1.0),
        1.0,
    )
    assert (c.tolist(), w.item(), v.item()) == ([1.5, 2.0], pytest.approx(1.1), pytest.approx(1.12))


def test_multipliers_close_the_gap_that_a_penalty_leaves():
    x, y, v = torch.ones(2).double(), torch.tensor([0.0, 2.0]).double(), torch.ones(()).double()
    u, w = torch.zeros(2).double(), torch.tensor(0.2).double()
    for _ in range(60):
        c, w, u = small.multiplier_sweep(x, y, u, w, v, 0.5)
    held, moved, _ = small.sweep(x, y, torch.ones(()).double(), v, 0.5)
    assert (c - w * x).abs().max() < 1e-10 and (held - moved * x).abs().max() > 0.5


@pytest.mark.parametrize(
    "name, logs",
    [
        ("healthy", ([3.0, 2.0], [2.5, 1.5], [2.0, 1.0])),
        ("codes_rise", ([3.0, 2.0], [3.5, 1.5], [2.0, 1.0])),
        ("weights_rise", ([3.0, 2.6], [2.5, 1.5], [2.6, 1.0])),
        ("codes_lost", ([3.0, 2.2], [2.5, 1.5], [2.0, 1.0])),
        ("codes_frozen", ([3.0, 2.0], [3.0, 2.0], [2.0, 1.0])),
        ("weights_frozen", ([3.0, 2.0], [2.0, 1.0], [2.0, 1.0])),
    ],
)
def test_a_log_is_named(name, logs):
    assert small.diagnose(*map(torch.tensor, logs)) == name


def test_a_log_of_one_sweep_is_refused():
    with pytest.raises(ValueError, match=r"\(1,\)"):
        small.diagnose(*torch.ones(3, 1))
