"""What the augmentation chapter draws: a photograph under a pipeline, borders, digits, and versions
that repeat.
"""

from functools import cache

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from labsupport import compare, datasets, plots, runtime
from labsupport.augment import Cutout, RandomCrop, RandomFlip, RandomRotation
from labsupport.ops import augmentation
from labsupport.topics.augmentation.reference import count_distinct
from labsupport.types import Interval

SHOWN = 5


@cache
def photograph(side: int = 48) -> Tensor:
    """A square piece of scikit-learn's photograph of a flower, shrunk: (3, side, side) in [0,
    1].
    """
    whole = (
        Image.fromarray(load_sample_image("flower.jpg"))
        .crop((150, 0, 577, 427))
        .resize((side, side), Image.Resampling.LANCZOS)
    )
    return torch.from_numpy(np.array(whole)).permute(2, 0, 1).float() / 255


def versions(padding: int = 4, degrees: float = 10.0, square: int = 0) -> Figure:
    """A photograph, and five versions of it as a pipeline draws them."""
    photo, rngs, fill_value = photograph(), [runtime.generator(0, "augment")], torch.zeros(())
    x = photo.repeat(1, SHOWN, 1, 1, 1)
    steps = [RandomCrop(padding), RandomFlip(0.5), RandomRotation(degrees)] + (
        [Cutout(square)] if square else []
    )
    for step in steps:
        x = step(x, rngs, fill_value)
    fig, axes = plots.figure(SHOWN + 1, width=6.4, height=1.75)
    for ax, image, name in zip(
        axes, [photo, *x[0]], ["original", *range(1, SHOWN + 1)], strict=True
    ):
        ax.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        ax.set_axis_off()
        ax.text(0, -2, str(name), fontsize=8)
    count = 2 * (2 * padding + 1) ** 2
    changed = (x[0] - photo).abs().mean().item()
    many = f"{count} versions by crop and flip" + (
        ", times angles without number" if degrees else ""
    )
    fig.suptitle(f"{many}; mean change of a pixel {changed:.2f}", fontsize=9.5)
    return fig


# -- one at a time ---------------------------------------------------------------------------------


def differences(count: int = 50, side: int = 32) -> dict[str, float]:
    """The largest difference of each function on a batch to torchvision's on one image at a time,
    same drawn numbers: float64.
    """
    rng = runtime.generator(0, "check")
    x = torch.rand(count, 3, side, side, dtype=torch.float64, generator=rng)
    top, left = (torch.randint(9, (count,), generator=rng) for _ in range(2))
    row, column = (torch.randint(-4, side - 4, (count,), generator=rng) for _ in range(2))
    which, degrees = (
        torch.rand(count, generator=rng) < 0.5,
        60 * torch.rand(count, dtype=torch.float64, generator=rng) - 30,
    )
    fill, mean, std = 0.25, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    batched = {
        "crop": augmentation.crop(x, top, left, padding=(4, 4), fill=fill),
        "flip": augmentation.flip(x, which),
        "rotation": augmentation.rotate(x, degrees),
        "normalize": augmentation.normalize(x, mean, std),
        "cutout": augmentation.cutout(x, row, column, size=8, fill=fill),
    }
    single = {
        "crop": lambda i: tv.crop(
            tv.pad(x[i], [4], fill=fill), int(top[i]), int(left[i]), side, side
        ),
        "flip": lambda i: tv.horizontal_flip(x[i]) if which[i] else x[i],
        "rotation": lambda i: tv.rotate(
            x[i], degrees[i].item(), InterpolationMode.BILINEAR, fill=None
        ),
        "normalize": lambda i: tv.normalize(x[i], mean, std),
        "cutout": lambda i: _erased(x[i], int(row[i]), int(column[i]), 8, fill),
    }
    return {
        name: (batched[name] - torch.stack([one(i) for i in range(count)])).abs().max().item()
        for name, one in single.items()
    }


def _erased(x: Tensor, row: int, column: int, size: int, fill: float) -> Tensor:
    """torchvision's erase of the part of the square that lies in the image."""
    top, left = max(row, 0), max(column, 0)
    return tv.erase(
        x,
        top,
        left,
        row + size - top,
        column + size - left,
        torch.full((1, 1, 1), fill, dtype=x.dtype),
    )


def drawn_offsets(count: int = 4000, padding: int = 4) -> pd.DataFrame:
    """How often each version by crop and flip came up, (162,) a column: in a batch, and from
    torchvision one image at a time.
    """
    x = torch.arange(1.0, 257).view(1, 1, 1, 16, 16)
    rngs = [runtime.generator(0, "augment")]
    ours = RandomFlip()(
        RandomCrop(padding)(x.expand(1, count, 1, 16, 16), rngs, torch.zeros(())),
        rngs,
        torch.zeros(()),
    )[0]
    pipeline = v2.Compose([v2.RandomCrop(16, padding=padding), v2.RandomHorizontalFlip()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torch.stack([pipeline(x[0, 0]) for _ in range(count)])
    return pd.DataFrame({"batched": _coded(ours), "torchvision, one at a time": _coded(theirs)})


def _coded(x: Tensor) -> np.ndarray:
    """Which of the versions each image is, by its middle pixels: (vertical offset, horizontal
    offset, mirrored).
    """
    here, right = x[:, 0, 8, 7].int() - 1, x[:, 0, 8, 8].int() - 1
    mirrored = right < here
    top, left = here // 16 - 4, torch.where(mirrored, right, here) % 16 - 3
    codes = (top * 9 + left) * 2 + mirrored
    return np.bincount(codes.numpy(), minlength=162)


def same_distribution(counts: pd.DataFrame) -> float:
    """The p-value of the chi-square test that both columns are draws from one distribution."""
    return float(stats.chi2_contingency(counts.to_numpy().T).pvalue)


# -- counting --------------------------------------------------------------------------------------


def all_crops(x: Tensor, padding: int, mirrored: bool) -> Tensor:
    """Every version of one image (C, H, W) by crop and flip."""
    side = torch.arange(2 * padding + 1)
    tops, lefts = torch.cartesian_prod(side, side).T
    crops = augmentation.crop(
        x.expand(len(tops), *x.shape), tops, lefts, padding=(padding, padding), fill=x.min()
    )
    return torch.cat([crops, crops.flip(-1)]) if mirrored else crops


def all_cutouts(x: Tensor, size: int) -> Tensor:
    """Every version of one image (C, H, W) by cutout."""
    tops, lefts = (
        torch.cartesian_prod(torch.arange(x.shape[1]), torch.arange(x.shape[2])).T - size // 2
    )
    return augmentation.cutout(x.expand(len(tops), *x.shape), tops, lefts, size=size, fill=x.min())


def digits_counted(count: int = 60) -> pd.DataFrame:
    """Of some digits the number of distinct versions by each pipeline, one row a digit."""
    dataset = datasets.load("mnist5k", train_size=count)
    return pd.DataFrame(
        [
            {
                "crop 4": count_distinct(all_crops(x, 4, False)),
                "crop 4 and flip": count_distinct(all_crops(x, 4, True)),
                "cutout 8": count_distinct(all_cutouts(x, 8)),
            }
            for x in dataset.x_train.cpu()
        ]
    )


def repeats(versions: int, epochs: int, seeds: range, images: int = 200) -> Interval:
    """The share of what is seen that was seen before, of the same image: simulated, an interval
    over seeds.
    """
    shares = []
    for seed in seeds:
        codes = torch.randint(
            versions, (images, epochs), generator=runtime.generator(seed, "augment")
        )
        distinct = sum(len(row.unique()) for row in codes)
        shares.append(1 - distinct / codes.numel())
    return compare.interval(shares)


# -- pictures --------------------------------------------------------------------------------------


def borders() -> Figure:
    """A digit moved down and to the right: with black at the border, and with zero after
    normalizing.
    """
    dataset = datasets.load("mnist5k", train_size=10)
    x, at = dataset.x_train[:1].cpu(), torch.tensor([0])
    fills = {"border of black": dataset.fill_value.cpu(), "border of 0": 0.0}
    fig, axes = plots.figure(2, width=5.5, height=2.6)
    for ax, (name, fill) in zip(axes, fills.items(), strict=True):
        ax.imshow(
            augmentation.crop(x, at, at, padding=(6, 6), fill=fill)[0, 0].numpy(),
            cmap="gray",
            vmin=float(dataset.fill_value),
            vmax=float(x.max()),
        )
        ax.set_title(f"{name}: {float(fill):.2f}")
        ax.set_axis_off()
    return fig


def mirrored_digits() -> Figure:
    """One digit of each class, and below it the same in the mirror."""
    dataset = datasets.load("mnist5k", train_size=10)
    order = dataset.y_train.argsort().cpu()
    x = dataset.x_train.cpu()[order, 0]
    fig, (ax,) = plots.figure(width=6.4, height=1.9)
    ax.imshow(
        torch.cat([torch.cat(list(row), 1) for row in (x, x.flip(-1))]).numpy(), cmap="gray_r"
    )
    ax.set_axis_off()
    return fig
