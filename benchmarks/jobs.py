"""What is measured: a job is a recipe, the same network as a torch module, and its matrix products.

A new job is one more entry in JOBS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import nn

from labsupport.models import CNN, MLP
from labsupport.rules import SGD
from labsupport.types import Recipe

Product = tuple[int, int, int]
"""(m, k, n): a matrix (m, k) times a matrix (k, n)."""


@dataclass(frozen=True)
class Job:
    """The same work for every contender: train the recipe from each of the seeds, then measure on
    train and test.
    """

    recipe: Recipe
    """Its rule is an SGD, and its epochs are measured once, at the end."""
    module: Callable[[], nn.Module]
    """Builds the recipe's network for the peers. A function with a name: the job travels to another
    process.
    """
    products: Callable[[Recipe], list[Product]]
    """The matrix products of one step of one run, forward and backward."""
    seeds: int = 10
    tolerance: float = 0.03
    """How far a contender's mean test accuracy may lie from ours."""


def mlp_module() -> nn.Sequential:
    """The 40-100-100-10 network as every PyTorch user writes it."""
    return nn.Sequential(
        nn.Linear(40, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def mlp_products(recipe: Recipe) -> list[Product]:
    """A layer's output, its weights' gradient, and, but for the first layer, its input's
    gradient.
    """
    batch, products = recipe.batch_size, []
    for layer, (fan_in, fan_out) in enumerate(pairwise(recipe.model.sizes)):
        products += [(batch, fan_in, fan_out), (fan_out, batch, fan_in)]
        if layer:
            products.append((batch, fan_out, fan_in))
    return products


def cnn1d_module() -> nn.Sequential:
    """The 1-d convolutional network of the book on signals of 40 samples."""
    layers = [nn.Unflatten(1, (1, 40))]
    for fan_in, fan_out in ((1, 25), (25, 25), (25, 25)):
        layers += [nn.Conv1d(fan_in, fan_out, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(125, 10))


def cnn2d_module() -> nn.Sequential:
    """A 2-d convolutional network of the book on images of 28 x 28."""
    layers = []
    for fan_in, fan_out in ((1, 8), (8, 16), (16, 16)):
        layers += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 10))


def cnn_products(recipe: Recipe) -> list[Product]:
    """Each convolution as the product of its windows, laid side by side, with its filters; then the
    linear layer.
    """
    sides = torch.tensor(
        recipe.model.shape[-2:] if len(recipe.model.shape) == 3 else recipe.model.shape
    )
    products = []
    for layer, shape in enumerate(recipe.model.shapes):
        sides = (sides + 1) // 2
        convolution = layer < recipe.model.depth - 1
        rows = recipe.batch_size * (int(sides.prod()) if convolution else 1)
        fan_in, fan_out = prod(shape[1:]), shape[0]
        products += [(rows, fan_in, fan_out), (fan_out, rows, fan_in)]
        if layer:
            products.append((rows, fan_out, fan_in))
    return products


JOBS: dict[str, Job] = {
    "mlp": Job(
        Recipe(
            MLP((40, 100, 100, 10)),
            SGD(lr=0.05, momentum=0.9),
            data="mnist1d",
            epochs=5,
            batch_size=100,
            measure_every=0,
        ),
        mlp_module,
        mlp_products,
    ),
    "cnn1d": Job(
        Recipe(
            CNN(shape=(40,), channels=(25, 25, 25)),
            SGD(lr=0.05, momentum=0.9),
            data="mnist1d",
            epochs=2,
            batch_size=100,
            measure_every=0,
        ),
        cnn1d_module,
        cnn_products,
    ),
    "cnn2d": Job(
        Recipe(
            CNN(shape=(1, 28, 28), channels=(8, 16, 16)),
            SGD(lr=0.05, momentum=0.9),
            data="mnist5k",
            epochs=1,
            batch_size=100,
            measure_every=0,
        ),
        cnn2d_module,
        cnn_products,
        tolerance=0.06,
    ),
}
