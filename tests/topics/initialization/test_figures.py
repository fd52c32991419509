"""Signals, the map of gain and depth, row dissimilarity and the runs to diagnose, as drawn."""

import math

import matplotlib
import numpy as np
import pytest

from labsupport import plots
from labsupport.models import MLP
from labsupport.probes.signals import signals
from labsupport.rules import SGD
from labsupport.study import grid, study
from labsupport.topics.initialization import experiments, figures
from labsupport.types import Recipe

matplotlib.use("agg")

SEEDS = (0, 1, 2)


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def recipe(**model):
    return Recipe(MLP((40, 12, 10), **model), SGD(lr=0.1), train_size=100, epochs=1)


def copies(sizes=(40, 8, 8, 10), **changes):
    model = experiments.SymmetricMLP(
        sizes, activation="tanh", initializer="equal_rows", **{"bias": "zero", **changes}
    )
    return Recipe(model, SGD(lr=0.1), train_size=100, epochs=20, dtype="float64")


@pytest.fixture
def begun():
    deep = Recipe(
        MLP((40, 60, 60, 60, 10), initializer="kaiming_normal", bias="zero"),
        SGD(),
        train_size=100,
        epochs=0,
    )
    return study(grid(deep, gain=[1.0, 2.0]), seeds=range(10), probes=[signals])


def test_the_explorers_title_tells_the_mean_squares_at_the_ends():
    titles = [ax.get_title("left") for ax in figures.signals_at_start(0.5, "relu").axes]
    assert "layer 20 is 7e-19" in titles[0] and "layer 1 is 9e-18" in titles[1]


def test_signals_are_drawn_as_points_with_their_prediction_as_a_line(begun):
    _, axes = plots.figure(2)
    figures.draw_signals(axes, begun, {"Kaiming": begun.arms[0].name})
    points, line = axes[0].lines
    assert (
        len(points.get_xdata()) == len(line.get_xdata()) == 3 and points.get_linestyle() == "None"
    )


def test_a_map_writes_its_numbers_and_why_there_is_none():
    arms = experiments.gain_map(recipe(), gains=[0.5, 1.0, 2.0], depths=[2], rates=[0.1])
    _, (ax,) = plots.figure()
    figures.draw_map(
        ax,
        arms,
        dict(zip([arm.name for arm in arms], (math.inf, 7.0, math.nan), strict=True)),
        "{:.0f}",
    )
    assert [text.get_text() for text in ax.texts] == ["never", "7", "div."]


def test_row_dissimilarity_is_drawn_a_panel_a_layer():
    course = experiments.row_dissimilarity(copies(), SEEDS, steps=3)
    fig = figures.draw_row_dissimilarity({"copies": course, "again": course})
    assert [ax.get_title("left") for ax in fig.axes] == ["hidden layer 1", "hidden layer 2"]
    assert np.allclose(fig.axes[0].lines[0].get_ydata()[0], 1e-18)


def test_the_runs_to_diagnose_are_drawn_by_name():
    (ax,) = figures.draw_faulty_runs(experiments.faulty_runs()).axes
    assert [line.get_label() for line in ax.lines] == [f"run {name}" for name in "ABCD"]
