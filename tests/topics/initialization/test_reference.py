"""Signals in random networks: against autograd, against sampling, against cases worked by hand, in
float64.
"""

import math

import pytest
import torch

from labsupport.models import initialization as init
from labsupport.topics.initialization import reference as prop

DOUBLE = dict(dtype=torch.float64)


def real(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


# -- the slides' example ---------------------------------------------------------------------------


@pytest.mark.parametrize("activation", prop.ACTIVATIONS)
def test_the_gradient_of_the_slides_is_autograds(activation):
    w1, w2, b, x = real(3, 2), real(3, seed=1), real(3, seed=2), real(2, seed=3)
    leaf = w1.clone().requires_grad_()
    y = w2 @ prop.ACTIVATIONS[activation][0](leaf @ x + b)
    same(prop.weight_gradient(w1, w2, b, x, activation=activation), torch.autograd.grad(y, leaf)[0])


def test_the_slides_example_by_hand():
    """z = 0, so tanh's slope is 1 and each row is w2 times x = (0.5, 1)."""
    zero, x = torch.zeros(2, **DOUBLE), torch.tensor([0.5, 1.0], **DOUBLE)
    assert not prop.weight_gradient(torch.zeros(2, 2, **DOUBLE), zero, zero, x).any()
    same(
        prop.weight_gradient(
            torch.zeros(2, 2, **DOUBLE), torch.tensor([1.0, 2.0], **DOUBLE), zero, x
        ),
        torch.tensor([[0.5, 1.0], [1.0, 2.0]], **DOUBLE),
    )


def test_equal_rows_get_equal_gradients_only_if_they_leave_through_equal_weights():
    rows, b, x = real(1, 2).expand(2, 2), torch.zeros(2, **DOUBLE), real(2, seed=1)
    equal = prop.weight_gradient(rows, torch.ones(2, **DOUBLE), b, x)
    unequal = prop.weight_gradient(rows, torch.tensor([1.0, 2.0], **DOUBLE), b, x)
    assert torch.equal(equal[0], equal[1])
    same(unequal[1], 2 * unequal[0])


@pytest.mark.parametrize("activation", prop.ACTIVATIONS)
def test_a_slope_is_the_derivative_of_its_activation(activation):
    rho, slope = prop.ACTIVATIONS[activation]
    z = real(50).requires_grad_()
    same(slope(z.detach()), torch.autograd.grad(rho(z).sum(), z)[0])


def test_the_slope_of_relu_at_zero_is_torchs():
    z = torch.zeros(1, **DOUBLE, requires_grad=True)
    same(prop.ACTIVATIONS["relu"][1](z.detach()), torch.autograd.grad(torch.relu(z).sum(), z)[0])


# -- weights from given numbers --------------------------------------------------------------------


def test_kaimings_weights_are_the_initializers_on_the_same_numbers():
    z = torch.empty(5, 3).normal_(generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        prop.kaiming_weights(z), init.kaiming_normal((5, 3), torch.Generator().manual_seed(0))
    )


def test_xaviers_weights_are_the_initializers_on_the_same_numbers():
    u = torch.empty(5, 3).uniform_(generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        prop.xavier_weights(u),
        init.xavier_uniform((5, 3), torch.Generator().manual_seed(0)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_weights_by_hand():
    same(prop.kaiming_weights(torch.ones(1, 8, **DOUBLE)), torch.full((1, 8), 0.5, **DOUBLE))
    same(
        prop.xavier_weights(torch.tensor([[0.0], [0.5]], **DOUBLE)),
        torch.tensor([[-math.sqrt(2)], [0.0]], **DOUBLE),
    )


# -- moments ---------------------------------------------------------------------------------------


def test_kaiming_by_fan_in_keeps_the_signal_and_by_fan_out_the_gradient():
    one = torch.ones(3, **DOUBLE)
    same(prop.relu_moments(one, one, 50, 20, math.sqrt(2 / 50))[0], one)
    same(prop.relu_moments(one, one, 50, 20, math.sqrt(2 / 20))[1], one)


def test_the_moments_of_a_relu_layer_are_those_of_many_random_ones():
    fan_in, fan_out, std = 30, 20, 0.2
    h, g = real(fan_in).abs(), real(fan_out, seed=1)
    w = std * real(20_000, fan_out, fan_in, seed=2)
    z = w @ h
    forward, backward = prop.relu_moments(
        h.square().mean(), g.square().mean(), fan_in, fan_out, std
    )
    assert z.relu().square().mean().item() == pytest.approx(forward.item(), rel=0.02)
    back = torch.einsum("ro,roi->ri", g * (z > 0), w)
    assert back.square().mean().item() == pytest.approx(backward.item(), rel=0.02)


@pytest.mark.parametrize(
    ("function", "q", "expected"),
    [
        (lambda z: z**2, 3.0, 3.0),
        (lambda z: z.relu() ** 2, 3.0, 1.5),
        (lambda z: z**4, 2.0, 12.0),
        (lambda z: (z > 0).double(), 2.0, 0.5),
        (torch.cos, 4.0, math.exp(-2)),
        (torch.cos, 0.0, 1.0),
    ],
)
def test_gaussian_means_with_a_closed_form(function, q, expected):
    assert prop.gaussian_mean(function, q) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("q", [1e-8, 1.0, 1e4])
def test_the_mean_of_squared_tanh_lies_below_both_of_its_limits(q):
    mean = prop.gaussian_mean(lambda z: torch.tanh(z) ** 2, q)
    assert mean <= min(q, 1.0)
    if q == 1e-8:
        assert mean == pytest.approx(q - 2 * q**2, rel=1e-9)  # the first terms of its series


def test_a_relu_layer_of_the_prediction_is_the_closed_form():
    forward, backward = prop.predicted(
        (50, 40, 30, 10), "xavier_normal", "relu", start=2.0, end=3.0
    )
    m, g = torch.tensor(2.0, **DOUBLE), None
    for fan_in, fan_out, found in ((50, 40, forward[0]), (40, 30, forward[1])):
        m, _ = prop.relu_moments(m, m, fan_in, fan_out, math.sqrt(2 / (fan_in + fan_out)))
        assert found == pytest.approx(m.item(), rel=1e-10)
    assert forward[2] == pytest.approx(30 * 2 / 40 * m.item(), rel=1e-10)
    assert backward[2] == 3.0 and backward[1] == pytest.approx(10 * 2 / 40 * 3, rel=1e-10)
    _, g = prop.relu_moments(m, torch.tensor(backward[1], **DOUBLE), 40, 30, math.sqrt(2 / 70))
    assert backward[0] == pytest.approx(g.item(), rel=1e-10)


@pytest.mark.parametrize(
    ("scheme", "activation", "bias"),
    [
        ("xavier_normal", "tanh", False),
        ("kaiming_normal", "tanh", False),
        ("torch_default", "relu", True),
        ("orthogonal", "tanh", False),
        ("kaiming_uniform", "relu", False),
        ("kaiming_normal_fan_out", "linear", False),
    ],
)
def test_a_wide_network_is_as_predicted_forwards_and_backwards(scheme, activation, bias):
    sizes, rho = (200, 400, 300, 400), prop.ACTIVATIONS[activation][0]
    rng = torch.Generator().manual_seed(4)
    h, outputs = real(200, 200).requires_grad_(), []
    for layer, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
        w = init.SCHEMES[scheme]((fan_out, fan_in), rng).double()
        b = real(fan_out, seed=layer) / math.sqrt(3 * fan_in) if bias else 0.0
        z = h @ w.T + b
        h = z if layer == 2 else rho(z)
        outputs.append(h)
    grads = torch.autograd.grad(outputs[-1], outputs, real(200, 400, seed=9))
    forward, backward = prop.predicted(sizes, scheme, activation, uniform_bias=bias)
    assert [o.square().mean().item() for o in outputs] == pytest.approx(forward, rel=0.1)
    assert [g.square().mean().item() for g in grads] == pytest.approx(backward, rel=0.1)


def test_a_gain_multiplies_every_weight():
    once, _ = prop.predicted((10, 10, 10, 10), "normal", "relu")
    twice, _ = prop.predicted((10, 10, 10, 10), "normal", "relu", gain=2.0)
    assert [b / a for a, b in zip(once, twice, strict=True)] == pytest.approx(
        [4, 16, 64], rel=1e-10
    )


def test_every_scheme_that_draws_each_weight_alone_has_a_variance():
    assert set(prop.VARIANCES) == set(init.SCHEMES) - {"equal_rows"}


# -- diagnosis -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", prop.growths(64, 256))
def test_a_network_drawn_wrongly_is_diagnosed(fault):
    """Three layers of a real network whose widths go up and down."""
    h, before, after, widths = real(300, 64), [], [], (64, 256, 64, 256)
    for layer, (fan_in, fan_out) in enumerate(zip(widths, widths[1:], strict=False)):
        std = {
            "healthy": math.sqrt(2 / fan_in),
            "std_is_variance": 2 / fan_in,
            "fan_out_for_fan_in": math.sqrt(2 / fan_out),
            "relu_factor_missing": math.sqrt(1 / fan_in),
            "zero": 0.0,
        }
        if fault == "bound_is_std":
            bound = math.sqrt(2 / fan_in)
            w = torch.empty(fan_out, fan_in, **DOUBLE).uniform_(
                -bound, bound, generator=torch.Generator().manual_seed(layer)
            )
        else:
            w = std[fault] * real(fan_out, fan_in, seed=layer)
        before.append(h.square().mean())
        h = (h @ w.T).relu()
        after.append(h.square().mean())
    assert prop.diagnose(torch.stack(before), torch.stack(after), widths[:-1], widths[1:]) == fault


def test_the_growths_by_hand():
    assert prop.growths(8, 2) == {
        "healthy": 1.0,
        "std_is_variance": 0.25,
        "fan_out_for_fan_in": 4.0,
        "relu_factor_missing": 0.5,
        "bound_is_std": pytest.approx(1 / 3),
        "zero": 0.0,
    }


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: prop.weight_gradient(real(3, 2), real(2), real(3), real(2)), r"w2 \(2,\)"),
        (
            lambda: prop.weight_gradient(real(3, 2), real(3), real(3), real(2), activation="step"),
            "activation is 'step'",
        ),
        (lambda: prop.kaiming_weights(real(3)), r"z is \(3,\)"),
        (lambda: prop.kaiming_weights(torch.ones(2, 2, dtype=torch.long)), "torch.int64"),
        (lambda: prop.kaiming_weights(real(0, 2)), "not empty"),
        (lambda: prop.xavier_weights(real(2, 2) - 5), "uniform numbers lie in"),
        (lambda: prop.relu_moments(real(1), real(1), 0, 3, 1.0), "fan_in 0"),
        (lambda: prop.relu_moments(real(1), real(1), 3, 3, -1.0), "weight_std -1.0"),
        (lambda: prop.gaussian_mean(torch.tanh, -1.0), "second_moment is -1.0"),
        (lambda: prop.gaussian_mean(torch.tanh, math.inf), "second_moment is inf"),
        (lambda: prop.predicted((4, 4), "lecun", "relu"), "scheme is 'lecun'"),
        (lambda: prop.predicted((4,), "normal", "relu"), "two sizes"),
        (lambda: prop.predicted((4, 4, 4), "normal", "gelu"), "activation is 'gelu'"),
    ],
)
def test_bad_input_is_named_with_what_is_allowed(call, named):
    with pytest.raises(ValueError, match=named):
        call()
