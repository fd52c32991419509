r"""Input standardization: mean 0 and variance 1 for every column, by what the training samples say.

Symbols: X inputs (N, D), one row a sample. What it does to gradient descent is in conditioning.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Statistics(NamedTuple):
    """What is learnt from the training samples, and from nothing else."""

    mean: Tensor
    """(D,)"""
    std: Tensor
    """(D,) root of the mean squared deviation, all positive."""


def fit(x: Tensor, *, correction: int = 0) -> Statistics:
    r"""The mean and the deviation of every column.

    .. math::

        \mu_d = \frac1N \sum_n x_{nd}, \qquad
        \sigma_d = \sqrt{\frac1{N-c} \sum_n (x_{nd} - \mu_d)^2}

    Args:
        x: the training inputs, (N, ...), N at least 1; all axes but the first are columns.
        correction: c: 0 is the population's deviation, 1 the sample's, ``torch.std``'s default. All
            columns change by one factor, :math:`\sqrt{N/(N-1)}`.

    Returns:
        Statistics of shape (...).

    Raises:
        ValueError: if there is no sample, the inputs are integers, the correction is neither 0 nor
            1, or a column has one value throughout; the message names the column and its value.

    Source: the lecture, "Input Normalization". The division by N is scikit-learn's
    ``StandardScaler``'s.
    """
    require_samples(x)
    if correction not in (0, 1):
        raise ValueError(f"correction is {correction}; it must be 0 or 1, for N or N - 1")
    flat = constant_columns(x)
    if bool(flat.any()):
        where = tuple(flat.nonzero()[0].tolist())
        name = where[0] if len(where) == 1 else where
        raise ValueError(
            f"column {name} is {x[0][where].item():g} in every one of {len(x)} "
            "samples: its variance is zero; leave it out"
        )
    var, mean = torch.var_mean(x, 0, correction=correction)
    return Statistics(mean, var.sqrt())


def apply(x: Tensor, statistics: Statistics) -> Tensor:
    r"""Standardized inputs, by statistics that were learnt elsewhere.

    .. math:: \tilde x_{nd} = (x_{nd} - \mu_d) / \sigma_d

    Args:
        x: inputs (N, ...).
        statistics: of the *training* samples.

    Returns:
        (N, ...), like x.

    Raises:
        ValueError: if the columns are not those of the statistics.
    """
    if x.shape[1:] != statistics.mean.shape:
        raise ValueError(
            f"x has columns {tuple(x.shape[1:])}, the statistics {tuple(statistics.mean.shape)}"
        )
    return (x - statistics.mean) / statistics.std


def standardize(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts by the statistics of the training part: :func:`fit` on one, :func:`apply` to both.

    Args:
        x_train, x_test: inputs (N, D) and (M, D).

    Returns:
        Standardized (x_train, x_test).

    Raises:
        ValueError: as :func:`fit` and :func:`apply`.
    """
    statistics = fit(x_train)
    return apply(x_train, statistics), apply(x_test, statistics)


def constant_columns(x: Tensor, tiny: float = 0.0) -> Tensor:
    r"""Which columns hold one value throughout, or as good as one:
    :math:`\max_n x - \min_n x \le \text{tiny}\cdot\max_n |x|`.

    Args:
        x: inputs (N, ...).
        tiny: the range, as a fraction of the column's largest absolute value, that passes for none.
            A few units of rounding are 1e-6 in float32.

    Returns:
        Booleans (...).

    Raises:
        ValueError: if there is no sample, the inputs are integers, or tiny is negative.
    """
    require_samples(x)
    if tiny < 0:
        raise ValueError(f"tiny is {tiny}; it must be >= 0")
    return x.amax(0) - x.amin(0) <= tiny * x.abs().amax(0)


def pipelines(x_train: Tensor, x_test: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What the right pipeline and seven wrong ones make of a training part (N, D) and a test part
    (M, D).

    Raises:
        ValueError: if a column of either part has one value throughout, as :func:`fit`.
    """
    train, test = fit(x_train), fit(x_test)
    every = fit(torch.cat([x_train, x_test]))
    whole = Statistics(
        x_train.mean().expand_as(train.mean), x_train.std(correction=0).expand_as(train.std)
    )
    learnt = {
        "healthy": (train, train),
        "each_by_its_own": (train, test),
        "statistics_of_all": (every, every),
        "statistics_from_test": (test, test),
        "one_for_the_table": (whole, whole),
        "variance_for_std": (Statistics(train.mean, train.std**2),) * 2,
        "not_centred": (Statistics(0 * train.mean, train.std),) * 2,
    }
    found = {name: (apply(x_train, a), apply(x_test, b)) for name, (a, b) in learnt.items()}
    return found | {"test_untouched": (apply(x_train, train), x_test)}


def diagnose(x_train: Tensor, x_test: Tensor, z_train: Tensor, z_test: Tensor) -> str:
    """Name what a pipeline did, from what went in and what came out: the one of :func:`pipelines`
    that comes closest.

    Args:
        x_train, x_test: inputs (N, D) and (M, D).
        z_train, z_test: what the pipeline made of them.

    Returns:
        ``healthy``, or the name of a fault.
    """
    suspects = pipelines(x_train, x_test)
    return min(suspects, key=lambda name: distance(suspects[name], (z_train, z_test)))


def distance(made: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> float:
    """The largest difference between two outcomes of a pipeline, over all entries of both parts."""
    return max((a - b).abs().max().item() for a, b in zip(made, found, strict=True))


def require_samples(x: Tensor) -> None:
    """Refuse inputs from which no mean can be learnt."""
    if not x.is_floating_point():
        raise ValueError(
            f"x has the dtype {x.dtype}; standardized inputs are no integers: give a floating dtype"
        )
    if not len(x):
        raise ValueError(
            f"x has the shape {tuple(x.shape)}: there is no sample to learn a mean from"
        )
