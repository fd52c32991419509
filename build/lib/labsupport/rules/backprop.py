"""Backpropagation: the gradient of the mean cross-entropy, by a network's own backward pass or by
autograd.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsupport import runtime
from labsupport.stacks import Stack
from labsupport.types import Batch, Net


def gradients(
    net: Net, params: Stack, buffers: dict[str, Tensor], batch: Batch, out: Stack
) -> Tensor:
    """The mean cross-entropy of each run (R,), with its gradient written to ``out``.

    A network may bring a ``backprop`` of its own, written by hand; autograd serves all others, and
    all where products are
    taken in bfloat16: a backward pass by hand writes into float32. What the loss does not depend on
    has the gradient 0.
    """
    by_hand = None if runtime.mixed() else getattr(net, "backprop", None)
    loss = by_hand(params, buffers, batch, out) if by_hand else None
    if loss is not None:
        return loss
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        inside = {"mix": batch.mix} if batch.mix else {}
        with runtime.autocast():
            logits = net.forward(leaves, buffers, batch.x, training=True, rngs=batch.rngs, **inside)
        logits = logits.to(params.flat.dtype)
        wanted = batch.y.flatten() if batch.targets is None else batch.targets.flatten(0, 1)
        losses = (
            F.cross_entropy(logits.flatten(0, 1), wanted, reduction="none")
            .view(batch.y.shape)
            .mean(1)
        )
        grads = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
    for name, grad in zip(leaves, grads, strict=True):
        out[name].copy_(grad)
    return losses.detach()


@dataclass(frozen=True)
class Backprop:
    """The gradient source of all but the last chapters."""

    def init(self, net: Net, params: Stack, rngs: Sequence[Generator]) -> None:
        """Nothing is kept."""

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        kept: Any,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """The loss of each run (R,), with the gradient written to ``out``."""
        return gradients(net, params, buffers, batch, out)
