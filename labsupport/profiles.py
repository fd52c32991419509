"""Profiles: the full one trains the chapters' recipes at the sizes of the papers.

A chapter writes its recipes for two cores and a minute. ``study``, ``trajectories`` and
``landscape`` pass every recipe through ``sized`` before they train it, and hand back the arms as
the chapter wrote them, so that a recipe chosen by one study can go into the next.
"""

import dataclasses
from typing import NamedTuple

from labsupport import datasets, runtime, train
from labsupport.models import CNN, MLP, LocalMLP
from labsupport.rules import SGD, Adam, Greedy
from labsupport.types import Recipe, Rule

WORDS = {
    "quick": "quick profile",
    "full": (
        "full profile: studies of MNIST-1D and small MNIST at the size of the papers"
        " (labsupport/profiles.py), sizes and steps named here are the quick profile's"
    ),
}
"""What a claim says of its profile."""


class Size(NamedTuple):
    """The data that a network gets in the full profile, and its factor in width."""

    data: str
    wider: int


FULL: dict[type, Size] = {
    MLP: Size("mnist", 8),
    LocalMLP: Size("mnist", 8),
    CNN: Size("cifar10", 4),
}
SMALL = ("mnist1d", "mnist5k")


def sized(recipe: Recipe) -> Recipe:
    """Return the recipe at this profile's size: unchanged in the quick one, larger in the full.

    - An MLP on MNIST-1D or on the small MNIST learns MNIST, with hidden layers 8 times as wide, and
      so does one with heads;
    - a convolutional network on either learns CIFAR-10, with 4 times the channels;
    - ``train_size`` and ``valid_size`` stay the same shares of the training pool;
    - epochs, batches, the rule, transforms and mixup stay: an epoch has more steps. What greedy
      learning counts in steps, its stages, stays the same number of epochs.

    Recipes on other data (the tables), in float64 (an identity is checked), of other networks
    (``Vmapped``), and with columns standardized one by one (a pixel that is black in every digit
    has no variance) stay as they are. What is sized once is not sized again.
    """
    model = recipe.model
    if (
        runtime.profile() == "quick"
        or not isinstance(model, MLP | LocalMLP | CNN)
        or type(model) not in FULL
        or recipe.data not in SMALL
        or recipe.dtype == "float64"
        or recipe.standardize
    ):
        return recipe
    size = FULL[type(model)]
    small, large = datasets.load(recipe.data), datasets.load(size.data)
    share = len(large.y_train), len(small.y_train)
    found = dataclasses.replace(
        recipe,
        data=size.data,
        model=_wider(model, size.wider, tuple(large.x_train.shape[1:])),
        train_size=recipe.train_size and max(_part(recipe.train_size, *share), large.classes),
        valid_size=_part(recipe.valid_size, *share),
    )
    return dataclasses.replace(found, rule=_staged(recipe, found))


def _part(count: int, of: int, instead_of: int) -> int:
    """Take the same share of another pool, rounded down so that all parts fit in it."""
    return count * of // instead_of


def _staged(recipe: Recipe, found: Recipe) -> Rule:
    """Scale the stages of greedy learning to as many epochs in the larger recipe ``found``.

    An epoch has another number of steps there.
    """
    rule = recipe.rule
    if not isinstance(rule, SGD | Adam) or not isinstance(rule.gradient, Greedy):
        return rule
    source = rule.gradient
    steps, instead_of = (train.steps_in_epoch(item, train.load(item)) for item in (found, recipe))
    longer = dataclasses.replace(source, stage=max(1, _part(source.stage, steps, instead_of)))
    return dataclasses.replace(rule, gradient=longer)


def _wider(model: MLP | LocalMLP | CNN, times: int, shape: tuple[int, ...]) -> MLP | LocalMLP | CNN:
    """Scale a network to inputs of this shape, its hidden layers so many times as wide."""
    if isinstance(model, CNN):
        return dataclasses.replace(
            model, shape=shape, channels=tuple(times * c for c in model.channels)
        )
    inputs, *hidden, classes = model.sizes
    pixels = shape[0] * shape[1] * shape[2]
    sizes = (pixels, *(times * h for h in hidden), classes)
    if isinstance(model, LocalMLP):
        return dataclasses.replace(model, sizes=sizes, width=times * model.width)
    return dataclasses.replace(model, sizes=sizes)
