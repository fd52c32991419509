"""Batched functions against torchvision's, versions counted and drawn, repeats simulated."""

from functools import cache

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from labsupport import compare, datasets, runtime
from labsupport.augment import RandomCrop, RandomFlip
from labsupport.streams import Streams
from labsupport.topics.augmentation import reference as da
from labsupport.types import Interval


@cache
def photograph(side: int = 48) -> Tensor:
    """Load a square piece of scikit-learn's photograph of a flower: (3, side, side) in [0, 1]."""
    whole = (
        Image.fromarray(load_sample_image("flower.jpg"))
        .crop((150, 0, 577, 427))
        .resize((side, side), Image.Resampling.LANCZOS)
    )
    return torch.from_numpy(np.array(whole)).permute(2, 0, 1).float() / 255


# -- batched against one at a time -----------------------------------------------------------------


def differences(count: int = 50, side: int = 32) -> dict[str, float]:
    """Compare batched functions with torchvision's on single images: the largest difference.

    Both get the same drawn numbers, in float64.
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
        "crop": da.crop(x, top, left, padding=(4, 4), fill=fill),
        "flip": da.flip(x, which),
        "rotation": da.rotate(x, degrees),
        "normalize": da.normalize(x, mean, std),
        "cutout": da.cutout(x, row, column, size=8, fill=fill),
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
    """Apply torchvision's erase to the part of the square that lies in the image."""
    top, left = max(row, 0), max(column, 0)
    return tv.erase(
        x,
        top,
        left,
        row + size - top,
        column + size - left,
        torch.full((1, 1, 1), fill, dtype=x.dtype),
    )


def drawn_versions(count: int = 4000, padding: int = 4) -> pd.DataFrame:
    """Count how often each version by crop and flip is drawn, (162,) a column.

    One column is drawn in a batch, the other by torchvision one at a time.
    """
    x = torch.arange(1.0, 257).view(1, 1, 1, 16, 16)
    streams = Streams([0], "augment")
    ours = RandomFlip()(
        RandomCrop(padding)(x.expand(1, count, 1, 16, 16), streams, torch.zeros(())),
        streams,
        torch.zeros(()),
    )[0]
    pipeline = v2.Compose([v2.RandomCrop(16, padding=padding), v2.RandomHorizontalFlip()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torch.stack([pipeline(x[0, 0]) for _ in range(count)])
    return pd.DataFrame(
        {"batched": _version_counts(ours), "torchvision, one at a time": _version_counts(theirs)}
    )


def _version_counts(x: Tensor) -> np.ndarray:
    """Count the images of each version, recognized by their middle pixels.

    A version is (vertical offset, horizontal offset, mirrored).
    """
    here, right = x[:, 0, 8, 7].int() - 1, x[:, 0, 8, 8].int() - 1
    mirrored = right < here
    top, left = here // 16 - 4, torch.where(mirrored, right, here) % 16 - 3
    codes = (top * 9 + left) * 2 + mirrored
    return np.bincount(codes.numpy(), minlength=162)


def same_distribution(counts: pd.DataFrame) -> float:
    """Test whether both columns come from one distribution: the chi-square p-value."""
    return float(stats.chi2_contingency(counts.to_numpy().T).pvalue)


# -- counting --------------------------------------------------------------------------------------


def all_crops(x: Tensor, padding: int, mirrored: bool) -> Tensor:
    """Make every version of one image (C, H, W) by crop and flip."""
    side = torch.arange(2 * padding + 1)
    tops, lefts = torch.cartesian_prod(side, side).T
    crops = da.crop(
        x.expand(len(tops), *x.shape), tops, lefts, padding=(padding, padding), fill=x.min()
    )
    return torch.cat([crops, crops.flip(-1)]) if mirrored else crops


def all_cutouts(x: Tensor, size: int) -> Tensor:
    """Make every version of one image (C, H, W) by cutout."""
    tops, lefts = (
        torch.cartesian_prod(torch.arange(x.shape[1]), torch.arange(x.shape[2])).T - size // 2
    )
    return da.cutout(x.expand(len(tops), *x.shape), tops, lefts, size=size, fill=x.min())


def digits_counted(count: int = 60) -> pd.DataFrame:
    """Count the distinct versions of some digits by each pipeline, one row a digit."""
    dataset = datasets.load("mnist5k", train_size=count)
    return pd.DataFrame(
        [
            {
                "crop 4": da.count_distinct(all_crops(x, 4, False)),
                "crop 4 and flip": da.count_distinct(all_crops(x, 4, True)),
                "cutout 8": da.count_distinct(all_cutouts(x, 8)),
            }
            for x in dataset.x_train.cpu()
        ]
    )


def repeats(versions: int, epochs: int, seeds: range, images: int = 200) -> Interval:
    """Simulate the share of the images drawn that repeat an earlier version, over seeds."""
    shares = []
    for seed in seeds:
        codes = torch.randint(
            versions, (images, epochs), generator=runtime.generator(seed, "augment")
        )
        distinct = sum(len(row.unique()) for row in codes)
        shares.append(1 - distinct / codes.numel())
    return compare.interval(shares)
