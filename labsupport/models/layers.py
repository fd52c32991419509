"""The parts of a layer for R runs at once: activations, dropout masks, norms."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.ops.precision import widened
from labsupport.streams import Streams

Tensors = Mapping[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
    "leaky_relu": F.leaky_relu_,
    "elu": F.elu_,
    "gelu": F.gelu,
    "silu": F.silu,
    "sign": torch.sign,
    "linear": lambda z: z,
}
"""In place where the backward pass needs the output alone; GELU and SiLU need their input."""
BIASES = ("uniform", "zero")
NORMS = (None, "batch", "noisy_batch", "layer", "group", "weight")
BN_MOMENTUM, BN_EPS = 0.1, 1e-5
GROUPS = 8
"""Groups of channels in group norm."""


def per_run(value: float | Tensor, like: Tensor) -> Tensor:
    """Reshape a hyperparameter to (R, 1, 1), or to (1, 1, 1) where all runs share it."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(-1, 1, 1)


def masks(
    rate: float | Tensor, streams: Streams, like: Tensor, sizes: Sequence[int]
) -> list[Tensor] | None:
    """Draw a dropout mask (R, B, H) for each hidden layer; None if nothing is dropped.

    0 where a unit is dropped, 1 / (1 - rate) where it stays.

    Args:
        rate: the probability to drop a unit, a number or one a run.
        streams: of the R runs.
        like: the network's inputs (R, B, ...); masks have their dtype.
        sizes: units of each hidden layer.
    """
    if not isinstance(rate, Tensor) and rate == 0:
        return None
    # bfloat16 has no number between 0.996 and 1: rates and draws are compared with more digits
    wide, batch = widened(like), like.shape[1]
    stay = per_run(rate, wide)
    # all layers from one draw, which costs a run one call of its generator
    parts = streams.uniform(batch * sum(sizes), wide).split([batch * size for size in sizes], dim=1)
    return [((part.view(len(like), batch, -1) >= stay) / (1 - stay)).to(like) for part in parts]


def batch_norm(
    z: Tensor,
    params: Tensors,
    buffers: dict[str, Tensor],
    layer: int,
    training: bool,
    axis: int = -1,
    ghost: int = 0,
) -> Tensor:
    """Normalize each channel over all axes but runs and channels, as torch.nn.BatchNorm does.

    Args:
        z: (R, B, ..., C), or with the channels on another ``axis``.
        params, buffers: ``scale``, ``shift``, and the running ``mean`` and ``var`` of the layer,
            each (R, C).
        layer: counted from 1.
        training: normalize by the batch and move the running statistics, or normalize by those.
        ghost: in training, take the statistics over groups of so many samples; 0 takes the whole
            batch.

    Raises:
        ValueError: for a single value a channel in training, whose variance is zero whatever it is;
            for a batch that is not made of whole groups.
    """
    axis %= z.dim()
    dtype, z = z.dtype, widened(z)  # a square overflows float16 from 256 on
    scale, shift = (widened(params[f"{name}{layer}"]) for name in ("scale", "shift"))
    if not training:
        mean, var = (widened(buffers[f"{name}{layer}"]) for name in ("mean", "var"))
        gain = scale * torch.rsqrt(var + BN_EPS)
        y = torch.addcmul(_along(shift - mean * gain, z, axis), z, _along(gain, z, axis))
        return y.to(dtype)
    groups = _groups(z.shape[1], ghost)
    parts = z.reshape(len(z) * groups, -1, *z.shape[2:])
    scale, shift = (part.repeat_interleave(groups, 0) for part in (scale, shift))
    y, mean, var = _Normalize.apply(
        parts, _along(scale, parts, axis), _along(shift, parts, axis), axis
    )
    track(
        buffers,
        layer,
        mean.view(len(z), groups, -1).mean(1),
        var.view(len(z), groups, -1).mean(1),
        parts[0].numel() // z.shape[axis],
    )
    return y.reshape(z.shape).to(dtype)


def normalize(
    z: Tensor, scale: Tensor, shift: Tensor, axes: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize z over these axes, then scale and shift.

    Returns:
        The result, what it was before scale and shift, and the mean and the variance of z.

    Raises:
        ValueError: for a single value a channel, whose variance is zero whatever it is.
    """
    mean = z.mean(axes, keepdim=True)
    if z.numel() < 2 * mean.numel():
        raise ValueError("batch norm in training needs at least 2 values of each channel, not 1")
    # the variance from the deviations: mean of squares minus square of the mean cancels all digits
    # where the mean is large
    hat = z - mean
    var = hat.square().mean(axes, keepdim=True)
    hat.mul_(torch.rsqrt(var + BN_EPS))
    return torch.addcmul(shift, hat, scale), hat, mean, var


def normalize_backward(
    dy: Tensor, hat: Tensor, scale: Tensor, var: Tensor, axes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients in z, scale and shift for R runs at once.

    One run: ``batch_norm_backward`` in topics/batch_norm/reference.py.
    """
    dshift, dscale = dy.sum(axes, keepdim=True), (dy * hat).sum(axes, keepdim=True)
    size = dy.numel() / dshift.numel()
    dz = torch.addcmul(dy - dshift / size, hat, dscale / -size).mul_(
        scale * torch.rsqrt(var + BN_EPS)
    )
    return dz, dscale, dshift


def track(buffers: dict[str, Tensor], layer: int, mean: Tensor, var: Tensor, size: int) -> None:
    """Move running statistics (R, C) towards those of a batch, as torch.nn.BatchNorm does.

    The running variance is the unbiased one; the batches have ``size`` values.
    """
    for name, value in (("mean", mean), ("var", var * (size / (size - 1)))):
        running = buffers[f"{name}{layer}"]
        running.lerp_(value.to(running.dtype), BN_MOMENTUM)


class _Normalize(torch.autograd.Function):
    """``normalize`` with its backward pass by hand.

    It takes a third of the time of autograd's small operations.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, scale: Tensor, shift: Tensor, axis: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.axes = [a for a in range(1, z.dim()) if a != axis]
        y, hat, mean, var = normalize(z, scale, shift, ctx.axes)
        ctx.save_for_backward(hat, scale, var)
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: None) -> tuple[Tensor, Tensor, Tensor, None]:
        hat, scale, var = ctx.saved_tensors
        return *normalize_backward(dy, hat, scale, var, ctx.axes), None


def _groups(batch: int, ghost: int) -> int:
    """Count the groups of ``ghost`` samples in a batch."""
    if ghost and batch % ghost:
        raise ValueError(
            f"a batch of {batch} samples is not made of whole groups of {ghost} (ghost)"
        )
    return batch // ghost if ghost else 1


def layer_norm(z: Tensor, params: Tensors, layer: int, axis: int = -1) -> Tensor:
    """Normalize each sample of (R, B, ..., C) over all its channels and places.

    Training and evaluation are the same.
    """
    dtype, z = z.dtype, widened(z)
    normed = F.layer_norm(z, z.shape[2:], eps=BN_EPS)
    scale, shift = (_along(widened(params[f"{n}{layer}"]), z, axis) for n in ("scale", "shift"))
    return torch.addcmul(shift, normed, scale).to(dtype)


def group_norm(z: Tensor, params: Tensors, layer: int, axis: int = -1) -> Tensor:
    """Normalize each group of channels of each sample of (R, B, ..., C) over all its places.

    There are GROUPS groups, or the greatest common divisor of that and the channels.

    Source: Wu and He (2018), "Group normalization".
    """
    dtype, z = z.dtype, widened(z)
    first = z.movedim(axis, 2)
    groups = math.gcd(GROUPS, first.shape[2])
    normed = F.group_norm(first.flatten(0, 1), groups, eps=BN_EPS).view(first.shape)
    scale, shift = (_along(widened(params[f"{n}{layer}"]), z, axis) for n in ("scale", "shift"))
    return torch.addcmul(shift, normed.movedim(2, axis), scale).to(dtype)


def _along(value: Tensor, z: Tensor, axis: int) -> Tensor:
    """View (R, C) as (R, 1, ..., C, ..., 1) beside z."""
    shape = [1] * z.dim()
    shape[0], shape[axis] = len(z), -1
    return value.reshape(shape)


def jitter(z: Tensor, noise: float | Tensor, streams: Streams, axis: int = -1) -> Tensor:
    """Scale and shift each channel at random at every step: the noise of "noisy" batch norm.

    A channel is multiplied by a number in 1 ± noise/2 and moved by one in ± noise, both uniform.
    Its distribution then shifts from step to step, the more so the larger the noise. Santurkar et
    al. (2018), section 2.1, use noise of this kind to show that batch norm does not need stable
    distributions.
    """
    dtype, z = z.dtype, widened(z)
    amount = torch.as_tensor(noise, dtype=z.dtype, device=z.device).reshape(-1, 1)
    stretch, move = streams.uniform(2 * z.shape[axis], z).chunk(2, dim=1)
    return torch.addcmul(
        _along(amount * (2 * move - 1), z, axis), z, _along(1 + amount * (stretch - 0.5), z, axis)
    ).to(dtype)


def normed_weight(params: Tensors, layer: int) -> Tensor:
    """Scale each row of v (R, O, ...), the layer's weight, to its length g (R, O): g v / ‖v‖."""
    given, g = params[f"weight{layer}"], params[f"length{layer}"]
    v = widened(given)
    norm = v.flatten(2).norm(dim=2)
    return (v * (widened(g) / norm).view(*norm.shape, *[1] * (v.dim() - 2))).to(given.dtype)
