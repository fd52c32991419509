"""Accuracy of a network with batch norm in train mode, by the batch's classes and size.

The running statistics are left as they were.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.stacks import Stack
from labsupport.types import Dataset, Net


@dataclass(frozen=True)
class BatchDependence:
    """Test accuracy in train mode, by what else is in a sample's batch.

    ``mixed<n>``: batches of n, all classes among them. ``sorted<n>``: batches of n from the test
    samples sorted by class.

    Args:
        sizes: of the batches, each at least 2. A last batch that is not full is left out.
    """

    sizes: tuple[int, ...]

    def __call__(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        orders = {"mixed": shuffled(dataset.y_test), "sorted": dataset.y_test.argsort(stable=True)}
        return {
            f"{name}{size}": accuracy_in_batches(
                net, params, buffers, dataset.x_test[order], dataset.y_test[order], size
            )
            for name, order in orders.items()
            for size in self.sizes
        }


@dataclass(frozen=True)
class Drift:
    """Test accuracy when every test input is ``stretch * x + offset``: a drifted sensor.

    ``drift_eval``: by the statistics of training. ``drift_bulk``: in train mode, mixed batches, by
    the test set's own statistics. ``drift_sorted``: the same in batches sorted by class.
    """

    stretch: float
    offset: float
    size: int = 100

    def __call__(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        x, y = self.stretch * dataset.x_test + self.offset, dataset.y_test
        mixed, by_class = shuffled(y), y.argsort(stable=True)
        x_runs = x.to(params.flat.dtype).expand(len(params.flat), *x.shape)
        right = net.forward(params, buffers, x_runs).argmax(-1) == y
        return {
            "drift_eval": right.to(params.flat.dtype).mean(1),
            "drift_bulk": accuracy_in_batches(net, params, buffers, x[mixed], y[mixed], self.size),
            "drift_sorted": accuracy_in_batches(
                net, params, buffers, x[by_class], y[by_class], self.size
            ),
        }


def shuffled(y: Tensor) -> Tensor:
    """Draw one order of the samples, the same for all runs."""
    return torch.randperm(len(y), generator=torch.Generator().manual_seed(0)).to(y.device)


def accuracy_in_batches(
    net: Net, params: Stack, buffers: dict[str, Tensor], x: Tensor, y: Tensor, size: int
) -> Tensor:
    """Measure accuracy (R,) in train mode over consecutive batches of ``size`` samples."""
    runs, right = len(params.flat), params.flat.new_zeros(len(params.flat))
    aside = {name: buffer.clone() for name, buffer in buffers.items()}
    whole = len(y) // size * size
    for some, labels in zip(x[:whole].split(size), y[:whole].split(size), strict=True):
        logits = net.forward(
            params, aside, some.to(right.dtype).expand(runs, *some.shape), training=True
        )
        right += (logits.argmax(-1) == labels).sum(1)
    return right / whole
