"""Standardize by one right and seven wrong pipelines, and diagnose which one left a log."""

import torch
from torch import Tensor

from labsupport.ops.standardization import Statistics, apply, fit


def pipelines(x_train: Tensor, x_test: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return both parts as the right pipeline and seven wrong ones standardize them.

    Args:
        x_train, x_test: inputs (N, D) and (M, D).

    Returns:
        {name: both parts as the pipeline leaves them}.

    Raises:
        ValueError: if a column of either part has one value throughout, as for
            :func:`labsupport.ops.standardization.fit`.
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
    """Name what a pipeline did: the one of :func:`pipelines` that comes closest.

    Args:
        x_train, x_test: inputs (N, D) and (M, D).
        z_train, z_test: what the pipeline made of them.

    Returns:
        ``healthy``, or the name of a fault.
    """
    suspects = pipelines(x_train, x_test)
    return min(suspects, key=lambda name: distance(suspects[name], (z_train, z_test)))


def distance(made: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> float:
    """Return the largest difference between two outcomes of a pipeline, over both parts."""
    return max((a - b).abs().max().item() for a, b in zip(made, found, strict=True))
