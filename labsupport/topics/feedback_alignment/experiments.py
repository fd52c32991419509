"""Runs of feedback alignment with their angles, and logs of one layer to diagnose."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from labsupport import compare, profiles, runtime, train
from labsupport.models import patches
from labsupport.rules import gradients
from labsupport.streams import Streams

# feedback alignment is chapter 3's backpropagation with other matrices on the way back
from labsupport.topics.activations import backprop
from labsupport.topics.feedback_alignment import reference as fa
from labsupport.types import Batch, Interval, Recipe

# -- a linear network ------------------------------------------------------------------------------

INPUTS, HIDDEN, OUTPUTS, SAMPLES, STEPS, RATE = 8, 12, 4, 40, 400, 0.1
FEEDBACKS = ("fixed", "redrawn", "transposed")


class LinearRun(NamedTuple):
    """A run of the linear network, measured after each step, counted from 0."""

    uppers: list[Tensor]
    """W_2, (K, H)."""
    losses: list[float]
    """The mean squared error, relative to that of an output of zero."""
    feedback: Tensor
    """B, (H, K): the first one drawn."""


@cache
def run_linear(feedback: str, start: float) -> LinearRun:
    """Learn a linear map: the network, its data and B come from one seed.

    Args:
        feedback: "fixed": through B; "redrawn": through a matrix drawn in every step; "transposed":
            through W_2 transposed.
        start: standard deviation of the entries of both weights at the start, before the division
            by √fan_in.
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
    return LinearRun(uppers, losses, b)


# -- from zero -------------------------------------------------------------------------------------


def first_moves(
    activation: str, rule: str, biases: bool, depth: int = 4, steps: int = 6
) -> list[int | None]:
    """Find the step in which each weight matrix first moves from zero; None if none does.

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


# -- angles along a run ---------------------------------------------------------------------------

ROWS = 500
"""Training samples that the steps are compared on."""


def track_cosines(recipe: Recipe, seeds: Sequence[int], every: int = 30) -> pd.DataFrame:
    """Train, and measure cosines at the start and after every so many steps.

    Metrics: ``gradient1`` ..., of each layer but the last, between what the rule steps along and
    the true gradient; ``matrix2`` ..., of each layer but the first, between its feedback matrix and
    its transposed weights; and ``loss``.

    Args:
        recipe: its rule steps along a FeedbackAlignment; trained, as by ``study``, at the size of
            the profile.
        seeds: R runs.
        every: steps between two measurements.

    Returns:
        Tidy, with columns step, seed, metric, value.
    """
    recipe = profiles.sized(recipe)
    dataset, source, rows = train.load(recipe), recipe.rule.gradient, []
    steps = recipe.epochs * train.steps_in_epoch(recipe, dataset)
    with runtime.one_thread(), torch.no_grad():
        for step in train.iterate_steps([recipe] * len(seeds), seeds, dataset):
            if step.t == 0:
                # the matrices that the run itself has: drawn from the same seeds
                feedback = source.init(recipe.model, step.params, Streams(seeds, "rule"))
            if step.t % every == 0 or step.t == steps:
                for metric, values in _cosines(recipe, step, feedback, seeds, dataset).items():
                    rows += [
                        (step.t, seed, metric, value)
                        for seed, value in zip(seeds, values.tolist(), strict=True)
                    ]
    return pd.DataFrame(rows, columns=["step", "seed", "metric", "value"])


def _cosines(
    recipe: Recipe, step, feedback: dict[int, Tensor], seeds: Sequence[int], dataset
) -> dict[str, Tensor]:
    net, params, runs = recipe.model, step.params, len(seeds)
    x, y = dataset.x_train[:ROWS].to(params.flat.dtype), dataset.y_train[:ROWS]
    batch = Batch(
        x.expand(runs, *x.shape),
        y.expand(runs, -1),
        1,
        1.0,
        Streams(seeds, "look"),
    )
    taken, true = params.like(), params.like()
    loss = gradients(net, params, step.buffers, batch, true)
    recipe.rule.gradient(net, params, step.buffers, feedback, batch, taken)
    names = [f"weight{layer}" for layer in range(1, net.depth + 1)]
    found = {
        f"gradient{i}": cosines(taken[name], true[name])
        for i, name in enumerate(names[:-1], start=1)
    }
    matrices = {
        f"matrix{i}": cosines(feedback[i].mT, patches.matrix(params[f"weight{i}"]))
        for i in feedback
    }
    return found | matrices | {"loss": loss}


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Compute the cosine between a[r] and b[r] for every run, (R,); 0 where one of them is zero."""
    return torch.nan_to_num(torch.cosine_similarity(a.flatten(1), b.flatten(1)))


def change(found: pd.DataFrame, metrics: Sequence[str]) -> Interval:
    """Average the last value minus the first over these metrics, with its interval over seeds."""
    rows = found[found["metric"].isin(metrics)]
    mean = rows.groupby(["seed", "step"])["value"].mean().unstack()
    return compare.interval(mean.iloc[:, -1] - mean.iloc[:, 0])


# -- logs of one layer to diagnose -----------------------------------------------------------------

FAULTY_RUNS = {"A": "redrawn", "B": "feedback_alignment", "C": "sign_symmetric", "D": "direct"}
"""Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """The arguments of ``diagnose``: the last steps at the middle layer of a linear network."""

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
    """Make a log small enough to check by hand, and name the rule that left it.

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


class FaultyRun(NamedTuple):
    """A run of a linear network: its log and its error."""

    log: Log
    errors: list[float]
    """The error after each step."""


def faulty_runs(width: int = 4, steps: int = 300) -> dict[str, FaultyRun]:
    """Run four programs that their authors call feedback alignment on one linear network.

    It has three layers.
    """
    return {name: _run(kind, width, steps) for name, kind in FAULTY_RUNS.items()}


def _run(kind: str, n: int, steps: int, lr: float = 0.05) -> FaultyRun:
    rng = torch.Generator().manual_seed(2)
    x, target, b2, b3, *ws = (
        torch.randn(rows, n, generator=rng, dtype=torch.float64) / (n**0.5 if rows == n else 1.0)
        for rows in (30, *[n] * 6)
    )
    ws, log, errors = [0.5 * w for w in ws], Log([], [], [], [], []), []
    for _ in range(steps):
        h1, h2 = x @ ws[0].mT, x @ ws[0].mT @ ws[1].mT
        e = (h2 @ ws[2].mT - x @ target.mT) / len(x)
        errors.append((e * len(x)).square().mean().item())
        if kind == "redrawn":
            b2 = torch.randn(n, n, generator=rng, dtype=torch.float64) / n**0.5
        v2 = e @ b3.mT
        sent = {"direct": e @ b2.mT, "sign_symmetric": v2 @ (b2.abs() * ws[1].mT.sign()).mT}.get(
            kind, v2 @ b2.mT
        )
        for entries, seen in zip(log, (ws[1], b2, v2[0], e[0], sent[0]), strict=True):
            entries.append(seen)
        ws = [w - lr * v.mT @ h for w, v, h in zip(ws, (sent, v2, e), (x, h1, h2), strict=True)]
    return FaultyRun(Log(*(entries[-3:] for entries in log)), errors)
