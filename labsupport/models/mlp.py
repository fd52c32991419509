"""Fully connected networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from labsupport.augment import blended
from labsupport.models import layers
from labsupport.models.layered import Layered
from labsupport.models.layers import Tensors, per_run
from labsupport.stacks import Stack
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Batch, Mix, Net, Transposable


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

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes are {self.sizes}; an MLP has at least two, each at least 1")
        super().__post_init__()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the layers' weights, (out, in)."""
        return [(fan_out, fan_in) for fan_in, fan_out in pairwise(self.sizes)]

    def check_data(self, shape: tuple[int, ...], classes: int) -> None:
        """Refuse inputs that do not flatten to the first size, or more classes than the last.

        Raises:
            ValueError: it says what the network takes and what the data have.
        """
        check_sizes(self, self.sizes, shape, classes)

    def layers(
        self,
        params: Tensors,
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        streams: Streams = NO_STREAMS,
        mix: Mix | None = None,
    ) -> list[Tensor]:
        """Compute each layer's outputs for inputs (R, B, ...): (R, B, H), the logits last."""
        masks = layers.masks(self.dropout, streams, x, self.sizes[1:-1]) if training else None
        outputs = [x.flatten(2)]
        for i in range(1, self.depth + 1):
            z = torch.baddbmm(params[f"bias{i}"][:, None], outputs[-1], self.weight(params, i).mT)
            if i < self.depth:
                z = self.hidden(z, params, buffers, i, training, streams)
                z = blended(z * masks[i - 1] if masks else z, mix, i)
            outputs.append(z)
        return outputs[1:]

    def backprop(
        self, params: Stack, buffers: dict[str, Tensor], batch: Batch, grads: Stack
    ) -> Tensor | None:
        """Write the gradient of the mean cross-entropy by hand; None where autograd has to do it.

        Args:
            params, buffers: of R runs; batch norm moves its running statistics.
            batch: what the step is given.
            grads: where the gradients are written, shapes as params.

        Returns:
            The loss of each run (R,), or None if this network is not one of ReLUs, plain or behind
            batch norm, or if samples are blended inside it.
        """
        if self.norm not in (None, "batch") or self.ghost or self.activation != "relu" or batch.mix:
            return None
        return self.backward(params, buffers, batch, grads)

    def backward(
        self,
        params: Transposable,
        buffers: dict[str, Tensor],
        batch: Batch,
        grads: Transposable,
    ) -> Tensor:
        """Write the gradient of a ReLU network, plain or with batch norm; return the losses (R,).

        A step of a small network is mostly the overhead of its operations. This is the lecture's
        backward pass with as few of them as can be: it takes about two thirds of autograd's time.
        """
        masks = layers.masks(self.dropout, batch.streams, batch.x, self.sizes[1:-1])
        depth = self.depth
        hs, normed = self._forward(params, buffers, batch.x, masks)
        # classes before samples: a product with few rows is faster than one with few columns
        logits = torch.baddbmm(
            params[f"bias{depth}"][..., None], params[f"weight{depth}"], hs[-1].mT
        )
        loss, vt = _cross_entropy_and_slope(logits, batch.y, batch.targets)
        for i in range(depth, 0, -1):
            # vt is the error at layer i's products, (R, out, B): this product needs no transpose
            torch.bmm(vt, hs[i - 1], out=grads[f"weight{i}"])
            torch.sum(vt, 2, out=grads[f"bias{i}"])
            if i > 1:
                v = torch.bmm(vt.mT, params[f"weight{i}"])
                if masks:  # a dropped unit puts out 0, so the next line stops its gradient
                    v.mul_(1 / (1 - per_run(self.dropout, v)))
                # ReLU's slope is read off its output, in place: v is not needed again
                v = torch.ops.aten.threshold_backward.grad_input(v, hs[i - 1], 0, grad_input=v)
                if self.norm:
                    v, *found = layers.normalize_backward(v, *normed[i - 1], [1])
                    for name, grad in zip(("scale", "shift"), found, strict=True):
                        grads[f"{name}{i - 1}"].copy_(grad[:, 0])
                vt = v.mT
        return loss

    def _forward(
        self,
        params: Transposable,
        buffers: dict[str, Tensor],
        x: Tensor,
        masks: list[Tensor] | None,
    ) -> tuple[list[Tensor], dict[int, tuple[Tensor, Tensor, Tensor]]]:
        """Compute inputs and hidden outputs, and what each norm's backward pass needs."""
        hs = [x if x.dim() == 3 else x.flatten(2)]
        normed: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        for i in range(1, self.depth):
            z = torch.baddbmm(params[f"bias{i}"][:, None], hs[-1], params.transposed[f"weight{i}"])
            if self.norm:
                scale = params[f"scale{i}"][:, None]
                z, hat, mean, var = layers.normalize(z, scale, params[f"shift{i}"][:, None], [1])
                layers.track(buffers, i, mean[:, 0], var[:, 0], z.shape[1])
                normed[i] = hat, scale, var
            # in place: the backward pass needs the output alone
            hs.append(z.relu_())
            if masks:
                hs[-1].mul_(masks[i - 1])
        return hs, normed


def _cross_entropy_and_slope(
    logits: Tensor, y: Tensor, targets: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute the mean cross-entropy of each run (R,) and its slope in the logits (R, K, B).

    For labels y (R, B), or for targets (R, B, K) if there are any.
    """
    # one block of memory: log-probabilities, then probabilities, then the slope
    slope = torch.log_softmax(logits, 1)
    size, y = y.shape[1], y[:, None]
    if targets is not None:
        loss = (slope * targets.mT).sum(1).mean(1).neg_()
        return loss, slope.exp_().sub_(targets.mT).div_(size)
    loss = slope.gather(1, y)[:, 0].mean(1).neg_()
    # minus one at the label, without a one-hot tensor
    slope.exp_().scatter_add_(1, y, slope.new_full((), -1.0).expand(y.shape))
    return loss, slope.div_(size)


def check_sizes(net: Net, sizes: Sequence[int], shape: tuple[int, ...], classes: int) -> None:
    """Refuse data that do not fit the widths of a fully connected network.

    Raises:
        ValueError: it names the sizes and what the data ask for.
    """
    inputs = math.prod(shape)
    if sizes[0] != inputs or sizes[-1] < classes:
        raise ValueError(
            f"sizes of {type(net).__name__} are {tuple(sizes)}; inputs {shape} of {classes} classes"
            f" ask for {inputs} first and at least {classes} last"
        )
