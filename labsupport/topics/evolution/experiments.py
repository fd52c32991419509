"""What the chapter on evolution trains beside the common recipes: hard thresholds with a borrowed
slope, steps to a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from labsupport import compare, profiles, rules, runtime
from labsupport.models import MLP
from labsupport.models.layers import ACTIVATIONS
from labsupport.stacks import Stack
from labsupport.study import grid, study
from labsupport.types import Arm, Batch, Dataset, Net, Recipe, Rule


@dataclass(frozen=True)
class StraightThrough:
    """A gradient estimator for one hidden layer of hard thresholds: the backward pass takes them
    for z cut off at -1 and 1.

    It is no gradient of anything. Run by run it is what autograd finds for ``soft + (sign(z) -
    soft).detach()``.
    """

    def init(self, net: Net, params: Stack, rngs: Sequence[Generator]) -> None:
        """It keeps nothing."""

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: None,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """The loss of each run (R,), with the borrowed slopes written to ``out``."""
        x = batch.x.flatten(2)
        z = torch.baddbmm(params["bias1"][:, None], x, params["weight1"].mT)
        h = ACTIVATIONS["sign"](z)
        logs = torch.log_softmax(
            torch.baddbmm(params["bias2"][:, None], h, params["weight2"].mT), -1
        )
        right = torch.nn.functional.one_hot(batch.y, logs.shape[-1]).to(logs.dtype)
        v = (logs.exp() - right) / batch.y.shape[1]
        torch.bmm(v.mT, h, out=out["weight2"])
        torch.sum(v, 1, out=out["bias2"])
        v = torch.bmm(v, params["weight2"]) * (z.abs() <= 1)
        torch.bmm(v.mT, x, out=out["weight1"])
        torch.sum(v, 1, out=out["bias1"])
        return -(logs * right).sum(-1).mean(1)


def parameters(recipe: Recipe) -> int:
    """How many weights and biases the recipe's network has, at the size at which this profile
    trains it.
    """
    return sum(
        (fan_in + 1) * fan_out for fan_in, fan_out in pairwise(profiles.sized(recipe).model.sizes)
    )


def largest_slope(net: Net, dataset: Dataset, seeds: Sequence[int], layer: int = 1) -> float:
    """The largest derivative of the loss in any weight of a layer that backpropagation finds, over
    fresh networks of all seeds.
    """
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    params, runs = Stack.of(params), len(seeds)
    seen = Batch(
        dataset.x_train.expand(runs, *dataset.x_train.shape),
        dataset.y_train.expand(runs, -1),
        1,
        1.0,
        (),
    )
    grads = params.like()
    rules.gradients(net, params, buffers, seen, grads)
    return grads[f"weight{layer}"].abs().max().item()


def largest_change(net: Net, dataset: Dataset, seeds: Sequence[int], step: float = 1e-9) -> float:
    """The largest change of the 0-1 loss when all weights of a fresh network are moved by ``step``
    in a random direction, float64.
    """
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    here = Stack.of({name: p.double() for name, p in params.items()})
    there = Stack.of(
        {
            name: p.double()
            + step * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)).to(p)
            for name, p in params.items()
        }
    )
    x = dataset.x_train.double().expand(len(seeds), *dataset.x_train.shape)
    said = [net.forward(stack, buffers, x).argmax(-1) for stack in (here, there)]
    wrong = [(answer != dataset.y_train).double().mean(1) for answer in said]
    return (wrong[1] - wrong[0]).abs().max().item()


def steps_to_loss(
    rule: Rule, rates: Sequence[float], seeds: Sequence[int], width: int, target: float, most: int
) -> tuple[float, pd.Series]:
    """Steps on 100 signals of MNIST-1D until their loss is at ``target``, at the learning rate that
    needs the fewest.

    The rate is chosen on the training loss itself, for it is the loss that is asked about; a rate
    with which some run never gets there is not chosen. A reported run that never gets there counts
    with all of its steps.

    Args:
        rule: an optimizer with a field lr.
        rates: learning rates to choose from.
        seeds: what the choice is made on.
        width: of the one hidden layer.
        target: the loss.
        most: steps that a run may take.

    Returns:
        The chosen rate, and the steps of each of seeds 0 to 9.
    """
    recipe = Recipe(MLP((40, width, 10)), rule, train_size=100, batch_size=100, epochs=most)
    arms = grid(recipe, lr=rates)
    searched = compare.reached(study(arms, seeds), "train_loss", below=target).mean()
    chosen = next(arm for arm in arms if arm.name == searched.idxmin())
    steps = compare.reached(
        study([Arm("chosen", chosen.recipe)], range(10)), "train_loss", below=target
    )["chosen"]
    return chosen.values["lr"], steps.replace(np.inf, most)
