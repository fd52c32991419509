"""Arms x seeds -> a Result, kept on disk under a digest of everything that made it."""

import dataclasses
import itertools
import json
import time
import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from labsupport import dependencies, profiles, runtime, storage, train
from labsupport.types import Arm, Recipe, Result


def vary(recipe: Recipe, **values: Any) -> Recipe:
    """Change some fields of a recipe, by name, be they its model's, its rule's, those of a record
    inside them, or its own.

    Raises:
        ValueError: for a name that none of them has, with the names there are; and what the record
            itself says of a value that it does not take.
    """
    for name, value in values.items():
        owners = list(_owners(recipe))
        path = next((path for path, fields in owners if name in fields), None)
        if path is None:
            known = [field for _, fields in owners for field in fields]
            raise ValueError(f"no field {name!r} in this recipe; there are {', '.join(known)}")
        recipe = _changed(recipe, (*path, name), value)
    return recipe


def _owners(item: Any, path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], list[str]]]:
    """Yield each record in a record, by its path, with the names of its fields; the outer one
    last.
    """
    names = [f.name for f in dataclasses.fields(item)]
    for name in names:
        if dataclasses.is_dataclass(getattr(item, name)):
            yield from _owners(getattr(item, name), (*path, name))
    yield path, names


def _changed(item: Any, path: tuple[str, ...], value: Any) -> Any:
    """Copy the record with what is at the path replaced."""
    name, *rest = path
    return dataclasses.replace(
        item, **{name: _changed(getattr(item, name), tuple(rest), value) if rest else value}
    )


def grid(recipe: Recipe, prefix: str = "", **axes: Iterable[Any]) -> list[Arm]:
    """Make one arm for every combination of values: grid(recipe, lr=[0.1, 1], weight_decay=[0,
    1e-3]).

    Args:
        recipe: what all arms share.
        prefix: put before each arm's name, to tell two grids of one study apart.
        axes: fields of the recipe, its rule or its model, each with its values.

    Raises:
        ValueError: for an axis without values, with one value twice, or with something that is no
            collection of values; and as ``vary``.
    """
    labels = {axis: _labels(axis, values) for axis, values in axes.items()}
    arms = []
    for chosen in itertools.product(*(pairs for pairs in labels.values())):
        named = {axis: value for axis, (value, _) in zip(axes, chosen, strict=True)}
        name = ", ".join(f"{axis}={label}" for axis, (_, label) in zip(axes, chosen, strict=True))
        arms.append(Arm(f"{prefix}{name}", vary(recipe, **named), named))
    return arms


def _labels(axis: str, values: Iterable[Any]) -> list[tuple[Any, str]]:
    """Label the values of an axis: numbers with three digits, or with as many as tell them
    apart.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{axis} is {values!r}; an axis is a list of values: {axis}=[{values!r}]")
    values = list(values)
    for digits in range(3, 18):
        labels = [f"{v:.{digits}g}" if isinstance(v, float) else f"{v}" for v in values]
        if values and len(set(labels)) == len(labels):
            return list(zip(values, labels, strict=True))
    raise ValueError(f"{axis} is {values}; an axis has at least one value, and each value once")


def study(
    arms: Sequence[Arm], seeds: Sequence[int] = range(10), probes: Sequence[train.Probe] = ()
) -> Result:
    """Train every arm from every seed and tabulate what was measured.

    The result is kept on disk under a digest of the recipes, the data, and all the code that a run
    reaches, wherever it is defined (``dependencies``): the same study again is read, not trained. A
    damaged file is trained again, with a warning.

    In the full profile every recipe is trained at the size of the papers (``profiles.sized``); the
    Result keeps the arms as they were given, so a recipe chosen from it can go into another study.

    Args:
        arms: the sides of the comparison, with names that differ.
        seeds: each arm is trained from each of these, so differences between arms are paired.
        probes: what to measure beside loss and accuracy.

    Raises:
        ValueError: if there is no arm or no seed, two arms share a name, or a seed is no whole
            number.
    """
    if not isinstance(seeds, Iterable) or not all(isinstance(s, Integral) for s in seeds):
        raise ValueError(f"seeds are {seeds!r}; give whole numbers: range(10) for ten runs")
    if isinstance(arms, Arm) or not all(isinstance(arm, Arm) for arm in arms):
        raise ValueError(f"arms are {arms!r}; give a list of Arm(name, recipe)")
    arms, seeds = tuple(arms), tuple(map(int, seeds))
    names = [arm.name for arm in arms]
    if not arms or not seeds or len(set(names)) < len(names) or len(set(seeds)) < len(seeds):
        raise ValueError(
            "a study needs arms with different names and different seeds, not "
            f"{names} and {list(seeds)}"
        )
    sized = [dataclasses.replace(arm, recipe=profiles.sized(arm.recipe)) for arm in arms]
    path = _place(sized, seeds, probes)
    stored = storage.read(path) if path else None
    if stored is None:
        stored = _run(sized, seeds, probes)
        if path:
            storage.write(path, stored)
    record = json.loads(stored)
    return Result(
        pd.DataFrame(record["table"]),
        pd.DataFrame(record["diverged"]),
        arms,
        seeds,
        record["seconds"],
    )


def _place(arms: Sequence[Arm], seeds: Sequence[int], probes: Sequence[train.Probe]) -> Path | None:
    """The file of a result, under a digest of all that makes it; None where that cannot be told."""
    # recipes that differ in model and rule alone have the same data, and its digest takes time
    model, rule = arms[0].recipe.model, arms[0].recipe.rule
    alike = {dataclasses.replace(arm.recipe, model=model, rule=rule) for arm in arms}
    data = {train.load(recipe).digest for recipe in alike}
    recipes = [(arm.name, arm.recipe) for arm in arms]
    machine = runtime.device().type, runtime.mixed()
    try:
        key = dependencies.digest(_run, recipes, seeds, probes, sorted(data), machine)
    except dependencies.Untraceable as error:
        warnings.warn(f"the result of this study is not kept: {error}", stacklevel=3)
        return None
    return runtime.home() / "results" / f"{key}.json"


def _run(arms: Sequence[Arm], seeds: Sequence[int], probes: Sequence[train.Probe]) -> bytes:
    start = time.perf_counter()
    runs = [(arm, seed) for arm in arms for seed in seeds]
    tables, diverged = [], []
    for rows, trained in train.train_many([(arm.recipe, seed) for arm, seed in runs], probes):
        who = pd.DataFrame([(runs[r][0].name, runs[r][1]) for r in rows], columns=["arm", "seed"])
        tables += [
            who.assign(epoch=epoch, metric=metric, value=values.cpu().numpy())
            for epoch, metric, values in trained.metrics
        ]
        diverged.append(who.assign(step=trained.diverged.cpu().numpy()))
    bad = pd.concat(diverged).query("step > 0")
    return json.dumps(
        {
            "table": pd.concat(tables).to_dict("list"),
            "diverged": bad.to_dict("list"),
            "seconds": time.perf_counter() - start,
        }
    ).encode()
