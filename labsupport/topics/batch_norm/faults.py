"""Compute what batch norm and five faulty versions put out in eval mode, and diagnose a log."""

import torch
from torch import Tensor

from labsupport.topics.batch_norm import reference as bn


def suspects(batches: Tensor, x: Tensor, momentum: float) -> dict[str, Tensor]:
    r"""Compute a layer's outputs for a test batch, if it is healthy and with each of five faults.

    ``healthy``: eval mode by running statistics that started at 0 and 1. ``train_mode``: by the
    statistics of the test batch. ``never_updated``: the running statistics are still 0 and 1.
    ``momentum_swapped``: the old kept the share ``momentum``. ``biased_variance``: the running
    variance averages :math:`\sigma^2` without the factor m/(m-1). ``std_averaged``: it averages
    :math:`\sigma`, as the slide writes, and squares the average.

    Args:
        batches: T training batches in their order, (T, B, C); scale 1, shift 0 and eps 1e-5
            throughout.
        x: the test batch, (N, C).
        momentum: the weight of a new batch, as in
            :func:`labsupport.topics.batch_norm.reference.update_running`.

    Returns:
        {name: what the layer puts out, shaped like x}.
    """
    one, zero = torch.ones_like(x[0]), torch.zeros_like(x[0])
    running = {
        "healthy": (zero, one),
        "never_updated": (zero, one),
        "momentum_swapped": (zero, one),
        "biased_variance": (zero, one),
        "std_averaged": (zero, one),
    }
    for batch in batches:
        mean, var, _ = bn.statistics(batch)
        running["healthy"] = bn.running_step(*running["healthy"], batch, momentum=momentum)
        running["momentum_swapped"] = bn.running_step(
            *running["momentum_swapped"], batch, momentum=1 - momentum
        )
        for name, spread in (("biased_variance", var), ("std_averaged", var.sqrt())):
            running[name] = (
                torch.lerp(running[name][0], mean, momentum),
                torch.lerp(running[name][1], spread, momentum),
            )
    running["std_averaged"] = (
        running["std_averaged"][0],
        running["std_averaged"][1].square(),
    )
    return {name: bn.normalize(x, *found, one, zero) for name, found in running.items()} | {
        "train_mode": bn.batch_norm(x, one, zero)
    }


def diagnose(batches: Tensor, x: Tensor, out: Tensor, momentum: float) -> str:
    """Name what a layer did in eval mode, from its training batches and its outputs.

    Args:
        batches, x, momentum: as in :func:`suspects`, which lists the names.
        out: what the layer put out for x, shaped like x.

    Returns:
        The name whose outputs are closest to ``out``.
    """
    return closest(out, suspects(batches, x, momentum))


def closest(out: Tensor, candidates: dict[str, Tensor]) -> str:
    """Name the candidate with the least squared distance from ``out``."""
    return min(candidates, key=lambda name: (candidates[name] - out).square().sum().item())
