"""The backward pass of chapter 3 against autograd in float64, cases by hand, and the logs it is
judged by.
"""

import pytest
import torch
import torch.nn.functional as F

from labsupport.topics.activations import backprop
from labsupport.topics.activations import reference as activations


def network(*sizes, runs=()):
    rng = torch.Generator().manual_seed(sum(sizes))
    draw = lambda *shape: torch.randn(*runs, *shape, dtype=torch.float64, generator=rng)  # noqa: E731
    weights = [
        draw(out, fan_in) / fan_in**0.5 for fan_in, out in zip(sizes, sizes[1:], strict=False)
    ]
    biases = [draw(out) for out in sizes[1:]]
    y = torch.randint(sizes[-1], (*runs, 5), generator=rng)
    return weights, biases, draw(5, sizes[0]), y


def by_autograd(weights, biases, x, y, activation):
    leaves = [p.detach().requires_grad_() for p in (*weights, *biases)]
    h = x
    for i, (w, b) in enumerate(zip(leaves[: len(weights)], leaves[len(weights) :], strict=True)):
        h = F.linear(activations.ACTIVATIONS[activation].value(h) if i else h, w, b)
    loss = F.cross_entropy(h, y)
    return loss.detach(), torch.autograd.grad(loss, leaves)


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("activation", activations.ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (3, 5, 4, 6, 5, 3)])
def test_both_passes_by_hand_are_autograd(activation, sizes):
    case = network(*sizes)
    loss, grads = by_autograd(*case, activation)
    ours, by_weight, by_bias = backprop.gradients(*case, activation)
    same(ours, loss)
    for mine, right in zip((*by_weight, *by_bias), grads, strict=True):
        same(mine, right)


def test_many_networks_at_once_are_each_of_them_alone():
    case = network(3, 4, 2, runs=(6,))
    losses, by_weight, by_bias = backprop.gradients(*case, "tanh")
    weights, biases, x, y = case
    alone = backprop.gradients([w[2] for w in weights], [b[2] for b in biases], x[2], y[2], "tanh")
    same(losses[2], alone[0])
    for many, one in zip((*by_weight, *by_bias), (*alone[1], *alone[2]), strict=True):
        same(many[2], one)


def test_the_slope_of_the_loss_by_hand_and_with_logits_that_would_overflow():
    """Two equal logits: probabilities of a half, the right class loses 1, two samples share it."""
    logits, y = torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0, 1])
    same(
        backprop.cross_entropy_slope(logits, y),
        torch.tensor([[-0.25, 0.25], [0.25, -0.25]], dtype=torch.float64),
    )
    huge = torch.tensor([[1000.0, -1000.0]])
    assert backprop.cross_entropy_slope(huge, torch.tensor([1])).tolist() == [[1.0, -1.0]]
    assert backprop.cross_entropy(huge, torch.tensor([1])).item() == 2000


def test_a_backward_pass_by_hand():
    """x = 2, W1 = 3, z1 = 6, W2 = -1, v = 1: the second layer learns 6, the first -1 · 2."""
    one = torch.ones(1, 1, dtype=torch.float64)
    weights, biases = backprop.relu_backward([3 * one, -one], 2 * one, [6 * one, -6 * one], one)
    assert [g.item() for g in weights] == [-2, 6] and [g.item() for g in biases] == [-1, 1]
    weights, biases = backprop.relu_backward([3 * one, -one], 2 * one, [-6 * one, 0 * one], one)
    assert [g.item() for g in weights] == [0, 0] and [g.item() for g in biases] == [0, 1]


@pytest.mark.parametrize(
    ("log", "name"),
    [
        ((1.0, 1.0, 1.0), "healthy"),
        ((0.1, 0.01, 0.001), "small_weights"),
        ((0.01, 0.1, 0.001), "small_slopes"),
        ((1.0, 200.0, 200.0), "exploding"),
        ((0.0, 1.0, 0.0), "dead"),
        ((0.25, 1.0, 1.0), "wrong_slopes"),
        ((0.0, 1.0, 1.0), "wrong_slopes"),
        ((0.5, 1.0, 0.9), "healthy"),
    ],
)
def test_a_log_of_one_layer_is_named(log, name):
    assert backprop.diagnose(*(torch.tensor([value], dtype=torch.float64) for value in log)) == name


def test_factors_multiply_and_the_code_is_asked_layer_by_layer():
    half, one = torch.full((8,), 0.5, dtype=torch.float64), torch.ones(8, dtype=torch.float64)
    assert backprop.diagnose(half, one, half) == "small_slopes"
    crooked = torch.tensor([5.0, 0.2, *[1.0] * 6], dtype=torch.float64)
    assert backprop.diagnose(one, one, crooked) == "wrong_slopes"


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda w, b, x, y: backprop.forward(w, b, x, "softplus"), "activation is 'softplus'"),
        (lambda w, b, x, y: backprop.forward(w, b[:1], x, "relu"), "2 weights and 1 biases"),
        (lambda w, b, x, y: backprop.forward([], [], x, "relu"), "0 weights and 0 biases"),
        (lambda w, b, x, y: backprop.cross_entropy_slope(x, y.double()), "dtype torch.float64"),
        (lambda w, b, x, y: backprop.cross_entropy_slope(x[:0], y[:0]), r"y has shape \(0,\)"),
        (lambda w, b, x, y: backprop.cross_entropy(x, y + 7), "labels are 0 to 2"),
        (
            lambda w, b, x, y: backprop.diagnose(b[0], b[0], b[1]),
            r"shapes \(4,\), \(4,\) and \(2,\)",
        ),
    ],
)
def test_a_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call(*network(3, 4, 2))
