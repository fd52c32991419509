"""Gradients, norms, batch dependence and starts of networks with weight norm; three codes to
diagnose.
"""

import pytest
import torch

from labsupport import datasets, runtime
from labsupport.models import MLP
from labsupport.rules import SGD, Adam
from labsupport.topics.weight_norm import experiments, faults
from labsupport.types import Recipe

SHORT = {"train_size": 200, "epochs": 3, "dtype": "float64"}
SMALL = MLP((40, 8, 10), norm="weight")


def test_the_references_gradients_are_autograds_through_a_network():
    assert experiments.gradient_errors([0, 1]).max() < 1e-12


def test_the_directions_of_the_check_are_not_as_long_as_their_lengths():
    params, _ = experiments._draw_params(SMALL, [0])
    assert (params["weight1"].norm(dim=2) / params["length1"] - 1).abs().max() > 0.1


def test_pythagoras_predicts_every_norm_of_a_run():
    errors = experiments.norm_errors(Recipe(SMALL, SGD(lr=1.0), **SHORT), [0, 1])
    assert errors.shape == (6, 2, 18) and errors.max() < 1e-12


def test_pythagoras_does_not_predict_the_norms_of_adam():
    assert experiments.norm_errors(Recipe(SMALL, Adam(lr=0.05), **SHORT), [0, 1]).max() > 1e-3


def test_norms_have_a_row_for_every_step_and_one_for_the_start():
    norms = experiments.row_norms(Recipe(SMALL, SGD(lr=1.0), **SHORT), [0, 1, 2])
    assert (
        norms.shape == (7, 3, 18)
        and experiments.share_of_falls(norms).max() == 0
        and (norms[-1] > norms[0]).all()
    )


def test_a_decay_on_v_makes_norms_fall():
    decayed = SGD(lr=0.1, weight_decay=1.0, decay_on="weights")
    assert (
        experiments.share_of_falls(
            experiments.row_norms(Recipe(SMALL, decayed, **SHORT), [0])
        ).min()
        > 0.9
    )


def test_falls_are_counted_by_run_and_rounding_is_none():
    norms = torch.tensor(
        [[[1.0, 1.0], [1.0, 1.0]], [[0.5, 2.0], [1 - 1e-14, 1.0]]], dtype=torch.float64
    )
    assert experiments.share_of_falls(norms).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("norm, apart", [("weight", False), ("layer", False), ("batch", True)])
def test_only_batch_norm_lets_samples_depend_on_each_other(norm, apart):
    assert bool((experiments.batch_dependence(norm, [0, 1]) > 1e-3).all()) == apart
    assert bool((experiments.change_in_smaller_batch(norm, [0, 1]) > 1e-3).all()) == apart
    if not apart:
        assert experiments.batch_dependence(norm, [0, 1]).max() == 0


def test_a_stretched_network_starts_from_the_same_function():
    x = torch.randn(1, 5, 40, generator=torch.Generator().manual_seed(0))
    logits = []
    for stretch in (1.0, 100.0):
        net = experiments.Stretched(experiments.SIZES, stretch=stretch)
        params, buffers = net.init([runtime.generator(0, "init")])
        assert params["weight1"].norm() == pytest.approx(
            stretch * params["length1"].norm().item(), rel=1e-5
        )
        logits.append(net.forward(params, buffers, x))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)


def test_directions_that_start_long_end_long():
    table = experiments.train_stretched(
        Recipe(MLP(), SGD(lr=1.0), train_size=200, epochs=2), [1.0, 100.0], [0, 1]
    )
    assert (
        len(table) == 4
        and table.groupby("stretch")["norm"].min()[100.0]
        > 10 * table.groupby("stretch")["norm"].max()[1.0]
    )


def test_a_start_from_a_batch_gives_every_layer_mean_0_and_variance_1_on_that_batch():
    x = datasets.load("mnist1d", train_size=200).x_train[:50].double()
    layers = experiments.data_dependent_start(x, (40, 16, 16, 10), 0)
    for z in experiments.preactivations(layers, x):
        torch.testing.assert_close(z.mean(0), torch.zeros_like(z[0]), rtol=0, atol=1e-10)
        torch.testing.assert_close(
            z.var(0, correction=0), torch.ones_like(z[0]), rtol=1e-10, atol=0
        )


def test_the_default_start_computes_what_the_network_computes():
    x = datasets.load("mnist1d", train_size=200).x_train[:50]
    net = MLP((40, 16, 10), norm="weight")
    params, buffers = net.init([runtime.generator(3, "init")])
    z = experiments.preactivations(experiments.default_start((40, 16, 10), 3), x.double())[-1]
    torch.testing.assert_close(
        z.float(), net.forward(params, buffers, x[None])[0], rtol=1e-4, atol=1e-5
    )


def test_the_spread_has_a_row_for_every_start_seed_and_layer():
    x = datasets.load("mnist1d", train_size=200).x_train.double()
    starts = {
        "default": [experiments.default_start((40, 16, 10), s) for s in (0, 1)],
        "set": [experiments.data_dependent_start(x, (40, 16, 10), 0)],
    }
    table = experiments.preactivation_moments(starts, x)
    assert len(table) == 6
    assert table[table["start"] == "set"]["variance"].tolist() == pytest.approx([1.0, 1.0])
    assert table[table["start"] == "set"]["mean2"].tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_every_path_starts_from_the_same_weight_however_long_v_is():
    starts = [experiments.descent_path(0.1, start) for start in (0.1, 1.0, 3.0)]
    assert [round(path.v[0].norm().item(), 9) for path in starts] == [0.1, 1.0, 3.0]
    for path in starts:
        torch.testing.assert_close(path.w[0], starts[0].w[0])


def test_a_moderate_rate_finds_the_minimum():
    assert (experiments.descent_path(0.3, 1.0).w[-1] - experiments.MINIMUM).norm() < 1e-6


def test_the_faulty_runs_logs_hold_what_their_codes_compute():
    courses = experiments.faulty_runs(steps=5)
    assert {
        name: faults.diagnose(*course.log) for name, course in courses.items()
    } == experiments.FAULTY_RUNS
