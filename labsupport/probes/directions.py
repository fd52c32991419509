"""What weight norm does with the learning rate: the factor that the direction of a weight feels."""

from torch import Tensor

from labsupport.contracts import Split
from labsupport.models.layered import Layered
from labsupport.stacks import Stack


def direction_rates(net: Layered, params: Stack, buffers: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
    r"""Of each layer, ``direction1`` ...: the mean over units of :math:`(g/\lVert v\rVert)^2`.

    Times the learning rate it is the rate that directions feel; at the start of our networks it is 1.

    Raises:
        ValueError: for a network without weight norm.
    """
    if net.norm != "weight":
        raise ValueError(f"norm is {net.norm!r}; only weight norm has a length beside a direction")
    return {f"direction{i}": (params[f"length{i}"] / params[f"weight{i}"].flatten(2).norm(dim=2)).square().mean(1)
            for i in range(1, net.depth + 1)}
