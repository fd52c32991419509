"""One unit, the faulty runs and the leaderboard are drawn with what they show."""

import pytest

from labsupport import plots
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.study import study
from labsupport.topics.alternating_minimization import experiments, figures
from labsupport.types import Arm, Recipe


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_a_unit_that_jumps_over_zero_is_said_to():
    assert "jumps" in figures.draw_unit(0.5, -0.5).axes[0].get_title(loc="left")
    assert "stays below" in figures.draw_unit(10.0, -0.5).axes[0].get_title(loc="left")


def test_every_faulty_run_is_a_line_of_three_moments_a_sweep():
    lines = figures.draw_faulty_runs(experiments.faulty_runs(sweeps=3)).axes[0].lines
    assert [line.get_label() for line in lines] == ["run A", "run B", "run C", "run D"]
    assert {len(line.get_xdata()) for line in lines} == {9}


def test_the_leaderboard_draws_every_rule_against_samples_and_seconds():
    recipe = Recipe(MLP((40, 8, 10)), SGD(lr=0.3), train_size=300, epochs=2)
    results = {name: study([Arm(name, recipe)], (0, 1)) for name in ("SGD", "Adam")}
    fig = figures.draw_leaderboard({"signals": results, "digits": results})
    assert [len(ax.lines) for ax in fig.axes] == [2, 2, 2, 2]
    assert fig.axes[0].lines[0].get_xdata().tolist() == [300.0, 600.0]
