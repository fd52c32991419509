"""The slide's table and the bowls it makes; a table of tumours that is standardized rightly,
wrongly, or not at all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import compare, datasets, plots, runtime, train
from labsupport.ops import standardization as sd
from labsupport.topics.standardization import reference as conditioning
from labsupport.types import Dataset, Recipe

TABLE = torch.tensor([[114.8, 0.00323], [338.1, 0.00183], [98.8, 0.00279]], dtype=torch.float64)
"""The three rows that the slide prints: two inputs."""
TARGETS = torch.tensor([5.1, 3.2, 4.1], dtype=torch.float64)
CHOOSING = range(100, 110)
"""Seeds from which a learning rate is chosen, and no more."""
CORRELATION = 0.5
"""Of the explorer's two columns."""
START = 1.2
"""How far from the minimum the explorer's descent begins."""
SHOWN = 40
"""Steps that the explorer draws."""


def ways(x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """What can be done to the columns of a table before training, by the statistics of the samples
    x.
    """
    mean, std = sd.fit(x)
    _, scales, directions = torch.linalg.svd(x - mean, full_matrices=False)
    return {
        "as printed": lambda z: z,
        "centred": lambda z: z - mean,
        "scaled": lambda z: z / std,
        "standardized": lambda z: (z - mean) / std,
        "whitened": lambda z: (z - mean) @ directions.T / scales * math.sqrt(len(x)),
    }


def preparations(x: Tensor) -> dict[str, Tensor]:
    """The table after each of these."""
    return {name: prepare(x) for name, prepare in ways(x).items()}


def race(factor: float = 1000.0, constant: bool = True) -> pd.DataFrame:
    """Gradient descent on the slide's table, at its best rate, until its distance to the minimum is
    divided by ``factor``.

    One row a preparation: the condition number, the predicted steps, the steps taken from the worst
    start (half of the error lies along the flattest direction, half along the steepest) and from
    zero weights.
    """
    rows = {}
    for name, x in preparations(TABLE).items():
        a, h = conditioning.design(x, constant), conditioning.hessian(x, constant)
        directions = torch.linalg.svd(a).Vh
        goal = {
            "lr": conditioning.best_rate(conditioning.curvatures(x, constant)),
            "factor": factor,
        }
        minimum = torch.linalg.lstsq(a, TARGETS[:, None]).solution[:, 0]
        kappa = conditioning.condition_number(x, constant).item()
        starts = directions[0] + directions[-1], -minimum
        rows[name] = (
            kappa,
            math.ceil(conditioning.steps_needed(kappa, factor)),
            *(conditioning.steps_taken(start, h, **goal) for start in starts),
        )
    return pd.DataFrame.from_dict(
        rows, "index", columns=["condition number", "predicted", "worst start", "from zero"]
    )


def draw_race(races: dict[str, pd.DataFrame]) -> Figure:
    """Steps against the condition number, from the worst start and from zero, with the prediction
    as a line.
    """
    fig, (ax,) = plots.figure(width=6.2, height=3.8)
    kappas = np.geomspace(1, 3e12, 200)
    ax.plot(
        kappas,
        [conditioning.steps_needed(kappa, 1000) for kappa in kappas],
        color="#777777",
        lw=1,
        label="predicted",
    )
    for i, (label, steps) in enumerate(races.items()):
        for j, start in enumerate(("worst start", "from zero")):
            look = {
                **plots.look(2 * i + j),
                "linestyle": "",
                "markersize": 7,
                "fillstyle": ("full", "none")[j],
            }
            ax.plot(steps["condition number"], steps[start], **look, label=f"{start}, {label}")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="condition number",
        ylabel="steps to a thousandth of the distance",
        title="Every step was taken",
    )
    ax.legend(fontsize=8.5)
    return fig


def conditions(data: str, rows: int, draws: int = 20) -> pd.DataFrame:
    """log10 of the condition number with the bias, one row a random choice of training samples, one
    column a preparation.
    """
    pool = datasets.load(data).x_train.double()
    picks = [
        torch.randperm(len(pool), generator=torch.Generator().manual_seed(draw))[:rows]
        for draw in range(draws)
    ]
    return pd.DataFrame(
        [
            {
                name: conditioning.condition_number(x).log10().item()
                for name, x in preparations(pool[pick.to(pool.device)]).items()
            }
            for pick in picks
        ]
    )


def test_losses(recipe: Recipe, rates: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """Test loss of a network on inputs prepared in each way: one row a seed, one column a way.

    The rate is chosen for each way by the validation loss, from ten seeds of their own.
    """
    dataset, found = train.load(recipe), {}
    recipes = [replace(recipe, rule=replace(recipe.rule, lr=lr)) for lr in rates]
    for name, prepare in ways(dataset.x_train.double()).items():
        parts = {
            part: prepare(getattr(dataset, part).double()).float()
            for part in ("x_train", "x_valid", "x_test")
        }
        made = replace(dataset, **parts)
        tried = _measured([r for r in recipes for _ in CHOOSING], [*CHOOSING] * len(rates), made)[
            "valid_loss"
        ]
        best = recipes[tried.view(len(rates), -1).mean(1).nan_to_num(math.inf).argmin()]
        found[name] = _measured([best] * len(seeds), seeds, made)["test_loss"].cpu().numpy()
    return pd.DataFrame(found, index=seeds)


def _measured(
    recipes: Sequence[Recipe], seeds: Sequence[int], dataset: Dataset
) -> dict[str, Tensor]:
    with runtime.one_thread():
        *_, last = train.iterate_steps(recipes, seeds, dataset)
    return train.measure(recipes[0].model, last.params, last.buffers, dataset)


# -- the explorer ----------------------------------------------------------------------------------


def valley(scale_ratio: float = 5.0, rate: float = 1.0) -> Figure:
    """Two columns, the first in units ``scale_ratio`` times as large: descent on their bowl, and on
    the standardized one.
    """
    units = torch.tensor([scale_ratio, 1.0], dtype=torch.float64)
    plain = torch.tensor([[1.0, CORRELATION], [CORRELATION, 1.0]], dtype=torch.float64)
    fig, axes = plots.figure(2, width=7.4, height=4.1)
    for ax, name, h in zip(
        axes, ("as measured", "standardized"), (units[:, None] * plain * units, plain), strict=True
    ):
        values, vectors = torch.linalg.eigh(h)
        error = START * (vectors[:, 0] + vectors[:, 1]) / math.sqrt(2)
        lr = rate * conditioning.best_rate(values)
        _bowl(ax, h, error)
        ax.plot(*_path(error, h, lr).T, "o-", color=plots.COLOURS[1], ms=3, lw=1.2)
        ax.plot(0, 0, "*", color="#222222", ms=12)
        steps = _steps(error, h, lr, values)
        ax.set_title(
            f"{name}: κ = {values[1] / values[0]:.3g}\nsteps to a hundredth: {steps}", fontsize=10
        )
    return fig


def _path(error: Tensor, h: Tensor, lr: Tensor) -> Tensor:
    points = [error]
    for _ in range(SHOWN):
        points.append(conditioning.gradient_step(points[-1], h, torch.zeros_like(error), lr=lr))
    return torch.stack(points)


def _steps(error: Tensor, h: Tensor, lr: Tensor, values: Tensor) -> str:
    return (
        str(conditioning.steps_taken(error, h, lr=lr, factor=100))
        if lr * values[1] < 2 - 1e-9
        else "never, it diverges"
    )


def _bowl(ax: Axes, h: Tensor, error: Tensor) -> None:
    x, y = np.meshgrid(np.linspace(-2, 2, 81), np.linspace(-2, 2, 81))
    height = 0.5 * (h[0, 0].item() * x**2 + 2 * h[0, 1].item() * x * y + h[1, 1].item() * y**2)
    top = 0.5 * (error @ h @ error).item()
    ax.contour(
        x,
        y,
        height,
        levels=top * np.array([0.01, 0.05, 0.15, 0.4, 1.0, 2.0]),
        colors="#b9b9b0",
        linewidths=0.8,
    )
    ax.set(
        xlim=(-2, 2),
        ylim=(-2, 2),
        xlabel="$w_1$ minus its best value",
        ylabel="$w_2$ minus its best value",
    )
    ax.set_aspect("equal")


# -- a table that is standardized in several ways
# ---------------------------------------------------


def accuracies(
    rows: int = 100,
    *,
    drift: float = 0.0,
    share: float | None = None,
    splits: int = 40,
    tests: int = 60,
) -> pd.DataFrame:
    """Test accuracy of logistic regression on tumours, one row a random split, one column a way to
    standardize.

    Args:
        rows: training samples, drawn at random from all 569.
        drift: what another instrument adds to every column of the test part, in deviations of that
            column.
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
    """The same with one more column: a thermometer that reads 20 up to ``noise``, and ``jump`` more
    in the test part.
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
    """Rows to train on, both classes among them, and rows to test on; class 0 is malignant."""
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
    """Of each of S tables (S, N, D), with one axis kept for the samples."""
    return sd.Statistics(
        x.mean(1, keepdim=True), x.std(1, keepdim=True, correction=0).clamp(min=1e-12)
    )


def _by(statistics: sd.Statistics, x: Tensor) -> Tensor:
    return (x - statistics.mean) / statistics.std


def _logistic(x: Tensor, y: Tensor, lr: float = 0.3, steps: int = 300) -> Tensor:
    """Weights (S, D + 1, 1) of S logistic regressions on (S, N, D), by gradient descent from
    zero.
    """
    a = torch.cat([x, x.new_ones(*x.shape[:2], 1)], 2)
    w = a.new_zeros(len(a), a.shape[2], 1)
    for _ in range(steps):
        w = w - lr * a.mT @ ((a @ w).sigmoid() - y[..., None]) / a.shape[1]
    return w


def _right(w: Tensor, x: Tensor, y: Tensor) -> np.ndarray:
    guess = (x @ w[:, :-1] + w[:, -1:])[..., 0] > 0
    return (guess == (y == 1)).double().mean(1).cpu().numpy()


def draw_drift(by_drift: dict[float, pd.DataFrame], by_share: dict[float, pd.DataFrame]) -> Figure:
    """Accuracy against drift, and against the share of malignant tumours in the test part, for two
    ways to standardize.
    """
    fig, axes = plots.figure(2, width=8, sharey=True)
    for ax, found, label in zip(
        axes,
        (by_drift, by_share),
        (
            "offset of the second instrument, in deviations",
            "share of malignant tumours in the test part",
        ),
        strict=True,
    ):
        for i, way in enumerate(("training statistics", "each part by its own")):
            plots.band(
                ax, list(found), [compare.interval(table[way]) for table in found.values()], way, i
            )
        ax.set(xlabel=label, ylabel="test accuracy")
    axes[0].legend()
    axes[0].set_title("the instrument drifts")
    axes[1].set_title("the mix of cases changes")
    return fig


class Log(NamedTuple):
    """What went into a pipeline and what came out."""

    x_train: Tensor
    x_test: Tensor
    z_train: Tensor
    z_test: Tensor


PATIENTS = {"A": "each_by_its_own", "B": "healthy", "C": "statistics_of_all"}
"""What each patient's code does. Do not peek before you have diagnosed."""


def patients(rows: int = 100, tests: int = 40) -> dict[str, Log]:
    """Tumours in two parts, standardized by three codes that all claim to be right."""
    x, _ = _tumours()
    x_train, x_test = x[:rows], x[-tests:]
    made = sd.pipelines(x_train, x_test)
    return {name: Log(x_train, x_test, *made[way]) for name, way in PATIENTS.items()}


def draw_patients(logs: dict[str, Log]) -> Figure:
    """The mean of each standardized column of the test part, patient by patient."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        ax.plot(
            log.z_test.mean(0).cpu(), label=f"patient {name}", **{**plots.look(i), "linestyle": ""}
        )
    ax.set(
        xlabel="column",
        ylabel="mean in the test part",
        title="Three codes, one promise: standardized inputs",
    )
    ax.legend()
    return fig
