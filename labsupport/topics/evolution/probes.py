"""The cosine between an evolution strategy's estimate and the gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport import rules
from labsupport.rules import EvolutionStrategy
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.types import Batch, Dataset, Net


@dataclass(frozen=True)
class Alignment:
    """Cosine between the estimate and the gradient by backpropagation, by population size.

    Both are taken on the first ``samples`` of the training part. Metrics ``cosine_N`` and
    ``shaped_N``: the estimate from the losses, and from their ranks.

    Args:
        populations: sizes, even numbers.
        sigma: of the mutations.
        samples: how many training samples both see.
    """

    populations: Sequence[int] = (10, 100, 1000)
    sigma: float = 0.01
    samples: int = 100

    def __call__(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        """Measure {metric: (R,)}."""
        runs, dtype = len(params.flat), params.flat.dtype
        x, y = dataset.x_train[: self.samples].to(dtype), dataset.y_train[: self.samples]
        seen = Batch(x.expand(runs, *x.shape), y.expand(runs, -1), 1, 1.0, ())
        truth, estimate = params.like(), params.like()
        rules.gradients(net, params, buffers, seen, truth)
        found = {}
        for size in self.populations:
            for name, shaped in (("cosine", False), ("shaped", True)):
                source = EvolutionStrategy(self.sigma, size, shaped)
                streams = Streams(range(runs), "rule")
                source(
                    net,
                    params,
                    buffers,
                    source.init(net, params, streams),
                    seen._replace(streams=streams),
                    estimate,
                )
                found[f"{name}_{size}"] = torch.cosine_similarity(estimate.flat, truth.flat, dim=1)
        return found
