"""Draw weights against feedback, cosines along runs, and errors of the runs to diagnose."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from labsupport import compare, plots
from labsupport.topics.feedback_alignment import experiments
from labsupport.topics.feedback_alignment import reference as fa


def draw_alignment(step: int = 10, feedback: str = "fixed", start: float = 0.0) -> Figure:
    """Draw every entry of W_2 against the entry of B that it faces, and the error so far."""
    run = experiments.run_linear(feedback, start)
    cos, loss = fa.cosine(run.uppers[step], run.feedback.mT).item(), run.losses[step]
    fig, (left, right) = plots.figure(
        2, width=6.4, height=3.0, layout="none"
    )  # laying out costs as much as drawing
    fig.subplots_adjust(left=0.11, right=0.98, bottom=0.17, top=0.9, wspace=0.32)
    left.scatter(
        run.feedback.mT.flatten(),
        run.uppers[step].flatten(),
        s=16,
        color=plots.COLOURS[0],
        zorder=3,
    )
    left.axline((0, 0), slope=1, color="#888888", lw=1, ls="--")
    left.set(xlim=(-0.9, 0.9), ylim=(-0.9, 0.9), xlabel="entry of $B^T$", ylabel="entry of $W_2$")
    left.set_title(f"step {step}: cosine {cos:.2f}, angle {fa.degrees(cos):.0f}°")
    right.plot(range(experiments.STEPS + 1), run.losses, color=plots.COLOURS[1])
    right.plot([step], [loss], "o", color="#222222")
    right.set(
        xlim=(0, experiments.STEPS), ylim=(-0.03, 1.6), xlabel="step", ylabel="relative error"
    )
    right.set_xscale("symlog", linthresh=2)
    right.set_xticks([0, 2, 10, 100], [0, 2, 10, 100])
    right.set_title(f"error {loss:.3f}")
    return fig


def draw_cosines(tracked: Mapping[str, pd.DataFrame], metrics: Mapping[str, str]) -> Figure:
    """Draw the cosines of each run, {title: its cosines}, with a band a metric."""
    fig, axes = plots.figure(len(tracked), width=7.4, height=3.4, sharey=True)
    for ax, (title, found) in zip(axes, tracked.items(), strict=True):
        for i, (label, metric) in enumerate(metrics.items()):
            by_step = found[found["metric"] == metric].groupby("step")["value"]
            plots.band(
                ax,
                list(by_step.groups),
                [compare.interval(values) for _, values in by_step],
                label,
                i,
            )
        ax.axhline(0, color="#555555", lw=1)
        ax.set(xlabel="step", title=title)
    axes[0].set_ylabel("cosine")
    axes[-1].legend(loc="upper right")
    return fig


def draw_faulty_runs(found: Mapping[str, experiments.FaultyRun]) -> Figure:
    """Draw the error of each run over its steps."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, run) in enumerate(found.items()):
        ax.plot(run.errors, label=f"run {name}", **{**plots.look(i), "marker": None}, lw=2)
    ax.set(
        xlabel="step",
        ylabel="mean squared error",
        yscale="log",
        title="Four programs, one name: feedback alignment",
    )
    ax.legend()
    return fig
