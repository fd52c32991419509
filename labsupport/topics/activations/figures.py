"""Draw activations and slopes, saturated units, and the backward passes to diagnose."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import compare, plots
from labsupport.topics.activations import backprop
from labsupport.topics.activations import reference as activations
from labsupport.topics.activations.experiments import HIDDEN, Log, backward_log, network

LABELS = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
}

FITTING = {"sigmoid": "xavier_normal", "tanh": "xavier_normal", "relu": "kaiming_normal"}

SPANS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 4.0)}


def draw_functions() -> Figure:
    """Draw six activations beside their derivatives."""
    fig, axes = plots.figure(2, width=8, height=3.4)
    z = torch.linspace(-5, 5, 401, dtype=torch.float64)
    for i, (name, label) in enumerate(LABELS.items()):
        value, slope, _ = activations.ACTIVATIONS[name]
        for ax, y in zip(axes, (value(z), slope(z)), strict=True):
            ax.plot(z, y, label=label, lw=1.8, **{**plots.look(i), "marker": None})
    axes[0].set(xlabel="z", title="what comes out", ylim=(-1.2, 3))
    axes[1].set(xlabel="z", title="its slope", ylim=(-0.2, 1.3))
    axes[1].axhline(0.25, color="#777777", lw=0.8)
    axes[1].annotate("1/4", (4.5, 0.27), color="#555555")
    axes[0].legend(fontsize=8.5)
    return fig


def saturation(activation: str = "tanh", gain: float = 1.0) -> Figure:
    """Draw histograms of each hidden layer's outputs at the start, and count saturated ones.

    Weights have their fitting initialization (Xavier, for ReLU Kaiming) times the gain. Saturated
    means: a slope of less than a tenth of the steepest one.
    """
    net = network(FITTING[activation], gain)
    done = backprop.forward(net.weights, net.biases, net.x, activation)
    rule = activations.ACTIVATIONS[activation]
    fig, axes = plots.figure(HIDDEN, width=8, height=2.9, sharey=True)
    for i, (ax, z) in enumerate(zip(axes, done.zs[:-1], strict=True), start=1):
        share = (rule.slope(z) < 0.1 * rule.steepest).double().mean().item()
        _histogram(ax, rule.value(z), SPANS[activation])
        ax.set_title(f"layer {i}: {share:.0%}")
    axes[0].set_ylabel("share of outputs")
    log = backward_log(net, activation)
    fig.suptitle(
        f"{LABELS[activation]}, gain {gain:g}: saturated share by layer. The gradient that reaches"
        f" layer 1 is {log.factor.prod():.2g} times that of layer {HIDDEN}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    return fig


def _histogram(ax: Axes, values: Tensor, span: tuple[float, float]) -> None:
    counts, edges = np.histogram(values.clamp(*span).cpu(), bins=20, range=span)
    ax.bar(
        edges[:-1],
        counts / counts.sum(),
        width=np.diff(edges),
        align="edge",
        color=plots.COLOURS[0],
    )
    ax.set(xlim=span, ylim=(0, 0.6), xticks=[span[0], sum(span) / 2, span[1]])


def draw_faulty_runs(logs: dict[str, Log]) -> Figure:
    """Draw the size of each run's gradient by layer, relative to the last hidden layer."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        sizes = torch.cat([log.factor.new_ones(1), log.factor.cumprod(0)])
        ax.plot(range(len(sizes), 0, -1), sizes.cpu(), label=f"run {name}", **plots.look(i))
    ax.set(xlabel="hidden layer", ylabel="size of the gradient,\nlast layer = 1", yscale="log")
    ax.legend()
    return fig


def interval_table(name: str, rows: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Tabulate the mean of each row's values over seeds, with its interval."""
    found = {row: compare.interval(values) for row, values in rows.items()}
    table = pd.DataFrame(
        {row: (f.estimate, f.low, f.high) for row, f in found.items()}, index=["mean", "from", "to"]
    ).T
    return table.round(3).rename_axis(name)
