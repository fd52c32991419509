"""Evolving what the gradient trains: a small space of networks, trained once, and two searches that look them up."""

import itertools
from collections.abc import Mapping
from random import Random

import numpy as np
import pandas as pd

from labsupport import compare
from labsupport.contracts import Arm, Recipe
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.study import study

GENES: Mapping[str, tuple] = {
    "first": (8, 32), "second": (0, 8, 32), "activation": ("relu", "tanh", "sigmoid"),
    "lr": (0.01, 0.03, 0.1, 0.3, 1.0), "momentum": (0.0, 0.9), "gain": (0.5, 1.0, 2.0)}
"""A second layer of width 0 is none. The last three are numbers, so that networks that differ in them train as one stack."""
Genome = tuple
SPACE: tuple[Genome, ...] = tuple(itertools.product(*GENES.values()))


def recipe(genome: Genome) -> Recipe:
    """The network of a genome, and how the gradient trains it: 100 steps on 500 signals of MNIST-1D."""
    first, second, activation, lr, momentum, gain = genome
    sizes = tuple(size for size in (40, first, second, 10) if size)
    return Recipe(MLP(sizes, activation=activation, gain=gain), SGD(lr=lr, momentum=momentum), train_size=500, valid_size=1000,
                  epochs=10, batch_size=50, schedule="cosine", measure_every=0)


def tabulate(seeds: range = range(2)) -> dict[str, pd.DataFrame]:
    """Every genome of the space trained from each seed: accuracy on the validation and on the test part, (seed, genome).

    A run that diverged gets the accuracy of chance.
    """
    arms = [Arm(str(i), recipe(genome)) for i, genome in enumerate(SPACE)]
    result = study(arms, seeds)
    return {part: compare.final(result, f"{part}_accuracy").fillna(0.1).set_axis(list(SPACE), axis=1) for part in ("valid", "test")}


def mutate(genome: Genome, rng: Random) -> Genome:
    """The genome with one gene changed to another of its values."""
    at = rng.randrange(len(genome))
    values = [value for value in list(GENES.values())[at] if value != genome[at]]
    return (*genome[:at], rng.choice(values), *genome[at + 1:])


def search(table: dict[str, pd.DataFrame], budget: int, seed: int, *, evolved: bool, population: int = 10,
           tournament: int = 4) -> list[float]:
    """The course of one search: after each trained network the mean test accuracy of the best genome so far.

    Both kinds begin with the same random genomes. From then on random search goes on drawing, and evolution mutates the best of
    a random ``tournament`` among the youngest ``population`` genomes. The best is the one with the highest validation accuracy seen.

    Args:
        table: what ``tabulate`` returned; a search trains a genome by looking up one of its seeds, drawn anew each time.
        budget: networks trained.
        seed: of the search.
        evolved: evolution, or random search.
        population, tournament: of the evolution.

    Raises:
        ValueError: for a population below 2, or a tournament or a budget that does not fit it.

    Source: Real et al. (2019), Algorithm 1: ageing evolution.
    """
    if not 2 <= population <= budget or not 1 <= tournament <= population:
        raise ValueError(f"population {population}, tournament {tournament}, budget {budget}; wanted are a population of at least 2, a "
                         "tournament from 1 to the population, and a budget of at least the population")
    draw, luck = Random(f"genomes {seed}"), Random(f"seeds {seed}")
    valid, truth = _lookup(table)
    history: list[tuple[float, Genome]] = []
    course = []
    for step in range(budget):
        if evolved and step >= population:
            genome = mutate(max(draw.sample(history[-population:], tournament))[1], draw)
        else:
            genome = draw.choice(SPACE)
        history.append((luck.choice(valid[genome]), genome))
        course.append(truth[max(history, key=lambda trained: trained[0])[1]])
    return course


def _lookup(table: dict[str, pd.DataFrame]) -> tuple[dict[Genome, list[float]], dict[Genome, float]]:
    valid = {genome: table["valid"][genome].tolist() for genome in SPACE}
    means = np.asarray(table["test"][list(SPACE)]).mean(0)
    return valid, dict(zip(SPACE, means.tolist(), strict=True))


def courses(table: dict[str, pd.DataFrame], budget: int = 60, repeats: int = 100) -> dict[str, pd.DataFrame]:
    """Both searches many times over: (search, trained networks)."""
    return {name: pd.DataFrame([search(table, budget, seed, evolved=name == "evolution") for seed in range(repeats)],
                               columns=range(1, budget + 1))
            for name in ("evolution", "random search")}
