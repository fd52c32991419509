"""Arms x seeds -> a Result, kept on disk under a digest of everything that made it."""

import dataclasses
import hashlib
import inspect
import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import torch

from labsupport import profiles, runtime, storage, train
from labsupport.types import Arm, Recipe, Result

SOURCES = (
    "types.py",
    "runtime.py",
    "published.py",
    "datasets.py",
    "profiles.py",
    "stacks.py",
    "models/*.py",
    "rules/*.py",
    "ops/*.py",
    "train.py",
    "augment.py",
)
"""What a stored result depends on beside its arms; a change in any of these files makes it anew."""


def vary(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with some fields changed, by name, be they its model's, its rule's, those of a
    record inside them, or its own.

    Raises:
        ValueError: for a name that none of them has, with the names there are.
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
    """Each record in a record, by its path, with the names of its fields; the outer one last."""
    names = [f.name for f in dataclasses.fields(item)]
    for name in names:
        if dataclasses.is_dataclass(getattr(item, name)):
            yield from _owners(getattr(item, name), (*path, name))
    yield path, names


def _changed(item: Any, path: tuple[str, ...], value: Any) -> Any:
    """The record with what is at the path replaced."""
    name, *rest = path
    return dataclasses.replace(
        item, **{name: _changed(getattr(item, name), tuple(rest), value) if rest else value}
    )


def grid(recipe: Recipe, prefix: str = "", **axes: Iterable[Any]) -> list[Arm]:
    """One arm for every combination of values: grid(recipe, lr=[0.1, 1], weight_decay=[0, 1e-3]).

    Args:
        recipe: what all arms share.
        prefix: put before each arm's name, to tell two grids of one study apart.
        axes: fields of the recipe, its rule or its model, each with its values.
    """
    arms = []
    for values in itertools.product(*axes.values()):
        named = dict(zip(axes, values, strict=True))
        name = ", ".join(
            f"{axis}={value:.3g}" if isinstance(value, float) else f"{axis}={value}"
            for axis, value in named.items()
        )
        arms.append(Arm(f"{prefix}{name}", vary(recipe, **named), named))
    return arms


def study(
    arms: Sequence[Arm], seeds: Sequence[int] = range(10), probes: Sequence[train.Probe] = ()
) -> Result:
    """Train every arm from every seed and tabulate what was measured.

    The result is kept on disk under a digest of the recipes, the data, the source and the torch
        version: the
    same study again is read, not trained. A damaged file is trained again, with a warning.

    In the full profile every recipe is trained at the size of the papers (``profiles.sized``); the
    Result keeps the arms as they were given, so a recipe chosen from it can go into another study.

    Args:
        arms: the sides of the comparison, with names that differ.
        seeds: each arm is trained from each of these, so differences between arms are paired.
        probes: what to measure beside loss and accuracy.

    Raises:
        ValueError: if there is no arm or no seed, or two arms share a name.
    """
    arms, seeds = tuple(arms), tuple(seeds)
    names = [arm.name for arm in arms]
    if not arms or not seeds or len(set(names)) < len(names) or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"a study needs arms with different names and different seeds, not {names} and"
            f" {list(seeds)}"
        )
    sized = [dataclasses.replace(arm, recipe=profiles.sized(arm.recipe)) for arm in arms]
    path = runtime.home() / "results" / f"{_digest(sized, seeds, probes)}.json"
    stored = storage.read(path)
    if stored is None:
        stored = _run(sized, seeds, probes)
        storage.write(path, stored)
    record = json.loads(stored)
    return Result(
        pd.DataFrame(record["table"]),
        pd.DataFrame(record["diverged"]),
        arms,
        seeds,
        record["seconds"],
    )


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


def _digest(arms: Sequence[Arm], seeds: Sequence[int], probes: Sequence[train.Probe]) -> str:
    data = {
        train.load(recipe).digest
        for recipe in {dataclasses.replace(a.recipe, model=None, rule=None) for a in arms}
    }
    parts = [
        [(arm.name, _describe(arm.recipe)) for arm in arms],
        list(seeds),
        [_describe_probe(p) for p in probes],
        sorted(data),
        storage.source_digest(*SOURCES),
        torch.__version__,
        runtime.device().type,
        runtime.mixed(),
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _describe(item: Any) -> str:
    """What an item is, in words that are the same in every process."""
    if dataclasses.is_dataclass(item):
        fields = {f.name: _describe(getattr(item, f.name)) for f in dataclasses.fields(item)}
        return f"{type(item).__name__}({fields})"
    if callable(item):
        return f"{item.__module__}.{item.__qualname__}: {inspect.getsource(item)}"
    return repr(item)


def _describe_probe(probe: train.Probe) -> str:
    """A probe with its settings, all of its module, for it may call its neighbours, and the
    references that it takes from.
    """
    module = inspect.getmodule(probe)
    taken = {
        getattr(item, "__module__", None) or getattr(item, "__name__", "")
        for item in vars(module).values()
    }
    references = [
        sys.modules[name]
        for name in sorted(taken)
        if name.startswith(("labsupport.ops.", "labsupport.topics."))
    ]
    return _describe(probe) + "".join(map(inspect.getsource, (module, *references)))
