"""What the chapter on evolution trains beside the common recipes: a hard threshold with a borrowed slope, steps to a loss."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from labsupport import compare, rules, runtime
from labsupport.contracts import Arm, Batch, Net, Recipe, Rule, Split
from labsupport.models import MLP
from labsupport.stacks import Stack
from labsupport.study import grid, study


class StraightThrough(nn.Module):
    """A network of hard thresholds -1/1 with a borrowed slope: the backward pass takes them for z cut off at -1 and 1."""

    def __init__(self, sizes: Sequence[int] = (40, 16, 10)):
        super().__init__()
        self.hidden, self.last = nn.Linear(*sizes[:2]), nn.Linear(*sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        z = self.hidden(x.flatten(1))
        soft = z.clamp(-1, 1)
        return self.last(soft + (torch.sign(z) - soft).detach())


def largest_slope(net: Net, split: Split, seeds: Sequence[int], layer: int = 1) -> float:
    """The largest derivative of the loss in any weight of a layer that backpropagation finds, over fresh networks of all seeds."""
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    params, runs = Stack.of(params), len(seeds)
    seen = Batch(split.x_train.expand(runs, *split.x_train.shape), split.y_train.expand(runs, -1), 1, 1.0, ())
    grads = params.like()
    rules.gradients(net, params, buffers, seen, grads)
    return grads[f"weight{layer}"].abs().max().item()


def largest_change(net: Net, split: Split, seeds: Sequence[int], step: float = 1e-9) -> float:
    """The largest change of the 0-1 loss when all weights of a fresh network are moved by ``step`` in a random direction, float64."""
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    here = Stack.of({name: p.double() for name, p in params.items()})
    there = Stack.of({name: p.double() + step * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)).to(p)
                      for name, p in params.items()})
    x = split.x_train.double().expand(len(seeds), *split.x_train.shape)
    said = [net.forward(stack, buffers, x).argmax(-1) for stack in (here, there)]
    wrong = [(answer != split.y_train).double().mean(1) for answer in said]
    return (wrong[1] - wrong[0]).abs().max().item()


def steps_to_loss(rule: Rule, rates: Sequence[float], width: int, target: float, most: int) -> tuple[float, pd.Series]:
    """Steps on 100 signals of MNIST-1D until their loss is at ``target``, at the learning rate that needs the fewest.

    The rate is chosen from seeds 100 to 102, on the training loss itself, for it is the loss that is asked about. A run that
    never gets there counts with all of its steps.

    Args:
        rule: an optimizer with a field lr.
        rates: learning rates to choose from.
        width: of the one hidden layer.
        target: the loss.
        most: steps that a run may take.

    Returns:
        The chosen rate, and the steps of each of seeds 0 to 9.
    """
    recipe = Recipe(MLP((40, width, 10)), rule, train_size=100, batch_size=100, epochs=most)
    arms = grid(recipe, lr=rates)
    searched = compare.reached(study(arms, range(100, 103)), "train_loss", below=target).mean()
    chosen = next(arm for arm in arms if arm.name == searched.idxmin())
    steps = compare.reached(study([Arm("chosen", chosen.recipe)], range(10)), "train_loss", below=target)["chosen"]
    return chosen.values["lr"], steps.replace(np.inf, most)
