"""Three optimizers go down the same tilted bowl in the plane, with the same learning rate and the
same decay.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import datasets, plots
from labsupport.topics.weight_decay import reference as wd

CURVATURE = torch.tensor([0.3, 6.0], dtype=torch.float64)
"""Of the bowl's two axes: a flat one and a steep one."""
MINIMUM = torch.tensor([1.0, 1.0], dtype=torch.float64)
START = torch.tensor([-0.6, 0.2], dtype=torch.float64)
STEPS = 300


def paths(lr: float, weight_decay: float) -> dict[str, Tensor]:
    """The weights (T + 1, 2) of SGD with decay, Adam with L2 and AdamW on the bowl ½ Σ cᵢ (wᵢ -
    1)².
    """
    rules: dict[str, Callable] = {
        "SGD": lambda w, g, m, v, t: (wd.sgd_step(w, g, lr=lr, weight_decay=weight_decay), m, v),
        "Adam + L2": lambda *state: wd.adam_step(*state, lr=lr, weight_decay=weight_decay),
        "AdamW": lambda *state: wd.adamw_step(*state, lr=lr, weight_decay=weight_decay),
    }
    return {name: _walk(rule) for name, rule in rules.items()}


def _walk(rule: Callable) -> Tensor:
    w, m, v = START, torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    points = [w]
    for t in range(1, STEPS + 1):
        w, m, v = rule(w, CURVATURE * (w - MINIMUM), m, v, t)
        points.append(w)
    return torch.stack(points)


def plane(lr: float, weight_decay: float) -> Figure:
    """Draw the three paths over the bowl's level lines, with the minimum of the loss and of the
    penalized loss.
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


class Log(NamedTuple):
    """The log of a run of SGD with weight decay: what went into each step and what came out."""

    w_before: Tensor
    """(T, D) weights before each step."""
    g: Tensor
    """(T, D) gradient of the loss, without any decay."""
    w_after: Tensor
    """(T, D) weights after each step."""
    lr: float
    weight_decay: float


PATIENTS = {
    "A": lambda lr, decay: 2 * lr * decay,
    "B": lambda lr, decay: lr * decay,
    "C": lambda lr, decay: decay,
}
"""The fraction of the weights that each patient's code removes in a step. Do not peek before you
have diagnosed.
"""


def patients(lr: float = 0.3, weight_decay: float = 0.02, steps: int = 80) -> dict[str, Log]:
    """Softmax regression on 500 signals of MNIST-1D, trained by three codes that all claim to be
    SGD with decay.
    """
    dataset = datasets.load("mnist1d", train_size=500)
    x, y = dataset.x_train.double(), dataset.y_train
    return {
        name: _log(x, y, lr, weight_decay, steps, fraction(lr, weight_decay))
        for name, fraction in PATIENTS.items()
    }


def _log(x: Tensor, y: Tensor, lr: float, weight_decay: float, steps: int, fraction: float) -> Log:
    w = 0.1 * torch.randn(
        10, x.shape[1], dtype=x.dtype, generator=torch.Generator().manual_seed(0)
    ).to(x.device)
    rows = []
    for _ in range(steps):
        leaf = w.clone().requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(x @ leaf.T, y), leaf)
        after = w - lr * g - fraction * w
        rows.append((w.flatten(), g.flatten(), after.flatten()))
        w = after
    return Log(*(torch.stack(column) for column in zip(*rows, strict=True)), lr, weight_decay)


def draw_patients(logs: dict[str, Log]) -> Figure:
    """The norm of each patient's weights over its steps."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        ax.plot(
            log.w_after.norm(dim=1).cpu(),
            label=f"patient {name}",
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
