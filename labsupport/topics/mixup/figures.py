"""Draw a network's predictions over the plane, and the density of Beta(α, α)."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from labsupport import plots
from labsupport.topics.mixup.experiments import (
    EDGE,
    grid_accuracy,
    trained_plane,
    unsure_share,
)

SHADES, GREEN, ORANGE = "Blues", "#007A57", "#D55E00"


def shading(data: str = "crescents", alpha: float = 1.0) -> Figure:
    """Draw p(y = 1) over the plane: without mixup on the left, with mixup on the right."""
    x, y, pictures = trained_plane(data)
    fig, axes = plots.figure(2, width=6.6, height=3.5, sharey=True)
    for ax, name, p in zip(
        axes,
        ("no mixup", f"mixup, alpha = {alpha:g}"),
        (pictures[0.0], pictures[alpha]),
        strict=True,
    ):
        _shaded(ax, x, y, p)
        right = grid_accuracy(x, y, p)
        ax.set_title(f"{name}\nunsure: {unsure_share(p):.0%} of the plane, right: {right:.0%}")
    return fig


def _shaded(ax: Axes, x: Tensor, y: Tensor, p: Tensor) -> None:
    edges = (-EDGE, EDGE, -EDGE, EDGE)
    p = p.numpy()
    ax.imshow(p, extent=edges, origin="lower", cmap=SHADES, vmin=0, vmax=1.25)
    ax.contour(p, levels=[0.5], extent=edges, colors="#222222", linewidths=1.2)
    for k, (colour, marker) in enumerate(((GREEN, "o"), (ORANGE, "^"))):
        ax.scatter(*x[y == k].T.numpy(), s=9, color=colour, marker=marker, linewidths=0)
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.grid(False)


def densities(alphas: Iterable[float] = (0.1, 0.5, 1.0, 4.0)) -> Figure:
    """Draw the density of Beta(α, α), and the weaker sample's share of a blend."""
    fig, axes = plots.figure(2, width=8, height=3.1)
    lam = np.linspace(0.002, 0.998, 499)
    shares = np.linspace(0.001, 0.5, 200)
    for i, alpha in enumerate(alphas):
        law, line = stats.beta(alpha, alpha), {**plots.look(i), "marker": None, "lw": 2}
        axes[0].plot(lam, law.pdf(lam), label=f"alpha = {alpha:g}", **line)
        axes[1].plot(shares, 2 * law.cdf(shares), label=f"alpha = {alpha:g}", **line)
    axes[0].set(xlabel=r"coefficient $\lambda$", ylabel="density", ylim=(0, 3))
    axes[1].set(
        xlabel="smaller of the two shares", ylabel="blends with less than that", ylim=(0, 1.02)
    )
    axes[0].legend(ncols=2)
    return fig
