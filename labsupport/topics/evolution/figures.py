"""Draw populations on a staircase, and what evolutions with a fault report."""

import numpy as np
import torch
from matplotlib.figure import Figure

from labsupport import plots
from labsupport.topics.evolution import experiments


def draw_populations(generation: int = 8, sigma: float = 0.2) -> Figure:
    """Draw both kinds of evolution after some generations, with the path of their network."""
    fig, axes = plots.figure(2, width=7.4, height=3.6, sharey=True)
    grid = torch.stack(
        torch.meshgrid(torch.linspace(-2.5, 2.5, 250), torch.linspace(-2, 2, 200), indexing="xy"),
        -1,
    )
    trajectories = {
        "genetic": experiments.run_genetic(sigma, generation),
        "strategy": experiments.run_strategy(sigma, generation),
    }
    for i, (ax, (name, run)) in enumerate(zip(axes, trajectories.items(), strict=True)):
        ax.imshow(
            experiments.staircase(grid).numpy(),
            extent=(-2.5, 2.5, -2, 2),
            origin="lower",
            aspect="auto",
            cmap="Greys",
            vmax=14,
            interpolation="nearest",
        )
        ax.grid(False)
        path = torch.stack(run.centres)
        ax.plot(*path.T, color="#222222", lw=1.5)
        ax.scatter(*run.populations[-1].T, s=16, color=plots.COLOURS[i], zorder=3)
        ax.plot(*path[-1], "*", color=plots.COLOURS[1 - i], ms=13, mec="white", zorder=4)
        ax.set(xlim=(-2.5, 2.5), ylim=(-2, 2), xlabel="$w_1$")
        ax.set_title(
            f"{name}: loss {experiments.staircase(path[-1]):.2f}, spread"
            f" {run.populations[-1].std(0).mean():.2f}"
        )
    axes[0].set_ylabel("$w_2$")
    fig.suptitle(
        f"generation {generation}, {20 * (generation + 1)} evaluations, σ = {sigma:g}",
        fontsize=10.5,
    )
    return fig


def draw_faulty_runs(found: dict[str, experiments.FaultyRun]) -> Figure:
    """Draw what each evolution believes of its best individual, left, and what is true, right."""
    fig, axes = plots.figure(2, width=8, sharey=True)
    for i, (name, run) in enumerate(found.items()):
        believed = run.log.used.masked_fill(run.log.chosen == 0, np.inf).amin(1)
        for ax, course in zip(axes, (believed, run.truth), strict=True):
            ax.plot(range(2, len(course) + 2), course, **{**plots.look(i), "marker": None})
            ax.set(xlabel="generation", yscale="log", xlim=(0, len(course) + 2))
            ax.set_yticks([0.3, 0.5, 1, 2, 4, 7], ["0.3", "0.5", "1", "2", "4", "7"])
            ax.minorticks_off()
    axes[0].set(ylabel="loss of the elite", title="on the batch, as the log has it")
    axes[1].set(title="on all data")
    fig.legend(
        axes[0].lines,
        [f"run {name}" for name in found],
        loc="outside upper center",
        ncols=len(found),
    )
    return fig
