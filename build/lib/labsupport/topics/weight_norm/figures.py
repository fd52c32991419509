"""Gradient descent on a direction and a length in the plane, and three codes that all call
themselves weight norm.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import datasets, plots
from labsupport.topics.weight_norm import reference as wn

CURVATURE = torch.tensor([1.0, 4.0], dtype=torch.float64)
"""Of the bowl's two axes."""
MINIMUM = torch.tensor([1.2, 0.9], dtype=torch.float64)
ANGLE = 2.6
"""Of the first weight, in radians; its length is 1 whatever the length of v."""
STEPS = 60


class Path(NamedTuple):
    """Gradient descent on v and g, from its start on."""

    v: Tensor
    """(T + 1, 2)"""
    g: Tensor
    """(T + 1,)"""
    w: Tensor
    """(T + 1, 2)"""


def path(lr: float, start: float) -> Path:
    """STEPS steps on the bowl ½ Σ cᵢ (wᵢ - mᵢ)², from ‖v‖ = ``start`` and g = 1."""
    v = start * torch.tensor([[np.cos(ANGLE), np.sin(ANGLE)]], dtype=torch.float64)
    g = torch.ones(1, dtype=torch.float64)
    rows = [(v, g, wn.weight(v, g))]
    for _ in range(STEPS):
        dv, dg = wn.gradients(CURVATURE * (rows[-1][2] - MINIMUM), v, g)
        v, g = v - lr * dv, g - lr * dg
        rows.append((v, g, wn.weight(v, g)))
    vs, gs, ws = (torch.cat(column) for column in zip(*rows, strict=True))
    return Path(vs, gs, ws)


def plane(lr: float, start: float = 1.0) -> Figure:
    """Draw the weight's path over the bowl, and beside it the norm of v with the rate that the
    direction feels.
    """
    found = path(lr, start)
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


class Log(NamedTuple):
    """One step of a hand-written weight norm: what it was given and what it made of it."""

    v: Tensor
    """(O, D)"""
    g: Tensor
    """(O,)"""
    dw: Tensor
    """(O, D) the true gradient in the weights."""
    dv: Tensor
    """(O, D) the gradients that the code computed."""
    dg: Tensor
    """(O,)"""


PATIENTS = {"A": "norm_constant", "B": "matrix_norm", "C": "healthy"}
"""What each patient's code computes. Do not peek before you have diagnosed."""


class Course(NamedTuple):
    """A patient's run."""

    loss: Tensor
    """(T,)"""
    log: Log
    """The last step."""


def patients(lr: float = 1.0, steps: int = 150) -> dict[str, Course]:
    """Softmax regression on 500 signals of MNIST-1D under weight norm, by three codes for its
    gradients.
    """
    dataset = datasets.load("mnist1d", train_size=500)
    return {
        name: _run(dataset.x_train.double(), dataset.y_train, lr, steps, fault)
        for name, fault in PATIENTS.items()
    }


def _run(x: Tensor, y: Tensor, lr: float, steps: int, fault: str) -> Course:
    v = 0.1 * torch.randn(
        10, x.shape[1], dtype=x.dtype, generator=torch.Generator().manual_seed(0)
    ).to(x.device)
    g, code, losses = v.norm(dim=1), wn.faulty_gradients()[fault], []
    for _ in range(steps):
        w = (_matrix_weight if fault == "matrix_norm" else wn.weight)(v, g).requires_grad_()
        loss = F.cross_entropy(x @ w.T, y)
        (dw,) = torch.autograd.grad(loss, w)
        dv, dg = code(dw, v, g)
        log = Log(v, g, dw, dv, dg)
        v, g = v - lr * dv, g - lr * dg
        losses.append(loss.detach())
    return Course(torch.stack(losses), log)


def _matrix_weight(v: Tensor, g: Tensor) -> Tensor:
    return g[:, None] * v / v.norm()


def draw_patients(courses: dict[str, Course]) -> Figure:
    """The loss of each patient over its steps."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, course) in enumerate(courses.items()):
        ax.plot(
            course.loss.cpu(), label=f"patient {name}", **{**plots.look(i), "marker": None}, lw=2
        )
    ax.set(xlabel="step", ylabel="training loss", title="Three codes, one promise: weight norm")
    ax.legend()
    return fig
