"""Draw the paths of three optimizers over a bowl, and the logs to diagnose."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsupport import plots
from labsupport.topics.weight_decay.experiments import CURVATURE, MINIMUM, STEPS, Log, paths


def plane(lr: float, weight_decay: float) -> Figure:
    """Draw the three paths over the bowl's level lines, with both minima.

    They are those of the loss and of the penalized loss.
    """
    fig, (ax,) = plots.figure(width=5.8, height=4.0)
    _bowl(ax)
    ends = {}
    for i, (name, points) in enumerate(paths(lr, weight_decay).items()):
        ax.plot(*points.T, label=name, **{**plots.look(i), "marker": None}, lw=2)
        ax.plot(*points[-1], plots.MARKERS[i], color=plots.COLOURS[i], ms=8, mec="#fdfdfb")
        ends[name] = points[-1]
    ax.plot(*MINIMUM, "*", color="#222222", ms=13, label="minimum of the loss")
    ax.plot(
        *(CURVATURE * MINIMUM / (CURVATURE + weight_decay)),
        "X",
        color="#222222",
        ms=8,
        label="minimum with L2",
    )
    ax.legend(loc="upper left", fontsize=8.5)
    where = ", ".join(f"{name} at ({w[0]:.2f}, {w[1]:.2f})" for name, w in ends.items())
    ax.set_title(f"After {STEPS} steps\n{where}", fontsize=10)
    return fig


def _bowl(ax: Axes) -> None:
    x, y = np.meshgrid(np.linspace(-0.8, 1.4, 80), np.linspace(-0.2, 1.8, 80))
    height = 0.5 * (CURVATURE[0].item() * (x - 1) ** 2 + CURVATURE[1].item() * (y - 1) ** 2)
    ax.contour(x, y, height, levels=np.geomspace(0.01, 3, 9), colors="#c9c9c0", linewidths=0.8)
    ax.set(
        xlim=(-0.8, 1.4),
        ylim=(-0.2, 1.8),
        xlabel="$w_1$ (flat direction)",
        ylabel="$w_2$ (steep direction)",
    )


def draw_faulty_runs(logs: dict[str, Log]) -> Figure:
    """Draw the norm of each run's weights over its steps."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        ax.plot(
            log.w_after.norm(dim=1).cpu(),
            label=f"run {name}",
            **{**plots.look(i), "marker": None},
            lw=2,
        )
    ax.set(
        xlabel="step",
        ylabel="norm of the weights",
        title="Three codes, one promise: SGD with weight decay",
    )
    ax.legend()
    return fig
