"""Mean squares and norms of activations and gradients, layer by layer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.models import MLP
from labsupport.stacks import Stack
from labsupport.types import Dataset

ROWS = 100
"""Training samples that are looked at."""


def signals(
    net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    r"""Measure mean squares of outputs, ``forward1`` ..., and of gradients, ``backward1`` ...

    Both are those of the layers' outputs; the gradients are the loss's.

    The gradient of each sample's own loss is meant, not of the batch's mean:
    :math:`\partial\ell_n/\partial h_l`. The last layer's outputs are the logits.
    """
    outputs, grads, _ = _pass(net, params, buffers, dataset)
    forward = {f"forward{i}": h.square().mean((1, 2)) for i, h in enumerate(outputs, start=1)}
    return forward | {f"backward{i}": g.square().mean((1, 2)) for i, g in enumerate(grads, start=1)}


def gradient_norms(
    net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    r"""Measure the norm of the gradient in each weight matrix, ``gradient1`` ...

    It is :math:`\lVert\partial L/\partial W_l\rVert`.

    The metrics are ``gradient1`` ...
    """
    *_, weights = _pass(net, params, buffers, dataset)
    return {f"gradient{i}": g.square().sum((1, 2)).sqrt() for i, g in enumerate(weights, start=1)}


def dead_units(
    net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    """Measure the share of hidden units that are 0 for every training sample.

    ``dead`` over all layers and ``dead1`` ... by layer.
    """
    x = dataset.x_train.to(params.flat.dtype)
    hidden = net.layers(params, buffers, x.expand(len(params.flat), *x.shape))[:-1]
    dead = [(h == 0).all(1).to(h.dtype) for h in hidden]
    return {"dead": torch.cat(dead, 1).mean(1)} | {
        f"dead{i}": d.mean(1) for i, d in enumerate(dead, start=1)
    }


def _pass(
    net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> tuple[list[Tensor], Sequence[Tensor], list[Tensor]]:
    """Compute the layers' outputs, the samples' gradients in them, and the weights' gradients."""
    x, y = dataset.x_train[:ROWS].to(params.flat.dtype), dataset.y_train[:ROWS]
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        outputs = net.layers(leaves, buffers, x.expand(len(params.flat), *x.shape))
        losses = F.cross_entropy(
            outputs[-1].flatten(0, 1), y.expand(len(params.flat), -1).flatten(), reduction="sum"
        )
        weights = [leaves[f"weight{i}"] for i in range(1, net.depth + 1)]
        grads = torch.autograd.grad(losses, [*outputs, *weights])
    return (
        [h.detach() for h in outputs],
        grads[: net.depth],
        [g / len(y) for g in grads[net.depth :]],
    )
