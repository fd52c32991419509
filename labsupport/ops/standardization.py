r"""Input standardization: columns with mean 0 and variance 1 by statistics of the training part.

Symbols: X inputs (N, D), one row a sample. What it does to gradient descent is in
topics/standardization/reference.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.ops.precision import widened


class Statistics(NamedTuple):
    """Mean and standard deviation of the training samples."""

    mean: Tensor
    """(D,)"""
    std: Tensor
    """(D,) standard deviation, all positive."""


def fit(x: Tensor, *, correction: int = 0) -> Statistics:
    r"""Compute the mean and the standard deviation of every column.

    .. math::

        \mu_d = \frac1N \sum_n x_{nd}, \qquad
        \sigma_d = \sqrt{\frac1{N-c} \sum_n (x_{nd} - \mu_d)^2}

    Args:
        x: the training inputs, (N, ...), N at least 1; all axes but the first are columns.
        correction: c: 0 is the population's standard deviation, 1 the sample's, ``torch.std``'s
            default. All columns change by one factor, :math:`\sqrt{N/(N-1)}`.

    Returns:
        Statistics of shape (...), in float32 for inputs in half precision: a mean of three digits
        would shift the column.

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
    var, mean = torch.var_mean(widened(x), 0, correction=correction)
    return Statistics(mean, var.sqrt())


def apply(x: Tensor, statistics: Statistics) -> Tensor:
    r"""Standardize inputs by statistics that were computed elsewhere.

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
    return ((widened(x) - statistics.mean) / statistics.std).to(x.dtype)


def standardize(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    """Standardize both parts by the training part: :func:`fit` one, :func:`apply` to both.

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
    r"""Find the columns whose values are all, or almost all, the same.

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
    x = widened(x)  # the range of a float16 column can be infinite
    return x.amax(0) - x.amin(0) <= tiny * x.abs().amax(0)


def require_samples(x: Tensor) -> None:
    """Refuse inputs without samples or with an integer dtype."""
    if not x.is_floating_point():
        raise ValueError(
            f"x has the dtype {x.dtype}; standardized inputs are no integers: give a floating dtype"
        )
    if not len(x):
        raise ValueError(
            f"x has the shape {tuple(x.shape)}: there is no sample to learn a mean from"
        )
