r"""Change images without changing their class, count the versions, tell an unfair comparison.

``crop``, ``flip``, ``rotate``, ``cutout`` and ``normalize`` are what the training loop uses, so
they are defined in ``labsupport.ops.augmentation`` and can be had from here.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from labsupport.ops.augmentation import crop, cutout, flip, normalize, rotate

__all__ = [
    "RANDOM",
    "count_distinct",
    "count_versions",
    "crop",
    "crop_one",
    "cutout",
    "cutout_one",
    "distinct_by_chain",
    "find_the_flaw",
    "flip",
    "normalize",
    "rotate",
    "seen_versions",
]

RANDOM = ("crop", "flip", "rotation", "cutout")
"""Steps of a pipeline that draw; "normalize" does not."""


def count_versions(padding: int, *, mirrored: bool = True) -> int:
    r"""Count the versions of an image: :math:`V = (2p+1)^2`, twice as many with the flip.

    Args:
        padding: p of the crop, at least 0.
        mirrored: whether a flip follows.

    Raises:
        ValueError: for a negative padding.
    """
    if padding < 0:
        raise ValueError(f"padding is {padding}; it must be at least 0")
    return (2 * padding + 1) ** 2 * (2 if mirrored else 1)


def seen_versions(versions: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    r"""Compute how many versions n equally likely draws show, and how likely all differ.

    .. math:: \mathbb E[D] = V \Bigl(1 - \bigl(1 - \tfrac1V\bigr)^n\Bigr), \qquad
              P(\text{no repeat}) = \prod_{i=0}^{n-1} \max\bigl(0, 1 - \tfrac iV\bigr)

    Args:
        versions: V of each pipeline, (N,), whole numbers of at least 1, in a floating dtype.
        draws: n, at least 0: one an epoch.

    Returns:
        The mean number of distinct versions, (N,), and the probability of no repeat, (N,).

    Raises:
        ValueError: for a V below 1 or a negative n.
    """
    if draws < 0:
        raise ValueError(f"draws is {draws}; it must be at least 0")
    if versions.numel() and versions.min() < 1:
        raise ValueError(f"versions are at least {versions.min():g}; every pipeline has at least 1")
    # 1 - (1 - 1/V)^n loses all digits for a large V; expm1 and log1p keep them
    distinct = (
        -versions * torch.expm1(draws * torch.log1p(-1 / versions)) if draws else 0 * versions
    )
    steps = torch.arange(draws, dtype=versions.dtype, device=versions.device)
    return distinct, (1 - steps / versions[:, None]).clamp(min=0).prod(1)


def distinct_by_chain(versions: int, draws: int) -> Tensor:
    """Compute the distribution of the number of distinct versions, (V + 1,), in float64.

    It is followed from draw to draw.

    With d versions seen, the next draw is a new one with probability 1 - d/V.
    """
    likely = torch.zeros(versions + 1, dtype=torch.float64)
    likely[0] = 1
    old = torch.arange(versions + 1, dtype=torch.float64) / versions
    for _ in range(draws):
        likely = likely * old + torch.cat([likely.new_zeros(1), (likely * (1 - old))[:-1]])
    return likely


def count_distinct(versions: Tensor) -> int:
    """Count the different tensors among (V, ...)."""
    # a set of their bytes: torch.unique sorts whole rows, which takes ten times as long; + 0 makes
    # -0 a 0
    return len({row.tobytes() for row in (versions + 0).cpu().numpy()})


def crop_one(x: Tensor, top: int, left: int, *, padding: int, fill: float) -> Tensor:
    """Pad one image (H, W) by p on all sides and cut out its old size at (top, left)."""
    height, width = x.shape
    padded = x.new_full((height + 2 * padding, width + 2 * padding), fill)
    padded[padding : padding + height, padding : padding + width] = x
    return padded[top : top + height, left : left + width].clone()


def cutout_one(x: Tensor, row: int, column: int, *, size: int, fill: float) -> Tensor:
    """Paint a square of one image (H, W), cut off at the border.

    Its first row is row - size // 2.
    """
    out = x.clone()
    top, left = row - size // 2, column - size // 2
    out[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = fill
    return out


def find_the_flaw(plain: Mapping[str, Any], augmented: Mapping[str, Any]) -> str:
    """Name what is wrong with a comparison of two runs, by the records of how they were made.

    Args:
        plain, augmented: each with ``train_size``, ``steps``, ``tried`` (a tensor of learning
            rates), ``chosen`` (one of them), ``chosen_on`` ("valid" or "test") and ``test_steps``
            (the pipeline of the test part, a tuple of names).

    Returns:
        "data", "steps", "tuning", "choice", "test" or "fair"; the first in this order.
    """
    if plain["train_size"] != augmented["train_size"]:
        return "data"
    if plain["steps"] != augmented["steps"]:
        return "steps"
    if sorted(plain["tried"].tolist()) != sorted(augmented["tried"].tolist()):
        return "tuning"
    if "test" in (plain["chosen_on"], augmented["chosen_on"]):
        return "choice"
    if any(step in RANDOM for run in (plain, augmented) for step in run["test_steps"]):
        return "test"
    return "fair"
