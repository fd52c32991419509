"""What a batch does to one unit, two maps side by side, the landscape's three bands, and three
layers to diagnose.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import compare, datasets, plots
from labsupport.topics.batch_norm import faults
from labsupport.topics.batch_norm import reference as bn
from labsupport.types import Result

OURS = 1.9
"""What the unit makes of our signal: half a deviation above its mean."""


def unit() -> Tensor:
    """The products (N,) of one hidden unit with the 4,000 training signals of MNIST-1D, before any
    norm.
    """
    w = torch.randn(40, generator=torch.Generator().manual_seed(3)) / 4
    return datasets.load("mnist1d").x_train.cpu() @ w + 1.5


def company(batch_size: int, batch: int) -> Figure:
    """One signal in the batch of a certain size: the unit's values there, and what becomes of the
    signal's own.

    Args:
        batch_size: how many are in the batch, the signal among them.
        batch: which of the batches, from 1.
    """
    z, rng = unit(), torch.Generator().manual_seed(1000 * batch_size + batch)
    others = z[torch.randperm(len(z), generator=rng)[: batch_size - 1]]
    x = torch.cat([torch.tensor([OURS]), others])[:, None]
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
        title=f"our signal, {OURS}, becomes {hat[0]:.2f}",
    )
    return fig


def two_maps(result: Result, metric: str, epoch: int) -> Figure:
    """An accuracy over learning rate and gain without and with batch norm, at one of the measured
    epochs.
    """
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


def widths(trains: pd.DataFrame, arms: Sequence, axis: str) -> pd.Series:
    """How many decades of ``axis`` train, seed by seed: half a decade for each arm that does.

    Args:
        trains: one row a seed, one column an arm, whether it trains.
        arms: those that lie along the axis, half a decade from each other.
        axis: their value's name, to check that they do.

    Raises:
        ValueError: if the arms are not half a decade apart.
    """
    steps = np.diff(np.log10([arm.values[axis] for arm in arms]))
    if not np.allclose(steps, 0.5, atol=1e-6):
        raise ValueError(f"the arms' {axis} lie {steps} decades apart; each step must be 0.5")
    return 0.5 * trains[[arm.name for arm in arms]].sum(axis=1)


def draw_landscape(looks: dict[str, pd.DataFrame]) -> Figure:
    """The three probes along runs, {label: a survey}: losses and changes of the gradient as bands,
    the smoothness as lines.

    The bands are those of the first two runs alone; more of them would cover each other.
    """
    fig, axes = plots.figure(3, width=10, height=3.3)
    for i, (label, table) in enumerate(looks.items()):
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


def log_ratios(looks: dict[str, pd.DataFrame], one: str, other: str, metric: str) -> pd.DataFrame:
    """log(one / other) of a probe: one row a seed, one column a step.

    Args:
        looks: {label: a survey}.
        one, other: labels.
        metric: of the survey; "loss_range" is its loss_high - loss_low, "shift" the mean over the
            layers.
    """
    wide = {
        name: looks[name].pivot_table(index=["seed", "step"], columns="metric", values="value")
        for name in (one, other)
    }
    for table in wide.values():
        table["loss_range"] = table["loss_high"] - table["loss_low"]
        table["shift"] = table[[c for c in table.columns if c.startswith("shift")]].mean(axis=1)
    return np.log(wide[one][metric] / wide[other][metric]).unstack("step")


class Log(NamedTuple):
    """What one unit of a batch norm layer saw in training, and what it made of a test batch in eval
    mode.
    """

    batches: Tensor
    """(T, B, 1) the training batches in their order."""
    x: Tensor
    """(N, 1) the test batch."""
    out: Tensor
    """(N, 1) what the layer put out for it."""
    momentum: float


PATIENTS = {"A": "momentum_swapped", "B": "train_mode", "C": "healthy"}
"""What is wrong with each patient's code. Do not peek before you have diagnosed."""


def patients(momentum: float = 0.1) -> dict[str, Log]:
    """Three codes that claim to be batch norm, on one unit: 12 training batches of 20 signals, then
    a test batch of one class.
    """
    z, dataset = unit(), datasets.load("mnist1d")
    batches = z[:240].view(12, 20, 1).double()
    x = z[1000:2000][dataset.y_train[1000:2000].cpu() == 3][:40, None].double()
    outputs = faults.suspects(batches, x, momentum)
    return {name: Log(batches, x, outputs[fault], momentum) for name, fault in PATIENTS.items()}


def draw_patients(logs: dict[str, Log]) -> Figure:
    """What each patient's layer puts out, over what went in."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        order = log.x[:, 0].argsort()
        ax.plot(log.x[order, 0], log.out[order, 0], label=f"patient {name}", **plots.look(i))
    ax.set(
        xlabel="into the layer",
        ylabel="out of the layer",
        title="Three codes, one promise: batch norm in eval mode",
    )
    ax.legend()
    return fig
