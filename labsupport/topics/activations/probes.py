"""Probes of a backward pass by hand: its error, each layer's gain, and silent units."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.models import MLP
from labsupport.rules import gradients
from labsupport.stacks import Stack
from labsupport.topics.activations import backprop
from labsupport.topics.activations import reference as activations
from labsupport.types import Batch, Dataset

ROWS = 100
"""Training samples that are looked at."""


def backprop_error(
    net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    """Measure the largest relative error of gradients by hand against autograd's.

    ``by_hand`` is the reference implementation, ``by_book`` what the book's networks are trained
    with: for ReLU a fast backward pass of their own.
    """
    x, y = _samples(params, dataset)
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        logits = net.forward(leaves, buffers, x)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
        right = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    weights, biases = layers(net, params)
    _, by_weight, by_bias = backprop.gradients(weights, biases, x, y, net.activation)
    by_hand = {f"weight{i}": g for i, g in enumerate(by_weight, 1)} | {
        f"bias{i}": g for i, g in enumerate(by_bias, 1)
    }
    by_book = params.like()
    gradients(net, params, buffers, Batch(x, y, 1, 1.0, ()), by_book)
    return {"by_hand": _worst(by_hand, right), "by_book": _worst(by_book, right)}


def layer_bound(
    net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    r"""Find the largest share of its bound that a layer's gradient reaches: ``bound``, <= 1.

    The largest is over all layers and samples.

    On its way from :math:`x_l` down to :math:`x_{l-1}` a gradient is multiplied by slopes, of which
    none is larger than s, and by :math:`W_l^\top`, so

    .. math::

        \lVert\partial\ell/\partial x_{l-1}\rVert
        \le s\,\lVert W_l\rVert_2\,\lVert\partial\ell/\partial x_l\rVert
    """
    x, y = _samples(params, dataset)
    weights, biases = layers(net, params)
    rule, done = (
        activations.ACTIVATIONS[net.activation],
        backprop.forward(weights, biases, x, net.activation),
    )
    v, shares = backprop.cross_entropy_slope(done.zs[-1], y) @ weights[-1], []
    for weight, z in zip(weights[-2::-1], done.zs[-2::-1], strict=True):
        passed = (v * rule.slope(z)) @ weight
        allowed = rule.steepest * torch.linalg.matrix_norm(weight, 2)[:, None] * v.norm(dim=2)
        shares.append((passed.norm(dim=2) / allowed).nan_to_num(0.0).amax(1))
        v = passed
    return {"bound": torch.stack(shares).amax(0)}


def silent_units(
    net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    """Measure the share of hidden units at most 0 for every training sample: ``silent``.

    Such a ReLU unit is dead. A leaky one is not: a little gradient still reaches it.
    """
    x = dataset.x_train.to(params.flat.dtype)
    hidden = net.layers(params, buffers, x.expand(len(params.flat), *x.shape))[:-1]
    return {"silent": torch.cat([(h <= 0).all(1) for h in hidden], 1).to(x.dtype).mean(1)}


def layers(net: MLP, params: Stack) -> tuple[list[Tensor], list[Tensor]]:
    """List the weights (R, out, in) and biases (R, out) of the layers, first layer first.

    Raises:
        ValueError: for a network with batch norm, which the backward pass of this chapter does not
            know.
    """
    if net.norm:
        raise ValueError(
            f"norm is {net.norm!r}; the backward pass by hand is for networks without a norm"
        )
    every = range(1, net.depth + 1)
    return [params[f"weight{i}"] for i in every], [params[f"bias{i}"] for i in every]


def _samples(params: Stack, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return the first ROWS training samples for every run: (R, B, D) and (R, B)."""
    runs, x, y = (
        len(params.flat),
        dataset.x_train[:ROWS].flatten(1).to(params.flat.dtype),
        dataset.y_train[:ROWS],
    )
    return x.expand(runs, *x.shape), y.expand(runs, -1)


def _worst(found: dict[str, Tensor] | Stack, right: dict[str, Tensor]) -> Tensor:
    """Find the largest relative distance over the parameters, (R,)."""
    apart = [
        (found[name] - g).flatten(1).norm(dim=1) / g.flatten(1).norm(dim=1)
        for name, g in right.items()
    ]
    return torch.stack(apart).amax(0)
