"""Mixups with one thing wrong: what each puts out, a log of three of them, and networks trained
with them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsupport import compare, profiles, runtime, train
from labsupport.augment import Mixup
from labsupport.ops.mixup import blend, coefficient
from labsupport.topics.mixup.figures import points
from labsupport.types import Batch, Recipe


class Pairs(NamedTuple):
    """Samples and their partners, with all that a faulty mixup may take in place of what it
    should.
    """

    x: Tensor
    """(N, ...) inputs."""
    y: Tensor
    """(N, ...) labels: one-hot rows, or 0.0 and 1.0."""
    x2: Tensor
    y2: Tensor
    """Of the partners."""
    y3: Tensor
    """Labels in another order, of samples that the inputs are not blended with."""
    lam: Tensor
    """The coefficient, one of the batch."""
    own: Tensor
    """(N,) a coefficient for each sample."""


BLENDS: dict[str, Callable[[Pairs], tuple[Tensor, Tensor]]] = {
    "healthy": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y2, p.lam)),
    "labels_not_mixed": lambda p: (blend(p.x, p.x2, p.lam), p.y.clone()),
    "inputs_not_mixed": lambda p: (p.x.clone(), blend(p.y, p.y2, p.lam)),
    "lam_swapped": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y2, 1 - p.lam)),
    "hardened": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y2, p.lam).round()),
    "other_partner": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y3, p.lam)),
    "lam_per_sample": lambda p: (blend(p.x, p.x2, p.own), blend(p.y, p.y2, p.lam)),
}
"""Seven functions that call themselves mixup: pairs -> inputs and targets. One is right."""

PATIENTS = {"A": "other_partner", "B": "healthy", "C": "hardened"}
"""Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """What went into a mixup of two classes and what came out."""

    x: Tensor
    """(B,) one number a sample."""
    y: Tensor
    """(B,) its class, 0.0 or 1.0."""
    order: Tensor
    """(B,) the partners of the inputs."""
    lam: float
    """The coefficient that was drawn for the batch."""
    mixed: Tensor
    target: Tensor


def patients(size: int = 12) -> dict[str, Log]:
    """One batch of the crescents, blended by three people."""
    x, y = points("crescents")
    x, y, rng = x[:size, 0], y[:size].float(), runtime.generator(1, "patients")
    order, other = (torch.randperm(size, generator=rng) for _ in range(2))
    pairs = Pairs(
        x, y, x[order], y[order], y[other], torch.tensor(0.3), torch.rand(size, generator=rng)
    )
    return {name: Log(x, y, order, 0.3, *BLENDS[kind](pairs)) for name, kind in PATIENTS.items()}


def table(log: Log) -> pd.DataFrame:
    """A log, one row a sample."""
    columns = {
        "x": log.x,
        "class": log.y,
        "partner": log.order,
        "blended x": log.mixed,
        "target": log.target,
    }
    return pd.DataFrame({name: values.numpy() for name, values in columns.items()}).round(2)


@dataclass(frozen=True)
class Faulty(Mixup):
    """Mixup of the inputs with one thing wrong.

    Args:
        alpha: as Mixup.
        fault: one of BLENDS.
    """

    fault: str = "healthy"

    def __call__(self, batch: Batch, classes: int, rngs: Sequence[Generator]) -> Batch:
        # who is blended and how much, not yet carried out
        mix = Mixup(self.alpha, (1,))(batch, classes, rngs).mix
        runs, size = batch.y.shape
        y = F.one_hot(batch.y, classes).to(batch.x.dtype).flatten(0, 1)
        x = batch.x.flatten(0, 1)
        drawn = self.fault == "lam_per_sample"
        own = self._own(runs, size, rngs).to(x) if drawn else x.new_empty(0)
        lam = mix.weights[1].repeat_interleave(size)
        another = y.view(runs, size, -1).flip(1).flatten(0, 1)
        pairs = Pairs(x, y, x[mix.partner], y[mix.partner], another, lam, own)
        x, targets = BLENDS[self.fault](pairs)
        return batch._replace(x=x.view(batch.x.shape), targets=targets.view(runs, size, -1))

    def _own(self, runs: int, size: int, rngs: Sequence[Generator]) -> Tensor:
        """A coefficient for each sample, (R·B,)."""
        alpha = torch.as_tensor(self.alpha, dtype=torch.float64).expand(runs)
        return coefficient(runtime.uniform(rngs, size, alpha), alpha[:, None]).flatten()


def fault_study(recipe: Recipe, seeds: Sequence[int]) -> pd.DataFrame:
    """Test accuracy of the recipe without mixup and with each fault, in per cent: the mean with its
    interval.

    Args:
        recipe: one with mixup; its alpha is kept.
        seeds: every row is trained from each of these.
    """
    kinds = {"no mixup": None} | {
        fault: Faulty(recipe.mixup.alpha, fault=fault) for fault in BLENDS
    }
    sized = profiles.sized(recipe)
    runs = [(name, seed) for name in kinds for seed in seeds]
    found = {}
    for rows, trained in train.train_many(
        [(replace(sized, mixup=kinds[name]), seed) for name, seed in runs]
    ):
        accuracy = next(
            values for _, metric, values in reversed(trained.metrics) if metric == "test_accuracy"
        )
        found |= {
            runs[row]: 100 * value for row, value in zip(rows, accuracy.tolist(), strict=True)
        }
    columns = {name: compare.interval([found[name, seed] for seed in seeds]) for name in kinds}
    return pd.DataFrame(
        {
            name: {
                "test accuracy (%)": f"{v.estimate:.1f}",
                "95 % interval": f"{v.low:.1f} to {v.high:.1f}",
            }
            for name, v in columns.items()
        }
    ).T
