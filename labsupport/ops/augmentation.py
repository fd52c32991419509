r"""Label-preserving changes of image batches: crops, flips, rotations, cutout.

Nothing here draws: every function takes the numbers that a pipeline drew, one for each image, as an
argument. Images are (N, C, H, W), row 0 at the top.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.ops.precision import widened


def crop(
    x: Tensor, tops: Tensor, lefts: Tensor, *, padding: tuple[int, int], fill: float | Tensor = 0.0
) -> Tensor:
    r"""Pad every image on all sides, then cut a window of the old size out of it.

    .. math:: \tilde x_{c,i,j} = x_{c,\; i + t - p,\; j + l - p}, \qquad t, l \in \{0, \dots, 2p\}

    and the fill where that place lies outside the image. With :math:`t = l = p` nothing changes.

    Args:
        x: images (N, C, H, W).
        tops, lefts: corner of the window in the padded image, (N,) whole numbers in [0, 2p].
        padding: p above and below, and p left and right.
        fill: what the border is made of, in the units of x; a number, or one a channel, (C, 1, 1).

    Returns:
        The windows, (N, C, H, W).

    Raises:
        ValueError: for a padding that is negative or larger than the image, or a corner that is not
            in the padded image.

    Source: the lecture's ``RandomCrop(32, padding=4)``; torchvision pads by zeros.
    """
    (down, across), (height, width) = padding, _sides(x)
    for p, side in ((down, height), (across, width)):
        if not 0 <= p <= side:
            raise ValueError(
                f"padding is {p}; it must be at least 0 and at most the image's side, {side}"
            )
    _check_range("tops", tops, 0, 2 * down)
    _check_range("lefts", lefts, 0, 2 * across)
    fill = torch.as_tensor(fill, dtype=x.dtype, device=x.device)
    padded = fill.expand(*x.shape[:2], height + 2 * down, width + 2 * across).clone()
    padded[..., down : down + height, across : across + width] = x
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(x), device=x.device), :, tops, lefts]


def flip(x: Tensor, which: Tensor) -> Tensor:
    r"""Mirror some images, left to right: :math:`\tilde x_{c,i,j} = x_{c,i,W-1-j}`.

    Args:
        x: images (N, C, H, W).
        which: (N,) True for the images to mirror.
    """
    _sides(x)
    return torch.where(which.view(-1, 1, 1, 1), x.flip(-1), x)


def rotate(x: Tensor, degrees: Tensor, *, fill: float | Tensor = 0.0) -> Tensor:
    r"""Rotate every image about its centre, counter-clockwise, by bilinear interpolation.

    Args:
        x: images (N, C, H, W).
        degrees: (N,) angles.
        fill: what comes in at the corners; a number, or one a channel, (C, 1, 1).

    Returns:
        The turned images, (N, C, H, W).

    Source: ``torchvision.transforms.v2.functional.rotate`` with bilinear interpolation and no fill.
    With a fill, 0 too, torchvision counts the fill twice in a pixel that lies half outside.
    """
    height, width = _sides(x)
    dtype, x = x.dtype, widened(x)  # places in float16 are a tenth of a pixel off at 200 pixels
    angle = (degrees.to(x.dtype) * (math.pi / 180)).view(-1, 1, 1)
    sin, cos = angle.sin(), angle.cos()
    # middles of the pixels; they run from -1 to 1 along both sides, whatever their lengths
    across, down = (
        (2 * torch.arange(side, dtype=x.dtype, device=x.device) + 1) / side - 1
        for side in (width, height)
    )
    down = down[:, None]
    # where each new pixel comes from; F.affine_grid finds the same places in several times the time
    # and memory
    places = x.new_empty(len(x), height, width, 2)
    torch.sub(cos * across, sin * (height / width) * down, out=places[..., 0])
    torch.add(sin * (width / height) * across, cos * down, out=places[..., 1])
    fill = torch.as_tensor(fill, dtype=x.dtype, device=x.device)
    # zeros come in at the corners, so the fill is made zero first and put back afterwards
    turned = F.grid_sample(
        x - fill, places, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return (turned + fill).to(dtype)


def cutout(
    x: Tensor, tops: Tensor, lefts: Tensor, *, size: int, fill: float | Tensor = 0.0
) -> Tensor:
    """Paint one square of every image with the fill value.

    A square may hang out over the border; that part of it is lost.

    Args:
        x: images (N, C, H, W).
        tops, lefts: (N,) the square's first row and column; they may be negative.
        size: side of the square, at least 1.
        fill: the paint; a number, or one a channel, (C, 1, 1).

    Raises:
        ValueError: for a size below one.

    Source: DeVries and Taylor (2017); ``torchvision.transforms.v2.functional.erase`` paints a
    square that lies inside.
    """
    height, width = _sides(x)
    if size < 1:
        raise ValueError(f"size is {size}; the square must have a side of at least 1")
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    down = (rows >= tops[:, None]) & (rows < tops[:, None] + size)
    across = (columns >= lefts[:, None]) & (columns < lefts[:, None] + size)
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    return torch.where(inside, torch.as_tensor(fill, dtype=x.dtype, device=x.device), x)


def normalize(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    r"""Shift and scale each channel: :math:`\tilde x_c = (x_c - \mu_c) / \sigma_c`.

    Args:
        x: images (N, C, H, W).
        mean, std: one number a channel, taken over the training set.

    Raises:
        ValueError: if there are not as many numbers as channels, or a std is not positive.
    """
    _sides(x)
    if not len(mean) == len(std) == x.shape[1]:
        raise ValueError(
            f"mean has {len(mean)} and std {len(std)} numbers; the images have {x.shape[1]}"
            " channels"
        )
    if min(std) <= 0:
        raise ValueError(f"std is {tuple(std)}; every number must be above 0")
    wide = widened(x)
    shift, scale = (
        torch.as_tensor(v, dtype=wide.dtype, device=x.device).view(-1, 1, 1) for v in (mean, std)
    )
    return ((wide - shift) / scale).to(x.dtype)


def _sides(x: Tensor) -> tuple[int, int]:
    if x.dim() != 4:
        raise ValueError(f"images have shape {tuple(x.shape)}; they must be (N, C, H, W)")
    return x.shape[2], x.shape[3]


def _check_range(name: str, values: Tensor, low: int, high: int) -> None:
    """Check the range on the CPU alone: a GPU would have to be waited for."""
    if (
        values.device.type == "cpu"
        and values.numel()
        and (values.min() < low or values.max() > high)
    ):
        raise ValueError(
            f"{name} lie in [{values.min()}, {values.max()}]; they must lie in [{low}, {high}]"
        )
