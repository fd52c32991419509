"""Random networks, the map of gain and depth, logs to diagnose, and symmetric initialization."""

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from labsupport import compare, runtime, train
from labsupport.models import MLP
from labsupport.probes.signals import signals
from labsupport.rules import SGD
from labsupport.study import grid, study
from labsupport.topics.initialization import experiments
from labsupport.topics.initialization import reference as init
from labsupport.types import Recipe

SEEDS = (0, 1, 2)


def recipe(**model):
    return Recipe(MLP((40, 12, 10), **model), SGD(lr=0.1), train_size=100, epochs=1)


def copies(sizes=(40, 8, 8, 10), **changes):
    model = experiments.SymmetricMLP(
        sizes, activation="tanh", initializer="equal_rows", **{"bias": "zero", **changes}
    )
    return Recipe(model, SGD(lr=0.1), train_size=100, epochs=20, dtype="float64")


def test_the_backward_signal_of_a_random_network_is_autograds():
    """A linear network: the mean square of the gradient is that of the product of its matrices."""
    forward, backward = experiments.random_signals([30, 30, 30], [0.3, 0.3], "linear")
    assert len(forward) == len(backward) == 2
    assert backward[0] / backward[1] == pytest.approx(30 * 0.09, rel=0.3)


@pytest.mark.parametrize("activation", init.ACTIVATIONS)
def test_a_random_network_follows_its_prediction(activation):
    forward, _ = experiments.random_signals([200] * 4, [0.1] * 3, activation)
    expected, _ = init.predicted([200] * 5, "xavier_normal", activation, gain=math.sqrt(200) * 0.1)
    assert forward == pytest.approx(expected[:3], rel=0.1)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_with_all_parameters_zero_only_the_output_bias_has_a_gradient(activation):
    found = experiments.largest_gradients(
        recipe(activation=activation, initializer="zero", bias="zero"), SEEDS
    )
    assert found["bias2"] > 0 and found.drop("bias2").max() == 0


def test_with_random_biases_the_output_weights_have_one_too():
    found = experiments.largest_gradients(recipe(initializer="zero", bias="uniform"), SEEDS)
    assert found["weight2"] > 0 and found["weight1"] == 0


@pytest.fixture
def begun():
    deep = Recipe(
        MLP((40, 60, 60, 60, 10), initializer="kaiming_normal", bias="zero"),
        SGD(),
        train_size=100,
        epochs=0,
    )
    return study(grid(deep, gain=[1.0, 2.0]), seeds=range(10), probes=[signals])


@pytest.mark.parametrize("direction", experiments.DIRECTIONS)
def test_a_gain_of_two_adds_two_powers_of_two_to_the_growth(begun, direction):
    once, twice = (experiments.log2_growth(begun, arm.name, direction) for arm in begun.arms)
    assert (twice - once).mean() == pytest.approx(2, abs=1e-4 if direction == "forward" else 0.2)
    assert experiments.expected_log2_growth(begun, begun.arms[1].name, direction) == pytest.approx(
        2, abs=1e-9
    )


def test_expected_moments_start_from_the_measured_inputs_and_end_at_the_measured_gradient(begun):
    name = begun.arms[0].name
    x = train.load(begun.arms[0].recipe).x_train[:100]
    assert experiments.expected_mean_squares(begun, name, "forward")[0] == pytest.approx(
        x.square().mean().item()
    )
    assert (
        experiments.expected_mean_squares(begun, name, "backward")[-1]
        == compare.final(begun, "backward4")[name].mean()
    )


def test_a_gain_map_has_an_arm_for_every_cell_and_rate():
    arms = experiments.gain_map(
        recipe(), gains=[0.5, 1.0], depths=[1, 3], rates=[0.1, 0.2], width=7
    )
    assert len(arms) == len({arm.name for arm in arms}) == 8
    deepest = arms[-1]
    assert deepest.recipe.model.sizes == (40, 7, 7, 7, 10) and deepest.recipe.model.gain == 1.0
    assert deepest.recipe.rule.lr == 0.2 and deepest.values == {"depth": 3, "gain": 1.0, "lr": 0.2}


def test_each_cell_of_a_map_gets_the_rate_with_the_lowest_loss():
    result = study(
        experiments.gain_map(recipe(), gains=[1.0], depths=[1, 2], rates=[1e-6, 0.1]), seeds=SEEDS
    )
    chosen = experiments.own_rates(result)
    assert [arm.name for arm in chosen] == ["depth 1, gain 1", "depth 2, gain 1"]
    assert all(arm.values["lr"] == 0.1 for arm in chosen)


def test_a_cell_that_diverges_at_every_rate_keeps_the_smallest():
    result = study(
        experiments.gain_map(recipe(), gains=[1e12], depths=[3], rates=[10.0, 1.0]), seeds=SEEDS
    )
    assert len(result.diverged) == 6
    assert experiments.own_rates(result)[0].values["lr"] == 1.0


def test_the_runs_to_diagnose_are_diagnosed_as_what_their_codes_draw():
    names = {name: init.diagnose(*log) for name, log in experiments.faulty_runs().items()}
    assert names == {
        "A": "relu_factor_missing",
        "B": "fan_out_for_fan_in",
        "C": "healthy",
        "D": "std_is_variance",
    }


def test_what_leaves_a_layer_of_a_log_enters_the_next():
    for log in experiments.faulty_runs().values():
        assert torch.equal(log.before[1:], log.after[:-1]) and log.before[0] == 1


def test_copies_stay_copies():
    course = experiments.row_dissimilarity(copies(), SEEDS, steps=20)
    assert course.shape == (21, 2, 3) and course[0].max() == 0 and course.max() < 1e-14


@pytest.mark.parametrize(
    ("change", "parted"),
    [
        ({"bias": "uniform"}, (True, True)),
        ({"dropout": 0.5}, (True, True)),
        ({"outgoing": "random_output"}, (False, True)),
        ({"outgoing": "as_drawn"}, (True, False)),
    ],
    ids=str,
)
def test_what_parts_the_units_of_which_layer(change, parted):
    end = experiments.row_dissimilarity(copies(**change), SEEDS, steps=20)[-1].amin(1)
    assert tuple((end > 1e-6).tolist()) == parted


def test_noise_makes_rows_as_dissimilar_as_it_is_large():
    start = experiments.row_dissimilarity(copies(perturbation=1e-3), SEEDS, steps=1)[0]
    assert start.flatten().tolist() == pytest.approx([1e-3] * 6, rel=0.3)


def test_symmetric_networks_that_differ_in_noise_train_in_one_stack_as_they_do_alone():
    both = [copies(perturbation=0.0), copies(perturbation=1e-3)]
    together = list(train.iterate_steps(both, [5, 5]))[-1].params.flat
    for row, one in zip(together, both, strict=True):
        torch.testing.assert_close(
            row, list(train.iterate_steps([one], [5]))[-1].params.flat[0], rtol=1e-10, atol=1e-12
        )


def test_a_symmetric_network_computes_what_a_network_of_single_units_does():
    """Each hidden layer of n copies is one unit whose outgoing weight is n times theirs."""
    step = next(train.iterate_steps([copies()], [0]))
    x = torch.randn(1, 5, 40, dtype=torch.float64)
    p = step.params
    h = torch.tanh(x[0] @ p["weight1"][0, 0])
    h = torch.tanh(8 * h * p["weight2"][0, 0, 0])
    expected = 8 * h[:, None] * p["weight3"][0, :, 0]
    torch.testing.assert_close(
        MLP((40, 8, 8, 10), activation="tanh").forward(p, {}, x)[0], expected
    )


@pytest.mark.parametrize("outgoing", ["equal", "as_drawn", "random_output"])
def test_symmetric_networks_are_made_on_the_device(monkeypatch, outgoing):
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cuda"))
    with FakeTensorMode(allow_non_fake_inputs=False):
        params, _ = copies(outgoing=outgoing, perturbation=0.1).model.init(
            [runtime.generator(0, "init")] * 2
        )
        assert {p.device.type for p in params.values()} == {"cuda"}
