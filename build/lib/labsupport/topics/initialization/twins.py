"""Twins: hidden units that start as copies of each other, and what parts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor

from labsupport import plots, runtime, train
from labsupport.models import MLP, initialization
from labsupport.rules import weights
from labsupport.types import Recipe


@dataclass(frozen=True)
class Twins(MLP):
    """An MLP whose hidden units start as copies of each other, but for what breaks the symmetry.

    The first matrix is drawn by the initializer, which should be ``equal_rows``.

    Args:
        outgoing: how the matrices behind the first are filled. "equal": one number for each matrix,
            so that what leaves the units of a layer is equal, too; "as_drawn": by the initializer;
            "random_output": as "equal", but the last one by ``kaiming_normal``.
        perturbation: standard deviation of what is added to every weight, relative to the root mean
            square of its matrix.
    """

    outgoing: str = "equal"
    perturbation: float = 0.0

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As an MLP, then the matrices behind the first, then the perturbation."""
        params, buffers = super().init(rngs)
        for i in range(1, self.depth + 1):
            w = params[f"weight{i}"]
            if i == self.depth and self.outgoing == "random_output":
                w.copy_(
                    torch.stack(
                        [initialization.kaiming_normal(tuple(w.shape[1:]), rng) for rng in rngs]
                    )
                )
            elif i > 1 and self.outgoing != "as_drawn":
                w.copy_(w.mean(2, keepdim=True).expand_as(w))
            drawn = torch.stack(
                [torch.empty(w.shape[1:]).normal_(generator=rng) for rng in rngs]
            ).to(w.device)
            size = w.square().mean((1, 2), keepdim=True).sqrt()
            w += (
                torch.as_tensor(self.perturbation, dtype=w.dtype, device=w.device).reshape(-1, 1, 1)
                * size
                * drawn
            )
        return params, buffers


def unlikeness(recipe: Recipe, seeds: Sequence[int], steps: int) -> Tensor:
    r"""How unlike the units of each hidden layer are, at the start and after every step: (T + 1, L,
    R).

    It is the distance of the rows of a weight matrix from their mean, relative to their length:
    :math:`\lVert W - \bar W\rVert / \lVert W\rVert`. 0 for copies, near 1 for independent units.
    """
    rows = []
    with runtime.one_thread():
        for _, step in zip(
            range(steps + 1), train.iterate_steps([recipe] * len(seeds), seeds), strict=False
        ):
            hidden = [step.params[name] for name in weights(step.params)[:-1]]
            rows.append(
                torch.stack(
                    [
                        (w - w.mean(1, keepdim=True)).norm(dim=(1, 2)) / w.norm(dim=(1, 2))
                        for w in hidden
                    ]
                )
            )
    return torch.stack(rows)


def draw_unlikeness(courses: Mapping[str, Tensor]) -> Figure:
    """How unlike the units of each hidden layer become, the median over runs, one panel a layer."""
    layers = next(iter(courses.values())).shape[1]
    fig, axes = plots.figure(layers, width=8, height=3.6, sharey=True)
    for layer, ax in enumerate(axes):
        for i, (label, course) in enumerate(courses.items()):
            look = plots.look(i) | {"markevery": 100}
            ax.plot(course[:, layer].median(1).values.clamp(min=1e-18).cpu(), label=label, **look)
        ax.set(yscale="log", ylim=(1e-18, 3), xlabel="step", title=f"hidden layer {layer + 1}")
    axes[0].set_ylabel("unlikeness of the units")
    axes[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig
