"""The slide's table, networks on prepared inputs, and tumours standardized in several ways."""

from dataclasses import replace

import torch

from labsupport import train
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.standardization import experiments, faults
from labsupport.types import Recipe


def test_the_prepared_tables_are_what_their_names_say():
    made = experiments.prepared(
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


def test_convergence_is_as_long_as_predicted_and_one_step_when_whitened():
    for constant in (True, False):
        steps = experiments.convergence(constant=constant)
        assert ((steps["worst start"] / steps["predicted"] - 1).abs() < 1e-3).all()
        assert steps.loc["whitened", ["predicted", "worst start", "from zero"]].tolist() == [
            1,
            1,
            1,
        ]


def test_convergence_from_zero_is_never_longer_than_predicted_by_more_than_rounding():
    steps = experiments.convergence()
    assert (steps["from zero"] <= steps["predicted"] * 1.001).all()


def test_conditions_are_drawn_anew_and_the_same_every_time():
    found = experiments.conditions("wine", rows=60, draws=3)
    assert found.shape == (3, 5) and found["standardized"].nunique() == 3
    assert found.equals(experiments.conditions("wine", rows=60, draws=3))


def test_networks_learn_from_inputs_prepared_in_each_way_and_the_same_every_time():
    recipe = Recipe(
        MLP((13, 4, 3)), SGD(), "wine", train_size=60, valid_size=42, epochs=3, batch_size=20
    )
    found = experiments.test_losses(recipe, [1e-4, 0.1], range(3))
    assert list(found) == list(experiments.transforms(experiments.TABLE)) and found.shape == (3, 5)
    assert found.notna().all(axis=None) and found.equals(
        experiments.test_losses(recipe, [1e-4, 0.1], range(3))
    )


def test_the_standardized_way_is_the_standardized_recipe():
    recipe = Recipe(
        MLP((13, 4, 3)), SGD(), "wine", train_size=60, valid_size=42, epochs=3, batch_size=20
    )
    ours = experiments.test_losses(recipe, [0.1], range(3))["standardized"]
    trained = train.train([replace(recipe, standardize=True, rule=SGD(lr=0.1))] * 3, range(3))
    theirs = [values for _, metric, values in trained.metrics if metric == "test_loss"][-1]
    torch.testing.assert_close(
        torch.tensor(ours.to_numpy()).double(), theirs.cpu(), rtol=1e-4, atol=1e-5
    )


def test_a_drift_is_invisible_to_a_part_standardized_by_itself_and_to_nothing_else():
    still, moved = (experiments.accuracies(drift=drift, splits=4) for drift in (0.0, 1.0))
    assert still["each part by its own"].equals(moved["each part by its own"])
    assert (moved["training statistics"] < still["training statistics"]).all()


def test_a_test_part_has_the_mix_that_was_asked_for_and_shares_no_sample_with_the_training_part():
    _, y = experiments._tumours()
    for share in (0.0, 0.25, 1.0):
        train, test = experiments._split(y, 50, 40, share, seed=3)
        assert (y[test] == 0).double().mean().item() == share and len(test) == 40
        assert not torch.isin(train, test).any() and len(train) == 50
    assert all(
        len(set(y[experiments._split(y, 6, 40, None, seed)[0]].tolist())) == 2 for seed in range(40)
    )


def test_without_a_jump_the_quiet_column_does_no_harm():
    calm, jumped = (
        experiments.quiet_column(jump=0.0, splits=8).mean(),
        experiments.quiet_column(jump=0.1, splits=8).mean(),
    )
    assert abs(calm["column kept"] - calm["column left out"]) < 0.03
    assert jumped["column kept"] < calm["column kept"] - 0.2


def test_the_logs_to_diagnose_are_what_their_codes_do():
    for name, log in experiments.faulty_runs().items():
        assert faults.diagnose(*log) == experiments.FAULTY_RUNS[name]
