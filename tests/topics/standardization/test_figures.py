"""The valley, the steps and the runs to diagnose, as drawn."""

import matplotlib
import pytest

from labsupport import plots
from labsupport.topics.standardization import experiments, figures

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_valley_says_in_its_titles_how_narrow_it_is_and_how_long_it_takes():
    left, right = (ax.get_title("left") for ax in figures.valley(1.0, 1.0).axes)
    assert left.splitlines()[1] == right.splitlines()[1] and "κ = 3" in left
    assert "steps to a hundredth: 7" in right  # ln 100 / ln 2 = 6.6
    left, right = (ax.get_title("left") for ax in figures.valley(10.0, 1.1).axes)
    assert "never, it diverges" in left and "never" not in right


def test_the_axes_of_the_valley_stay_where_they_are():
    limits = [
        (ax.get_xlim(), ax.get_ylim())
        for ratio in (1.0, 20.0)
        for ax in figures.valley(ratio, 1.0).axes
    ]
    assert len(set(limits)) == 1


def test_steps_are_drawn_beside_their_prediction():
    steps_by_label = {
        "with the bias": experiments.convergence(),
        "without": experiments.convergence(constant=False),
    }
    (ax,) = figures.draw_convergence(steps_by_label).axes
    assert [line.get_label() for line in ax.lines] == [
        "predicted",
        "worst start, with the bias",
        "from zero, with the bias",
        "worst start, without",
        "from zero, without",
    ]


def test_the_runs_to_diagnose_are_drawn_by_name_with_a_point_for_every_column():
    (ax,) = figures.draw_faulty_runs(experiments.faulty_runs()).axes
    assert [line.get_label() for line in ax.lines] == ["run A", "run B", "run C"]
    assert all(len(line.get_ydata()) == 30 for line in ax.lines)
