"""Weight norm against autograd and torch.nn.utils.parametrizations, in float64."""

import pytest
import torch
from torch import nn

from labsupport.topics.weight_norm import reference as wn


def made(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_the_weight_is_torchs():
    v, g = made(4, 5), made(4, seed=1)
    linear = nn.utils.parametrizations.weight_norm(nn.Linear(5, 4).double(), dim=0)
    with torch.no_grad():
        linear.parametrizations.weight.original0.copy_(g[:, None])
        linear.parametrizations.weight.original1.copy_(v)
    same(wn.weight(v, g), linear.weight.detach())


def test_the_gradients_are_autograds():
    v, g, dw = made(4, 5).requires_grad_(), made(4, seed=1).requires_grad_(), made(4, 5, seed=2)
    dv, dg = torch.autograd.grad(v * (g / v.norm(dim=1))[:, None], (v, g), dw)
    mine = wn.gradients(dw, v.detach(), g.detach())
    same(mine[0], dv)
    same(mine[1], dg)


def test_the_gradient_in_v_is_the_projected_one():
    v, g, dw = made(1, 5), made(1, seed=1), made(1, 5, seed=2)
    m = wn.projection(wn.weight(v, g)[0])
    same(wn.gradients(dw, v, g)[0][0], g[0] / v.norm() * m @ dw[0])


def test_the_projection_is_symmetric_idempotent_and_takes_w_to_zero():
    w = made(5)
    m = wn.projection(w)
    same(m, m.T)
    same(m @ m, m)
    same(m @ w, torch.zeros(5, dtype=torch.float64))


def test_the_norm_grows_as_pythagoras_says():
    v, g, dw = made(4, 5), made(4, seed=1), made(4, 5, seed=2)
    dv, _ = wn.gradients(dw, v, g)
    same(wn.norm_after_step(v, dv, 0.7), (v - 0.7 * dv).norm(dim=1))
    assert (wn.norm_after_step(v, dv, 0.7) > v.norm(dim=1)).all()


def test_data_dependent_init_gives_mean_0_and_variance_1():
    v, x = made(4, 5), 3 + 2 * made(30, 5, seed=1)
    g, b = wn.data_dependent_init(v, x)
    z = x @ wn.weight(v, g).T + b
    same(z.mean(0), torch.zeros(4, dtype=torch.float64))
    same(z.var(0, correction=0), torch.ones(4, dtype=torch.float64))


def test_worked_by_hand():
    v, g = torch.tensor([[3.0, 4.0]]), torch.tensor([10.0])
    assert wn.weight(v, g).tolist() == [[6.0, 8.0]]
    dv, dg = wn.gradients(torch.tensor([[5.0, 0.0]]), v, g)
    torch.testing.assert_close(dg, torch.tensor([3.0]))
    torch.testing.assert_close(dv, torch.tensor([[6.4, -4.8]]))


def test_a_small_step_moves_w_across_at_the_effective_and_along_at_the_plain_rate():
    v, g, dw, lr = made(4, 5), made(4, seed=1), made(4, 5, seed=2), 1e-7
    dv, dg = wn.gradients(dw, v, g)
    w = wn.weight(v, g)
    velocity = (wn.weight(v - lr * dv, g - lr * dg) - w) / lr
    unit = w / w.norm(dim=1, keepdim=True)
    along, across = (
        (dw * unit).sum(1, keepdim=True) * unit,
        dw - (dw * unit).sum(1, keepdim=True) * unit,
    )
    rate = wn.effective_rate(v, g, 1.0)[:, None]
    torch.testing.assert_close(velocity, -along - rate * across, rtol=1e-5, atol=1e-5)


def test_the_direction_feels_the_rate_itself_while_v_is_as_long_as_g():
    v = made(4, 5)
    same(wn.effective_rate(v, v.norm(dim=1), 0.3), torch.full((4,), 0.3, dtype=torch.float64))


def test_a_v_twice_as_long_learns_its_direction_at_a_quarter_of_the_rate():
    v, g = made(4, 5), made(4, seed=1)
    same(wn.effective_rate(2 * v, g, 0.3), wn.effective_rate(v, g, 0.3) / 4)


def test_with_momentum_no_norm_ever_falls():
    """Whatever the gradients: the velocity never points inwards, if every gradient is perpendicular
    to its v.
    """
    v, velocity, norms = made(20, 3), torch.zeros(20, 3, dtype=torch.float64), []
    for t in range(200):
        dv, _ = wn.gradients(made(20, 3, seed=t), v, torch.ones(20, dtype=torch.float64))
        velocity = 0.9 * velocity + dv
        v = v - 0.5 * velocity
        norms.append(v.norm(dim=1))
    steps = torch.stack(norms).diff(dim=0)
    assert (steps >= -1e-12).all() and (steps > 1e-6).any()


@pytest.mark.parametrize("size", [1e20, 3e37, 1e-20, 1e-38, 1e-44])
def test_a_v_whose_square_leaves_float32_is_normalized_all_the_same(size):
    """Against float64, from the same float32 numbers."""
    v = (size * torch.tensor([[3.0, 4.0], [-1.0, 2.0], [0.0, 5.0]])).float()
    g, dw, x = torch.tensor([2.0, -1.0, 0.5]), made(3, 2).float(), made(7, 2, seed=1).float()
    same32 = dict(rtol=1e-6, atol=0.0, check_dtype=False)
    exact = wn.weight(v.double(), g.double())
    torch.testing.assert_close(wn.weight(v, g), exact, **same32)
    _, dg = wn.gradients(dw, v, g)
    torch.testing.assert_close(dg, wn.gradients(dw.double(), v.double(), g.double())[1], **same32)
    for ours, right in zip(
        wn.data_dependent_init(v, x), wn.data_dependent_init(v.double(), x.double()), strict=True
    ):
        torch.testing.assert_close(ours, right, rtol=1e-5, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("size", [1e20, 1e-20])
def test_the_other_equations_hold_for_a_huge_and_a_tiny_v(size):
    v, g, dw = (size * made(4, 5)).float(), made(4, seed=1).float(), made(4, 5, seed=2).float()
    ours, exact = wn.gradients(dw, v, g)[0], wn.gradients(dw.double(), v.double(), g.double())[0]
    torch.testing.assert_close(ours / exact, torch.ones_like(exact), rtol=1e-4, atol=0.0)
    grown = wn.norm_after_step(v, v, 1.0)
    torch.testing.assert_close(grown.double(), 2**0.5 * v.double().norm(dim=1), rtol=1e-6, atol=0.0)
    rate = wn.effective_rate(v.double(), size * g.double(), 0.3)
    torch.testing.assert_close(
        wn.effective_rate(v, size * g, 0.3), rate, rtol=1e-5, atol=0.0, check_dtype=False
    )


def test_scaling_v_changes_no_bit_of_an_ordinary_weight():
    v, g = made(4, 5).float(), made(4, seed=1).float()
    assert torch.equal(wn.weight(v, g), (g / v.norm(dim=1))[:, None] * v)
    assert torch.equal(wn.weight(v, g), wn.weight(2.0**-100 * v, g))


def test_a_tiny_v_gives_the_same_weight_as_a_long_one():
    v, g = made(4, 5), made(4, seed=1)
    same(wn.weight(1e-150 * v, g), wn.weight(1e100 * v, g))
    same(wn.weight(1e-300 * v, g), wn.weight(1e300 * v, g))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: wn.weight(torch.zeros(2, 3), torch.ones(2)), "row 0 of v is zero"),
        (
            lambda: wn.weight(torch.ones(2, 3, dtype=torch.int64), torch.ones(2)),
            "torch.int64; it must be floating",
        ),
        (lambda: wn.effective_rate(torch.ones(1, 2), torch.ones(1), -0.1), "lr is -0.1"),
        (
            lambda: wn.data_dependent_init(torch.ones(1, 3), torch.full((7, 3), 0.1)),
            "unit 0 puts out 0.173205 for every",
        ),
        (lambda: wn.weight(torch.ones(2, 3), torch.ones(3)), r"\(2, 3\) and g \(3,\)"),
        (
            lambda: wn.gradients(torch.ones(2, 2), torch.ones(2, 3), torch.ones(2)),
            r"dw has the shape \(2, 2\)",
        ),
        (lambda: wn.projection(torch.zeros(2)), r"w is \[0.0, 0.0\]"),
        (lambda: wn.norm_after_step(torch.ones(1, 2), torch.ones(1, 2), -1.0), "lr is -1.0"),
        (lambda: wn.data_dependent_init(torch.ones(1, 2), torch.ones(1, 2)), "1 sample"),
        (lambda: wn.data_dependent_init(torch.ones(1, 2), torch.ones(3, 2)), "unit 0 puts out"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
