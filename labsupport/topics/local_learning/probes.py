"""Test accuracy of the heads of a network, layer by layer."""

import torch
from torch import Tensor

from labsupport.models import LocalMLP
from labsupport.stacks import Stack
from labsupport.types import Dataset

ROWS = 250


@torch.no_grad()
def by_layer(
    net: LocalMLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    """Measure the test accuracy of every head, ``accuracy_of_layer_1`` and so on, each (R,)."""
    runs, right = len(params.flat), [0.0] * net.modules
    for x, y in zip(dataset.x_test.split(ROWS), dataset.y_test.split(ROWS), strict=True):
        logits = net.readouts(params, x.to(params.flat.dtype).expand(runs, *x.shape))
        right = [count + (z.argmax(-1) == y).sum(1) for count, z in zip(right, logits, strict=True)]
    return {
        f"accuracy_of_layer_{i}": count / len(dataset.y_test)
        for i, count in enumerate(right, start=1)
    }
