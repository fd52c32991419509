"""Fully connected networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from labsupport.augment import blended
from labsupport.models import layers
from labsupport.models.layered import Layered
from labsupport.models.layers import Tensors, per_run
from labsupport.stacks import Stack
from labsupport.types import Batch, Mix


@dataclass(frozen=True)
class MLP(Layered):
    """Fully connected layers: linear, norm, activation, dropout; the last layer is linear alone.

    Args:
        sizes: widths from input to output: (40, 100, 100, 10). Inputs (R, B, ...) are flattened to
            (R, B, D).
        and the fields of Layered.

    Raises:
        ValueError: for fewer than two sizes, a size below one, and as Layered.
    """

    sizes: tuple[int, ...] = (40, 100, 100, 10)

    def __post_init__(self):
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes are {self.sizes}; an MLP has at least two, each at least 1")
        super().__post_init__()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the weights of each layer, (out, in)."""
        return [(fan_out, fan_in) for fan_in, fan_out in pairwise(self.sizes)]

    def layers(
        self,
        params: Tensors,
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        rngs: Sequence[Generator] = (),
        mix: Mix | None = None,
    ) -> list[Tensor]:
        """What each layer puts out, (R, B, H) of the hidden ones and the logits (R, B, K), for
        inputs (R, B, ...).
        """
        masks = layers.masks(self.dropout, rngs, x, self.sizes[1:-1]) if training else None
        outputs = [x.flatten(2)]
        for i in range(1, self.depth + 1):
            z = torch.baddbmm(params[f"bias{i}"][:, None], outputs[-1], self.weight(params, i).mT)
            if i < self.depth:
                z = self.hidden(z, params, buffers, i, training, rngs)
                z = blended(z * masks[i - 1] if masks else z, mix, i)
            outputs.append(z)
        return outputs[1:]

    def backprop(
        self, params: Stack, buffers: dict[str, Tensor], batch: Batch, grads: Stack
    ) -> Tensor | None:
        """The gradient of the mean cross-entropy of each run, by hand; None where autograd has to
        do it.

        A step of a small network is mostly the overhead of its operations. This is the lecture's
        backward pass
        with as few of them as can be: it takes about two thirds of autograd's time.

        Args:
            params, buffers: of R runs; batch norm moves its running statistics.
            batch: what the step sees.
            grads: where the gradients are written, shapes as params.

        Returns:
            The loss of each run (R,), or None if this network is not one of ReLUs, plain or behind
            batch norm, or if samples are blended inside it.
        """
        if self.norm not in (None, "batch") or self.ghost or self.activation != "relu" or batch.mix:
            return None
        masks, depth = layers.masks(self.dropout, batch.rngs, batch.x, self.sizes[1:-1]), self.depth
        hs, normed = self._rise(params, buffers, batch.x, masks)
        # classes before samples: a product with few rows is faster than one with few columns
        logits = torch.baddbmm(
            params[f"bias{depth}"][..., None], params[f"weight{depth}"], hs[-1].mT
        )
        loss, vt = _cross_entropy_and_slope(logits, batch.y, batch.targets)
        for i in range(depth, 0, -1):
            torch.bmm(vt, hs[i - 1], out=grads[f"weight{i}"])
            torch.sum(vt, 2, out=grads[f"bias{i}"])
            if i > 1:
                v = torch.bmm(vt.mT, params[f"weight{i}"])
                if masks:  # a dropped unit puts out 0, so the next line stops its gradient
                    v.mul_(1 / (1 - per_run(self.dropout, v)))
                v = torch.ops.aten.threshold_backward.grad_input(v, hs[i - 1], 0, grad_input=v)
                if self.norm:
                    v, *found = layers.normalize_backward(v, *normed[i - 1], [1])
                    for name, grad in zip(("scale", "shift"), found, strict=True):
                        grads[f"{name}{i - 1}"].copy_(grad[:, 0])
                vt = v.mT
        return loss

    def _rise(
        self, params: Stack, buffers: dict[str, Tensor], x: Tensor, masks: list[Tensor] | None
    ) -> tuple[list[Tensor], dict[int, tuple[Tensor, Tensor, Tensor]]]:
        """The inputs and what each hidden layer puts out; and of each norm what its backward pass
        needs.
        """
        hs, normed = [x if x.dim() == 3 else x.flatten(2)], {}
        for i in range(1, self.depth):
            z = torch.baddbmm(params[f"bias{i}"][:, None], hs[-1], params.transposed[f"weight{i}"])
            if self.norm:
                scale = params[f"scale{i}"][:, None]
                z, hat, mean, var = layers.normalize(z, scale, params[f"shift{i}"][:, None], [1])
                layers.track(buffers, i, mean[:, 0], var[:, 0], z.shape[1])
                normed[i] = hat, scale, var
            hs.append(z.relu_())
            if masks:
                hs[-1].mul_(masks[i - 1])
        return hs, normed


def _cross_entropy_and_slope(
    logits: Tensor, y: Tensor, targets: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy of each run (R,) and its slope in the logits (R, K, B).

    For labels y (R, B), or for targets (R, B, K) if there are any.
    """
    slope = torch.log_softmax(logits, 1)
    size, y = y.shape[1], y[:, None]
    if targets is not None:
        loss = (slope * targets.mT).sum(1).mean(1).neg_()
        return loss, slope.exp_().sub_(targets.mT).div_(size)
    loss = slope.gather(1, y)[:, 0].mean(1).neg_()
    slope.exp_().scatter_add_(1, y, slope.new_full((), -1.0).expand(y.shape))
    return loss, slope.div_(size)
