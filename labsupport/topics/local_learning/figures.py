"""Draw GMDH's fits of a ring, and which loss reaches which layer."""

import torch
from matplotlib.figure import Figure

from labsupport import plots
from labsupport.topics.local_learning import experiments
from labsupport.topics.local_learning import reference as ll


def draw_ring(layers: int = 1, noise: float = 0.1) -> Figure:
    """Draw the fit of a layer's best neuron beside the ring."""
    network = experiments.grow_on_ring(noise)
    part = network[:layers]
    side = torch.linspace(-1, 1, 61, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).reshape(-1, 2)
    truth, predicted = experiments.ring(points), ll.predict(part, points, carry=True)
    fig, axes = plots.figure(2, width=6.6, height=3.5, sharey=True)
    stopped = f"; it stopped after {len(network)}" if layers > len(network) else ""
    for ax, values, title in (
        (axes[0], truth, "the ring"),
        (
            axes[1],
            predicted,
            f"layer {len(part)}: R² = {experiments.r_squared(predicted, truth):.2f}",
        ),
    ):
        ax.imshow(
            values.reshape(61, 61).numpy(),
            origin="lower",
            extent=(-1, 1, -1, 1),
            cmap="cividis",
            vmin=-0.2,
            vmax=1.1,
        )
        ax.set(xlabel="$x_1$", title=title)
        ax.grid(False)
    axes[0].set_ylabel("$x_2$")
    fig.suptitle(
        f"{layers} layer{'s'[: layers > 1]} asked for, noise {noise:g}: selection error"
        f" {part[-1].error:.3f}{stopped}",
        fontsize=10.5,
    )
    return fig


def draw_faulty_runs(found: dict[str, experiments.Log]) -> Figure:
    """Draw for each program which loss reaches which layer."""
    fig, axes = plots.figure(len(found), width=9, height=2.9)
    for ax, (name, seen) in zip(axes, found.items(), strict=True):
        ax.imshow((seen.reach > 0).numpy(), cmap="cividis", vmin=0, vmax=1)
        for (i, j), value in zip(
            torch.cartesian_prod(*[torch.arange(len(seen.reach))] * 2).tolist(),
            seen.reach.flatten().tolist(),
            strict=True,
        ):
            ax.text(
                j,
                i,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=8.5,
                color="#111111" if value else "white",
            )
        ticks = range(len(seen.reach))
        ax.set_xticks(ticks, [f"{i + 1}" for i in ticks])
        ax.set_yticks(ticks, [f"{i + 1}" for i in ticks])
        ax.set(xlabel="loss of head", title=f"run {name}")
        ax.grid(False)
    axes[0].set_ylabel("layer")
    return fig
