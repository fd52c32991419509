"""Measure a network's errors class by class, and its accuracy on test samples that are changed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.types import Dataset, Net, Transform


def confusions(
    net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    """Measure the share of 3s taken for a 5, ``3_as_5``, and of all missed 3s, ``error_3``.

    Both are shares of the test samples of class 3.
    """
    guess = net.forward(params, buffers, _expanded(dataset.x_test, params)).argmax(-1)
    found = {}
    for true in range(dataset.classes):
        seen = guess[:, dataset.y_test == true]
        shares = {k: (seen == k).to(params.flat.dtype).mean(1) for k in range(dataset.classes)}
        found[f"error_{true}"] = 1 - shares[true]
        found |= {f"{true}_as_{k}": share for k, share in shares.items() if k != true}
    return found


@dataclass(frozen=True)
class Changed:
    """Accuracy ``name`` on the test part, every sample changed once, the same for all runs."""

    name: str
    transform: Transform

    def __call__(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        x = self.transform(dataset.x_test[None], Streams([0], "changed"), dataset.fill_value)[0]
        guess = net.forward(params, buffers, _expanded(x, params)).argmax(-1)
        return {self.name: (guess == dataset.y_test).to(params.flat.dtype).mean(1)}


def _expanded(x: Tensor, params: Stack) -> Tensor:
    x = x.to(params.flat.dtype)
    return torch.broadcast_to(x, (len(params.flat), *x.shape))
