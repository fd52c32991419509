"""A factorial of five tricks: its recipes, its 32 cells, and simulations of pure noise."""

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
from labsupport.types import Arm, Recipe, Result

TRICKS = ("norm", "decay", "dropout", "crop", "mixup")
"""Batch norm, L2 decay, dropout, random shifts, mixup: the factors, in standard order."""
ALL = 2 ** len(TRICKS) - 1
"""The cell in which every trick is on."""
GUESS = {"accuracy": 10.0, "loss": 100 * math.log(10)}
"""What guessing among ten classes scores, in percent: the worth of a run that diverged."""


def cell_name(cell: int) -> str:
    """Name what is on in a cell: "norm + crop"; "none" for cell 0."""
    return " + ".join(trick for j, trick in enumerate(TRICKS) if cell >> j & 1) or "none"


def recipe(base: Recipe, cell: int, levels: Mapping[str, float]) -> Recipe:
    """Add the tricks of a cell to the base.

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


def single_tricks(
    base: Recipe, strengths: Mapping[str, Sequence[float]], rates: Iterable[float]
) -> list[Arm]:
    """List the arms with one trick alone, at each of its strengths and at each rate."""
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
    """List the arms of all 32 cells at every rate; rates[True] are those with batch norm."""
    return [
        Arm(
            f"{cell_name(cell)}, lr={lr:g}",
            vary(recipe(base, cell, levels), lr=lr),
            {"cell": cell, "lr": lr},
        )
        for cell in range(ALL + 1)
        for lr in rates[bool(cell & 1)]
    ]


def at_best_rates(searched: Result) -> list[Arm]:
    """Choose each cell's arm by validation accuracy, named by what is on.

    A run that diverged counts as a guess.
    """
    means = compare.final(searched, "valid_accuracy").fillna(GUESS["accuracy"] / 100).mean()
    chosen = [
        max(filter(compare.where(cell=cell), searched.arms), key=lambda arm: means[arm.name])
        for cell in range(ALL + 1)
    ]
    return [Arm(cell_name(arm.values["cell"]), arm.recipe, arm.values) for arm in chosen]


def rates_chosen(
    searched: Result, chosen: Sequence[Arm], rates: Mapping[bool, Sequence[float]]
) -> pd.DataFrame:
    """Count how many cells took each rate, of the 16 without batch norm and the 16 with it.

    A dash stands where a rate was not tried.
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
    """Read seeds x cells in standard order, (n, 32), in percent; diverged runs count as a guess.

    Args:
        measured: a result with an arm for each cell.
        metric: an accuracy or a loss.
        arms: the cells' arms in standard order; those named by what is on if not given.
    """
    table = 100 * compare.final(measured, metric)[list(arms or map(cell_name, range(ALL + 1)))]
    return torch.tensor(table.fillna(GUESS[metric.split("_")[-1]]).to_numpy(), dtype=torch.float64)


def searched_at(searched: Result, lr: float | None = None) -> Tensor:
    """Read the search's validation accuracies (n, 32) in percent, at a rate or each cell's own."""
    best = (
        [f"{arm.values['lr']:g}" for arm in at_best_rates(searched)]
        if lr is None
        else [f"{lr:g}"] * (ALL + 1)
    )
    return cells(
        searched,
        "valid_accuracy",
        [f"{cell_name(cell)}, lr={best[cell]}" for cell in range(ALL + 1)],
    )


def by_epoch(measured: Result, metric: str) -> dict[int, Tensor]:
    """Read seeds x cells (n, 32) in percent at every measured epoch, by epoch."""
    until = {
        epoch: measured.table[measured.table["epoch"] <= epoch]
        for epoch in sorted(set(measured.table["epoch"]))
    }
    return {
        epoch: cells(dataclasses.replace(measured, table=table), metric)
        for epoch, table in until.items()
    }


def tidy(y: Tensor) -> pd.DataFrame:
    """List one row a run for statsmodels: accuracy, seed, and the tricks coded -1 and +1."""
    signs = it.design(len(TRICKS)).repeat(len(y), 1).numpy()
    runs = pd.DataFrame(signs, columns=list(TRICKS))
    return runs.assign(accuracy=y.flatten().numpy(), seed=np.repeat(np.arange(len(y)), y.shape[1]))


def by_order(anova: pd.DataFrame) -> pd.DataFrame:
    """Sum the rows of an analysis of variance by the number of tricks in an effect."""
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
    """Test each column of paired differences (n, m) for mean 0: the t test's p-values."""
    found = stats.ttest_1samp(differences.numpy(), 0).pvalue
    return torch.tensor(np.nan_to_num(found, nan=1.0), dtype=torch.float64)


def interval_text(values: Tensor, digits: int = 1) -> str:
    """Format the mean of one value a seed with its interval: "+2.9 (+2.1 to +3.7)"."""
    found = compare.interval(values)
    return f"{found.estimate:+.{digits}f} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def simple_effect(y: Tensor, trick: str, cell: int) -> Tensor:
    """Compute a trick's effect beside a cell's others, seed by seed: on minus off, (n,)."""
    bit = 1 << TRICKS.index(trick)
    return y[:, cell | bit] - y[:, cell & ~bit]


def pair_means(y: Tensor, a: str, b: str) -> Tensor:
    """Average two tricks over the other three, (2, 2): a down, b across."""
    on = it.design(len(TRICKS)) > 0
    down, across = on[:, TRICKS.index(a)], on[:, TRICKS.index(b)]
    return torch.stack(
        [
            torch.stack([y[:, (down == i) & (across == j)].mean() for j in (False, True)])
            for i in (False, True)
        ]
    )


def half_fraction(by_seed: Tensor, word: str) -> Tensor:
    """Compute an effect with its alias added, seed by seed (n,).

    This is what the half of the cells with an odd number of tricks on shows.
    """
    s = it.words(TRICKS).index(word)
    return by_seed[:, s] + by_seed[:, s ^ ALL]


def greedy_path(valid: Tensor, start: int = 0) -> list[int]:
    """List a greedy path's cells: switch the trick that gains most on validation while one gains.

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


def cells_tried(path: Sequence[int]) -> int:
    """Count the cells that a greedy path evaluates: its start and every neighbour on the way."""
    return 1 + sum(len(TRICKS) - i for i in range(min(len(path), len(TRICKS))))


def selection_strategies(valid: Tensor) -> dict[str, tuple[int, int]]:
    """Choose a stack by several strategies on validation: cells tried, and the cell chosen."""
    means = valid.mean(0)
    alone = [0, *(1 << j for j in range(len(TRICKS)))]
    odd = [cell for cell in range(ALL + 1) if cell.bit_count() % 2]
    up, down = greedy_path(valid), greedy_path(valid, ALL)
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
        "walk up from none": (cells_tried(up), up[-1]),
        "walk down from all five": (cells_tried(down), down[-1]),
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


def compare_with_best(valid: Tensor, test: Tensor) -> pd.DataFrame:
    """Compare every cell on the test part with the one that is best on validation.

    The fewest tricks come first.

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
            "cell": cell_name(cell),
            "tricks": cell.bit_count(),
            "accuracy": test[:, cell].mean().item(),
            "behind": behind[:, cell].mean().item(),
            "p": p.get(cell, 1.0),
        }
        for cell in range(ALL + 1)
    ]
    return pd.DataFrame(rows).set_index("cell").sort_values(["tricks", "behind"])


def false_alarm_rates(
    seeds: int = 10, experiments: int = 2000, factors: int = 5
) -> dict[str, float]:
    """Simulate factorials of pure noise: how often an effect looks real.

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
