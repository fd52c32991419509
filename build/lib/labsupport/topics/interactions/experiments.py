"""Five tricks that can each be on or off: their recipes, the 32 cells, what is read off them, and
what noise alone shows.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from labsupport import compare
from labsupport.augment import Mixup, RandomCrop
from labsupport.study import vary
from labsupport.topics.interactions import reference as it
from labsupport.types import Arm, Interval, Recipe, Result

TRICKS = ("norm", "decay", "dropout", "crop", "mixup")
"""Batch norm, L2 decay, dropout, random shifts, mixup: the factors, in standard order."""
ALL = 2 ** len(TRICKS) - 1
"""The cell in which every trick is on."""
GUESS = {"accuracy": 10.0, "loss": 100 * math.log(10)}
"""What guessing among ten classes scores, in percent: the worth of a run that diverged."""


def name(cell: int) -> str:
    """What is on in a cell: "norm + crop"; "none" for cell 0."""
    return " + ".join(trick for j, trick in enumerate(TRICKS) if cell >> j & 1) or "none"


def recipe(base: Recipe, cell: int, levels: Mapping[str, float]) -> Recipe:
    """The base with the tricks of a cell.

    Args:
        base: with none of them.
        cell: bit j is trick j.
        levels: how strong decay, dropout, crop and mixup are when they are on; those of the cell
            must be there.
    """
    on = [trick for j, trick in enumerate(TRICKS) if cell >> j & 1]
    changes = {"norm": "batch"} if "norm" in on else {}
    changes |= {"weight_decay": levels["decay"]} if "decay" in on else {}
    changes |= {"dropout": levels["dropout"]} if "dropout" in on else {}
    changes |= {"augment": (RandomCrop(int(levels["crop"])),)} if "crop" in on else {}
    changes |= {"mixup": Mixup(levels["mixup"])} if "mixup" in on else {}
    return vary(base, **changes)


def alone(
    base: Recipe, strengths: Mapping[str, Sequence[float]], rates: Iterable[float]
) -> list[Arm]:
    """Every trick alone, at each of its strengths and at each rate."""
    return [
        Arm(
            f"{trick}={strength:g}, lr={lr:g}",
            vary(recipe(base, 1 << TRICKS.index(trick), {trick: strength}), lr=lr),
            {"trick": trick, "strength": strength, "lr": lr},
        )
        for trick, tried in strengths.items()
        for strength, lr in itertools.product(tried, rates)
    ]


def factorial(
    base: Recipe, levels: Mapping[str, float], rates: Mapping[bool, Sequence[float]]
) -> list[Arm]:
    """All 32 cells, each at every rate; rates[True] are those of the cells with batch norm."""
    return [
        Arm(
            f"{name(cell)}, lr={lr:g}",
            vary(recipe(base, cell, levels), lr=lr),
            {"cell": cell, "lr": lr},
        )
        for cell in range(ALL + 1)
        for lr in rates[bool(cell & 1)]
    ]


def at_best_rates(searched: Result) -> list[Arm]:
    """Of every cell the arm that validation chose, named by what is on; a run that diverged counts
    as a guess.
    """
    means = compare.final(searched, "valid_accuracy").fillna(GUESS["accuracy"] / 100).mean()
    chosen = [
        max(filter(compare.where(cell=cell), searched.arms), key=lambda arm: means[arm.name])
        for cell in range(ALL + 1)
    ]
    return [Arm(name(arm.values["cell"]), arm.recipe, arm.values) for arm in chosen]


def rates_chosen(
    searched: Result, chosen: Sequence[Arm], rates: Mapping[bool, Sequence[float]]
) -> pd.DataFrame:
    """How many of the 16 cells without batch norm, and of the 16 with it, took each rate; a dash
    where it was not tried.
    """
    found = {
        norm: [arm.values["lr"] for arm in chosen if bool(arm.values["cell"] & 1) == norm]
        for norm in rates
    }
    every = sorted({lr for tried in rates.values() for lr in tried})
    return pd.DataFrame(
        {
            f"{lr:g}": {
                "batch norm" if norm else "none": found[norm].count(lr)
                if lr in rates[norm]
                else "–"
                for norm in rates
            }
            for lr in every
        }
    )


def cells(
    measured: Result, metric: str = "test_accuracy", arms: Sequence[str] | None = None
) -> Tensor:
    """Seeds x cells in standard order, (n, 32), in percent; a run that diverged counts as a guess.

    Args:
        measured: a result with an arm for each cell.
        metric: an accuracy or a loss.
        arms: the cells' arms in standard order; those named by what is on if not given.
    """
    table = 100 * compare.final(measured, metric)[list(arms or map(name, range(ALL + 1)))]
    return torch.tensor(table.fillna(GUESS[metric.split("_")[-1]]).to_numpy(), dtype=torch.float64)


def searched_at(searched: Result, lr: float | None = None) -> Tensor:
    """Validation accuracies (n, 32) in percent of the search: all cells at this rate, or each at
    the one chosen for it.
    """
    best = (
        [f"{arm.values['lr']:g}" for arm in at_best_rates(searched)]
        if lr is None
        else [f"{lr:g}"] * (ALL + 1)
    )
    return cells(
        searched, "valid_accuracy", [f"{name(cell)}, lr={best[cell]}" for cell in range(ALL + 1)]
    )


def course(measured: Result, metric: str) -> dict[int, Tensor]:
    """Epoch -> seeds x cells (n, 32), in percent."""
    until = {
        epoch: measured.table[measured.table["epoch"] <= epoch]
        for epoch in sorted(set(measured.table["epoch"]))
    }
    return {
        epoch: cells(dataclasses.replace(measured, table=table), metric)
        for epoch, table in until.items()
    }


def tidy(y: Tensor) -> pd.DataFrame:
    """One row a run: accuracy, seed, and the tricks coded -1 and +1; what statsmodels reads."""
    signs = it.design(len(TRICKS)).repeat(len(y), 1).numpy()
    runs = pd.DataFrame(signs, columns=list(TRICKS))
    return runs.assign(accuracy=y.flatten().numpy(), seed=np.repeat(np.arange(len(y)), y.shape[1]))


def by_order(anova: pd.DataFrame) -> pd.DataFrame:
    """The rows of an analysis of variance put together by how many tricks an effect has."""
    rest = anova.loc["Residual"]
    groups = {"main effects": 1, "pairs": 2, "three at a time": 3, "four and five": (4, 5)}
    order = pd.Series(
        {row: row.count(":") + 1 for row in anova.index if row not in ("Residual", "C(seed)")}
    )
    rows = {
        label: anova.loc[order.index[order.isin(np.atleast_1d(which))], ["df", "sum_sq"]].sum()
        for label, which in groups.items()
    }
    rows |= {"seeds": anova.loc["C(seed)", ["df", "sum_sq"]], "rest": rest[["df", "sum_sq"]]}
    table = pd.DataFrame(rows).T
    table["F"] = (table["sum_sq"] / table["df"]) / (rest["sum_sq"] / rest["df"])
    table["p"] = stats.f.sf(table["F"], table["df"], rest["df"])
    table.loc["rest", ["F", "p"]] = np.nan
    table["share"] = table["sum_sq"] / table["sum_sq"].sum()
    return table


def p_values(differences: Tensor) -> Tensor:
    """Of each column of paired differences (n, m) the p-value that its mean is 0, by the t test."""
    found = stats.ttest_1samp(differences.numpy(), 0).pvalue
    return torch.tensor(np.nan_to_num(found, nan=1.0), dtype=torch.float64)


def shown(found: Interval, digits: int = 1) -> str:
    """An estimate with its interval, for a table: "+2.9 (+2.1 to +3.7)"."""
    return f"{found.estimate:+.{digits}f} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def switched(y: Tensor, trick: str, cell: int) -> Tensor:
    """What a trick does in the company of a cell's others, seed by seed: on minus off, (n,)."""
    bit = 1 << TRICKS.index(trick)
    return y[:, cell | bit] - y[:, cell & ~bit]


def half(by_seed: Tensor, word: str) -> Interval:
    """An effect as the half of the cells with an odd number of tricks on shows it: with its alias
    added.
    """
    s = it.words(TRICKS).index(word)
    return compare.interval(by_seed[:, s] + by_seed[:, s ^ ALL])


def walk(valid: Tensor, start: int = 0) -> list[int]:
    """From a cell, always throw the one switch that gains most on validation, while one gains: the
    cells on the way.

    From cell 0 tricks are only added, from the one with all of them only taken out.
    """
    means, path = valid.mean(0), [start]
    while following := [
        path[-1] ^ 1 << j for j in range(len(TRICKS)) if (path[-1] ^ start) >> j & 1 == 0
    ]:
        best = max(following, key=lambda cell: means[cell])
        if means[best] <= means[path[-1]]:
            break
        path.append(best)
    return path


def tried(path: Sequence[int]) -> int:
    """How many cells a walk looked at: where it began, and all the switches from every cell on the
    way.
    """
    return 1 + sum(len(TRICKS) - i for i in range(min(len(path), len(TRICKS))))


def ways(valid: Tensor) -> dict[str, tuple[int, int]]:
    """Ways to choose a stack by validation: how many cells each has to try, and the cell that it
    ends in.
    """
    means = valid.mean(0)
    alone = [0, *(1 << j for j in range(len(TRICKS)))]
    odd = [cell for cell in range(ALL + 1) if cell.bit_count() % 2]
    up, down = walk(valid), walk(valid, ALL)
    best = {
        "each alone, keep the best": alone,
        "half of the cells, keep the best": odd,
        "all cells, keep the best": range(ALL + 1),
    }
    found = {
        how: (len(among), max(among, key=lambda cell: means[cell])) for how, among in best.items()
    }
    found |= {
        "no trick": (1, 0),
        "all five, untried": (1, ALL),
        "walk up from none": (tried(up), up[-1]),
        "walk down from all five": (tried(down), down[-1]),
        "each alone, keep all that gain": (
            len(alone),
            sum(cell for cell in alone if means[cell] > means[0]),
        ),
    }
    order = (
        "all five, untried",
        "no trick",
        "each alone, keep all that gain",
        "each alone, keep the best",
        "walk down from all five",
        "walk up from none",
        "half of the cells, keep the best",
        "all cells, keep the best",
    )
    return {how: found[how] for how in order}


def rivals(valid: Tensor, test: Tensor) -> pd.DataFrame:
    """Every cell against the one that is best on validation, on the test part; the fewest tricks
    first.

    Args:
        valid: (m, 32) validation accuracies, from seeds of their own.
        test: (n, 32) test accuracies.

    Returns:
        Columns: tricks, accuracy, behind (paired, percentage points), p (Holm, over all the other
            cells).
    """
    best = int(valid.mean(0).argmax())
    behind = test[:, [best]] - test
    others = [cell for cell in range(ALL + 1) if cell != best]
    p = dict(zip(others, it.holm(p_values(behind[:, others])).tolist(), strict=True))
    rows = [
        {
            "cell": name(cell),
            "tricks": cell.bit_count(),
            "accuracy": test[:, cell].mean().item(),
            "behind": behind[:, cell].mean().item(),
            "p": p.get(cell, 1.0),
        }
        for cell in range(ALL + 1)
    ]
    return pd.DataFrame(rows).set_index("cell").sort_values(["tricks", "behind"])


def largest_of_nothing(
    seeds: int = 10, experiments: int = 2000, factors: int = 5
) -> dict[str, float]:
    """Factorials of pure noise: how often something looks real.

    Returns:
        Shares of the experiments in which at p < 0.05: ``one`` interaction named before is
        significant, ``largest`` the largest of all interactions is, and ``holm`` it still is after
        Holm's correction.
    """
    noise = np.random.default_rng(0).standard_normal((experiments, seeds, 2**factors))
    effect = it.effects(torch.from_numpy(noise))[..., it.orders(factors) >= 2]
    t = effect.mean(1) / (effect.std(1) / seeds**0.5)
    p = 2 * stats.t.sf(t.abs().numpy(), seeds - 1)
    smallest = p.min(1)
    return {
        "one": float((p[:, 0] < 0.05).mean()),
        "largest": float((smallest < 0.05).mean()),
        "holm": float((smallest * p.shape[1] < 0.05).mean()),
    }
