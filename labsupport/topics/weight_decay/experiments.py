"""Recipes compared step by step, three optimizers on one bowl, and three logs to diagnose."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport import datasets, profiles, runtime, train
from labsupport.rules import hidden_weights
from labsupport.topics.weight_decay import reference as wd
from labsupport.types import Recipe


def gap(one: Recipe, other: Recipe, seeds: Sequence[int], steps: int) -> Tensor:
    r"""Measure how far two recipes drive the same runs apart, step by step, (T + 1, R).

    :math:`\lVert w_t - w'_t\rVert / \lVert w_t\rVert`.

    Args:
        one, other: recipes that differ in what is being compared; both start from the same weights.
        seeds: R runs.
        steps: T, at most as many as the recipes take.
    """
    runs = [
        train.iterate_steps([profiles.sized(recipe)] * len(seeds), seeds) for recipe in (one, other)
    ]
    rows = []
    with runtime.one_thread():
        for _, a, b in zip(range(steps + 1), *runs, strict=False):
            rows.append((a.params.flat - b.params.flat).norm(dim=1) / a.params.flat.norm(dim=1))
    return torch.stack(rows)


def norm_course(recipe: Recipe, seeds: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """Average each hidden matrix's squared norm over seeds, step by step.

    There are T + 1 rows: before every step, and after the last.

    It is the ``course`` that EffectiveLRReplay takes.
    """
    with runtime.one_thread():
        return tuple(
            tuple(
                step.params[name].square().flatten(1).sum(1).mean().item()
                for name in hidden_weights(step.params)
            )
            for step in train.iterate_steps([profiles.sized(recipe)] * len(seeds), seeds)
        )


CURVATURE = torch.tensor([0.3, 6.0], dtype=torch.float64)
"""Second derivatives along the bowl's two axes: a flat one and a steep one."""

MINIMUM = torch.tensor([1.0, 1.0], dtype=torch.float64)

START = torch.tensor([-0.6, 0.2], dtype=torch.float64)

STEPS = 300


def paths(lr: float, weight_decay: float) -> dict[str, Tensor]:
    """Run SGD with decay, Adam with L2 and AdamW on a bowl: weights (T + 1, 2) by name.

    The bowl is ½ Σ cᵢ (wᵢ - 1)².
    """
    rules: dict[str, Callable] = {
        "SGD": lambda w, g, m, v, t: (wd.sgd_step(w, g, lr=lr, weight_decay=weight_decay), m, v),
        "Adam + L2": lambda *state: wd.adam_step(*state, lr=lr, weight_decay=weight_decay),
        "AdamW": lambda *state: wd.adamw_step(*state, lr=lr, weight_decay=weight_decay),
    }
    return {name: _path(rule) for name, rule in rules.items()}


def _path(rule: Callable) -> Tensor:
    w, m, v = START, torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    points = [w]
    for t in range(1, STEPS + 1):
        w, m, v = rule(w, CURVATURE * (w - MINIMUM), m, v, t)
        points.append(w)
    return torch.stack(points)


class Log(NamedTuple):
    """The log of a run of SGD with weight decay: inputs and outputs of each step."""

    w_before: Tensor
    """(T, D) weights before each step."""
    g: Tensor
    """(T, D) gradient of the loss, without any decay."""
    w_after: Tensor
    """(T, D) weights after each step."""
    lr: float
    weight_decay: float


FAULTY_RUNS = {
    "A": lambda lr, decay: 2 * lr * decay,
    "B": lambda lr, decay: lr * decay,
    "C": lambda lr, decay: decay,
}
"""The fraction of the weights that the code of each run removes in a step. Do not peek before you
have diagnosed.
"""


def faulty_runs(lr: float = 0.3, weight_decay: float = 0.02, steps: int = 80) -> dict[str, Log]:
    """Train softmax regression by three codes that all claim to be SGD with decay.

    The data are 500 signals of MNIST-1D.

    Returns:
        The log of each run by its name in :data:`FAULTY_RUNS`; one of the three is right.
    """
    dataset = datasets.load("mnist1d", train_size=500)
    x, y = dataset.x_train.double(), dataset.y_train
    return {
        name: _log(x, y, lr, weight_decay, steps, fraction(lr, weight_decay))
        for name, fraction in FAULTY_RUNS.items()
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
