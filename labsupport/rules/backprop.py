"""Backpropagation of the mean cross-entropy, by a network's own backward pass or by autograd."""

from dataclasses import dataclass
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport import runtime
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.types import Batch, HasBackprop, Net


def gradients(
    net: Net, params: Stack, buffers: dict[str, Tensor], batch: Batch, out: Stack
) -> Tensor:
    """Write each run's gradient of the mean cross-entropy to ``out``; return losses (R,).

    A network may bring a ``backprop`` of its own, written by hand; autograd serves all others, and
    all where products are taken in bfloat16: a backward pass by hand writes into float32. What the
    loss does not depend on has the gradient 0.
    """
    if _has_backprop(net) and not runtime.mixed():
        loss = net.backprop(params, buffers, batch, out)
        if loss is not None:
            return loss
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        # only a MixableNet takes a mix; train has made sure that others get none
        inside = {"mix": batch.mix} if batch.mix else {}
        with runtime.autocast():
            logits = net.forward(
                leaves, buffers, batch.x, training=True, streams=batch.streams, **inside
            )
        logits = logits.to(params.flat.dtype)  # a mean of losses in bfloat16 has three digits
        wanted = batch.y.flatten() if batch.targets is None else batch.targets.flatten(0, 1)
        losses = (
            F.cross_entropy(logits.flatten(0, 1), wanted, reduction="none")
            .view(batch.y.shape)
            .mean(1)
        )
        # runs share no parameter, so the gradient of the sum holds the gradient of each
        grads = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
    for name, grad in zip(leaves, grads, strict=True):
        out[name].copy_(grad)
    return losses.detach()


def _has_backprop(net: Net) -> TypeGuard[HasBackprop]:
    # isinstance with a protocol takes 5 µs, at every step
    return getattr(net, "backprop", None) is not None


@dataclass(frozen=True)
class Backprop:
    """The gradient by backpropagation, the estimator of most chapters."""

    def init(self, net: Net, params: Stack, streams: Streams) -> None:
        """Return an empty state."""

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: None,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the gradient to ``out`` and return the loss of each run (R,)."""
        return gradients(net, params, buffers, batch, out)
