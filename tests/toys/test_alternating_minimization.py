"""What the chapter on alternating minimization draws and shows."""

import matplotlib
import pytest
import torch

from labsupport import plots
from labsupport.contracts import Recipe
from labsupport.models import MLP
from labsupport.reference import alternating_small as small
from labsupport.rules import SGD
from labsupport.toys import alternating_minimization as toy
from labsupport.toys import leaderboard

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_no_update_of_the_batch_form_raises_the_objective():
    run = toy.batch_run(0.3, size=50, sweeps=10, seeds=range(3))
    rise, updates = toy.largest_rise(run.log)
    assert rise < 1e-12 and updates == 10 * 5 * 3
    assert (run.log[-1, -1] < run.log[0, 0]).all()


def test_a_rise_is_seen():
    assert toy.largest_rise(torch.tensor([[[2.0], [3.0], [1.0]]]))[0] == 0.5


def test_every_patient_is_named_by_the_reference_as_what_it_is():
    assert {name: small.diagnose(*log) for name, log in toy.patients().items()} == toy.PATIENTS


def test_a_low_price_wakes_a_dead_unit_and_a_high_one_does_not():
    assert toy.unit_path(0.5, -0.5)[1] and not toy.unit_path(10.0, -0.5)[1]
    assert "jumps" in toy.plane(0.5, -0.5).axes[0].get_title(loc="left")


def test_the_first_pass_is_measured_where_it_is_asked():
    recipe = Recipe(MLP((40, 8, 10)), SGD(), train_size=500, epochs=1)
    seen = toy.first_pass(recipe, (0, 1), (1, 5))
    assert set(seen) == {1, 5} and seen[5].shape == (2,)


def test_the_leaderboard_has_a_look_for_every_rule_and_a_search_of_three_settings_at_least():
    for data in (leaderboard.SIGNALS, leaderboard.DIGITS):
        arms = leaderboard.contenders(data)
        assert set(arms) == set(leaderboard.LOOKS) and len(arms) <= 9
        assert all(len(rivals) >= 3 for rivals in arms.values())
    assert len(set(leaderboard.LOOKS.values())) == 9
