"""Draw descent on a direction and a length in the plane, and losses of codes to diagnose."""

import numpy as np
from matplotlib.figure import Figure

from labsupport import plots
from labsupport.topics.weight_norm import reference as wn
from labsupport.topics.weight_norm.experiments import CURVATURE, MINIMUM, Run, descent_path


def plane(lr: float, start: float = 1.0) -> Figure:
    """Draw the weight's path over the bowl, the norm of v and the direction's learning rate."""
    found = descent_path(lr, start)
    norm = found.v.norm(dim=1)
    fig, (left, right) = plots.figure(2, width=6.6, height=3.4)
    x, y = np.meshgrid(np.linspace(-3, 3, 90), np.linspace(-3, 3, 90))
    height = 0.5 * (
        CURVATURE[0].item() * (x - MINIMUM[0].item()) ** 2
        + CURVATURE[1].item() * (y - MINIMUM[1].item()) ** 2
    )
    left.contour(x, y, height, levels=np.geomspace(0.05, 30, 9), colors="#c9c9c0", linewidths=0.8)
    left.plot(*found.w.T, color=plots.COLOURS[0], marker=".", ms=5, lw=1)
    left.plot(*found.w[0], "s", color="#222222", ms=6, label="start")
    left.plot(*MINIMUM, "*", color="#222222", ms=12, label="minimum")
    left.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="$w_1$", ylabel="$w_2$")
    left.legend(loc="lower left", fontsize=8.5)
    left.set_title(f"w ends {(found.w[-1] - MINIMUM).norm():.2g} from the minimum", fontsize=9.5)
    right.plot(norm, label="norm of v", **{**plots.look(0), "marker": None}, lw=2)
    right.plot(
        wn.effective_rate(found.v, found.g, lr),
        label="rate that the direction feels",
        **{**plots.look(1), "marker": None},
        lw=2,
    )
    right.set(yscale="log", ylim=(1e-4, 1e3), xlabel="step")
    right.legend(loc="upper right", fontsize=8.5)
    right.set_title(f"norm of v from {norm[0]:.2g} to {norm[-1]:.3g}", fontsize=9.5)
    return fig


def draw_faulty_runs(runs: dict[str, Run]) -> Figure:
    """Draw the loss of each run over its steps."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, run) in enumerate(runs.items()):
        ax.plot(run.loss.cpu(), label=f"run {name}", **{**plots.look(i), "marker": None}, lw=2)
    ax.set(xlabel="step", ylabel="training loss", title="Three codes, one promise: weight norm")
    ax.legend()
    return fig
