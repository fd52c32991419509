"""What the probes of signals and of dropout measure, against the same by autograd for one run, or
worked by hand.
"""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from labsupport import datasets, runtime, train
from labsupport.models import MLP
from labsupport.probes import signals
from labsupport.rules import SGD
from labsupport.stacks import Stack, stacked
from labsupport.topics.dropout import probes as dropout
from labsupport.types import Recipe

NET = MLP((40, 12, 9, 10))


@pytest.fixture
def dataset():
    return datasets.load("mnist1d", train_size=200)


def drawn(net, *seeds):
    params, _ = net.init([runtime.generator(seed, "init") for seed in seeds])
    return Stack.of({name: p.double() for name, p in params.items()})


def one_run(params, run, dataset):
    """Loss of each of the first 100 samples and the outputs of every layer, as a graph on
    leaves.
    """
    leaves = {name: p[run].clone().requires_grad_() for name, p in params.items()}
    outputs = [dataset.x_train[:100].double()]
    for i in (1, 2, 3):
        z = F.linear(outputs[-1], leaves[f"weight{i}"], leaves[f"bias{i}"])
        outputs.append(z.relu() if i < 3 else z)
    return (
        leaves,
        outputs[1:],
        F.cross_entropy(outputs[-1], dataset.y_train[:100], reduction="none"),
    )


def test_signals_are_mean_squares_of_outputs_and_of_each_samples_gradient(dataset):
    params = drawn(NET, 0, 5)
    found = signals.signals(NET, params, {}, dataset)
    _, outputs, losses = one_run(params, 1, dataset)
    grads = torch.autograd.grad(losses.sum(), outputs)
    for i in (1, 2, 3):
        torch.testing.assert_close(found[f"forward{i}"][1], outputs[i - 1].square().mean().detach())
        torch.testing.assert_close(found[f"backward{i}"][1], grads[i - 1].square().mean())


def test_gradient_norms_are_of_the_batchs_mean_loss(dataset):
    params = drawn(NET, 0, 5)
    found = signals.gradient_norms(NET, params, {}, dataset)
    leaves, _, losses = one_run(params, 1, dataset)
    for i in (1, 2, 3):
        torch.testing.assert_close(
            found[f"gradient{i}"][1],
            torch.autograd.grad(losses.mean(), leaves[f"weight{i}"], retain_graph=True)[0].norm(),
        )


def test_units_are_dead_that_no_sample_wakes(dataset):
    params = drawn(NET, 0, 5)
    params["bias1"][1, :4] = -1e6
    found = signals.dead_units(NET, params, {}, dataset)
    assert found["dead1"].tolist() == [pytest.approx(0), pytest.approx(4 / 12)]
    assert found["dead"][1].item() == pytest.approx((4 + 9 * found["dead2"][1].item()) / 21)


def test_probes_measure_the_same_alone_and_among_others(dataset):
    nets = [dataclasses.replace(NET, dropout=rate) for rate in (0.2, 0.5)]
    together, alone = drawn(NET, 0, 5), drawn(NET, 5)
    for probe in (dropout.Knockout((0.0, 0.5)), dropout.WrongMode(3)):
        among = probe(stacked(nets, torch.device("cpu")), together, {}, dataset)
        for name, value in probe(nets[1], alone, {}, dataset).items():
            assert value[0].item() == pytest.approx(among[name][1].item()), name


def test_knocking_out_nothing_leaves_the_accuracy(dataset):
    params = drawn(NET, 0, 5)
    found = dropout.Knockout((0.0,))(NET, params, {}, dataset)["accuracy_without_0"]
    assert torch.allclose(found, train.evaluate(NET, params, {}, dataset.x_test, dataset.y_test)[1])


def test_the_wrong_mode_does_not_vary_without_dropout_and_does_with_it(dataset):
    params = drawn(NET, 0)
    assert dropout.WrongMode(3)(NET, params, {}, dataset)["train_mode_std"].item() == 0
    assert (
        dropout.WrongMode(3)(dataclasses.replace(NET, dropout=0.5), params, {}, dataset)[
            "train_mode_std"
        ].item()
        > 0
    )


def test_a_network_with_batch_norm_is_refused(dataset):
    net = MLP((40, 12, 10), norm="batch")
    params, buffers = net.init([runtime.generator(0, "init")])
    with pytest.raises(ValueError, match="norm is 'batch'"):
        dropout.WrongMode()(net, Stack.of(params), buffers, dataset)


def test_no_epochs_measure_the_start_and_train_nothing():
    recipe = Recipe(NET, SGD(lr=0.1), train_size=200, epochs=0)
    done = train.train([recipe] * 2, [0, 5], [signals.gradient_norms])
    start = next(train.iterate_steps([recipe] * 2, [0, 5])).params
    assert {epoch for epoch, _, _ in done.metrics} == {0} and done.diverged.tolist() == [0, 0]
    assert torch.equal(done.params.flat, start.flat)
    measured = [
        row for rows, _ in train.train_many([(recipe, seed) for seed in range(4)]) for row in rows
    ]
    assert sorted(measured) == [0, 1, 2, 3]
