"""Draw the cost of one unit, the logs of runs to diagnose, and the leaderboard."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from labsupport import compare, plots
from labsupport.topics.alternating_minimization import experiments
from labsupport.types import Interval, Result

LOOKS = {
    "SGD": ("#444444", "-", "o"),
    "Adam": ("#000000", "--", "s"),
    "feedback alignment": ("#0072B2", "-", "^"),
    "direct feedback alignment": ("#0072B2", ":", "v"),
    "local errors": ("#007A57", "-", "D"),
    "decoupled greedy": ("#007A57", "--", "p"),
    "greedy layerwise": ("#007A57", ":", "h"),
    "alternating minimization": ("#D55E00", "-", "P"),
    "evolution strategy": ("#9A4D86", "-", "X"),
    "genetic algorithm": ("#9A4D86", ":", "*"),
    "last layer only": ("#8A6D00", "--", "x"),
}
"""Colour, dash and marker of each rule on the leaderboard: one colour a family."""


WIDE = np.linspace(-2.2, 2.6, 121)


def draw_unit(mu: float, start: float = -0.5) -> Figure:
    """Draw the cost of one ReLU unit with one sample over weight and code, with ten sweeps.

    x = y = v = 1; the updates are exact.
    """
    w, c = np.meshgrid(WIDE, WIDE)
    cost = (1 - np.maximum(c, 0)) ** 2 + mu * (c - w) ** 2
    path, jumped = experiments.unit_path(mu, start)
    fig, (left, right) = plots.figure(2, width=7.2, height=3.4, width_ratios=(1.2, 1))
    left.contour(
        w, c, np.log10(cost + 1e-3), levels=12, colors="#b9b9b0", linewidths=0.8, linestyles="solid"
    )
    left.plot(WIDE, WIDE, color="#888888", lw=1, ls="--")
    left.text(1.45, 2.2, "c = w x", fontsize=8, color="#555555")
    left.plot(*path.T, color=plots.COLOURS[1], marker=".", lw=1.4)
    left.plot(*path[0], "s", color="#222222", ms=6)
    left.set(xlabel="weight w", ylabel="code c", xlim=(WIDE[0], WIDE[-1]), ylim=(WIDE[0], WIDE[-1]))
    costs = (1 - np.maximum(path[:, 1], 0)) ** 2 + mu * (path[:, 1] - path[:, 0]) ** 2
    right.plot(
        np.arange(len(costs)) / 2,
        np.maximum(costs, 1e-6),
        color=plots.COLOURS[0],
        marker=".",
        lw=1.4,
    )
    right.set(yscale="log", ylim=(1e-6, 10), xlabel="sweep", ylabel="cost f(w, c)")
    left.set_title(
        "the code jumps over zero"
        if jumped
        else "the code stays below zero"
        if path[-1, 1] <= 0
        else "from the right side",
        fontsize=9.5,
    )
    right.set_title(f"w after ten sweeps: {path[-1, 0]:.2f} (wanted: 1)", fontsize=9.5)
    return fig


def draw_faulty_runs(logs: Mapping[str, experiments.Log]) -> Figure:
    """Draw the objective of each run at every stage of every sweep."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        costs = torch.stack(log, 1).flatten().cpu()
        ax.plot(
            np.arange(len(costs)) / 3,
            costs,
            label=f"run {name}",
            **{**plots.look(i), "markersize": 2.5},
        )
    ax.set(xlabel="sweep", ylabel="objective f(W, C)", yscale="log")
    ax.legend()
    return fig


def learning_curve(result: Result, axis: str) -> tuple[list[float], list[Interval]]:
    """Return a rule's test accuracy over the samples seen or the mean seconds a run."""
    size = result.arms[0].recipe.train_size
    table = result.table.pivot_table(index=["epoch", "seed"], columns="metric", values="value")
    by_epoch = table.groupby("epoch")
    heights = [compare.interval(rows["test_accuracy"]) for _, rows in by_epoch]
    places = [
        float(epoch * size) if axis == "samples" else rows["seconds"].mean()
        for epoch, rows in by_epoch
    ]
    return places, heights


def draw_leaderboard(measured: Mapping[str, Mapping[str, Result]]) -> Figure:
    """Draw accuracy against samples and seconds, a row for signals and one for digits."""
    plots.plt.rcParams.update(plots.STYLE)
    fig, axes = plots.plt.subplots(2, 2, figsize=(9, 8.2))
    for row, (data, results_of) in zip(axes, measured.items(), strict=True):
        for ax, axis in zip(row, ("samples", "seconds"), strict=True):
            for name, result in results_of.items():
                _line(ax, *learning_curve(result, axis), name)
            ax.set(
                ylabel="test accuracy",
                xlabel="samples seen" if axis == "samples" else "seconds a run",
                title=data,
                ylim=(0, None),
            )
        row[1].set_xscale("log")
        row[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        row[1].xaxis.set_major_formatter("{x:g}")
        row[1].xaxis.set_minor_locator(NullLocator())
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return fig


def _line(ax: Axes, x: Sequence[float], heights: Sequence[Interval], name: str) -> None:
    """Draw one rule's estimates with their band, in the same style in every panel."""
    colour, dash, marker = LOOKS[name]
    ax.plot(
        x,
        [v.estimate for v in heights],
        color=colour,
        linestyle=dash,
        marker=marker,
        markersize=4.5,
        label=name,
    )
    ax.fill_between(
        x, [v.low for v in heights], [v.high for v in heights], color=colour, alpha=0.13, lw=0
    )
