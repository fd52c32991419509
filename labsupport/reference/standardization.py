r"""Input standardization: mean 0 and variance 1 for every column.

Symbols: X inputs (N, D), one row a sample.
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


def fit(x: Tensor) -> Statistics:
    r"""The mean and the deviation of every column.

    .. math:: \mu_d = \frac1N \sum_n x_{nd}, \qquad \sigma_d = \sqrt{\frac1N \sum_n (x_{nd} - \mu_d)^2}

    Args:
        x: the training inputs, (N, ...), N at least 1; all axes but the first are columns.

    Returns:
        Statistics of shape (...).

    Raises:
        ValueError: if there is no sample, the inputs are integers, or a column has one value throughout; the message
            names the column and its value.

    Source: the lecture, "Input Normalization". The division by N is scikit-learn's ``StandardScaler``'s.
    """
    if not x.is_floating_point():
        raise ValueError(f"x has the dtype {x.dtype}; standardized inputs are no integers: give a floating dtype")
    if not len(x):
        raise ValueError(f"x has the shape {tuple(x.shape)}: there is no sample to learn a mean from")
    var, mean = torch.var_mean(x, 0, correction=0)
    flat = (x == x[0]).all(0)
    if bool(flat.any()):
        where = flat.nonzero()[0].tolist()
        raise ValueError(f"column {where[0] if len(where) == 1 else tuple(where)} is {x[0][tuple(where)].item():g} in "
                         f"every one of {len(x)} samples: its variance is zero; leave it out")
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
        raise ValueError(f"x has columns {tuple(x.shape[1:])}, the statistics {tuple(statistics.mean.shape)}")
    return (x - statistics.mean) / statistics.std
