"""Runs compared step by step, not only at their ends."""

from collections.abc import Sequence

import torch
from torch import Tensor

from labsupport import profiles, runtime, train
from labsupport.rules import hidden_weights
from labsupport.types import Recipe


def gap(one: Recipe, other: Recipe, seeds: Sequence[int], steps: int) -> Tensor:
    r"""How far two recipes drive the same runs apart:
    :math:`\lVert w_t - w'_t\rVert / \lVert w_t\rVert`, (T + 1, R).

    Args:
        one, other: recipes that differ in what is being compared; both start from the same weights.
        seeds: R runs.
        steps: T, at most as many as the recipes take.
    """
    walks = [
        train.iterate_steps([profiles.sized(recipe)] * len(seeds), seeds) for recipe in (one, other)
    ]
    rows = []
    with runtime.one_thread():
        for _, a, b in zip(range(steps + 1), *walks, strict=False):
            rows.append((a.params.flat - b.params.flat).norm(dim=1) / a.params.flat.norm(dim=1))
    return torch.stack(rows)


def norm_course(recipe: Recipe, seeds: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """The squared norm of each hidden weight matrix before every step and after the last,
    averaged over seeds: T + 1 rows.

    It is the ``course`` that FollowingSGD takes.
    """
    with runtime.one_thread():
        return tuple(
            tuple(
                step.params[name].square().flatten(1).sum(1).mean().item()
                for name in hidden_weights(step.params)
            )
            for step in train.iterate_steps([profiles.sized(recipe)] * len(seeds), seeds)
        )
