"""Draw a pre-activation under every mask, and the training losses of the runs to diagnose."""

from matplotlib.figure import Figure

from labsupport import plots
from labsupport.topics.dropout.experiments import FaultyRun, sums


def all_sums(units: int = 8, drop: float = 0.5) -> Figure:
    """Draw by convention a pre-activation's distribution in training and its inference value."""
    values, likely = sums(units, drop)
    fig, axes = plots.figure(2, width=7.2, height=3.3, sharey=True)
    for i, (ax, name, scale) in enumerate(
        zip(axes, ("lecture", "inverted"), (1.0, 1 / (1 - drop)), strict=True)
    ):
        spread, at_inference = scale * values, scale * (1 - drop)
        mean = (likely * spread).sum().item()
        std = (likely * (spread - mean).square()).sum().sqrt().item()
        ax.hist(
            spread,
            bins=[0.25 * k - 2.125 for k in range(33)],
            weights=likely,
            color=plots.COLOURS[i],
            alpha=0.75,
        )
        ax.axvline(at_inference, color="#222222", lw=2, label=f"inference: {at_inference:.2f}")
        ax.set(xlim=(-2.1, 6), ylim=(0, 0.9), xlabel="pre-activation $z$")
        ax.set_title(f"{name}: mean {mean:.2f}, spread {std:.2f}")
        ax.legend(loc="upper right")
    axes[0].set_ylabel("probability")
    fig.suptitle(f"{units} units, {2**units} masks, drop rate {drop:g}", fontsize=10.5)
    return fig


def draw_faulty_runs(found: dict[str, FaultyRun]) -> Figure:
    """Draw each run's training loss over its epochs."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, run) in enumerate(found.items()):
        ax.plot(
            range(1, len(run.losses) + 1),
            run.losses,
            label=f"run {name}",
            **{**plots.look(i), "marker": None},
            lw=2,
        )
    ax.set(
        xlabel="epoch",
        ylabel="training loss",
        title="Three layers, one promise: dropout with rate 0.2",
    )
    ax.legend()
    return fig
