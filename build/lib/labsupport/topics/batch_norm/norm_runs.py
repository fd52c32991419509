"""What batch norm does along a run: how its units move, and the theorem of Santurkar et al. on
every one of them.
"""

from collections.abc import Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport import landscape, profiles
from labsupport.stacks import Stack
from labsupport.topics.batch_norm import reference as bn
from labsupport.types import Batch, Recipe


def movement(recipe: Recipe, seeds: Sequence[int]) -> Tensor:
    """How far the mean of a hidden unit moves from step to step, in deviations of the unit, (R,),
    over units and steps.

    The units are seen in train mode, after their activation, with the noise that the step itself
    draws.
    """
    recipe, means, deviations = profiles.sized(recipe), [], []
    for step, params, batch in landscape.steps_with_batches(recipe, seeds):
        aside = {name: buffer.clone() for name, buffer in step.buffers.items()}
        hidden = torch.cat(
            recipe.model.layers(params, aside, batch.x, training=True, rngs=batch.rngs)[:-1], -1
        )
        means.append(hidden.mean(1))
        deviations.append(hidden.std(1))
    moved, spread = torch.stack(means).diff(dim=0).abs().mean(0), torch.stack(deviations).mean(0)
    alive = spread > 0
    return torch.where(alive, moved / spread.clamp_min(1e-12), 0).sum(1) / alive.sum(1)


def theorem(recipe: Recipe, seeds: Sequence[int], every: int) -> pd.DataFrame:
    """The theorem on every hidden unit along runs with batch norm, eps = 0: one row a step, layer
    and seed.

    Columns: ``units``; ``error``, the largest difference of the two sides over gamma²/sigma²
        ‖dL/dz‖²; ``slide``, the same
    with the slide's second term; ``broken``, units whose gradient is longer than the bound from
    dL/dz allows; ``literal``, units whose gradient is longer than the bound allows with the
    gradient of the network that lacks this layer's norm.
    """
    rows = []
    for step, params, batch in landscape.steps_with_batches(recipe, seeds):
        if step.t % every == 0:
            for layer in range(1, recipe.model.depth):
                rows += [
                    (step.t, layer, seed, *found)
                    for seed, found in zip(
                        seeds, _sides(params, batch, recipe.model.depth, layer), strict=True
                    )
                ]
    return pd.DataFrame(
        rows, columns=["step", "layer", "seed", "units", "error", "slide", "broken", "literal"]
    )


def _sides(params: Stack, batch: Batch, depth: int, layer: int) -> list[tuple[float, ...]]:
    """Of one layer of R runs: units, error, the slide's error, and how many units break the two
    bounds.
    """
    y, z, dy, dz = _gradients(params, batch, depth, layer)
    _, _, _, plain = _gradients(params, batch, depth, layer, without=layer)
    gamma, sigma = params[f"scale{layer}"].flatten(), y.std(0, correction=0)
    hat = (y - y.mean(0)) / sigma
    found, bound = dy.square().sum(0), bn.squared_gradient(dz, hat, gamma, sigma)
    whole = (gamma / sigma).square() * dz.square().sum(0)
    whole = torch.where(whole > 0, whole, 1)
    slides = bound + (gamma / sigma).square() * (len(y) - 1) * dz.mean(0).square()
    literal = bn.squared_gradient(plain, hat, gamma, sigma)
    columns = [
        (found - bound).abs() / whole,
        (found - slides).abs() / whole,
        found > bound + 1e-9 * whole,
        found > literal + 1e-9 * whole,
    ]
    error, slide, broken, violated = (c.view(len(batch.x), -1) for c in columns)
    return [
        (
            error.shape[1],
            error[r].max().item(),
            slide[r].max().item(),
            broken[r].sum().item(),
            violated[r].sum().item(),
        )
        for r in range(len(batch.x))
    ]


def _gradients(
    params: Stack, batch: Batch, depth: int, layer: int, without: int = 0
) -> tuple[Tensor, ...]:
    """A layer's inputs y and outputs z of batch norm and the loss's gradients in them, every unit
    of every run a channel.
    """
    with torch.enable_grad():
        h, pairs = batch.x, []
        for i in range(1, depth):
            y = torch.baddbmm(
                params[f"bias{i}"][:, None], h, params[f"weight{i}"].mT
            ).requires_grad_()
            sigma = y.std(1, correction=0, keepdim=True)
            hat = (y - y.mean(1, keepdim=True)) / sigma
            z = (
                y
                if i == without
                else params[f"scale{i}"][:, None] * hat + params[f"shift{i}"][:, None]
            )
            pairs.append((y, z))
            h = z.relu()
        logits = torch.baddbmm(params[f"bias{depth}"][:, None], h, params[f"weight{depth}"].mT)
        loss = (
            F.cross_entropy(logits.flatten(0, 1), batch.y.flatten(), reduction="sum")
            / batch.y.shape[1]
        )
        gradients = torch.autograd.grad(loss, pairs[layer - 1])
    return tuple(
        part.detach().transpose(0, 1).flatten(1) for part in (*pairs[layer - 1], *gradients)
    )
