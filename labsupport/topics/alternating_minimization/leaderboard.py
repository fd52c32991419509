"""The leaderboard: a small search for every rule, then accuracy against samples and seconds."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from labsupport import compare, profiles, study, train
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


def contenders(data: str) -> dict[str, list[Arm]]:
    """List the arms of each rule's search.

    They are three to five learning rates or mutation sizes, or nine pairs of penalty and ridge.

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
    """List the arms of AM-mem on signals, of AM-Adam on digits.

    On digits the moments of 784 inputs would take most of the time.
    """
    if base.data == SIGNALS:
        return replace(base, rule=AlternatingMinimization()), {
            "mu": (1.0, 4.0, 16.0),
            "ridge": (0.1, 0.3, 1.0),
        }
    return replace(base, rule=Adam(gradient=CodeGradient())), {"lr": rates}


def chosen(data: str) -> dict[str, Arm]:
    """Choose each rule's arm by validation accuracy, from seeds of the search alone."""
    return {
        name: replace(compare.best(study.study(arms, SEARCHED)), name=name)
        for name, arms in contenders(data).items()
    }


def results(data: str, arms: dict[str, Arm]) -> dict[str, Result]:
    """Train each rule at its best setting from ten fresh seeds, in a study of its own.

    So no rule's clock sees another's work.

    Two steps of each go first: what is set up once in a process belongs to no rule.
    """
    for arm in arms.values():
        deque(train.iterate_steps([replace(arm.recipe, train_size=200, epochs=1)], [0]), 0)
    return {name: study.study([arm], SHOWN) for name, arm in arms.items()}


def settings(found: dict[str, dict[str, Arm]]) -> pd.DataFrame:
    """Tabulate what the search chose: one row a rule, one column a data set."""
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
    """Tabulate test accuracy, half its interval and seconds a run, best on the first data first."""
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
