"""Layers as matrix products: im2col, col2im, and weights as matrices.

A fully connected layer multiplies one row a sample. A convolution multiplies one row a place: the
patch that the filter sees there. With these a backward pass is written once for all networks of the
book. N is the number of rows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.models.cnn import CNN
from labsupport.models.layered import Layered


def matrix(weight: Tensor) -> Tensor:
    """Write a layer's weights (R, out, in, ...) as matrices (R, out, D) of rows of length D."""
    # signals have their channels last, so a patch runs over places first: filters are transposed
    return (weight.mT if weight.dim() == 4 else weight).flatten(2)


def unmatrix(grad: Tensor, like: Tensor) -> Tensor:
    """Write a gradient (R, out, D) in the shape of the weights: the inverse of ``matrix``."""
    return grad.unflatten(2, like.shape[:1:-1]).mT if like.dim() == 4 else grad.view(like.shape)


def im2col(net: Layered, layer: int, h: Tensor) -> Tensor:
    """Lay out inputs (R, B, ...) of a layer, counted from 1, as rows (R, N, D) to multiply.

    Signals have their channels last, (R, B, length, C), images first, (R, B, C, height, width).
    """
    if not isinstance(net, CNN) or layer == net.depth:
        return h.flatten(2)
    if len(net.shape) == 1:
        places = -(-h.shape[2] // 2)
        padded = F.pad(h, (0, 0, net.kernel // 2, net.kernel // 2 + 1))
        return torch.cat(
            [padded[:, :, k : k + 2 * places - 1 : 2] for k in range(net.kernel)], -1
        ).flatten(1, 2)
    # windows are views and one copy lays them out; F.unfold launches a kernel a sample on a GPU
    padded = F.pad(h, (net.kernel // 2,) * 4)
    windows = padded.unfold(3, net.kernel, 2).unfold(4, net.kernel, 2)
    return windows.permute(0, 1, 3, 4, 2, 5, 6).flatten(4).flatten(1, 3)


def col2im(net: Layered, layer: int, g: Tensor, like: Tensor) -> Tensor:
    """Add rows (R, N, D) up at the inputs they came from, shaped like ``like``.

    It is the transpose of ``im2col``.
    """
    if not isinstance(net, CNN) or layer == net.depth:
        return g.view(like.shape)
    runs, batch = like.shape[:2]
    if len(net.shape) == 1:
        places, half = -(-like.shape[2] // 2), net.kernel // 2
        padded = like.new_zeros(runs, batch, like.shape[2] + 2 * half + 1, like.shape[3])
        for k, tap in enumerate(g.view(runs, batch, places, net.kernel, -1).unbind(3)):
            padded[:, :, k : k + 2 * places - 1 : 2] += tap
        return padded[:, :, half : half + like.shape[2]]
    half, (high, wide) = net.kernel // 2, like.shape[3:]
    rows, columns = (-(-side // 2) for side in (high, wide))
    padded = like.new_zeros(*like.shape[:3], high + 2 * half, wide + 2 * half)
    windows = g.view(runs, batch, rows, columns, -1, net.kernel, net.kernel)
    for i in range(net.kernel):
        for j in range(net.kernel):
            place = padded[..., i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
            place += windows[..., i, j].permute(0, 1, 4, 2, 3)
    return padded[..., half : half + high, half : half + wide]


def outputs(net: Layered, layer: int, z: Tensor, batch: int) -> Tensor:
    """Reshape products (R, N, out) to a layer's outputs.

    (R, B, out), (R, B, length, C) or (R, B, C, height, width).
    """
    if not isinstance(net, CNN) or layer == net.depth:
        return z
    if len(net.shape) == 1:
        return z.view(len(z), batch, -1, z.shape[2])
    sides = [-(-side // 2**layer) for side in net.shape[1:]]
    return z.view(len(z), batch, -1, z.shape[2]).mT.unflatten(3, sides)


def products(net: Layered, layer: int, v: Tensor) -> Tensor:
    """Write something shaped like a layer's outputs as (R, N, out): the inverse of ``outputs``."""
    if isinstance(net, CNN) and layer < net.depth and len(net.shape) == 3:
        v = v.flatten(3).mT
    return v.flatten(1, -2) if v.dim() > 3 else v
