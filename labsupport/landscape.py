"""The loss and its gradient around the steps of a run: the probes of Santurkar et al. (2018).

Everything is taken on the batch of the step itself and in train mode, as the optimizer sees it.
Nothing here changes the run.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor

from labsupport import profiles, rules, runtime, train
from labsupport.stacks import Stack, stacked
from labsupport.types import Batch, Net, Recipe, Step


def loss_and_gradient(
    net: Net, params: Stack, buffers: dict[str, Tensor], batch: Batch
) -> tuple[Tensor, Stack]:
    """Compute loss (R,) and gradient on a batch; buffers and streams stay unchanged."""
    aside = {name: buffer.clone() for name, buffer in buffers.items()}
    streams = batch.streams.clone()
    gradient = params.like()
    loss = rules.gradients(net, params, aside, batch._replace(streams=streams), gradient)
    return loss, gradient


def along_gradient(
    net: Net, params: Stack, buffers: dict[str, Tensor], batch: Batch, rates: Sequence[float]
) -> dict[str, Tensor]:
    r"""Measure loss and gradient at :math:`w - \eta\nabla L(w)` for several rates.

    Args:
        net, params, buffers, batch: where R runs stand, and what they see there.
        rates: S step sizes :math:`\eta > 0`.

    Returns:
        ``loss`` (S, R); ``predictiveness`` (S, R), the distance
        :math:`\lVert\nabla L(w) - \nabla L(w-\eta\nabla L)\rVert` between the gradient here and
        there; ``smoothness`` (R,), the largest of these distances over the length of the step.

    Raises:
        ValueError: if there is no rate, or one is not positive.

    Source: Santurkar et al. (2018), section 3.2 and figure 4.
    """
    if not rates or min(rates) <= 0:
        raise ValueError(f"rates are {list(rates)}; give at least one, each above 0")
    _, here = loss_and_gradient(net, params, buffers, batch)
    losses, distances = [], []
    for rate in rates:
        there = Stack(params.flat - rate * here.flat, params.shapes)
        loss, gradient = loss_and_gradient(net, there, buffers, batch)
        losses.append(loss)
        distances.append((gradient.flat - here.flat).norm(dim=1))
    length = torch.tensor(rates, dtype=here.flat.dtype, device=here.flat.device)[
        :, None
    ] * here.flat.norm(dim=1)
    moved = torch.stack(distances)
    return {
        "loss": torch.stack(losses),
        "predictiveness": moved,
        "smoothness": (moved / length).amax(0),
    }


def covariate_shift(
    net: Net, before: Stack, after: Stack, buffers: dict[str, Tensor], batch: Batch
) -> dict[str, Tensor]:
    r"""Measure how a layer's gradient changes when the layers below it have taken their step.

    .. math::
        \lVert G_{t,i} - G'_{t,i}\rVert, \qquad
        G_{t,i} = \nabla_{W_i} L(W_1^t, \dots, W_k^t), \qquad
        G'_{t,i} = \nabla_{W_i} L(W_1^{t+1}, \dots, W_{i-1}^{t+1}, W_i^t, \dots, W_k^t)

    Args:
        net, buffers, batch: as in :func:`along_gradient`.
        before, after: the parameters before a step and after it.

    Returns:
        For each layer i from the second on: ``shift<i>`` (R,), relative to the length of G, and
        ``cosine<i>`` (R,) between the two gradients.

    Source: Santurkar et al. (2018), Definition 2.1.
    """
    _, gradient = loss_and_gradient(net, before, buffers, batch)
    mixed, found = Stack(before.flat.clone(), before.shapes), {}
    for i in range(1, len(rules.weights(before))):
        for name in before:
            if name.rstrip("0123456789") + str(i) == name:
                mixed[name].copy_(after[name])
        _, moved = loss_and_gradient(net, mixed, buffers, batch)
        old, new = gradient[f"weight{i + 1}"].flatten(1), moved[f"weight{i + 1}"].flatten(1)
        found[f"shift{i + 1}"] = (old - new).norm(dim=1) / old.norm(dim=1)
        found[f"cosine{i + 1}"] = torch.cosine_similarity(old, new, dim=1)
    return found


def steps_with_batches(recipe: Recipe, seeds: Sequence[int]) -> Iterator[tuple[Step, Stack, Batch]]:
    """Yield every step's state, with a copy of the parameters and the batch of the next step."""
    dataset = train.load(recipe)
    steps = train.iterate_steps([recipe] * len(seeds), seeds, dataset)
    for step, (_, batch) in zip(
        steps, train.batches([recipe] * len(seeds), seeds, dataset), strict=False
    ):
        yield step, Stack(step.params.flat.clone(), step.params.shapes), batch


def survey(
    recipe: Recipe, seeds: Sequence[int], rates: Sequence[float], every: int = 10
) -> pd.DataFrame:
    """Tabulate the landscape along R runs: step, seed, metric, value, every so many steps.

    Args:
        recipe: of all runs.
        seeds: one run each.
        rates: for ``along_gradient``.
        every: steps between two looks.

    Returns:
        A tidy table with the metrics ``loss_low``, ``loss_high``, ``predictiveness_low``,
        ``predictiveness_high`` (the least and the most over the rates), ``smoothness`` and, from
        one step to the next, ``shift<i>`` and ``cosine<i>``.
    """
    recipe = profiles.sized(recipe)
    net = stacked([recipe.model], runtime.device())
    rows = []
    with runtime.one_thread():
        for (step, before, batch), (_, after, _) in pairwise(steps_with_batches(recipe, seeds)):
            if step.t % every == 0:
                found = _look(net, before, after, step.buffers, batch, rates)
                rows += [
                    (step.t, seed, name, value.item())
                    for name, values in found.items()
                    for seed, value in zip(seeds, values, strict=True)
                ]
    return pd.DataFrame(rows, columns=["step", "seed", "metric", "value"])


def _look(
    net: Net,
    before: Stack,
    after: Stack,
    buffers: dict[str, Tensor],
    batch: Batch,
    rates: Sequence[float],
) -> dict[str, Tensor]:
    ahead = along_gradient(net, before, buffers, batch, rates)
    found = {"smoothness": ahead["smoothness"]}
    for name in ("loss", "predictiveness"):
        found |= {f"{name}_low": ahead[name].amin(0), f"{name}_high": ahead[name].amax(0)}
    return found | covariate_shift(net, before, after, buffers, batch)
