"""The probes of the wrong mode, against one network evaluated by hand."""

import pytest
import torch

from labsupport import train
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.batch_norm.probes import (
    BatchDependence,
    Drift,
    accuracy_in_batches,
    shuffled,
)
from labsupport.types import Recipe

RECIPE = Recipe(MLP((40, 24, 10), norm="batch"), SGD(lr=0.3), train_size=500, epochs=8)


@pytest.fixture(scope="module")
def trained():
    """The network, its parameters and buffers from two seeds, and the data."""
    done = train.train([RECIPE] * 2, [0, 1])
    return RECIPE.model, done.params, done.buffers, train.load(RECIPE)


def by_hand(net, params, buffers, x, y, size, run):
    right = 0
    for some, labels in zip(x.split(size), y.split(size), strict=True):
        logits = net.forward(
            params,
            {k: b.clone() for k, b in buffers.items()},
            some.expand(2, *some.shape),
            training=True,
        )
        right += (logits[run].argmax(-1) == labels).sum().item()
    return right / len(y)


def test_a_sample_is_judged_by_the_statistics_of_its_own_batch(trained):
    net, params, buffers, dataset = trained
    found = BatchDependence(sizes=(10, 100))(*trained)
    assert set(found) == {"mixed10", "mixed100", "sorted10", "sorted100"}
    order = dataset.y_test.argsort(stable=True)
    for run in (0, 1):
        expected = by_hand(
            net, params, buffers, dataset.x_test[order], dataset.y_test[order], 100, run
        )
        assert found["sorted100"][run].item() == pytest.approx(expected)
    assert (found["mixed100"] > found["sorted100"] + 0.1).all()


def test_a_drift_is_seen_in_eval_mode_and_hidden_by_the_tests_own_statistics(trained):
    net, params, buffers, dataset = trained
    found = Drift(stretch=2.0, offset=3.0)(*trained)
    x = 2 * dataset.x_test + 3
    _, expected = train.evaluate(net, params, buffers, x, dataset.y_test)
    torch.testing.assert_close(found["drift_eval"], expected)
    torch.testing.assert_close(
        found["drift_bulk"], BatchDependence(sizes=(100,))(*trained)["mixed100"], atol=0.02, rtol=0
    )
    assert (found["drift_bulk"] > found["drift_eval"] + 0.1).all()


def test_without_drift_eval_mode_is_the_ordinary_test_accuracy(trained):
    found = Drift(stretch=1.0, offset=0.0)(*trained)
    _, expected = train.evaluate(*trained[:3], trained[3].x_test, trained[3].y_test)
    torch.testing.assert_close(found["drift_eval"], expected)


def test_the_running_statistics_are_left_alone(trained):
    before = {name: buffer.clone() for name, buffer in trained[2].items()}
    BatchDependence(sizes=(10,))(*trained), Drift(2.0, 3.0)(*trained)
    assert all(torch.equal(before[name], buffer) for name, buffer in trained[2].items())


def test_a_last_batch_that_is_not_full_is_left_out(trained):
    net, params, buffers, dataset = trained
    whole = accuracy_in_batches(net, params, buffers, dataset.x_test[:90], dataset.y_test[:90], 30)
    torch.testing.assert_close(
        accuracy_in_batches(net, params, buffers, dataset.x_test[:100], dataset.y_test[:100], 30),
        whole,
    )


def test_one_order_serves_all_runs_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    assert torch.equal(shuffled(torch.zeros(50)), shuffled(torch.zeros(50)))
    assert torch.equal(state, torch.get_rng_state())
