"""A population on a staircase, the law of the estimate's angle, and three evolutions with a log,
two of them sick.
"""

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import plots
from labsupport.topics.evolution import reference as ev

# -- a population on a staircase -------------------------------------------------------------------

STEPS = 2
START = (-1.5, 1.2)


def staircase(w: Tensor) -> Tensor:
    """A loss (...) over the plane (..., 2) that is made of level steps: its slope is zero wherever
    it has one.

    An elongated bowl around (1, -0.5), rounded down to halves: what the 0-1 loss looks like from
    near.
    """
    x, y = w[..., 0] - 1.0, w[..., 1] + 0.5
    smooth = 0.16 * (x + 0.6 * y).square() + 0.5 * (y - 0.6 * x).square()
    return torch.floor(STEPS * smooth) / STEPS


class Walk(NamedTuple):
    populations: list[Tensor]
    """(N, 2) of each generation."""
    centre: list[Tensor]
    """(2,) the network of each generation: the elite, or the point around which a strategy
    mutates.
    """


def genetic(sigma: float, generations: int, population: int = 20, parents: int = 5) -> Walk:
    """The genetic algorithm on the staircase."""
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
    walk = Walk([], [])
    for _ in range(generations + 1):
        losses = staircase(now)
        walk.populations.append(now)
        walk.centre.append(now[losses.argmin()])
        picks = torch.randint(parents, (population - 1,), generator=rng)
        now = ev.next_generation(
            now,
            losses,
            picks,
            torch.randn(population - 1, 2, generator=rng),
            parents=parents,
            sigma=sigma,
        )
    return walk


def strategy(sigma: float, generations: int, population: int = 20, lr: float = 0.6) -> Walk:
    """An evolution strategy with rank shaping on the staircase; its step is 8 ``lr`` sigma² times
    the shaped estimate.
    """
    rng, w, walk = torch.Generator().manual_seed(2), torch.tensor(START), Walk([], [])
    for _ in range(generations + 1):
        noise = torch.randn(population // 2, 2, generator=rng)
        now = torch.cat([w + sigma * noise, w - sigma * noise])
        walk.populations.append(now)
        walk.centre.append(w)
        plus, minus = ev.centered_ranks(staircase(now)).chunk(2)
        w = w - lr * sigma**2 * 8 * ev.es_gradient(noise, plus, minus, sigma=sigma)
    return walk


def populations(generation: int = 8, sigma: float = 0.2) -> Figure:
    """Both kinds of evolution after some generations, with the way that their network has gone."""
    fig, axes = plots.figure(2, width=7.4, height=3.6, sharey=True)
    grid = torch.stack(
        torch.meshgrid(torch.linspace(-2.5, 2.5, 250), torch.linspace(-2, 2, 200), indexing="xy"),
        -1,
    )
    walks = {"genetic": genetic(sigma, generation), "strategy": strategy(sigma, generation)}
    for i, (ax, (name, walk)) in enumerate(zip(axes, walks.items(), strict=True)):
        ax.imshow(
            staircase(grid).numpy(),
            extent=(-2.5, 2.5, -2, 2),
            origin="lower",
            aspect="auto",
            cmap="Greys",
            vmax=14,
            interpolation="nearest",
        )
        ax.grid(False)
        path = torch.stack(walk.centre)
        ax.plot(*path.T, color="#222222", lw=1.5)
        ax.scatter(*walk.populations[-1].T, s=16, color=plots.COLOURS[i], zorder=3)
        ax.plot(*path[-1], "*", color=plots.COLOURS[1 - i], ms=13, mec="white", zorder=4)
        ax.set(xlim=(-2.5, 2.5), ylim=(-2, 2), xlabel="$w_1$")
        ax.set_title(
            f"{name}: loss {staircase(path[-1]):.2f}, spread"
            f" {walk.populations[-1].std(0).mean():.2f}"
        )
    axes[0].set_ylabel("$w_2$")
    fig.suptitle(
        f"generation {generation}, {20 * (generation + 1)} evaluations, σ = {sigma:g}",
        fontsize=10.5,
    )
    return fig


# -- the estimate on functions that are known ------------------------------------------------------


def squared_cosines(pairs: int, parameters: int, curvature: float, repeats: int = 2000) -> Tensor:
    """cos² of the antithetic estimate with the gradient of a function g·w + curvature/2 w'Aw, many
    times over, float64.
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
    """How many evaluations (runs,) the strategy takes on ½‖w‖² until the loss is ``target`` of what
    it was, at its best rate.
    """
    rng = torch.Generator().manual_seed(parameters)
    lr, w = pairs / (pairs + parameters + 1), torch.ones(runs, parameters).double()
    taken, steps = torch.zeros(runs), 0
    while (taken == 0).any():
        noise = torch.randn(runs, pairs, parameters, generator=rng).double()
        w = w - lr * torch.bmm(torch.bmm(noise, w[..., None]).mT, noise)[:, 0] / pairs
        steps += 1
        there = (w.square().mean(1) <= target) & (taken == 0)
        taken[there] = 2.0 * pairs * steps
    return taken


# -- three patients --------------------------------------------------------------------------------

PATIENTS = {"A": "stale_fitness", "B": "healthy", "C": "sigma_too_large"}
"""Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """What diagnose asks for: three tensors (T, N), from the second generation on: the first one
    has no elite yet.
    """

    losses: Tensor
    used: Tensor
    chosen: Tensor


class Patient(NamedTuple):
    log: Log
    truth: list[float]
    """The elite's loss on all data, generation by generation; the log does not have it."""


def evolve(sickness: str, generations: int = 60, population: int = 20, parents: int = 5) -> Patient:
    """A genetic algorithm that fits a mean of five columns on batches of four samples, sick in one
    way or healthy.
    """
    rng = torch.Generator().manual_seed(1)
    sigma = {"sigma_too_large": 20.0, "sigma_too_small": 1e-4}.get(sickness, 0.3)
    data = torch.randn(200, 5, generator=rng) + 2
    now = torch.cat([torch.zeros(1, 5), sigma * torch.randn(population - 1, 5, generator=rng)])
    credit, rows, truth = torch.tensor(torch.inf), [], []
    for _ in range(generations):
        batch = data[torch.randint(200, (4,), generator=rng)]
        losses = (now[:, None] - batch).square().mean((1, 2))
        used = losses.clone()
        if sickness == "stale_fitness" and credit.isfinite():
            used[0] = credit
        order = used.argsort(descending=sickness == "worst_selected")
        if sickness == "no_selection":
            order = torch.randperm(population, generator=rng)
        chosen = torch.zeros(population).index_fill(0, order[:parents], 1.0)
        rows.append((losses, used, chosen))
        truth.append((now[order[0]] - data).square().mean().item())
        credit = used[order[0]]
        picks, noise = (
            torch.randint(parents, (population - 1,), generator=rng),
            torch.randn(population - 1, 5, generator=rng),
        )
        ranked = now[order[:parents]]
        now = torch.cat([ranked[:1], ev.mutate(ranked[picks], noise, sigma=sigma)])
    return Patient(Log(*(torch.stack(column[1:]) for column in zip(*rows, strict=True))), truth[1:])


def patients() -> dict[str, Patient]:
    """Three evolutions of one problem."""
    return {name: evolve(sickness) for name, sickness in PATIENTS.items()}


def draw_patients(found: dict[str, Patient]) -> Figure:
    """Left what each evolution believes of its best individual, right what is true of it."""
    fig, axes = plots.figure(2, width=8, sharey=True)
    for i, (name, patient) in enumerate(found.items()):
        believed = patient.log.used.masked_fill(patient.log.chosen == 0, np.inf).amin(1)
        for ax, course in zip(axes, (believed, patient.truth), strict=True):
            ax.plot(range(2, len(course) + 2), course, **{**plots.look(i), "marker": None})
            ax.set(xlabel="generation", yscale="log", xlim=(0, len(course) + 2))
            ax.set_yticks([0.3, 0.5, 1, 2, 4, 7], ["0.3", "0.5", "1", "2", "4", "7"])
            ax.minorticks_off()
    axes[0].set(ylabel="loss of the elite", title="on the batch, as its owner sees it")
    axes[1].set(title="on all data")
    fig.legend(
        axes[0].lines,
        [f"patient {name}" for name in found],
        loc="outside upper center",
        ncols=len(found),
    )
    return fig
