r"""The lecture's forward and backward pass, by hand, for any depth and any activation.

Layers are numbered 1 to L, from input to output; :math:`x_0` is the input. Samples are rows: a
layer's input is (B, in), its weights (out, in) and its bias (out), as in ``torch.nn.Linear``. All
tensors may carry further axes in front, (R, B, in) and (R, out, in), for R networks at once. The
last layer is linear; its outputs are the logits.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.topics.activations.reference import ACTIVATIONS, relu


class Pass(NamedTuple):
    """The results of a forward pass that the backward pass needs."""

    xs: list[Tensor]
    """[x_0, ..., x_{L-1}]: the input of every layer, (..., B, in)."""
    zs: list[Tensor]
    """[z_1, ..., z_L]: what every layer computes before its activation; the last are the logits
    (..., B, K).
    """


def forward(
    weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, activation: str
) -> Pass:
    r"""Compute the forward pass.

    .. math:: z_l = W_l\,x_{l-1} + b_l, \qquad x_l = \rho(z_l) \quad (l < L)

    Args:
        weights, biases: of the L layers, (..., out, in) and (..., out), first layer first.
        x: inputs, (..., B, in).
        activation: a name in ``activations.ACTIVATIONS``.

    Returns:
        A Pass: the inputs and the pre-activations of every layer.

    Raises:
        ValueError: for an unknown activation, no layer, or not as many biases as weights.

    Source: the lecture, "Forward Pass", which has no biases and an activation on the last layer
    too.
    """
    _check(weights, biases, activation)
    xs: list[Tensor] = [x]
    zs: list[Tensor] = []
    for weight, bias in zip(weights, biases, strict=True):
        if zs:
            xs.append(ACTIVATIONS[activation].value(zs[-1]))
        zs.append(xs[-1] @ weight.mT + bias.unsqueeze(-2))
    return Pass(xs, zs)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    r"""Compute the mean of :math:`-\log p_y`, :math:`p = \operatorname{softmax}(z_L)`.

    Args:
        logits: (..., B, K), B at least 1.
        y: labels (..., B), whole numbers from 0 to K - 1.

    Returns:
        The loss (...).

    Raises:
        ValueError: for an empty batch, labels that are not whole numbers, or a label outside 0 to K
            - 1.
    """
    _check_labels(logits, y)
    return -torch.log_softmax(logits, -1).gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(-1)


def cross_entropy_slope(logits: Tensor, y: Tensor) -> Tensor:
    r"""Compute the gradient of the mean cross-entropy in the logits.

    .. math:: \frac{\partial L}{\partial z_L} = \frac{p - \mathbf 1_y}{B}

    Args, Raises: as in :func:`cross_entropy`.

    Returns:
        (..., B, K); each row sums to zero.
    """
    _check_labels(logits, y)
    one_hot = torch.nn.functional.one_hot(y, logits.shape[-1]).to(logits.dtype)
    # torch.softmax subtracts the largest logit first: no exponential overflows
    return (torch.softmax(logits, -1) - one_hot) / logits.shape[-2]


def backward(
    weights: Sequence[Tensor], done: Pass, v: Tensor, activation: str
) -> tuple[list[Tensor], list[Tensor]]:
    r"""Compute the gradient of the loss in all weights and biases.

    From the last layer to the first, with :math:`v = \partial L/\partial z_l` at the top of each
    turn:

    .. math::
        \frac{\partial L}{\partial W_l} = v\,x_{l-1}^\top, \qquad
        \frac{\partial L}{\partial b_l} = v, \qquad
        v \leftarrow (W_l^\top v) \circ \rho'(z_{l-1})

    summed over the samples of the batch.

    Args:
        weights: of the L layers, (..., out, in).
        done: what :func:`forward` returned.
        v: the gradient of the loss in the logits, (..., B, K).
        activation: as in :func:`forward`.

    Returns:
        Gradients of the weights and of the biases, first layer first.

    Source: the lecture, "Backward Pass", mended: see the chapter, slip e-2.
    """
    weight_grads: list[Tensor] = []
    bias_grads: list[Tensor] = []
    for layer in reversed(range(len(weights))):  # counted from 0, as the lists are
        weight_grads.insert(0, v.mT @ done.xs[layer])  # paired with the layer's input
        bias_grads.insert(0, v.sum(-2))
        if layer > 0:  # the input has no activation to go back through
            slope = ACTIVATIONS[activation].slope(done.zs[layer - 1])
            v = (v @ weights[layer]) * slope
    return weight_grads, bias_grads


def gradients(
    weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, y: Tensor, activation: str
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Compute the mean cross-entropy and its gradient in all weights and biases.

    Args:
        weights, biases, x, activation: as in :func:`forward`.
        y: labels (..., B).

    Returns:
        The loss (...), the gradients of the weights, and of the biases.

    Raises:
        ValueError: as :func:`forward` and :func:`cross_entropy`.
    """
    done = forward(weights, biases, x, activation)
    v = cross_entropy_slope(done.zs[-1], y)
    return cross_entropy(done.zs[-1], y), *backward(weights, done, v, activation)


def relu_backward(
    weights: Sequence[Tensor], x: Tensor, zs: Sequence[Tensor], v: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Run :func:`backward` for a ReLU network, from its input and pre-activations.

    Args:
        weights: of the L layers, (out, in).
        x: the input, (B, in).
        zs: [z_1, ..., z_L], the last of them the logits.
        v: the gradient of the loss in the logits, (B, K).

    Returns:
        Gradients of the weights and of the biases, first layer first.
    """
    return backward(weights, Pass([x, *map(relu, zs[:-1])], list(zs)), v, "relu")


FACTOR = 100
"""From the top to the bottom a gradient may grow or shrink by as much in a healthy network."""


def diagnose(slope: Tensor, weight: Tensor, factor: Tensor) -> str:
    r"""Name what is wrong with a backward pass, from the gradient at each hidden layer.

    On its way down a gradient is multiplied by the weights and then by the slopes, so its size
    should change by about ``weight * slope`` at each layer. The first of these that holds is the
    answer:

    - ``wrong_slopes``: at some layer ``factor`` and ``weight * slope`` are more than twice apart;
    - ``dead``: at some layer nothing is left, ``factor`` is 0;
    - ``exploding``: the product of all factors is more than FACTOR;
    - ``small_slopes``, ``small_weights``: the product is less than 1 / FACTOR, and the product of
      the slopes is smaller than that of the weights, or is not;
    - ``healthy``: none of them.

    Args:
        slope: (S,) the size of the derivatives at each layer, at least 0.
        weight: (S,) by how much the weights multiplied the gradient's size, positive.
        factor: (S,) the size of the gradient after both, divided by its size before; measured on
            what the code passed on.

    Returns:
        One of the six names.

    Raises:
        ValueError: if the three do not have one shape (S,) with S of at least 1.
    """
    if not slope.shape == weight.shape == factor.shape or slope.dim() != 1 or not len(slope):
        raise ValueError(
            f"slope, weight and factor have shapes {tuple(slope.shape)}, {tuple(weight.shape)} and "
            f"{tuple(factor.shape)}; all must be (S,), S at least 1"
        )
    expected, whole = weight * slope, factor.prod().item()
    # right code first: what wrong code measures says nothing of the network
    if bool(((factor > 2 * expected) | (2 * factor < expected)).any()):
        return "wrong_slopes"
    if bool((factor == 0).any()):
        return "dead"
    if 1 / FACTOR <= whole <= FACTOR:
        return "healthy"
    if whole > FACTOR:
        return "exploding"
    return "small_slopes" if slope.prod() < weight.prod() else "small_weights"


def _check(weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; there are {', '.join(ACTIVATIONS)}")
    if len(weights) != len(biases) or not weights:
        raise ValueError(
            f"{len(weights)} weights and {len(biases)} biases; there must be as many, and at"
            " least one"
        )


def _check_labels(logits: Tensor, y: Tensor) -> None:
    if y.dtype != torch.int64 or not math.prod(y.shape):
        raise ValueError(
            f"y has shape {tuple(y.shape)} and dtype {y.dtype}; it must hold at least one int64"
            " label"
        )
    if not 0 <= int(y.min()) <= int(y.max()) < logits.shape[-1]:
        raise ValueError(
            f"y goes from {int(y.min())} to {int(y.max())}; labels are 0 to {logits.shape[-1] - 1}"
        )
