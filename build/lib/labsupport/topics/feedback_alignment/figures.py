"""A linear network that learns through random feedback, which layers leave zero and when, and logs
to diagnose.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import plots

# feedback alignment is chapter 3's backpropagation with other matrices on the way back
from labsupport.topics.activations import backprop
from labsupport.topics.feedback_alignment import reference as fa

# -- a linear network ------------------------------------------------------------------------------

INPUTS, HIDDEN, OUTPUTS, SAMPLES, STEPS, RATE = 8, 12, 4, 40, 400, 0.1
FEEDBACKS = ("fixed", "redrawn", "transposed")


class Walk(NamedTuple):
    """A run of the toy: after each step, counted from 0."""

    uppers: list[Tensor]
    """W_2, (K, H)."""
    losses: list[float]
    """The mean squared error, relative to that of an output of zero."""
    feedback: Tensor
    """B, (H, K): the first one drawn."""


@cache
def walk(feedback: str, start: float) -> Walk:
    """Learn a linear map: the network, its data and B come from one seed.

    Args:
        feedback: "fixed": through B; "redrawn": through a matrix drawn in every step; "transposed":
            through W_2 transposed.
        start: deviation of the entries of both weights at the start, before the division by
            √fan_in.
    """
    rng = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    x, target, b = (
        normal(SAMPLES, INPUTS),
        normal(OUTPUTS, INPUTS) / INPUTS**0.5,
        normal(HIDDEN, OUTPUTS) / HIDDEN**0.5,
    )
    y = x @ target.mT
    w1, w2 = (
        start * normal(HIDDEN, INPUTS) / INPUTS**0.5,
        start * normal(OUTPUTS, HIDDEN) / HIDDEN**0.5,
    )
    uppers, losses = [], []
    for _ in range(STEPS + 1):
        uppers.append(w2)
        losses.append(((x @ w1.mT @ w2.mT - y).square().sum() / y.square().sum()).item())
        back = {"fixed": b, "redrawn": normal(HIDDEN, OUTPUTS) / HIDDEN**0.5, "transposed": w2.mT}[
            feedback
        ]
        w1, w2 = fa.linear_steps(w1, w2, [back], x, y, lr=RATE / SAMPLES)
    return Walk(uppers, losses, b)


def align(step: int = 10, feedback: str = "fixed", start: float = 0.0) -> Figure:
    """Every entry of W_2 against the entry of B that it faces, and the error so far."""
    run = walk(feedback, start)
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
    right.plot(range(STEPS + 1), run.losses, color=plots.COLOURS[1])
    right.plot([step], [loss], "o", color="#222222")
    right.set(xlim=(0, STEPS), ylim=(-0.03, 1.6), xlabel="step", ylabel="relative error")
    right.set_xscale("symlog", linthresh=2)
    right.set_xticks([0, 2, 10, 100], [0, 2, 10, 100])
    right.set_title(f"error {loss:.3f}")
    return fig


# -- from zero -------------------------------------------------------------------------------------


def first_moves(
    activation: str, rule: str, biases: bool, depth: int = 4, steps: int = 6
) -> list[int | None]:
    """The step in which each weight matrix of a network of zeros moves for the first time, None if
    it has not by the end.

    Args:
        activation: of the hidden layers.
        rule: backprop | fa | dfa.
        biases: whether biases learn, from zero; else there are none.
        depth: weight matrices.
        steps: gradient steps that are taken.
    """
    rng = torch.Generator().manual_seed(0)
    sizes = [6, *[5] * (depth - 1), 3]
    x = torch.randn(20, 6, generator=rng, dtype=torch.float64)
    y = torch.arange(20).clamp(max=10) % 3
    shapes = list(zip(sizes[1:], sizes, strict=False))
    ws, bs = (
        [torch.zeros(*shape[:axes], dtype=torch.float64) for shape in shapes] for axes in (2, 1)
    )
    matrices = [
        torch.randn(i, o, generator=rng, dtype=torch.float64)
        for o, i in (shapes[1:] if rule != "dfa" else [(3, o) for o, _ in shapes[:-1]])
    ]
    moved: list[int | None] = [None] * depth
    for step in range(1, steps + 1):
        by_weight, by_bias = _steps(rule, ws, bs, matrices, x, y, activation)
        moved = [
            m or (step if bool(g.any()) else None) for m, g in zip(moved, by_weight, strict=True)
        ]
        ws = [w - 0.1 * g for w, g in zip(ws, by_weight, strict=True)]
        bs = [b - 0.1 * g * biases for b, g in zip(bs, by_bias, strict=True)]
    return moved


def _steps(
    rule: str,
    ws: Sequence[Tensor],
    bs: Sequence[Tensor],
    matrices: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    activation: str,
) -> tuple[list[Tensor], list[Tensor]]:
    done = backprop.forward(ws, bs, x, activation)
    error = backprop.cross_entropy_slope(done.zs[-1], y)
    if rule == "backprop":
        return backprop.backward(ws, done, error, activation)
    return {"fa": fa.fa_backward, "dfa": fa.dfa_backward}[rule](matrices, done, error, activation)


# -- patients --------------------------------------------------------------------------------------

PATIENTS = {"A": "redrawn", "B": "feedback_alignment", "C": "sign_symmetric", "D": "direct"}
"""Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """What was seen at the middle layer of a linear network in its last steps; the arguments of
    ``diagnose``.
    """

    weights: list[Tensor]
    feedback: list[Tensor]
    vs: list[Tensor]
    errors: list[Tensor]
    sent: list[Tensor]


_MATRICES = (
    [[1.0, 2.0], [-1.0, 1.0]],
    [[2.0, -1.0], [1.0, 3.0]],
    [[-1.0, 1.0], [2.0, -3.0]],
    [[0.5, 2.0], [3.0, 1.0]],
)
_VECTORS = ([1.0, 2.0], [2.0, -1.0], [-3.0, 1.0], [1.0, 0.0])
_RULES = (
    *fa.WAYS.items(),
    ("redrawn", fa.WAYS["feedback_alignment"]),
    ("unknown", lambda w, b, v, e: w @ v),
    ("unknown", lambda w, b, v, e: 2 * b @ v),
)


def two_steps(rule: int, picks: Sequence[int], rounding: float = 0.0) -> tuple[str, Log]:
    """A log small enough to check by hand, and the rule that left it.

    The rule depends on all picks, so that logs which resemble each other are logs of different
    rules.

    Args:
        rule: any whole number.
        picks: of the matrices W, W, B, B and of the vectors v, v, e, e, one of four each.
        rounding: relative, of what arrived: it was computed in another order of operations.
    """
    name, way = _RULES[(rule + sum((i + 1) * pick for i, pick in enumerate(picks))) % len(_RULES)]
    w, b = (
        [torch.tensor(_MATRICES[pick], dtype=torch.float64) for pick in pair]
        for pair in (picks[:2], picks[2:4])
    )
    v, e = (
        [torch.tensor(_VECTORS[pick], dtype=torch.float64) for pick in pair]
        for pair in (picks[4:6], picks[6:])
    )
    b = b if name == "redrawn" else [b[0], b[0].clone()]
    sent = [way(*seen) * (1 + rounding) for seen in zip(w, b, v, e, strict=True)]
    return name, Log(w, b, v, e, sent)


class Patient(NamedTuple):
    log: Log
    course: list[float]
    """The error after each step."""


def patients(width: int = 4, steps: int = 300) -> dict[str, Patient]:
    """Four codes that train the same linear network of three layers, all of them called feedback
    alignment by their authors.
    """
    return {name: _patient(kind, width, steps) for name, kind in PATIENTS.items()}


def _patient(kind: str, n: int, steps: int, lr: float = 0.05) -> Patient:
    rng = torch.Generator().manual_seed(2)
    x, target, b2, b3, *ws = (
        torch.randn(rows, n, generator=rng, dtype=torch.float64) / (n**0.5 if rows == n else 1.0)
        for rows in (30, *[n] * 6)
    )
    ws, log, course = [0.5 * w for w in ws], Log([], [], [], [], []), []
    for _ in range(steps):
        h1, h2 = x @ ws[0].mT, x @ ws[0].mT @ ws[1].mT
        e = (h2 @ ws[2].mT - x @ target.mT) / len(x)
        course.append((e * len(x)).square().mean().item())
        if kind == "redrawn":
            b2 = torch.randn(n, n, generator=rng, dtype=torch.float64) / n**0.5
        v2 = e @ b3.mT
        sent = {"direct": e @ b2.mT, "sign_symmetric": v2 @ (b2.abs() * ws[1].mT.sign()).mT}.get(
            kind, v2 @ b2.mT
        )
        for entries, seen in zip(log, (ws[1], b2, v2[0], e[0], sent[0]), strict=True):
            entries.append(seen)
        ws = [w - lr * v.mT @ h for w, v, h in zip(ws, (sent, v2, e), (x, h1, h2), strict=True)]
    return Patient(Log(*(entries[-3:] for entries in log)), course)


def draw_patients(found: dict[str, Patient]) -> Figure:
    """Each patient's error over its steps."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, patient) in enumerate(found.items()):
        ax.plot(patient.course, label=f"patient {name}", **{**plots.look(i), "marker": None}, lw=2)
    ax.set(
        xlabel="step",
        ylabel="mean squared error",
        yscale="log",
        title="Four codes, one name: feedback alignment",
    )
    ax.legend()
    return fig
