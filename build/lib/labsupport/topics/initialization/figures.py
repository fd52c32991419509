"""Random networks at their start, the map of gain against depth, and four patients."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import compare, plots, rules, train
from labsupport.models import MLP
from labsupport.study import vary
from labsupport.topics.initialization import reference as propagation
from labsupport.types import Arm, Interval, Recipe, Result

DIRECTIONS = ("forward", "backward")


# -- a random network, layer by layer --------------------------------------------------------------


def start(gain: float = 1.0, activation: str = "relu") -> Figure:
    """Draw the mean squares, measured and predicted, of a network of 20 layers of 100 units at its
    start.

    Args:
        gain: the weights are Gaussian of variance gain²/100: 1 is Xavier's, √2 is Kaiming's.
        activation: linear | relu | tanh.
    """
    measured = random_signals([100] * 21, [gain / 10] * 20, activation)
    forward, backward = propagation.predicted([100] * 22, "xavier_normal", activation, gain=gain)
    expected = forward[:20], [g / backward[19] for g in backward[:20]]
    fig, axes = plots.figure(2, width=7.4, height=3.2, sharey=True)
    titles = ("Forwards: E h² at layer 20 is {:.0e}", "Backwards: E g² at layer 1 is {:.0e}")
    for i, (ax, name, ends) in enumerate(zip(axes, ("signal", "gradient"), (19, 0), strict=True)):
        layers = range(1, 21)
        ax.plot(
            layers,
            np.clip(measured[i], 1e-16, None),
            "o",
            color=plots.COLOURS[i],
            ms=4.5,
            label=f"{name}, measured",
        )
        ax.plot(
            layers, np.clip(expected[i], 1e-16, None), "-", color="#444444", lw=1, label="predicted"
        )
        ax.set(yscale="log", ylim=(1e-15, 1e15), xlabel="layer", xticks=[1, 5, 10, 15, 20])
        ax.set_title(titles[i].format(measured[i][ends]))
        ax.legend(loc="upper left")
    axes[0].set_ylabel("mean square")
    return fig


def random_signals(
    sizes: Sequence[int], stds: Sequence[float], activation: str
) -> tuple[list[float], list[float]]:
    """Mean squares at each layer of one random network without biases, for 100 Gaussian inputs of
    mean square 1.

    Args:
        sizes: widths from input to output, L + 1 of them; every layer has the activation.
        stds: standard deviation of each layer's Gaussian weights.
        activation: linear | relu | tanh.

    Returns:
        Forwards, of the L outputs; backwards, of the gradient in them, for a Gaussian one of mean
        square 1 at the end.
    """
    rho, slope = propagation.ACTIVATIONS[activation]
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
    """The largest absolute gradient in each parameter for the first batch, over all runs."""
    step = next(train.iterate_steps([recipe] * len(seeds), seeds))
    _, batch = next(train.batches([recipe] * len(seeds), seeds, train.load(recipe)))
    out = step.params.like()
    rules.gradients(recipe.model, step.params, step.buffers, batch, out)
    return pd.Series({name: out[name].abs().max().item() for name in out})


# -- the signals of a study's networks -------------------------------------------------------------


def drift(result: Result, arm: str, direction: str) -> pd.Series:
    """How much the mean square changes from one hidden layer to the next, in log2, one number a
    seed.

    Args:
        result: of a study with the probe ``signals``.
        arm: which of its arms.
        direction: forward, from the first to the last hidden layer, or backward, from the last to
            the first.
    """
    last = _model(result, arm).depth - 1
    ends = [compare.final(result, f"{direction}{layer}")[arm] for layer in (1, last)]
    one, other = ends if direction == "forward" else ends[::-1]
    return np.log2(other / one) / (last - 1)


def expected(result: Result, arm: str, direction: str) -> list[float]:
    """What the mean squares at each layer should be, from those of the inputs and of the gradient
    in the logits.
    """
    model = _model(result, arm)
    recipe = next(a.recipe for a in result.arms if a.name == arm)
    end = compare.final(result, f"backward{model.depth}")[arm].mean()
    both = propagation.predicted(
        model.sizes,
        model.initializer,
        model.activation,
        gain=model.gain,
        end=end,
        start=train.load(recipe).x_train[:100].square().mean().item(),
        uniform_bias=model.bias == "uniform",
    )
    return both[DIRECTIONS.index(direction)]


def expected_drift(result: Result, arm: str, direction: str) -> float:
    """What :func:`drift` should be."""
    hidden = expected(result, arm, direction)[:-1]
    growth = math.log2(hidden[-1] / hidden[0]) / (len(hidden) - 1)
    return growth if direction == "forward" else -growth


def draw_signals(axes: Sequence[Axes], result: Result, arms: Mapping[str, str]) -> None:
    """Mean squares by hidden layer, forwards and backwards: measured with bands, predicted as thin
    lines.
    """
    for ax, direction in zip(axes, DIRECTIONS, strict=True):
        for i, (label, arm) in enumerate(arms.items()):
            hidden = range(1, _model(result, arm).depth)
            logs = [
                compare.interval(np.log(compare.final(result, f"{direction}{layer}")[arm]))
                for layer in hidden
            ]
            bands = [
                Interval(*(math.exp(v) for v in (x.estimate, x.low, x.high)), x.runs) for x in logs
            ]
            plots.band(ax, hidden, bands, label, i)
            ax.lines[-1].set_linestyle("none")
            ax.plot(
                hidden,
                expected(result, arm, direction)[: len(hidden)],
                "-",
                color=plots.COLOURS[i],
                lw=1,
            )
        ax.set(yscale="log", xlabel="hidden layer", title=f"{direction}s", xticks=hidden[::3])
    axes[0].set_ylabel("mean square")
    axes[0].legend(fontsize=8.5)


def _model(result: Result, arm: str) -> MLP:
    return next(a.recipe.model for a in result.arms if a.name == arm)


# -- gain against depth ----------------------------------------------------------------------------


def gain_map(
    recipe: Recipe,
    gains: Sequence[float],
    depths: Sequence[int],
    rates: Sequence[float],
    width: int = 32,
) -> list[Arm]:
    """One arm for every gain, number of hidden layers and learning rate; the recipe says all the
    rest.
    """
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
    """One arm for every depth and gain of a map, at the learning rate whose mean metric is best
    there.

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


def draw_map(
    ax: Axes, arms: Sequence[Arm], values: Mapping[str, float], form: str, **limits: float
) -> None:
    """A number for each depth and gain, written in its cell; "never" for inf, "div." for NaN."""
    table = pd.DataFrame(
        [
            {"depth": a.values["depth"], "gain": a.values["gain"], "value": values[a.name]}
            for a in arms
        ]
    )
    cells = table.pivot(index="depth", columns="gain", values="value")
    grid = cells.to_numpy(dtype=float)
    image = ax.imshow(
        np.where(np.isfinite(grid), grid, np.nan),
        cmap="cividis",
        aspect="auto",
        origin="lower",
        **limits,
    )
    for (row, column), value in np.ndenumerate(grid):
        light = not np.isfinite(value) or image.norm(value) > 0.55
        text = "never" if np.isinf(value) else "div." if np.isnan(value) else form.format(value)
        ax.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=8.5,
            color="#111111" if light else "white",
        )
    ax.set_xticks(range(grid.shape[1]), [f"{gain:.2g}" for gain in cells.columns])
    ax.set_yticks(range(grid.shape[0]), cells.index)
    ax.set(xlabel="gain on Kaiming's weights", ylabel="hidden layers")
    ax.grid(False)


# -- patients --------------------------------------------------------------------------------------


class Log(NamedTuple):
    """What was seen of a ReLU network at its start, hidden layer by hidden layer."""

    before: Tensor
    """(L,) mean square of what enters each layer."""
    after: Tensor
    """(L,) mean square of what leaves it."""
    fan_in: tuple[int, ...]
    fan_out: tuple[int, ...]


PATIENTS = {
    "A": lambda n, k: 1 / n,
    "B": lambda n, k: 2 / k,
    "C": lambda n, k: 2 / n,
    "D": lambda n, k: 4 / n**2,
}
"""The variance that each patient's code draws, by (fan_in, fan_out). Do not peek before you have
diagnosed.
"""
WIDTHS = (40, 256, 64, 256, 64, 256, 64)


def patients() -> dict[str, Log]:
    """Four networks of six hidden ReLU layers, wide and narrow by turns, whose codes all claim to
    be Kaiming's.
    """
    logs = {}
    for name, variance in PATIENTS.items():
        stds = [math.sqrt(variance(n, k)) for n, k in pairwise(WIDTHS)]
        forward, _ = random_signals(WIDTHS, stds, "relu")
        after = torch.tensor(forward, dtype=torch.float64)
        logs[name] = Log(torch.cat([after.new_ones(1), after[:-1]]), after, WIDTHS[:-1], WIDTHS[1:])
    return logs


def draw_patients(logs: Mapping[str, Log]) -> Figure:
    """The mean square of each patient's signal, layer by layer."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        ax.plot(
            range(len(log.after) + 1),
            [log.before[0], *log.after],
            label=f"patient {name}",
            **plots.look(i),
        )
    ax.set(
        yscale="log",
        xlabel="layer",
        ylabel="mean square of the signal",
        title="Four codes, one promise: Kaiming's",
    )
    ax.legend()
    return fig
