"""Every rule of the book on the same data: a small search for each, then accuracy against samples
and against seconds.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from labsupport import compare, plots, profiles, study, train
from labsupport.models import MLP, LocalMLP
from labsupport.rules import (
    SGD,
    Adam,
    AlternatingMinimization,
    CodeGradient,
    Decoupled,
    DirectFeedbackAlignment,
    EvolutionStrategy,
    FeedbackAlignment,
    GeneticAlgorithm,
    Greedy,
    LocalErrors,
)
from labsupport.types import Arm, Interval, Recipe, Result

SIGNALS, DIGITS = "mnist1d", "mnist5k"
SIZES = {SIGNALS: (40, 64, 64, 10), DIGITS: (784, 64, 64, 10)}
EPOCHS = {SIGNALS: 8, DIGITS: 3}
SEARCHED, SHOWN = range(100, 103), range(20, 30)
POPULATION = {SIGNALS: 12, DIGITS: 6}
MUTATIONS = {SIGNALS: (0.003, 0.01, 0.03), DIGITS: (0.001, 0.003, 0.01, 0.03)}
LOOKS = {
    "SGD": ("#444444", "-", "o"),
    "Adam": ("#000000", "--", "s"),
    "feedback alignment": ("#0072B2", "-", "^"),
    "direct feedback alignment": ("#0072B2", ":", "v"),
    "local errors": ("#007A57", "-", "D"),
    "decoupled greedy": ("#007A57", "--", "p"),
    "greedy layerwise": ("#007A57", ":", "h"),
    "alternating minimization": ("#D55E00", "-", "P"),
    "evolution strategy": ("#9A4D86", "-", "X"),
    "genetic algorithm": ("#9A4D86", ":", "*"),
    "last layer only": ("#8A6D00", "--", "x"),
}
"""Colour, dash and marker of each rule: one colour a family."""


def contenders(data: str) -> dict[str, list[Arm]]:
    """The arms of each rule's search: three to five learning rates, sizes of a mutation, or nine
    pairs of price and ridge.

    All rules get the network and the samples that an MLP gets in this profile, those whose layers
    have heads too.
    """
    base = profiles.sized(
        Recipe(
            MLP(SIZES[data]),
            SGD(),
            data=data,
            train_size=1000,
            valid_size=1000,
            epochs=EPOCHS[data],
        )
    )
    heads = replace(base, model=LocalMLP(base.model.sizes))
    stage = base.epochs * base.train_size // base.batch_size // (len(base.model.sizes) - 2)
    adam, sgd = (3e-3, 1e-2, 3e-2), (0.01, 0.03, 0.1, 0.3)
    aligned, still = (
        [
            SGD(momentum=0.9, gradient=source())
            for source in (FeedbackAlignment, DirectFeedbackAlignment)
        ],
        CodeGradient(code_steps=0),
    )
    strategy, algorithm = (
        EvolutionStrategy(population=POPULATION[data]),
        GeneticAlgorithm(population=POPULATION[data]),
    )
    grids = {
        "SGD": (replace(base, rule=SGD(momentum=0.9)), {"lr": sgd}),
        "Adam": (replace(base, rule=Adam()), {"lr": adam}),
        "feedback alignment": (replace(base, rule=aligned[0]), {"lr": (0.003, *sgd)}),
        "direct feedback alignment": (replace(base, rule=aligned[1]), {"lr": (0.003, *sgd)}),
        "local errors": (
            replace(heads, rule=Adam(gradient=LocalErrors("predsim"))),
            {"lr": (*adam, 0.1)},
        ),
        "decoupled greedy": (replace(heads, rule=Adam(gradient=Decoupled())), {"lr": (*adam, 0.1)}),
        "greedy layerwise": (
            replace(heads, rule=SGD(gradient=Greedy(stage))),
            {"lr": (0.1, 0.3, 1.0, 3.0)},
        ),
        "alternating minimization": _alternating(base, adam),
        "evolution strategy": (replace(base, rule=Adam(gradient=strategy)), {"lr": adam}),
        "genetic algorithm": (replace(base, rule=algorithm), {"sigma": MUTATIONS[data]}),
        "last layer only": (
            replace(base, rule=Adam(gradient=still)),
            {"lr": (0.03, 0.1, 0.3, 1.0)},
        ),
    }
    return {name: study.grid(recipe, f"{name}, ", **axes) for name, (recipe, axes) in grids.items()}


def _alternating(base: Recipe, rates: Sequence[float]) -> tuple[Recipe, dict[str, Sequence[float]]]:
    """AM-mem on signals; AM-Adam on digits, where the moments of 784 inputs would take most of the
    time.
    """
    if base.data == SIGNALS:
        return replace(base, rule=AlternatingMinimization()), {
            "mu": (1.0, 4.0, 16.0),
            "ridge": (0.1, 0.3, 1.0),
        }
    return replace(base, rule=Adam(gradient=CodeGradient())), {"lr": rates}


def chosen(data: str) -> dict[str, Arm]:
    """Of each rule the arm with the best accuracy on the validation part, from seeds of their
    own.
    """
    return {
        name: replace(compare.best(study.study(arms, SEARCHED)), name=name)
        for name, arms in contenders(data).items()
    }


def results(data: str, arms: dict[str, Arm]) -> dict[str, Result]:
    """Each rule at its best setting, from ten fresh seeds; a study for each, so that no rule's
    clock sees another's work.

    Two steps of each go first: what is set up once in a process belongs to no rule.
    """
    for arm in arms.values():
        deque(train.iterate_steps([replace(arm.recipe, train_size=200, epochs=1)], [0]), 0)
    return {name: study.study([arm], SHOWN) for name, arm in arms.items()}


def settings(found: dict[str, dict[str, Arm]]) -> pd.DataFrame:
    """What the search chose: one row a rule, one column a data set."""
    return pd.DataFrame(
        {
            data: {
                name: ", ".join(f"{key} {value:g}" for key, value in arm.values.items())
                for name, arm in arms.items()
            }
            for data, arms in found.items()
        }
    )


def standings(measured: dict[str, dict[str, Result]]) -> pd.DataFrame:
    """The leaderboard as a table, best on the first data set first: test accuracy at the end with
    half its interval, seconds a run.
    """
    first = next(iter(measured.values()))
    order = sorted(first, key=lambda name: -_ended(first[name], "test_accuracy").estimate)
    return pd.DataFrame(
        {
            column: {name: text(results_of[name]) for name in order}
            for data, results_of in measured.items()
            for column, text in ((f"{data}: accuracy", _accuracy), (f"{data}: seconds", _seconds))
        }
    )


def _ended(result: Result, metric: str) -> Interval:
    return compare.interval(compare.final(result, metric).iloc[:, 0])


def _accuracy(result: Result) -> str:
    v = _ended(result, "test_accuracy")
    return f"{v.estimate:.3f} ± {(v.high - v.low) / 2:.3f}"


def _seconds(result: Result) -> str:
    return f"{_ended(result, 'seconds').estimate:.2g}"


def course(result: Result, axis: str) -> tuple[list[float], list[Interval]]:
    """Where a rule's curve lies: samples seen or mean seconds a run, and the test accuracy
    there.
    """
    size = result.arms[0].recipe.train_size
    table = result.table.pivot_table(index=["epoch", "seed"], columns="metric", values="value")
    by_epoch = table.groupby("epoch")
    heights = [compare.interval(rows["test_accuracy"]) for _, rows in by_epoch]
    places = [
        float(epoch * size) if axis == "samples" else rows["seconds"].mean()
        for epoch, rows in by_epoch
    ]
    return places, heights


def draw(measured: dict[str, dict[str, Result]]) -> Figure:
    """Two rows, signals and digits; two columns, accuracy against samples and against seconds; one
    legend.
    """
    plots.plt.rcParams.update(plots.STYLE)
    fig, axes = plots.plt.subplots(2, 2, figsize=(9, 8.2))
    for row, (data, results_of) in zip(axes, measured.items(), strict=True):
        for ax, axis in zip(row, ("samples", "seconds"), strict=True):
            for name, result in results_of.items():
                line(ax, *course(result, axis), name)
            ax.set(
                ylabel="test accuracy",
                xlabel="samples seen" if axis == "samples" else "seconds a run",
                title=data,
                ylim=(0, None),
            )
        row[1].set_xscale("log")
        row[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        row[1].xaxis.set_major_formatter("{x:g}")
        row[1].xaxis.set_minor_locator(NullLocator())
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return fig


def line(ax: Axes, x: Sequence[float], heights: Sequence[Interval], name: str) -> None:
    """One rule's estimates with their band, in the look that it has in every panel."""
    colour, dash, marker = LOOKS[name]
    ax.plot(
        x,
        [v.estimate for v in heights],
        color=colour,
        linestyle=dash,
        marker=marker,
        markersize=4.5,
        label=name,
    )
    ax.fill_between(
        x, [v.low for v in heights], [v.high for v in heights], color=colour, alpha=0.13, lw=0
    )
