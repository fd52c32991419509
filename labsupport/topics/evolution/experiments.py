"""Hard thresholds, steps to a loss, populations on a staircase, evolutions with a fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from labsupport import compare, profiles, rules, runtime
from labsupport.models import MLP
from labsupport.models.layers import ACTIVATIONS
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.study import grid, study
from labsupport.topics.evolution import reference as ev
from labsupport.types import Arm, Batch, Dataset, Net, Recipe, Rule

# -- hard thresholds, and steps to a loss ----------------------------------------------------------


@dataclass(frozen=True)
class StraightThrough:
    """A straight-through gradient estimator for one hidden layer of hard thresholds.

    The backward pass takes sign(z) for z clipped to [-1, 1].

    It is no gradient of anything. Run by run it is what autograd finds for ``soft + (sign(z) -
    soft).detach()``.
    """

    def init(self, net: Net, params: Stack, streams: Streams) -> None:
        """Return an empty state."""

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: None,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Return the loss of each run (R,), and write the estimated gradients to ``out``."""
        x = batch.x.flatten(2)
        z = torch.baddbmm(params["bias1"][:, None], x, params["weight1"].mT)
        h = ACTIVATIONS["sign"](z)
        logs = torch.log_softmax(
            torch.baddbmm(params["bias2"][:, None], h, params["weight2"].mT), -1
        )
        right = torch.nn.functional.one_hot(batch.y, logs.shape[-1]).to(logs.dtype)
        v = (logs.exp() - right) / batch.y.shape[1]
        torch.bmm(v.mT, h, out=out["weight2"])
        torch.sum(v, 1, out=out["bias2"])
        # the slope of z clipped to [-1, 1] in the place of sign's, which is 0 wherever there is one
        v = torch.bmm(v, params["weight2"]) * (z.abs() <= 1)
        torch.bmm(v.mT, x, out=out["weight1"])
        torch.sum(v, 1, out=out["bias1"])
        return -(logs * right).sum(-1).mean(1)


def parameters(recipe: Recipe) -> int:
    """Count the weights and biases of the recipe's network at this profile's size."""
    return sum(
        (fan_in + 1) * fan_out for fan_in, fan_out in pairwise(profiles.sized(recipe).model.sizes)
    )


def largest_slope(net: Net, dataset: Dataset, seeds: Sequence[int], layer: int = 1) -> float:
    """Find the largest derivative of the loss in a layer's weights, over fresh networks.

    It is found by backpropagation, over all seeds.
    """
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    params, runs = Stack.of(params), len(seeds)
    seen = Batch(
        dataset.x_train.expand(runs, *dataset.x_train.shape),
        dataset.y_train.expand(runs, -1),
        1,
        1.0,
        (),
    )
    grads = params.like()
    rules.gradients(net, params, buffers, seen, grads)
    return grads[f"weight{layer}"].abs().max().item()


def largest_change(net: Net, dataset: Dataset, seeds: Sequence[int], step: float = 1e-9) -> float:
    """Find the largest change of the 0-1 loss under a random move of length ``step``.

    All weights of a fresh network are moved, in float64.
    """
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    here = Stack.of({name: p.double() for name, p in params.items()})
    there = Stack.of(
        {
            name: p.double()
            + step * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)).to(p)
            for name, p in params.items()
        }
    )
    x = dataset.x_train.double().expand(len(seeds), *dataset.x_train.shape)
    predicted = [net.forward(stack, buffers, x).argmax(-1) for stack in (here, there)]
    wrong = [(labels != dataset.y_train).double().mean(1) for labels in predicted]
    return (wrong[1] - wrong[0]).abs().max().item()


def steps_to_loss(
    rule: Rule, rates: Sequence[float], seeds: Sequence[int], width: int, target: float, most: int
) -> tuple[float, pd.Series]:
    """Count the steps to the loss ``target`` at the learning rate that needs the fewest.

    The data are 100 signals of MNIST-1D.

    The rate is chosen on the training loss itself, for it is the loss that is asked about; a rate
    with which some run never gets there is not chosen. A reported run that never gets there counts
    with all of its steps.

    Args:
        rule: an optimizer with a field lr.
        rates: learning rates to choose from.
        seeds: what the choice is made on.
        width: of the one hidden layer.
        target: the loss.
        most: steps that a run may take.

    Returns:
        The chosen rate, and the steps of each of seeds 0 to 9.
    """
    recipe = Recipe(MLP((40, width, 10)), rule, train_size=100, batch_size=100, epochs=most)
    arms = grid(recipe, lr=rates)
    searched = compare.reached(study(arms, seeds), "train_loss", below=target).mean()
    chosen = next(arm for arm in arms if arm.name == searched.idxmin())
    steps = compare.reached(
        study([Arm("chosen", chosen.recipe)], range(10)), "train_loss", below=target
    )["chosen"]
    return chosen.values["lr"], steps.replace(np.inf, most)


# -- a population on a staircase -------------------------------------------------------------------

STEPS = 2
START = (-1.5, 1.2)


def staircase(w: Tensor) -> Tensor:
    """Compute a loss (...) over the plane (..., 2) made of level steps.

    Its slope is zero wherever it has one.

    An elongated bowl around (1, -0.5), rounded down to halves: what the 0-1 loss looks like from
    near.
    """
    x, y = w[..., 0] - 1.0, w[..., 1] + 0.5
    smooth = 0.16 * (x + 0.6 * y).square() + 0.5 * (y - 0.6 * x).square()
    return torch.floor(STEPS * smooth) / STEPS


class Trajectory(NamedTuple):
    """A population on the staircase, generation by generation."""

    populations: list[Tensor]
    """(N, 2) of each generation."""
    centres: list[Tensor]
    """(2,) the network of each generation: the elite, or the point around which a strategy
    mutates.
    """


def run_genetic(
    sigma: float, generations: int, population: int = 20, parents: int = 5
) -> Trajectory:
    """Run the genetic algorithm on the staircase."""
    rng = torch.Generator().manual_seed(2)
    start = torch.tensor(START)
    now = torch.cat(
        [
            start[None],
            ev.mutate(
                start.expand(population - 1, 2),
                torch.randn(population - 1, 2, generator=rng),
                sigma=sigma,
            ),
        ]
    )
    trajectory = Trajectory([], [])
    for _ in range(generations + 1):
        losses = staircase(now)
        trajectory.populations.append(now)
        trajectory.centres.append(now[losses.argmin()])
        picks = torch.randint(parents, (population - 1,), generator=rng)
        now = ev.next_generation(
            now,
            losses,
            picks,
            torch.randn(population - 1, 2, generator=rng),
            parents=parents,
            sigma=sigma,
        )
    return trajectory


def run_strategy(
    sigma: float, generations: int, population: int = 20, lr: float = 0.6
) -> Trajectory:
    """Run an evolution strategy with rank shaping on the staircase.

    Its step is 8 ``lr`` sigma² times the shaped estimate.
    """
    rng, w, trajectory = torch.Generator().manual_seed(2), torch.tensor(START), Trajectory([], [])
    for _ in range(generations + 1):
        noise = torch.randn(population // 2, 2, generator=rng)
        now = torch.cat([w + sigma * noise, w - sigma * noise])
        trajectory.populations.append(now)
        trajectory.centres.append(w)
        plus, minus = ev.centered_ranks(staircase(now)).chunk(2)
        w = w - lr * sigma**2 * 8 * ev.es_gradient(noise, plus, minus, sigma=sigma)
    return trajectory


# -- the estimate on known functions ---------------------------------------------------------------


def squared_cosines(pairs: int, parameters: int, curvature: float, repeats: int = 2000) -> Tensor:
    """Draw cos² of the antithetic estimate with the gradient of g·w + curvature/2 w'Aw.

    It is drawn many times over, in float64.
    """
    rng = torch.Generator().manual_seed(0)
    g, scales = (
        torch.randn(parameters, generator=rng).double(),
        torch.linspace(0, 2, parameters, dtype=torch.float64),
    )
    found = []
    for _ in range(repeats):
        noise = torch.randn(pairs, parameters, generator=rng).double()
        plus, minus = (
            sign * 0.1 * noise @ g + 0.5 * curvature * (0.01 * noise.square() @ scales)
            for sign in (1, -1)
        )
        found.append(
            torch.cosine_similarity(
                ev.es_gradient(noise, plus, minus, sigma=0.1), g, dim=0
            ).square()
        )
    return torch.stack(found)


def evaluations_on_a_bowl(parameters: int, pairs: int, runs: int, target: float = 0.01) -> Tensor:
    """Count the evaluations (runs,) until the loss on ½‖w‖² is ``target`` times its start.

    They are counted at the strategy's best learning rate.
    """
    rng = torch.Generator().manual_seed(parameters)
    lr, w = pairs / (pairs + parameters + 1), torch.ones(runs, parameters).double()
    taken, steps = torch.zeros(runs), 0
    while (taken == 0).any():
        noise = torch.randn(runs, pairs, parameters, generator=rng).double()
        # on this loss (u+ - u-)/2 sigma is the product of noise and w, whatever sigma is
        w = w - lr * torch.bmm(torch.bmm(noise, w[..., None]).mT, noise)[:, 0] / pairs
        steps += 1
        reached = (w.square().mean(1) <= target) & (taken == 0)
        taken[reached] = 2.0 * pairs * steps
    return taken


# -- evolutions with a fault -----------------------------------------------------------------------

FAULTY_RUNS = {"A": "stale_fitness", "B": "healthy", "C": "sigma_too_large"}
"""Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """The arguments of ``diagnose``: three tensors (T, N), from the second generation on.

    The first generation has no elite yet.
    """

    losses: Tensor
    used: Tensor
    chosen: Tensor


class FaultyRun(NamedTuple):
    """An evolution with a fault: its log, and the truth that the log does not show."""

    log: Log
    truth: list[float]
    """The elite's loss on all data, generation by generation; the log does not have it."""


def evolve(fault: str, generations: int = 60, population: int = 20, parents: int = 5) -> FaultyRun:
    """Run a genetic algorithm with one fault or none.

    It fits the mean of five columns on batches of four samples.
    """
    rng = torch.Generator().manual_seed(1)
    sigma = {"sigma_too_large": 20.0, "sigma_too_small": 1e-4}.get(fault, 0.3)
    data = torch.randn(200, 5, generator=rng) + 2
    now = torch.cat([torch.zeros(1, 5), sigma * torch.randn(population - 1, 5, generator=rng)])
    remembered, rows, truth = torch.tensor(torch.inf), [], []
    for _ in range(generations):
        batch = data[torch.randint(200, (4,), generator=rng)]
        losses = (now[:, None] - batch).square().mean((1, 2))
        used = losses.clone()
        if fault == "stale_fitness" and remembered.isfinite():
            used[0] = remembered  # the elite keeps the loss of the batch that it was chosen on
        order = used.argsort(descending=fault == "worst_selected")
        if fault == "no_selection":
            order = torch.randperm(population, generator=rng)
        chosen = torch.zeros(population).index_fill(0, order[:parents], 1.0)
        rows.append((losses, used, chosen))
        truth.append((now[order[0]] - data).square().mean().item())
        remembered = used[order[0]]
        picks, noise = (
            torch.randint(parents, (population - 1,), generator=rng),
            torch.randn(population - 1, 5, generator=rng),
        )
        ranked = now[order[:parents]]
        now = torch.cat([ranked[:1], ev.mutate(ranked[picks], noise, sigma=sigma)])
    return FaultyRun(
        Log(*(torch.stack(column[1:]) for column in zip(*rows, strict=True))), truth[1:]
    )


def faulty_runs() -> dict[str, FaultyRun]:
    """Run three evolutions of one problem."""
    return {name: evolve(fault) for name, fault in FAULTY_RUNS.items()}
