"""The norm of v, and the factor on the learning rate that a weight's direction feels.

``weight_norms`` is the core's: with weight norm the weights that it measures are the v.
"""

import torch
from torch import Tensor

from labsupport.models.layered import Layered
from labsupport.probes.weights import weight_norms
from labsupport.stacks import Stack
from labsupport.types import Dataset

__all__ = ["direction_rates", "weight_norms"]


def direction_rates(
    net: Layered, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    r"""Measure by layer, ``direction1`` ..., the units' mean :math:`(g/\lVert v\rVert)^2`.

    Times the learning rate it is the rate at which the direction of a weight learns. At the start
    of a network with weight norm it is 1, and so it stays in a network without: there the direction
    feels the learning rate itself.
    """
    if net.norm != "weight":
        return {
            f"direction{i}": torch.ones(len(params.flat), device=params.flat.device)
            for i in range(1, net.depth + 1)
        }
    return {
        f"direction{i}": (params[f"length{i}"] / params[f"weight{i}"].flatten(2).norm(dim=2))
        .square()
        .mean(1)
        for i in range(1, net.depth + 1)
    }
