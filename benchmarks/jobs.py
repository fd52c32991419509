"""What is measured: a job is a recipe, the same network as a torch module, and its matrix products.

A new job is one more entry in JOBS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from labsupport.contracts import Recipe
from labsupport.models import MLP
from labsupport.rules import SGD

Product = tuple[int, int, int]
"""(m, k, n): a matrix (m, k) times a matrix (k, n)."""


@dataclass(frozen=True)
class Job:
    """The same work for every contender: train the recipe from each of the seeds, then measure on train and test."""

    recipe: Recipe
    """Its rule is an SGD, and its epochs are measured once, at the end."""
    module: Callable[[], nn.Module]
    """Builds the recipe's network for the peers. A function with a name: the job travels to another process."""
    products: Callable[[Recipe], list[Product]]
    """The matrix products of one step of one run, forward and backward."""
    seeds: int = 10
    tolerance: float = 0.03
    """How far a contender's mean test accuracy may lie from ours."""


def mlp_module() -> nn.Sequential:
    """The 40-100-100-10 network as every PyTorch user writes it."""
    return nn.Sequential(nn.Linear(40, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))


def mlp_products(recipe: Recipe) -> list[Product]:
    """A layer's output, its weights' gradient, and, but for the first layer, its input's gradient."""
    batch, products = recipe.batch_size, []
    for layer, (fan_in, fan_out) in enumerate(pairwise(recipe.model.sizes)):
        products += [(batch, fan_in, fan_out), (fan_out, batch, fan_in)]
        if layer:
            products.append((batch, fan_out, fan_in))
    return products


JOBS: dict[str, Job] = {
    "mlp": Job(Recipe(MLP((40, 100, 100, 10)), SGD(lr=0.05, momentum=0.9), data="mnist1d", epochs=5, batch_size=100,
                      measure_every=0), mlp_module, mlp_products),
}
