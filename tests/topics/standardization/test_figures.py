"""The chapter's small worlds: the slide's table, the explorer's bowls, and tumours standardized in
several ways.
"""

from dataclasses import replace

import matplotlib
import pytest
import torch

from labsupport import plots, train
from labsupport.models import MLP
from labsupport.ops import standardization as sd
from labsupport.rules import SGD
from labsupport.topics.standardization import figures as toy
from labsupport.types import Recipe

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_preparations_do_what_their_names_say():
    made = toy.preparations(
        torch.randn(30, 3, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1]) + 5
    )
    for name, centred, scaled in (
        ("as printed", False, False),
        ("centred", True, False),
        ("scaled", False, True),
        ("standardized", True, True),
        ("whitened", True, True),
    ):
        x = made[name]
        assert bool((x.mean(0).abs() < 1e-9).all()) == centred, name
        assert bool(((x.std(0, correction=0) - 1).abs() < 1e-9).all()) == scaled, name
    torch.testing.assert_close(
        torch.cov(made["whitened"].T, correction=0), torch.eye(3, dtype=torch.float64)
    )


def test_the_race_is_as_long_as_predicted_and_one_step_when_whitened():
    for constant in (True, False):
        steps = toy.race(constant=constant)
        assert ((steps["worst start"] / steps["predicted"] - 1).abs() < 1e-3).all()
        assert steps.loc["whitened", ["predicted", "worst start", "from zero"]].tolist() == [
            1,
            1,
            1,
        ]


def test_the_race_from_zero_is_never_longer_than_predicted_by_more_than_rounding():
    steps = toy.race()
    assert (steps["from zero"] <= steps["predicted"] * 1.001).all()


def test_the_valley_says_in_its_titles_how_narrow_it_is_and_how_long_it_takes():
    left, right = (ax.get_title("left") for ax in toy.valley(1.0, 1.0).axes)
    assert left.splitlines()[1] == right.splitlines()[1] and "κ = 3" in left
    assert "steps to a hundredth: 7" in right  # ln 100 / ln 2 = 6.6
    left, right = (ax.get_title("left") for ax in toy.valley(10.0, 1.1).axes)
    assert "never, it diverges" in left and "never" not in right


def test_the_axes_of_the_valley_stay_where_they_are():
    limits = [
        (ax.get_xlim(), ax.get_ylim())
        for ratio in (1.0, 20.0)
        for ax in toy.valley(ratio, 1.0).axes
    ]
    assert len(set(limits)) == 1


def test_conditions_are_drawn_anew_and_the_same_every_time():
    found = toy.conditions("wine", rows=60, draws=3)
    assert found.shape == (3, 5) and found["standardized"].nunique() == 3
    assert found.equals(toy.conditions("wine", rows=60, draws=3))


def test_networks_learn_from_inputs_prepared_in_each_way_and_the_same_every_time():
    recipe = Recipe(
        MLP((13, 4, 3)), SGD(), "wine", train_size=60, valid_size=42, epochs=3, batch_size=20
    )
    found = toy.test_losses(recipe, [1e-4, 0.1], range(3))
    assert list(found) == list(toy.ways(toy.TABLE)) and found.shape == (3, 5)
    assert found.notna().all(axis=None) and found.equals(
        toy.test_losses(recipe, [1e-4, 0.1], range(3))
    )


def test_the_standardized_way_is_the_standardized_recipe():
    recipe = Recipe(
        MLP((13, 4, 3)), SGD(), "wine", train_size=60, valid_size=42, epochs=3, batch_size=20
    )
    ours = toy.test_losses(recipe, [0.1], range(3))["standardized"]
    trained = train.train([replace(recipe, standardize=True, rule=SGD(lr=0.1))] * 3, range(3))
    theirs = [values for _, metric, values in trained.metrics if metric == "test_loss"][-1]
    torch.testing.assert_close(
        torch.tensor(ours.to_numpy()).double(), theirs.cpu(), rtol=1e-4, atol=1e-5
    )


def test_a_drift_is_invisible_to_a_part_standardized_by_itself_and_to_nothing_else():
    still, moved = (toy.accuracies(drift=drift, splits=4) for drift in (0.0, 1.0))
    assert still["each part by its own"].equals(moved["each part by its own"])
    assert (moved["training statistics"] < still["training statistics"]).all()


def test_a_test_part_has_the_mix_that_was_asked_for_and_shares_no_sample_with_the_training_part():
    _, y = toy._tumours()
    for share in (0.0, 0.25, 1.0):
        train, test = toy._split(y, 50, 40, share, seed=3)
        assert (y[test] == 0).double().mean().item() == share and len(test) == 40
        assert not torch.isin(train, test).any() and len(train) == 50
    assert all(len(set(y[toy._split(y, 6, 40, None, seed)[0]].tolist())) == 2 for seed in range(40))


def test_without_a_jump_the_quiet_column_does_no_harm():
    calm, jumped = (
        toy.quiet_column(jump=0.0, splits=8).mean(),
        toy.quiet_column(jump=0.1, splits=8).mean(),
    )
    assert abs(calm["column kept"] - calm["column left out"]) < 0.03
    assert jumped["column kept"] < calm["column kept"] - 0.2


def test_the_patients_logs_are_what_their_codes_do():
    for name, log in toy.patients().items():
        assert sd.diagnose(*log) == toy.PATIENTS[name]
