"""One sum under every mask and the runs to diagnose, as drawn."""

import math

import matplotlib
import pytest

from labsupport import plots
from labsupport.topics.dropout import experiments, figures

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_explorer_says_in_its_titles_what_masks_do_to_the_sum():
    """Two units of 1.25 and -0.25 at r = 1/2: the inverted sum has variance r/(1-r)·(1.25² + 0.25²)
    = 1.625.
    """
    fig = figures.all_sums(2, 0.5)
    lecture, inverted = (ax.get_title("left") for ax in fig.axes)
    assert lecture == f"lecture: mean 0.50, spread {math.sqrt(1.625) / 2:.2f}"
    assert inverted == f"inverted: mean 1.00, spread {math.sqrt(1.625):.2f}"
    assert fig.get_suptitle() == "2 units, 4 masks, drop rate 0.5"


def test_the_axes_of_the_explorer_hold_every_frame():
    for units in (2, 12):
        for ax in figures.all_sums(units, 0.75).axes:
            tops = [patch.get_height() for patch in ax.patches]
            assert sum(tops) == pytest.approx(1) and max(tops) < ax.get_ylim()[1]


def test_the_runs_to_diagnose_are_drawn_by_name():
    made = {name: experiments.FaultyRun(None, [2.0, 1.0]) for name in "AB"}
    (ax,) = figures.draw_faulty_runs(made).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["run A", "run B"]
