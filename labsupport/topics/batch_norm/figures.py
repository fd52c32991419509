"""Draw batch dependence, maps side by side, the loss landscape, and codes to diagnose."""

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from labsupport import compare, plots
from labsupport.topics.batch_norm import reference as bn
from labsupport.topics.batch_norm.experiments import Log, hidden_unit
from labsupport.types import Result

SIGNAL = 1.9
"""What the unit puts out for the signal: half a standard deviation above its mean."""


def batch_dependence(batch_size: int, batch: int) -> Figure:
    """Draw one unit's values in a batch, and what becomes of one signal's own.

    Args:
        batch_size: how many are in the batch, the signal among them.
        batch: which of the batches, from 1.
    """
    z, rng = hidden_unit(), torch.Generator().manual_seed(1000 * batch_size + batch)
    others = z[torch.randperm(len(z), generator=rng)[: batch_size - 1]]
    x = torch.cat([torch.tensor([SIGNAL]), others])[:, None]
    hat = bn.batch_norm(x, torch.ones(1), torch.zeros(1))[:, 0]
    fig, (left, right) = plots.figure(2, width=7.2, height=3.0)
    for ax, all_of_them, here in ((left, z, x[:, 0]), (right, (z - z.mean()) / z.std(), hat)):
        ax.stairs(
            *np.histogram(all_of_them.numpy(), bins=40, density=True), fill=True, color="#d8d8d0"
        )
        ax.plot(here[1:], torch.full_like(here[1:], 0.03), "|", color=plots.COLOURS[0], ms=12)
        ax.plot(here[0], 0.03, "v", color=plots.COLOURS[1], ms=9)
        ax.set_yticks([])
    left.set(
        xlim=(-1.5, 4.5),
        ylim=(0, 0.6),
        xlabel="before",
        title=(
            f"batch {batch} of {batch_size}: mean {x.mean():.2f}, "
            f"deviation {x.std(correction=0):.2f}"
        ),
    )
    right.set(
        xlim=(-3.5, 3.5),
        ylim=(0, 0.6),
        xlabel="after",
        title=f"our signal, {SIGNAL}, becomes {hat[0]:.2f}",
    )
    return fig


def two_maps(result: Result, metric: str, epoch: int) -> Figure:
    """Draw accuracy over learning rate and gain, without and with batch norm, at one epoch."""
    at = result.table[result.table["epoch"] == epoch]
    moment = Result(at, result.diverged, result.arms, result.seeds, result.seconds)
    fig, axes = plots.figure(2, width=8.6, height=3.2)
    for ax, norm in zip(axes, ("none", "batch"), strict=True):
        cells = compare.cells(moment, metric, "gain", "lr", compare.where(f"{norm}, "))
        plots.heatmap(ax, cells, low=0.1, high=0.8 if metric == "train_accuracy" else 0.5)
        best = cells.to_numpy().max()
        ax.set_title(
            f"{'batch norm' if norm == 'batch' else 'no norm'}, epoch {epoch}: best"
            f" {plots.words(metric)} {best:.2f}"
        )
    return fig


def draw_landscape(surveys: dict[str, pd.DataFrame]) -> Figure:
    """Draw the three probes along runs, {label: a survey}.

    Losses and changes of the gradient are bands, the smoothness is a line.

    The bands are those of the first two runs alone; more of them would cover each other.
    """
    fig, axes = plots.figure(3, width=10, height=3.3)
    for i, (label, table) in enumerate(surveys.items()):
        means = table.pivot_table(index="step", columns="metric", values="value")
        style = {**plots.look(i), "marker": None, "lw": 1.2}
        for ax, metric in zip(axes[:2] if i < 2 else (), ("loss", "predictiveness"), strict=False):
            low, high = means[f"{metric}_low"], means[f"{metric}_high"]
            ax.plot(means.index, low, **style)
            ax.plot(means.index, high, **style)
            ax.fill_between(means.index, low, high, alpha=0.25, color=plots.COLOURS[i])
        axes[2].plot(means.index, means["smoothness"], label=label, **style)
    for ax, title in zip(
        axes,
        ("loss along the gradient", "change of the gradient", "effective smoothness"),
        strict=True,
    ):
        ax.set(xlabel="step", title=title)
    axes[2].legend(loc="lower right")
    return fig


def draw_faulty_runs(logs: dict[str, Log]) -> Figure:
    """Draw what each run's layer puts out, over what went in."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        order = log.x[:, 0].argsort()
        ax.plot(log.x[order, 0], log.out[order, 0], label=f"run {name}", **plots.look(i))
    ax.set(
        xlabel="into the layer",
        ylabel="out of the layer",
        title="Three codes, one promise: batch norm in eval mode",
    )
    ax.legend()
    return fig
