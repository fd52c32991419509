"""The pieces of a network: activations, dropout's masks, norms. For R runs at once; nothing here
knows a whole network.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsupport.runtime import uniform

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
NORMS = (None, "batch", "noisy_batch", "layer", "weight")
BN_MOMENTUM, BN_EPS = 0.1, 1e-5


def per_run(value: float | Tensor, like: Tensor) -> Tensor:
    """A hyperparameter as (R, 1, 1), or (1, 1, 1) where all runs share it, beside ``like``, (R, .,
    .).
    """
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(-1, 1, 1)


def masks(
    rate: float | Tensor, rngs: Sequence[Generator], like: Tensor, sizes: Sequence[int]
) -> list[Tensor] | None:
    """For each hidden layer (R, B, H): 0 where a unit is dropped, 1 / (1 - rate) where it stays;
    None if none is dropped.

    Args:
        rate: the probability to drop a unit, a number or one a run.
        rngs: R generators.
        like: the network's inputs (R, B, ...).
        sizes: units of each hidden layer.
    """
    if not isinstance(rate, Tensor) and rate == 0:
        return None
    batch, rate = like.shape[1], per_run(rate, like)
    parts = uniform(rngs, batch * sum(sizes), like).split([batch * size for size in sizes], dim=1)
    return [(part.view(len(like), batch, -1) >= rate) / (1 - rate) for part in parts]


def batch_norm(
    z: Tensor,
    params: Tensors,
    buffers: dict[str, Tensor],
    layer: int,
    training: bool,
    axis: int = -1,
    ghost: int = 0,
) -> Tensor:
    """Normalize each channel over all axes but runs and channels; running statistics as in
    torch.nn.BatchNorm1d and 2d.

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
    if not training:
        mean, var = buffers[f"mean{layer}"], buffers[f"var{layer}"]
        gain = params[f"scale{layer}"] * torch.rsqrt(var + BN_EPS)
        return torch.addcmul(
            _along(params[f"shift{layer}"] - mean * gain, z, axis), z, _along(gain, z, axis)
        )
    groups = _groups(z.shape[1], ghost)
    parts = z.reshape(len(z) * groups, -1, *z.shape[2:])
    scale, shift = (
        params[f"{name}{layer}"].repeat_interleave(groups, 0) for name in ("scale", "shift")
    )
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
    return y.reshape(z.shape)


def normalize(
    z: Tensor, scale: Tensor, shift: Tensor, axes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalize z over these axes, then scale and shift: the result, z before scale and shift, its
    mean and variance.

    Raises:
        ValueError: for a single value a channel, whose variance is zero whatever it is.
    """
    mean = z.mean(axes, keepdim=True)
    if z.numel() < 2 * mean.numel():
        raise ValueError("batch norm in training needs at least 2 values of each channel, not 1")
    hat = z - mean
    var = hat.square().mean(axes, keepdim=True)
    hat.mul_(torch.rsqrt(var + BN_EPS))
    return torch.addcmul(shift, hat, scale), hat, mean, var


def normalize_backward(
    dy: Tensor, hat: Tensor, scale: Tensor, var: Tensor, axes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients in z, scale and shift; ``batch_norm_backward`` in
    topics/batch_norm/reference.py, for R runs at once.
    """
    dshift, dscale = dy.sum(axes, keepdim=True), (dy * hat).sum(axes, keepdim=True)
    size = dy.numel() / dshift.numel()
    dz = torch.addcmul(dy - dshift / size, hat, dscale / -size).mul_(
        scale * torch.rsqrt(var + BN_EPS)
    )
    return dz, dscale, dshift


def track(buffers: dict[str, Tensor], layer: int, mean: Tensor, var: Tensor, size: int) -> None:
    """Move the running statistics (R, C) towards those of batches of ``size`` values, as
    torch.nn.BatchNorm does.
    """
    buffers[f"mean{layer}"].lerp_(mean, BN_MOMENTUM)
    buffers[f"var{layer}"].lerp_(var * (size / (size - 1)), BN_MOMENTUM)


class _Normalize(torch.autograd.Function):
    """``normalize`` with its backward pass by hand: a third of what autograd takes for its small
    operations.
    """

    @staticmethod
    def forward(
        ctx, z: Tensor, scale: Tensor, shift: Tensor, axis: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.axes = [a for a in range(1, z.dim()) if a != axis]
        y, hat, mean, var = normalize(z, scale, shift, ctx.axes)
        ctx.save_for_backward(hat, scale, var)
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor, *_: None) -> tuple[Tensor, Tensor, Tensor, None]:
        return *normalize_backward(dy, *ctx.saved_tensors, ctx.axes), None


def _groups(batch: int, ghost: int) -> int:
    """How many groups of ``ghost`` samples a batch has."""
    if ghost and batch % ghost:
        raise ValueError(
            f"a batch of {batch} samples is not made of whole groups of {ghost} (ghost)"
        )
    return batch // ghost if ghost else 1


def layer_norm(z: Tensor, params: Tensors, layer: int, axis: int = -1) -> Tensor:
    """Normalize each sample of (R, B, ..., C) over all its channels and places: the same in
    training and evaluation.
    """
    normed = F.layer_norm(z, z.shape[2:], eps=BN_EPS)
    return torch.addcmul(
        _along(params[f"shift{layer}"], z, axis), normed, _along(params[f"scale{layer}"], z, axis)
    )


def _along(value: Tensor, z: Tensor, axis: int) -> Tensor:
    """(R, C) as (R, 1, ..., C, ..., 1) beside z."""
    shape = [1] * z.dim()
    shape[0], shape[axis] = len(z), -1
    return value.reshape(shape)


def jitter(z: Tensor, noise: float | Tensor, rngs: Sequence[Generator], axis: int = -1) -> Tensor:
    """Stretch and move each channel at random, anew at every step: the noise of "noisy" batch norm.

    A channel is multiplied by a number in 1 ± noise/2 and moved by one in ± noise, both uniform.
    Its distribution then shifts from step to step, the more so the larger the noise. Santurkar et
    al. (2018), section 2.1, use noise of this kind to show that batch norm does not need stable
    distributions.
    """
    amount = torch.as_tensor(noise, dtype=z.dtype, device=z.device).reshape(-1, 1)
    stretch, move = uniform(rngs, 2 * z.shape[axis], z).chunk(2, dim=1)
    return torch.addcmul(
        _along(amount * (2 * move - 1), z, axis), z, _along(1 + amount * (stretch - 0.5), z, axis)
    )


def normed_weight(params: Tensors, layer: int) -> Tensor:
    """Weight norm: g v / ‖v‖, row by row; v (R, O, ...) is the layer's weight, g (R, O) its
    length.
    """
    v = params[f"weight{layer}"]
    norm = v.flatten(2).norm(dim=2)
    return v * (params[f"length{layer}"] / norm).view(*norm.shape, *[1] * (v.dim() - 2))
