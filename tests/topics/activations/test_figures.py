"""Histograms, functions and the runs to diagnose, as drawn."""

import matplotlib
import pytest

from labsupport import plots
from labsupport.topics.activations import experiments, figures

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_a_histogram_says_in_its_titles_how_much_is_saturated_and_what_is_left_of_the_gradient():
    calm, wild = figures.saturation("sigmoid", 1.0), figures.saturation("tanh", 8.0)
    assert [ax.get_title("left") for ax in calm.axes] == [f"layer {i}: 0%" for i in range(1, 6)]
    assert all(int(ax.get_title("left").split(": ")[1][:-1]) > 70 for ax in wild.axes)
    assert float(calm.get_suptitle().split("is ")[-1].split(" ")[0]) < 0.01


def test_the_curves_of_functions_and_runs_to_diagnose_are_labelled():
    left, right = figures.draw_functions().axes
    assert (
        len(left.lines) == 6 and len(right.lines) == 7 and len(left.get_legend().get_texts()) == 6
    )
    (ax,) = figures.draw_faulty_runs(experiments.faulty_runs()).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"run {name}" for name in "ABCD"
    ]
    assert ax.get_yscale() == "log"
