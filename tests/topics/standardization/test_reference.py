"""The bowl of linear regression against autograd, exact fractions, and gradient descent taken step
by step.
"""

import math
from fractions import Fraction

import pytest
import torch

from labsupport.ops import standardization as sd
from labsupport.topics.standardization import reference as c

SLIDE = [["114.8", "0.00323"], ["338.1", "0.00183"], ["98.8", "0.00279"]]


def table(rows=12, columns=3):
    x = torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x * torch.tensor([1.0, 3.0, 0.2][:columns], dtype=x.dtype) + 0.5


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def loss(w, x, t):
    return 0.5 * (x @ w[:-1] + w[-1] - t).square().mean()


def test_the_hessian_is_autograds_whatever_the_targets():
    x = table()
    for t in (torch.zeros(12, dtype=x.dtype), x.sum(1)):
        same(
            c.hessian(x),
            torch.autograd.functional.hessian(
                lambda w, t=t: loss(w, x, t), torch.ones(4, dtype=x.dtype)
            ),
        )


def test_the_hessian_of_one_unit_is_the_second_moment_of_its_inputs_with_a_weight_for_each_sample():
    """Equation (eq-st-unit), for a sigmoid unit with a cross-entropy behind it: s = p (1 - p)."""
    x, w = table(), torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    y = (x[:, 0] > 0.5).double()
    p = (x @ w).sigmoid()
    found = torch.autograd.functional.hessian(
        lambda w: torch.nn.functional.binary_cross_entropy_with_logits(x @ w, y), w
    )
    same(found, (x.T * (p * (1 - p))) @ x / len(x))


def test_curvatures_are_the_eigenvalues_of_the_hessian():
    for constant in (True, False):
        same(c.curvatures(table(), constant), torch.linalg.eigvalsh(c.hessian(table(), constant)))


def test_fewer_samples_than_columns_leave_flat_directions():
    x = table(rows=2)
    assert c.curvatures(x).shape == (4,) and c.curvatures(x)[:2].tolist() == [0, 0]
    assert c.condition_number(x).isinf()


def exact_determinant(rows):
    """Of the slide's Hessian with the bias, in fractions: no rounding at all."""
    a = [[Fraction(v) for v in row] + [Fraction(1)] for row in rows]
    h = [[sum(r[i] * r[j] for r in a) / 3 for j in range(3)] for i in range(3)]
    return float(
        sum(
            h[0][i]
            * (h[1][(i + 1) % 3] * h[2][(i + 2) % 3] - h[1][(i + 2) % 3] * h[2][(i + 1) % 3])
            for i in range(3)
        )
    )


def test_the_product_of_the_slides_curvatures_is_the_determinant_in_fractions():
    x = torch.tensor([[float(v) for v in row] for row in SLIDE], dtype=torch.float64)
    assert abs(c.curvatures(x).prod().item() / exact_determinant(SLIDE) - 1) < 1e-9


def test_nearly_equal_columns_keep_their_smallest_curvature_as_no_product_is_formed():
    """Columns u and u + δv, of unit length and at right angles: the determinant is δ², the trace 2
    + δ².
    """
    d = 2e-8
    x = torch.tensor([[1.0, 1.0], [0.0, d]], dtype=torch.float64)
    right = ((2 + d**2) / 2 + math.sqrt(1 + d**4 / 4)) ** 2 / d**2
    assert abs(c.condition_number(x, constant=False).item() / right - 1) < 1e-6
    formed = torch.linalg.eigvalsh(c.hessian(x, constant=False))
    assert abs((formed[1] / formed[0]).item() / right - 1) > 1e-3


def test_after_standardization_the_correlation_alone_is_left():
    x = table(columns=2)
    r = torch.corrcoef(x.T)[0, 1].abs()
    same(c.condition_number(sd.standardize(x, x)[0]), (1 + r) / (1 - r))
    same(c.curvatures(sd.standardize(x, x)[0]), torch.stack([1 - r, torch.ones_like(r), 1 + r]))


def test_centring_alone_makes_the_slides_table_worse_without_a_bias():
    x = torch.tensor([[float(v) for v in row] for row in SLIDE], dtype=torch.float64)
    assert c.condition_number(x - x.mean(0), constant=False) > 2 * c.condition_number(
        x, constant=False
    )


@pytest.mark.parametrize("seed", range(20))
def test_with_a_bias_centring_never_makes_it_worse(seed):
    rng = torch.Generator().manual_seed(seed)
    units, offsets = 10 ** torch.randn(2, 3, dtype=torch.float64, generator=rng)
    x = torch.randn(8, 3, dtype=torch.float64, generator=rng) * units + offsets
    assert c.condition_number(x - x.mean(0)) <= c.condition_number(x) * (1 + 1e-9)


def test_a_bowl_by_hand():
    """Curvatures 1 and 9: the rate 0.2 multiplies the two errors by 0.8 and -0.8; 0.8¹¹ < 1/10 <
    0.8¹⁰.
    """
    curvature = torch.tensor([9.0, 1.0], dtype=torch.float64)
    rate, steps = c.plan(curvature, 10.0)
    assert rate == pytest.approx(0.2) and c.contraction(9.0) == pytest.approx(0.8)
    assert steps == pytest.approx(math.log(10) / math.log(1.25)) and math.ceil(steps) == 11
    assert (
        c.steps_taken(torch.ones(2, dtype=torch.float64), curvature.diag(), lr=rate, factor=10.0)
        == 11
    )


def test_no_other_rate_contracts_faster():
    curvature = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64)

    def worst(lr):
        return (1 - lr * curvature).abs().max().item()

    best = c.best_rate(curvature)
    assert worst(best) == pytest.approx(c.contraction(4 / 0.3))
    assert all(worst(best * f) > worst(best) for f in (0.5, 0.99, 1.01, 1.05))


def test_a_round_bowl_takes_one_step():
    assert c.plan(torch.full((3,), 2.0, dtype=torch.float64), 1e6) == (0.5, 1.0)


def test_a_huge_condition_number_keeps_its_digits():
    """ln((κ+1)/(κ-1)) is nearly 2/κ, and taken as written it has no digit left at 1e17."""
    assert c.steps_needed(1e17, math.e) == pytest.approx(5e16, rel=1e-12)


def test_a_step_of_descent_is_a_step_of_torch_sgd_on_the_regression():
    x, t = table(), table().sum(1) + 3
    a = c.design(x)
    w = torch.nn.Parameter(torch.ones(4, dtype=x.dtype))
    optimizer = torch.optim.SGD([w], lr=0.05)
    for _ in range(10):
        optimizer.zero_grad()
        loss(w, x, t).backward()
        optimizer.step()
    ours = torch.ones(4, dtype=x.dtype)
    for _ in range(10):
        ours = c.gradient_step(ours, c.hessian(x), a.T @ t / len(t), lr=0.05)
    same(ours, w.detach())


@pytest.mark.parametrize("factor", [1.5, 10.0, 1e3, 1e6])
def test_the_steps_taken_are_those_of_a_loop(factor):
    h = c.hessian(table())
    lr = c.best_rate(c.curvatures(table()))
    error = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=h.dtype)
    e, steps = error, 0
    while e.norm() > error.norm() / factor:
        e, steps = c.gradient_step(e, h, 0 * e, lr=lr), steps + 1
    assert c.steps_taken(error, h, lr=lr, factor=factor) == steps


def test_from_the_worst_start_the_prediction_is_exact_and_from_any_other_it_is_a_bound():
    x = table()
    kappa, lr = c.condition_number(x), c.best_rate(c.curvatures(x))
    directions = torch.linalg.svd(c.design(x)).Vh
    predicted = math.ceil(c.steps_needed(kappa, 1000))
    assert (
        c.steps_taken(directions[0] + directions[-1], c.hessian(x), lr=lr, factor=1000) == predicted
    )
    for seed in range(10):
        start = torch.randn(4, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
        assert c.steps_taken(start, c.hessian(x), lr=lr, factor=1000) <= predicted


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: c.hessian(torch.ones(0, 2)), r"shape \(0, 2\): there is no sample"),
        (lambda: c.hessian(torch.ones(2, 2, dtype=torch.int32)), "dtype torch.int32"),
        (lambda: c.curvatures(torch.ones(3)), r"shape \(3,\); a table has two axes"),
        (
            lambda: c.best_rate(torch.tensor([1.0, 0.0])),
            r"curvatures are \[1.0, 0.0\].* all above 0",
        ),
        (lambda: c.best_rate(torch.tensor([])), r"curvatures are \[\]; there must be at least one"),
        (lambda: c.contraction(0.5), "kappa is 0.5; a condition number is at least 1"),
        (lambda: c.contraction(float("nan")), "kappa is nan"),
        (lambda: c.steps_needed(10.0, 1.0), "factor is 1.0; it must be above 1"),
        (
            lambda: c.steps_taken(torch.ones(1), torch.eye(1), lr=2.0, factor=10),
            "lr 2; .* at rates above 0 and below 2",
        ),
        (
            lambda: c.steps_taken(torch.ones(1), torch.eye(1), lr=0.0, factor=10),
            "lr 0; .* at rates above 0",
        ),
        (lambda: c.steps_taken(torch.ones(1), torch.eye(1), lr=1.0, factor=0.5), "factor is 0.5"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
