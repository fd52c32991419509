"""Draw descent in a narrow valley, steps by condition number, and drift in a pipeline."""

import math

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import compare, plots
from labsupport.topics.standardization import reference as sd
from labsupport.topics.standardization.experiments import Log

CORRELATION = 0.5
"""Of the explorer's two columns."""

START = 1.2
"""How far from the minimum the explorer's descent begins."""

SHOWN = 40
"""Steps that the explorer draws."""


def draw_convergence(steps_by_label: dict[str, pd.DataFrame]) -> Figure:
    """Draw steps against the condition number, from two starts, with the prediction.

    The starts are the worst one and zero.
    """
    fig, (ax,) = plots.figure(width=6.2, height=3.8)
    kappas = np.geomspace(1, 3e12, 200)
    ax.plot(
        kappas,
        [sd.steps_needed(kappa, 1000) for kappa in kappas],
        color="#777777",
        lw=1,
        label="predicted",
    )
    for i, (label, steps) in enumerate(steps_by_label.items()):
        for j, start in enumerate(("worst start", "from zero")):
            look = {
                **plots.look(2 * i + j),
                "linestyle": "",
                "markersize": 7,
                "fillstyle": ("full", "none")[j],
            }
            ax.plot(steps["condition number"], steps[start], **look, label=f"{start}, {label}")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="condition number",
        ylabel="steps to a thousandth of the distance",
        title="Every step was taken",
    )
    ax.legend(fontsize=8.5)
    return fig


def valley(scale_ratio: float = 5.0, rate: float = 1.0) -> Figure:
    """Draw descent on the bowl of two columns, and on the standardized one.

    The first column is in units ``scale_ratio`` times as large.
    """
    units = torch.tensor([scale_ratio, 1.0], dtype=torch.float64)
    plain = torch.tensor([[1.0, CORRELATION], [CORRELATION, 1.0]], dtype=torch.float64)
    fig, axes = plots.figure(2, width=7.4, height=4.1)
    for ax, name, h in zip(
        axes, ("as measured", "standardized"), (units[:, None] * plain * units, plain), strict=True
    ):
        values, vectors = torch.linalg.eigh(h)
        error = START * (vectors[:, 0] + vectors[:, 1]) / math.sqrt(2)
        lr = rate * sd.best_rate(values)
        _bowl(ax, h, error)
        ax.plot(*_path(error, h, lr).T, "o-", color=plots.COLOURS[1], ms=3, lw=1.2)
        ax.plot(0, 0, "*", color="#222222", ms=12)
        steps = _steps(error, h, lr, values)
        ax.set_title(
            f"{name}: κ = {values[1] / values[0]:.3g}\nsteps to a hundredth: {steps}", fontsize=10
        )
    return fig


def _path(error: Tensor, h: Tensor, lr: Tensor) -> Tensor:
    points = [error]
    for _ in range(SHOWN):
        points.append(sd.gradient_step(points[-1], h, torch.zeros_like(error), lr=lr))
    return torch.stack(points)


def _steps(error: Tensor, h: Tensor, lr: Tensor, values: Tensor) -> str:
    return (
        str(sd.steps_taken(error, h, lr=lr, factor=100))
        if lr * values[1] < 2 - 1e-9
        else "never, it diverges"
    )


def _bowl(ax: Axes, h: Tensor, error: Tensor) -> None:
    x, y = np.meshgrid(np.linspace(-2, 2, 81), np.linspace(-2, 2, 81))
    height = 0.5 * (h[0, 0].item() * x**2 + 2 * h[0, 1].item() * x * y + h[1, 1].item() * y**2)
    top = 0.5 * (error @ h @ error).item()
    ax.contour(
        x,
        y,
        height,
        levels=top * np.array([0.01, 0.05, 0.15, 0.4, 1.0, 2.0]),
        colors="#b9b9b0",
        linewidths=0.8,
    )
    ax.set(
        xlim=(-2, 2),
        ylim=(-2, 2),
        xlabel="$w_1$ minus its best value",
        ylabel="$w_2$ minus its best value",
    )
    ax.set_aspect("equal")


def draw_drift(by_drift: dict[float, pd.DataFrame], by_share: dict[float, pd.DataFrame]) -> Figure:
    """Draw accuracy against drift and against the malignant share, for two ways to standardize.

    The share is that of the tumours in the test part.
    """
    fig, axes = plots.figure(2, width=8, sharey=True)
    for ax, found, label in zip(
        axes,
        (by_drift, by_share),
        (
            "offset of the second instrument, in deviations",
            "share of malignant tumours in the test part",
        ),
        strict=True,
    ):
        for i, way in enumerate(("training statistics", "each part by its own")):
            plots.band(
                ax, list(found), [compare.interval(table[way]) for table in found.values()], way, i
            )
        ax.set(xlabel=label, ylabel="test accuracy")
    axes[0].legend()
    axes[0].set_title("the instrument drifts")
    axes[1].set_title("the mix of cases changes")
    return fig


def draw_faulty_runs(logs: dict[str, Log]) -> Figure:
    """Draw the mean of each standardized column of the test part, run by run."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        ax.plot(log.z_test.mean(0).cpu(), label=f"run {name}", **{**plots.look(i), "linestyle": ""})
    ax.set(
        xlabel="column",
        ylabel="mean in the test part",
        title="Three codes, one promise: standardized inputs",
    )
    ax.legend()
    return fig
