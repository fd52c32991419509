"""Draw Results on Axes in one style, safe for colour-blind readers and for dark pages.

Figures have a paper-white ground of their own, so they read the same on every theme. Lines differ
in colour, dash and marker. Nothing here trains.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport import compare
from labsupport.types import Interval, Result

COLOURS = ("#0072B2", "#D55E00", "#007A57", "#9A4D86", "#8A6D00", "#444444")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
STYLE: dict[str, Any] = {
    "figure.facecolor": "#fdfdfb",
    "axes.facecolor": "#fdfdfb",
    "savefig.facecolor": "#fdfdfb",
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4de",
    "axes.edgecolor": "#555555",
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def figure(
    columns: int = 1, *, width: float | None = None, height: float = 3.4, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure in the book's style with its axes in a list.

    Args:
        columns: axes side by side.
        width, height: in inches; the width defaults to 3.6 a column, at least 5.5.
        options: passed to ``plt.subplots``: sharey, for one.
    """
    mpl.rcParams.update(STYLE)
    fig, axes = plt.subplots(
        1, columns, figsize=(width or max(5.5, 3.6 * columns), height), squeeze=False, **options
    )
    return fig, list(axes[0])


def look(i: int) -> dict:
    """Choose colour, dash and marker of the i-th line of a plot."""
    return {
        "color": COLOURS[i % 6],
        "linestyle": DASHES[i % 6],
        "marker": MARKERS[i % 6],
        "markersize": 4.5,
    }


def band(ax: Axes, x: Sequence[float], intervals: Sequence[Interval], label: str, i: int) -> None:
    """Draw a line of estimates over x inside its 95 % band."""
    ax.plot(x, [v.estimate for v in intervals], label=label, **look(i))
    ax.fill_between(
        x,
        [v.low for v in intervals],
        [v.high for v in intervals],
        color=COLOURS[i % 6],
        alpha=0.18,
        lw=0,
    )


def sweep(
    ax: Axes, result: Result, metric: str, axis: str, lines: Mapping[str, compare.Among]
) -> None:
    """Draw a metric's last value against one axis of a grid, a line with its band a choice.

    Args:
        ax: where to draw.
        result, metric: what was measured.
        axis: the name in ``Arm.values`` that varies along each line; a value of 0 is drawn at the
            left edge.
        lines: {label: which arms}. An arm with a diverged run is left out, and counted in the
            label.
    """
    table = compare.final(result, metric)
    for i, (label, among) in enumerate(lines.items()):
        arms = [arm for arm in result.arms if among(arm)]
        whole = [arm for arm in arms if table[arm.name].notna().all()]
        lost = len(arms) - len(whole)
        band(
            ax,
            _with_zero([arm.values[axis] for arm in whole]),
            [compare.interval(table[arm.name]) for arm in whole],
            label + (f" ({lost} diverged)" if lost else ""),
            i,
        )
    _log_axis_with_zero(ax, [arm.values[axis] for arm in result.arms if axis in arm.values])
    ax.set(xlabel=words(axis), ylabel=words(metric))
    ax.legend()


def curves(ax: Axes, result: Result, metric: str, arms: Mapping[str, str]) -> None:
    """Draw a metric over epochs: a line with its band for each arm, {label: arm}."""
    rows = result.table[result.table["metric"] == metric]
    for i, (label, name) in enumerate(arms.items()):
        by_epoch = rows[rows["arm"] == name].dropna().groupby("epoch")["value"]
        band(
            ax,
            list(by_epoch.groups),
            [compare.interval(values) for _, values in by_epoch],
            label,
            i,
        )
    ax.set(xlabel="epoch", ylabel=words(metric))
    ax.legend()


def heatmap(
    ax: Axes,
    cells: pd.DataFrame,
    *,
    low: float | None = None,
    high: float | None = None,
    lower_is_better: bool = False,
) -> None:
    """Draw a grid of means with the value in each cell and the best one framed.

    The best is the highest unless ``lower_is_better``; a diverged cell says so.
    """
    values = cells.to_numpy(dtype=float)
    finite = np.where(np.isfinite(values), values, np.nan)
    image = ax.imshow(finite, cmap="cividis", aspect="auto", origin="lower", vmin=low, vmax=high)
    bright = np.asarray(image.norm(finite)) > 0.55
    for (row, column), value in np.ndenumerate(values):
        light = not np.isfinite(value) or bright[row, column]
        text = "" if np.isnan(value) else "div." if np.isinf(value) else f"{value:.2f}"
        ax.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=8.5,
            color="#111111" if light else "white",
        )
    best = np.nanargmin(finite) if lower_is_better else np.nanargmax(finite)
    row, column = np.unravel_index(best, values.shape)
    ax.add_patch(
        plt.Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, ec="#D55E00", lw=2)
    )
    ax.set_xticks(range(values.shape[1]), [f"{v:.2g}" for v in cells.columns])
    ax.set_yticks(range(values.shape[0]), [f"{v:.2g}" for v in cells.index])
    ax.set(xlabel=words(str(cells.columns.name)), ylabel=words(str(cells.index.name)))
    ax.grid(False)


def words(name: str) -> str:
    """Turn a field's or a metric's name into a label."""
    known = {
        "lr": "learning rate",
        "norm2_weight1": "squared norm of the hidden weights",
        "jacobian": "Jacobian norm",
    }
    return known.get(name, name.replace("_", " "))


def _with_zero(values: Sequence[float]) -> list[float]:
    """Place values on a logarithmic axis, 0 half a decade left of the smallest positive one."""
    smallest = min(value for value in values if value > 0)
    return [value if value > 0 else smallest / 10**0.5 for value in values]


def _log_axis_with_zero(ax: Axes, values: Sequence[float]) -> None:
    ticks = sorted(set(values))
    ax.set_xscale("log")
    ax.set_xticks(_with_zero(ticks), [f"{value:.2g}" for value in ticks])
    ax.minorticks_off()
