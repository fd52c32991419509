"""Random networks, the signals of trained ones, gain against depth, and symmetric units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from labsupport import compare, rules, runtime, train
from labsupport.models import MLP, initialization
from labsupport.stacks import hyperparameter
from labsupport.study import vary
from labsupport.topics.initialization import reference as init
from labsupport.types import Arm, Recipe, Result

DIRECTIONS = ("forward", "backward")


def random_signals(
    sizes: Sequence[int], stds: Sequence[float], activation: str
) -> tuple[list[float], list[float]]:
    """Measure mean squares at each layer of one random network without biases.

    The inputs are 100 Gaussian ones of mean square 1.

    Args:
        sizes: widths from input to output, L + 1 of them; every layer has the activation.
        stds: standard deviation of each layer's Gaussian weights.
        activation: linear | relu | tanh.

    Returns:
        Forwards, of the L outputs; backwards, of the gradient in them, for a Gaussian one of mean
        square 1 at the end.
    """
    rho, slope = init.ACTIVATIONS[activation]
    rng, wide = torch.Generator().manual_seed(3), dict(dtype=torch.float64)
    h, forward, linears, zs = torch.randn(100, sizes[0], generator=rng, **wide), [], [], []
    for (fan_in, fan_out), std in zip(pairwise(sizes), stds, strict=True):
        linears.append(std * torch.randn(fan_out, fan_in, generator=rng, **wide))
        zs.append(h @ linears[-1].T)
        h = rho(zs[-1])
        forward.append(h.square().mean().item())
    g = torch.randn(100, sizes[-1], generator=rng, **wide)
    backward = [g.square().mean().item()]
    for w, z in zip(linears[:0:-1], zs[:0:-1], strict=True):
        g = (g * slope(z)) @ w
        backward.append(g.square().mean().item())
    return forward, backward[::-1]


def largest_gradients(recipe: Recipe, seeds: Sequence[int]) -> pd.Series:
    """Find the largest absolute gradient in each parameter for the first batch, over all runs."""
    step = next(train.iterate_steps([recipe] * len(seeds), seeds))
    _, batch = next(train.batches([recipe] * len(seeds), seeds, train.load(recipe)))
    out = step.params.like()
    rules.gradients(recipe.model, step.params, step.buffers, batch, out)
    return pd.Series({name: out[name].abs().max().item() for name in out})


def log2_growth(result: Result, arm: str, direction: str) -> pd.Series:
    """Measure the mean square's change from one hidden layer to the next, in log2, by seed.

    Args:
        result: of a study with the probe ``signals``.
        arm: which of its arms.
        direction: forward, from the first to the last hidden layer, or backward, from the last to
            the first.
    """
    last = model_of(result, arm).depth - 1
    ends = [compare.final(result, f"{direction}{layer}")[arm] for layer in (1, last)]
    one, other = ends if direction == "forward" else ends[::-1]
    return np.log2(other / one) / (last - 1)


def expected_mean_squares(result: Result, arm: str, direction: str) -> list[float]:
    """Predict the mean squares at each layer from the inputs' and the logit gradient's."""
    model = model_of(result, arm)
    recipe = next(a.recipe for a in result.arms if a.name == arm)
    end = compare.final(result, f"backward{model.depth}")[arm].mean()
    both = init.predicted(
        model.sizes,
        model.initializer,
        model.activation,
        gain=model.gain,
        end=end,
        start=train.load(recipe).x_train[:100].square().mean().item(),
        uniform_bias=model.bias == "uniform",
    )
    return both[DIRECTIONS.index(direction)]


def expected_log2_growth(result: Result, arm: str, direction: str) -> float:
    """Predict :func:`log2_growth`."""
    hidden = expected_mean_squares(result, arm, direction)[:-1]
    growth = math.log2(hidden[-1] / hidden[0]) / (len(hidden) - 1)
    return growth if direction == "forward" else -growth


def model_of(result: Result, arm: str) -> MLP:
    """Look up the network of an arm."""
    return next(a.recipe.model for a in result.arms if a.name == arm)


def gain_map(
    recipe: Recipe,
    gains: Sequence[float],
    depths: Sequence[int],
    rates: Sequence[float],
    width: int = 32,
) -> list[Arm]:
    """Make an arm for every gain, number of hidden layers and learning rate."""
    return [
        Arm(
            f"depth {depth}, gain {gain:.3g}, rate {rate:.2g}",
            vary(
                recipe,
                sizes=(recipe.model.sizes[0], *[width] * depth, recipe.model.sizes[-1]),
                gain=gain,
                lr=rate,
            ),
            {"depth": depth, "gain": gain, "lr": rate},
        )
        for depth in depths
        for gain in gains
        for rate in rates
    ]


def own_rates(result: Result, metric: str = "train_loss") -> list[Arm]:
    """Choose for every depth and gain of a map the arm whose mean metric is best there.

    Where a run diverged at every rate, the smallest one is taken.
    """
    chosen = []
    for depth, gain in dict.fromkeys((a.values["depth"], a.values["gain"]) for a in result.arms):
        among = compare.where(depth=depth, gain=gain)
        try:
            best = compare.best(result, metric, among)
        except ValueError:
            best = min(filter(among, result.arms), key=lambda a: a.values["lr"])
        chosen.append(Arm(f"depth {depth}, gain {gain:.3g}", best.recipe, best.values))
    return chosen


class Log(NamedTuple):
    """The signals of a ReLU network at its start, hidden layer by hidden layer."""

    before: Tensor
    """(L,) mean square of what enters each layer."""
    after: Tensor
    """(L,) mean square of what leaves it."""
    fan_in: tuple[int, ...]
    fan_out: tuple[int, ...]


FAULTY_RUNS = {
    "A": lambda n, k: 1 / n,
    "B": lambda n, k: 2 / k,
    "C": lambda n, k: 2 / n,
    "D": lambda n, k: 4 / n**2,
}
"""The variance that the code of each run draws, by (fan_in, fan_out). Do not peek before you have
diagnosed.
"""

WIDTHS = (40, 256, 64, 256, 64, 256, 64)


def faulty_runs() -> dict[str, Log]:
    """Log four networks whose codes all claim Kaiming's initialization; one is right.

    They have six hidden ReLU layers, wide and narrow by turns.
    """
    logs = {}
    for name, variance in FAULTY_RUNS.items():
        stds = [math.sqrt(variance(n, k)) for n, k in pairwise(WIDTHS)]
        forward, _ = random_signals(WIDTHS, stds, "relu")
        after = torch.tensor(forward, dtype=torch.float64)
        logs[name] = Log(torch.cat([after.new_ones(1), after[:-1]]), after, WIDTHS[:-1], WIDTHS[1:])
    return logs


@dataclass(frozen=True)
class SymmetricMLP(MLP):
    """An MLP whose hidden units start as copies of each other, up to a perturbation.

    The first matrix is drawn by the initializer, which should be ``equal_rows``.

    Args:
        outgoing: how the matrices behind the first are filled. "equal": one number for each matrix,
            so that what leaves the units of a layer is equal, too; "as_drawn": by the initializer;
            "random_output": as "equal", but the last one by ``kaiming_normal``.
        perturbation: standard deviation of what is added to every weight, relative to the root mean
            square of its matrix.
    """

    outgoing: str = "equal"
    perturbation: float = hyperparameter(0.0)

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw as an MLP does, refill the later matrices, then add the perturbation."""
        params, buffers = super().init(rngs)
        for i in range(1, self.depth + 1):
            w = params[f"weight{i}"]
            if i == self.depth and self.outgoing == "random_output":
                w.copy_(
                    torch.stack(
                        [initialization.kaiming_normal(tuple(w.shape[1:]), rng) for rng in rngs]
                    )
                )
            elif i > 1 and self.outgoing != "as_drawn":
                w.copy_(w.mean(2, keepdim=True).expand_as(w))
            drawn = torch.stack(
                [torch.empty(w.shape[1:]).normal_(generator=rng) for rng in rngs]
            ).to(w.device)
            size = w.square().mean((1, 2), keepdim=True).sqrt()
            w += (
                torch.as_tensor(self.perturbation, dtype=w.dtype, device=w.device).reshape(-1, 1, 1)
                * size
                * drawn
            )
        return params, buffers


def row_dissimilarity(recipe: Recipe, seeds: Sequence[int], steps: int) -> Tensor:
    r"""Measure how unlike each hidden layer's units are after every step: (T + 1, L, R).

    Row dissimilarity is the distance of the rows of a weight matrix from their mean, relative to
    their length: :math:`\lVert W - \bar W\rVert / \lVert W\rVert`. It is 0 for copies and near 1
    for independent units.
    """
    rows = []
    with runtime.one_thread():
        for _, step in zip(
            range(steps + 1), train.iterate_steps([recipe] * len(seeds), seeds), strict=False
        ):
            hidden = [step.params[name] for name in rules.weights(step.params)[:-1]]
            rows.append(
                torch.stack(
                    [
                        (w - w.mean(1, keepdim=True)).norm(dim=(1, 2)) / w.norm(dim=(1, 2))
                        for w in hidden
                    ]
                )
            )
    return torch.stack(rows)
