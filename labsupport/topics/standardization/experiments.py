"""Gradient descent on the slide's table, and networks and logistic regression on prepared data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from labsupport import datasets, runtime, train
from labsupport.topics.standardization import faults
from labsupport.topics.standardization import reference as sd
from labsupport.types import Dataset, Recipe

TABLE = torch.tensor([[114.8, 0.00323], [338.1, 0.00183], [98.8, 0.00279]], dtype=torch.float64)
"""The three rows that the slide prints: two inputs."""

TARGETS = torch.tensor([5.1, 3.2, 4.1], dtype=torch.float64)

SEARCH_SEEDS = range(100, 110)
"""A learning rate is chosen on these and reported on others."""


def transforms(x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Fit five ways to prepare the columns of a table to the samples x: functions by name."""
    mean, std = sd.fit(x)
    _, scales, directions = torch.linalg.svd(x - mean, full_matrices=False)
    return {
        "as printed": lambda z: z,
        "centred": lambda z: z - mean,
        "scaled": lambda z: z / std,
        "standardized": lambda z: (z - mean) / std,
        "whitened": lambda z: (z - mean) @ directions.T / scales * math.sqrt(len(x)),
    }


def prepared(x: Tensor) -> dict[str, Tensor]:
    """Apply each of :func:`transforms` to the table it was fitted to."""
    return {name: prepare(x) for name, prepare in transforms(x).items()}


def convergence(factor: float = 1000.0, constant: bool = True) -> pd.DataFrame:
    """Count the steps that divide the distance to the minimum by ``factor``, at the best rate.

    The data are the slide's table.

    One row a preparation: the condition number, the predicted steps, the steps taken from the worst
    start (half of the error lies along the flattest direction, half along the steepest) and from
    zero weights.
    """
    rows = {}
    for name, x in prepared(TABLE).items():
        a, h = sd.design(x, constant), sd.hessian(x, constant)
        directions = torch.linalg.svd(a).Vh
        goal = {
            "lr": sd.best_rate(sd.curvatures(x, constant)),
            "factor": factor,
        }
        minimum = torch.linalg.lstsq(a, TARGETS[:, None]).solution[:, 0]
        kappa = sd.condition_number(x, constant).item()
        starts = directions[0] + directions[-1], -minimum
        rows[name] = (
            kappa,
            math.ceil(sd.steps_needed(kappa, factor)),
            *(sd.steps_taken(start, h, **goal) for start in starts),
        )
    return pd.DataFrame.from_dict(
        rows, "index", columns=["condition number", "predicted", "worst start", "from zero"]
    )


def conditions(data: str, rows: int, draws: int = 20) -> pd.DataFrame:
    """Measure log10 of the condition number with the bias, a column a preparation.

    One row a random choice of training samples.
    """
    pool = datasets.load(data).x_train.double()
    picks = [
        torch.randperm(len(pool), generator=torch.Generator().manual_seed(draw))[:rows]
        for draw in range(draws)
    ]
    return pd.DataFrame(
        [
            {
                name: sd.condition_number(x).log10().item()
                for name, x in prepared(pool[pick.to(pool.device)]).items()
            }
            for pick in picks
        ]
    )


def test_losses(recipe: Recipe, rates: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """Train a network on inputs prepared in each way: test losses, a row a seed.

    The rate is chosen for each way by the validation loss, from ten seeds of their own.
    """
    dataset, found = train.load(recipe), {}
    recipes = [replace(recipe, rule=replace(recipe.rule, lr=lr)) for lr in rates]
    for name, prepare in transforms(dataset.x_train.double()).items():
        parts = {
            part: prepare(getattr(dataset, part).double()).float()
            for part in ("x_train", "x_valid", "x_test")
        }
        made = replace(dataset, **parts)
        tried = _measured(
            [r for r in recipes for _ in SEARCH_SEEDS], [*SEARCH_SEEDS] * len(rates), made
        )["valid_loss"]
        best = recipes[tried.view(len(rates), -1).mean(1).nan_to_num(math.inf).argmin()]
        found[name] = _measured([best] * len(seeds), seeds, made)["test_loss"].cpu().numpy()
    return pd.DataFrame(found, index=seeds)


def _measured(
    recipes: Sequence[Recipe], seeds: Sequence[int], dataset: Dataset
) -> dict[str, Tensor]:
    with runtime.one_thread():
        *_, last = train.iterate_steps(recipes, seeds, dataset)
    return train.measure(recipes[0].model, last.params, last.buffers, dataset)


def accuracies(
    rows: int = 100,
    *,
    drift: float = 0.0,
    share: float | None = None,
    splits: int = 40,
    tests: int = 60,
) -> pd.DataFrame:
    """Train logistic regression on tumours: test accuracies, a column a way to standardize.

    One row a random split.

    Args:
        rows: training samples, drawn at random from all 569.
        drift: what another instrument adds to every column of the test part, in standard
            deviations of that column.
        share: of malignant tumours in the test part; None draws as it comes.
        splits: how often training and test part are drawn anew.
        tests: test samples.
    """
    x, y = _tumours()
    parts = [_split(y, rows, tests, share, seed) for seed in range(splits)]
    train, test = (torch.stack(part) for part in zip(*parts, strict=True))
    x_train, x_test = x[train], x[test] + drift * x.std(0)
    own, other, every = map(_statistics, (x_train, x_test, torch.cat([x_train, x_test], 1)))
    model, leaked = (_logistic(_by(part, x_train), y[train]) for part in (own, every))
    ways = {
        "training statistics": (model, _by(own, x_test)),
        "each part by its own": (model, _by(other, x_test)),
        "statistics of all": (leaked, _by(every, x_test)),
        "test part untouched": (model, x_test),
    }
    return pd.DataFrame({name: _right(w, z, y[test]) for name, (w, z) in ways.items()})


def quiet_column(
    noise: float = 1e-4, jump: float = 0.1, *, rows: int = 100, splits: int = 40
) -> pd.DataFrame:
    """Measure the same with a thermometer as one more column.

    It reads 20 up to ``noise``, and ``jump`` more in the test part.
    """
    x, y = _tumours()
    parts = [_split(y, rows, 60, None, seed) for seed in range(splits)]
    train, test = (torch.stack(part) for part in zip(*parts, strict=True))
    rng = torch.Generator().manual_seed(0)
    warm = [
        20 + noise * torch.randn(*part.shape, 1, dtype=x.dtype, generator=rng).to(x.device)
        for part in (train, test)
    ]
    with_it = torch.cat([x[train], warm[0]], 2), torch.cat([x[test], warm[1] + jump], 2)
    return pd.DataFrame(
        {
            name: _right(_logistic(_by(own, a), y[train]), _by(own, b), y[test])
            for name, (a, b) in {
                "column left out": (x[train], x[test]),
                "column kept": with_it,
            }.items()
            for own in [_statistics(a)]
        }
    )


def _tumours() -> tuple[Tensor, Tensor]:
    dataset = datasets.load("cancer")
    return torch.cat([dataset.x_train, dataset.x_test]).double(), torch.cat(
        [dataset.y_train, dataset.y_test]
    )


def _split(
    y: Tensor, rows: int, tests: int, share: float | None, seed: int
) -> tuple[Tensor, Tensor]:
    """Draw rows to train on, both classes among them, and rows to test on; class 0 is malignant."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)).to(y.device)
    ill, well = order[y[order] == 0], order[y[order] == 1]
    first = torch.cat([ill[:1], well[:1]])
    order = torch.cat([first, order[~torch.isin(order, first)]])
    train, rest = order[:rows], order[rows:]
    if share is None:
        return train, rest[:tests]
    many = round(share * tests)
    return train, torch.cat([rest[y[rest] == 0][:many], rest[y[rest] == 1][: tests - many]])


def _statistics(x: Tensor) -> sd.Statistics:
    """Compute the statistics of each of S tables (S, N, D), with the samples' axis of length 1."""
    return sd.Statistics(
        x.mean(1, keepdim=True), x.std(1, keepdim=True, correction=0).clamp(min=1e-12)
    )


def _by(statistics: sd.Statistics, x: Tensor) -> Tensor:
    return (x - statistics.mean) / statistics.std


def _logistic(x: Tensor, y: Tensor, lr: float = 0.3, steps: int = 300) -> Tensor:
    """Fit the weights (S, D + 1, 1) of S logistic regressions on (S, N, D).

    They are fitted by gradient descent from zero.
    """
    a = torch.cat([x, x.new_ones(*x.shape[:2], 1)], 2)
    w = a.new_zeros(len(a), a.shape[2], 1)
    for _ in range(steps):
        w = w - lr * a.mT @ ((a @ w).sigmoid() - y[..., None]) / a.shape[1]
    return w


def _right(w: Tensor, x: Tensor, y: Tensor) -> np.ndarray:
    guess = (x @ w[:, :-1] + w[:, -1:])[..., 0] > 0
    return (guess == (y == 1)).double().mean(1).cpu().numpy()


class Log(NamedTuple):
    """The inputs and outputs of a pipeline."""

    x_train: Tensor
    x_test: Tensor
    z_train: Tensor
    z_test: Tensor


FAULTY_RUNS = {"A": "each_by_its_own", "B": "healthy", "C": "statistics_of_all"}
"""What the pipeline of each run does. Do not peek before you have diagnosed."""


def faulty_runs(rows: int = 100, tests: int = 40) -> dict[str, Log]:
    """Standardize tumours by three codes that all claim to be right; one is."""
    x, _ = _tumours()
    x_train, x_test = x[:rows], x[-tests:]
    made = faults.pipelines(x_train, x_test)
    return {name: Log(x_train, x_test, *made[way]) for name, way in FAULTY_RUNS.items()}
