"""Every rule of the book on the same data: a small search for each, then accuracy against samples and against seconds."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from labsupport import compare, plots, study, train
from labsupport.contracts import Arm, Interval, Recipe, Result
from labsupport.models import MLP, LocalMLP
from labsupport.rules import (
    SGD,
    Adam,
    AlternatingMinimization,
    CodeGradient,
    DirectFeedbackAlignment,
    EvolutionStrategy,
    FeedbackAlignment,
    GeneticAlgorithm,
    LocalErrors,
)

SIGNALS, DIGITS = "mnist1d", "mnist5k"
SIZES = {SIGNALS: (40, 64, 64, 10), DIGITS: (784, 64, 64, 10)}
EPOCHS = {SIGNALS: 8, DIGITS: 3}
SEARCHED, SHOWN = range(100, 103), range(10)
POPULATION = {SIGNALS: 20, DIGITS: 6}
LOOKS = {"SGD": ("#444444", "-", "o"), "Adam": ("#000000", "--", "s"), "feedback alignment": ("#0072B2", "-", "^"),
         "direct feedback alignment": ("#0072B2", ":", "v"), "local errors": ("#007A57", "-", "D"),
         "alternating minimization": ("#D55E00", "-", "P"), "evolution strategy": ("#9A4D86", "-", "X"),
         "genetic algorithm": ("#9A4D86", ":", "*"), "last layer only": ("#8A6D00", "--", "x")}
"""Colour, dash and marker of each rule: one colour a family."""


def contenders(data: str) -> dict[str, list[Arm]]:
    """The arms of each rule's search: three to five learning rates, three sizes of a mutation, nine pairs of price and ridge."""
    base = Recipe(MLP(SIZES[data]), SGD(), data=data, train_size=1000, valid_size=1000, epochs=EPOCHS[data])
    local = replace(base, model=LocalMLP(SIZES[data]), rule=Adam(gradient=LocalErrors("predsim")))
    adam, sgd = (3e-3, 1e-2, 3e-2), (0.01, 0.03, 0.1, 0.3)
    grids = {"SGD": (replace(base, rule=SGD(momentum=0.9)), {"lr": sgd}), "Adam": (replace(base, rule=Adam()), {"lr": adam}),
             "feedback alignment": (replace(base, rule=SGD(momentum=0.9, gradient=FeedbackAlignment())), {"lr": (0.003, *sgd)}),
             "direct feedback alignment": (replace(base, rule=SGD(momentum=0.9, gradient=DirectFeedbackAlignment())), {"lr": (0.003, *sgd)}),
             "local errors": (local, {"lr": (*adam, 0.1)}),
             "alternating minimization": _alternating(base, adam),
             "evolution strategy": (replace(base, rule=Adam(gradient=EvolutionStrategy(population=POPULATION[data]))), {"lr": adam}),
             "genetic algorithm": (replace(base, rule=GeneticAlgorithm(population=POPULATION[data])), {"sigma": (0.003, 0.01, 0.03) if data == SIGNALS else (0.01, 0.03, 0.1)}),
             "last layer only": (replace(base, rule=Adam(gradient=CodeGradient(code_steps=0))), {"lr": (0.1, 0.3, 1.0)})}
    return {name: study.grid(recipe, f"{name}, ", **axes) for name, (recipe, axes) in grids.items()}


def _alternating(base: Recipe, rates: Sequence[float]) -> tuple[Recipe, dict[str, Sequence[float]]]:
    """By memory on signals; along the gradient on digits, where the moments of 784 inputs would take most of the time."""
    if base.data == SIGNALS:
        return replace(base, rule=AlternatingMinimization()), {"mu": (1.0, 4.0, 16.0), "ridge": (0.3, 1.0, 3.0)}
    return replace(base, rule=Adam(gradient=CodeGradient())), {"lr": rates}


def chosen(data: str) -> dict[str, Arm]:
    """Of each rule the arm with the best accuracy on the validation part, from seeds of their own."""
    return {name: replace(compare.best(study.study(arms, SEARCHED)), name=name) for name, arms in contenders(data).items()}


def results(data: str, arms: dict[str, Arm]) -> dict[str, Result]:
    """Each rule at its best setting, from ten fresh seeds; a study for each, so that no rule's clock sees another's work.

    Two steps of each go first: what is set up once in a process belongs to no rule.
    """
    for arm in arms.values():
        deque(train.walk([replace(arm.recipe, train_size=200, epochs=1)], [0]), 0)
    return {name: study.study([arm], SHOWN) for name, arm in arms.items()}


def settings(found: dict[str, dict[str, Arm]]) -> pd.DataFrame:
    """What the search chose: one row a rule, one column a data set."""
    return pd.DataFrame({data: {name: ", ".join(f"{key} {value:g}" for key, value in arm.values.items()) for name, arm in arms.items()}
                         for data, arms in found.items()})


def course(result: Result, axis: str, train_size: int = 1000) -> tuple[list[float], list[Interval]]:
    """Where a rule's curve lies: samples seen or mean seconds a run, and the test accuracy there."""
    table = result.table.pivot_table(index=["epoch", "seed"], columns="metric", values="value")
    by_epoch = table.groupby("epoch")
    heights = [compare.interval(rows["test_accuracy"]) for _, rows in by_epoch]
    places = [float(epoch * train_size) if axis == "samples" else rows["seconds"].mean() for epoch, rows in by_epoch]
    return places, heights


def draw(measured: dict[str, dict[str, Result]]) -> Figure:
    """Two rows, signals and digits; two columns, accuracy against samples and against seconds; one legend."""
    plots.plt.rcParams.update(plots.STYLE)
    fig, axes = plots.plt.subplots(2, 2, figsize=(9, 7.4))
    for row, (data, results_of) in zip(axes, measured.items(), strict=True):
        for ax, axis in zip(row, ("samples", "seconds"), strict=True):
            for name, result in results_of.items():
                line(ax, *course(result, axis), name)
            ax.set(ylabel="test accuracy", xlabel="samples seen" if axis == "samples" else "seconds a run", title=data, ylim=(0, None))
        low, high = (np.log10(edge) for edge in row[1].dataLim.intervalx)
        row[1].set(xscale="log", xlim=(10 ** np.floor(low), 10 ** np.ceil(high)))
        row[1].xaxis.set_minor_formatter(NullFormatter())
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return fig


def line(ax: Axes, x: Sequence[float], heights: Sequence[Interval], name: str) -> None:
    """One rule's estimates with their band, in the look that it has in every panel."""
    colour, dash, marker = LOOKS[name]
    ax.plot(x, [v.estimate for v in heights], color=colour, linestyle=dash, marker=marker, markersize=4.5, label=name)
    ax.fill_between(x, [v.low for v in heights], [v.high for v in heights], color=colour, alpha=0.13, lw=0)
