"""Draw signals of random networks, gain against depth, and the dissimilarity of units."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import compare, plots
from labsupport.topics.initialization import reference as init
from labsupport.topics.initialization.experiments import (
    DIRECTIONS,
    Log,
    expected_mean_squares,
    model_of,
    random_signals,
)
from labsupport.types import Arm, Interval, Result


def signals_at_start(gain: float = 1.0, activation: str = "relu") -> Figure:
    """Draw mean squares, measured and predicted, of 20 layers of 100 units at the start.

    Args:
        gain: the weights are Gaussian of variance gain²/100: 1 is Xavier's, √2 is Kaiming's.
        activation: linear | relu | tanh.
    """
    measured = random_signals([100] * 21, [gain / 10] * 20, activation)
    forward, backward = init.predicted([100] * 22, "xavier_normal", activation, gain=gain)
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


def draw_signals(axes: Sequence[Axes], result: Result, arms: Mapping[str, str]) -> None:
    """Draw mean squares by hidden layer, forward and backward.

    Measured ones have bands, predicted ones are thin lines.
    """
    for ax, direction in zip(axes, DIRECTIONS, strict=True):
        for i, (label, arm) in enumerate(arms.items()):
            hidden = range(1, model_of(result, arm).depth)
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
                expected_mean_squares(result, arm, direction)[: len(hidden)],
                "-",
                color=plots.COLOURS[i],
                lw=1,
            )
        ax.set(yscale="log", xlabel="hidden layer", title=f"{direction}s", xticks=hidden[::3])
    axes[0].set_ylabel("mean square")
    axes[0].legend(fontsize=8.5)


def draw_map(
    ax: Axes, arms: Sequence[Arm], values: Mapping[str, float], form: str, **limits: float
) -> None:
    """Write a number for each depth and gain in its cell; "never" for inf, "div." for NaN."""
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


def draw_row_dissimilarity(courses: Mapping[str, Tensor]) -> Figure:
    """Draw how unlike the units of each hidden layer become, the median over runs."""
    layers = next(iter(courses.values())).shape[1]
    fig, axes = plots.figure(layers, width=8, height=3.6, sharey=True)
    for layer, ax in enumerate(axes):
        for i, (label, course) in enumerate(courses.items()):
            look = plots.look(i) | {"markevery": 100}
            ax.plot(course[:, layer].median(1).values.clamp(min=1e-18).cpu(), label=label, **look)
        ax.set(yscale="log", ylim=(1e-18, 3), xlabel="step", title=f"hidden layer {layer + 1}")
    axes[0].set_ylabel("row dissimilarity")
    axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def draw_faulty_runs(logs: Mapping[str, Log]) -> Figure:
    """Draw the mean square of each run's signal, layer by layer."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        ax.plot(
            range(len(log.after) + 1),
            [log.before[0], *log.after],
            label=f"run {name}",
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
