"""The activations of chapter 3 against torch and autograd in float64, at their corners and far out
in their tails.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from labsupport import models
from labsupport.topics.activations import reference as ac

TORCHS = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "linear": lambda z: z,
}
GRID = torch.arange(-1200, 1201, dtype=torch.float64) / 40
every = pytest.mark.parametrize("name", ac.ACTIVATIONS)


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def by_autograd(function, z):
    leaf = z.detach().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf)[0]


@every
def test_an_activation_is_torchs_and_its_slope_is_autograds_zero_included(name):
    assert (GRID == 0).any()
    same(ac.ACTIVATIONS[name].value(GRID), TORCHS[name](GRID))
    same(ac.ACTIVATIONS[name].slope(GRID), by_autograd(TORCHS[name], GRID))


@every
def test_an_activation_of_the_books_networks_is_the_reference(name):
    same(models.ACTIVATIONS[name](GRID.clone()), ac.ACTIVATIONS[name].value(GRID))
    assert set(models.ACTIVATIONS) == {
        *ac.ACTIVATIONS,
        "sign",
    }  # a hard threshold has no slope to write down


@every
def test_a_slope_is_the_limit_of_differences_away_from_corners(name):
    z, h = GRID[GRID.abs() > 0.01], 1e-6
    rule = ac.ACTIVATIONS[name]
    torch.testing.assert_close(
        (rule.value(z + h) - rule.value(z - h)) / (2 * h), rule.slope(z), rtol=1e-6, atol=1e-8
    )


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_overflows_a_thousand_away_from_zero(name, dtype):
    z = torch.tensor([-1000.0, 1000.0], dtype=dtype)
    value, slope = ac.ACTIVATIONS[name].value(z), ac.ACTIVATIONS[name].slope(z)
    assert value.dtype == slope.dtype == dtype and value.isfinite().all() and slope.isfinite().all()
    torch.testing.assert_close(value, TORCHS[name](z))
    torch.testing.assert_close(slope, by_autograd(TORCHS[name], z))


@pytest.mark.parametrize("alpha", [0.25, 1.0, 2.0])
def test_elu_honours_its_alpha(alpha):
    same(ac.elu(GRID, alpha), F.elu(GRID, alpha))
    same(ac.elu_slope(GRID, alpha), by_autograd(lambda z: F.elu(z, alpha), GRID))


@pytest.mark.parametrize("leak", [0.0, 0.01, 0.5])
def test_leaky_relu_honours_its_leak(leak):
    same(ac.leaky_relu(GRID, leak), F.leaky_relu(GRID, leak))
    same(ac.leaky_relu_slope(GRID, leak), by_autograd(lambda z: F.leaky_relu(z, leak), GRID))


def test_slopes_by_hand():
    zero, half = torch.zeros(1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
    found = [
        ac.sigmoid_slope(zero),
        ac.tanh_slope(zero),
        ac.relu_slope(zero),
        ac.relu_slope(half),
        ac.elu_slope(-half, 2.0),
        ac.gelu_slope(zero),
        ac.silu_slope(zero),
    ]
    same(
        torch.cat(found),
        torch.tensor([0.25, 1, 0, 1, 2 * math.exp(-0.5), 0.5, 0.5], dtype=torch.float64),
    )


def test_the_sigmoids_slope_keeps_its_digits_where_one_minus_sigmoid_is_zero():
    z = torch.tensor([20.0])
    assert (1 - torch.sigmoid(z)).item() == 0
    assert ac.sigmoid_slope(z).item() == pytest.approx(math.exp(-20), rel=1e-5)
    assert ac.tanh_slope(z).item() == pytest.approx(4 * math.exp(-40), rel=1e-5)


@every
def test_no_slope_exceeds_the_steepest_and_the_number_is_tight(name):
    slopes = ac.ACTIVATIONS[name].slope(GRID)
    assert 0.999 * ac.ACTIVATIONS[name].steepest < slopes.max() <= ac.ACTIVATIONS[name].steepest


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "leaky_relu", "elu"])
def test_a_slope_is_found_by_its_name(name):
    alpha = {"leaky_relu": ac.LEAK, "elu": 1.0}.get(name, 0.5)
    same(ac.slope(GRID, name, alpha), ac.ACTIVATIONS[name].slope(GRID))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda z: ac.sigmoid(z.long()), "z is of torch.int64"),
        (lambda z: ac.relu_slope(z.long()), "z is of torch.int64"),
        (lambda z: ac.gelu(z.bool()), "z is of torch.bool"),
        (lambda z: ac.elu(z.int()), "z is of torch.int32"),
        (lambda z: ac.elu(z, 0.0), "alpha is 0.0"),
        (lambda z: ac.elu_slope(z, -1.0), "alpha is -1.0"),
        (lambda z: ac.leaky_relu(z, 1.0), "leak is 1.0"),
        (lambda z: ac.leaky_relu_slope(z, -0.1), "leak is -0.1"),
        (lambda z: ac.slope(z, "softplus", 1.0), "activation is 'softplus'"),
    ],
)
def test_a_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call(torch.zeros(2))
