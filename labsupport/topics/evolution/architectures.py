"""Architecture search: a table of trained networks, and two searches that look them up.

The space is small; each network was trained once by gradient descent.
"""

import itertools
from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
import pandas as pd

from labsupport import compare
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.study import study
from labsupport.types import Arm, Recipe

GENES: Mapping[str, tuple] = {
    "first": (8, 32),
    "second": (0, 8, 32),
    "activation": ("relu", "tanh"),
    "lr": (0.01, 0.03, 0.1, 0.3, 1.0),
    "momentum": (0.0, 0.9),
    "gain": (0.5, 1.0, 2.0),
}
"""A second layer of width 0 is none. The last three are numbers, so that networks that differ in
them train as one stack.
"""
Genome = tuple
SPACE: tuple[Genome, ...] = tuple(itertools.product(*GENES.values()))


def recipe(genome: Genome) -> Recipe:
    """Build the recipe of a genome: its network, 50 steps on 500 signals of MNIST-1D."""
    first, second, activation, lr, momentum, gain = genome
    sizes = tuple(size for size in (40, first, second, 10) if size)
    return Recipe(
        MLP(sizes, activation=activation, gain=gain),
        SGD(lr=lr, momentum=momentum),
        train_size=500,
        valid_size=1000,
        epochs=5,
        batch_size=50,
        schedule="cosine",
        measure_every=0,
    )


Table = Mapping[Genome, list[tuple[float, float]]]
"""What each genome reached from each seed: accuracy on the validation part and on the test part."""


def tabulate(seeds: Sequence[int] = range(10)) -> Table:
    """Train every genome from each seed; a diverged run gets the accuracy of chance."""
    arms = [Arm(str(i), recipe(genome)) for i, genome in enumerate(SPACE)]
    result = study(arms, seeds)
    parts = [
        compare.final(result, f"{part}_accuracy").fillna(0.1).T.to_numpy().tolist()
        for part in ("valid", "test")
    ]
    return {
        genome: list(zip(*rows, strict=True)) for genome, *rows in zip(SPACE, *parts, strict=True)
    }


def mutate(genome: Genome, rng: Random) -> Genome:
    """Change one gene of the genome to another of its values."""
    at = rng.randrange(len(genome))
    values = [value for value in list(GENES.values())[at] if value != genome[at]]
    return (*genome[:at], rng.choice(values), *genome[at + 1 :])


def search(
    table: Table,
    budget: int,
    seed: int,
    *,
    evolved: bool,
    column: int = 0,
    population: int = 10,
    tournament: int = 4,
) -> list[float]:
    """Search once; return the best genome's test accuracy after each trained network.

    Both kinds begin with the same random genomes. From then on random search goes on drawing, and
    evolution mutates the best of a random ``tournament`` among the youngest ``population`` genomes.
    The best is the one with the highest validation accuracy.

    Args:
        table: what ``tabulate`` returned.
        budget: networks trained.
        seed: of the search.
        evolved: evolution, or random search.
        column: a search trains a genome by looking up this one of the table's seeds. What it hands
            in is trained once more, from the next seed, and that is tested: the luck of the seed by
            which it was chosen does not count.
        population, tournament: of the evolution.

    Raises:
        ValueError: for a population below 2, or a tournament or a budget that does not fit it.

    Source: Real et al. (2019), Algorithm 1: ageing evolution.
    """
    if not 2 <= population <= budget or not 1 <= tournament <= population:
        raise ValueError(
            f"population {population}, tournament {tournament}, budget {budget}; wanted are a"
            " population of at least 2, a tournament from 1 to the population, and a budget of at"
            " least the population"
        )
    draw, history, course = Random(seed), [], []
    for step in range(budget):
        if evolved and step >= population:
            genome = mutate(max(draw.sample(history[-population:], tournament))[1], draw)
        else:
            genome = draw.choice(SPACE)
        history.append((table[genome][column][0], genome))
        tests = table[max(history)[1]]
        course.append(tests[(column + 1) % len(tests)][1])
    return course


def courses(table: Table, budget: int = 60, repeats: int = 50) -> dict[str, pd.DataFrame]:
    """Average ``repeats`` searches of each kind: (column of the table, trained networks)."""
    columns, spent = range(len(table[SPACE[0]])), range(1, budget + 1)
    return {
        name: pd.DataFrame(
            [
                np.mean(
                    [
                        search(table, budget, seed, evolved=name == "evolution", column=column)
                        for seed in range(repeats)
                    ],
                    axis=0,
                )
                for column in columns
            ],
            columns,
            spent,
        )
        for name in ("evolution", "random search")
    }
