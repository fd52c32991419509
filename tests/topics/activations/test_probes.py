"""The probes of chapter 3: they are right about right code, and notice what is wrong."""

import dataclasses

import pytest
import torch

from labsupport import datasets, runtime
from labsupport.models import MLP
from labsupport.stacks import Stack
from labsupport.topics.activations import probes
from labsupport.topics.activations import reference as activations


def runs(net, dtype=torch.float64):
    params, buffers = net.init([runtime.generator(seed, "init") for seed in range(3)])
    return (
        net,
        Stack.of({name: p.to(dtype) for name, p in params.items()}),
        buffers,
        datasets.load("mnist1d", train_size=200),
    )


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_both_backward_passes_agree_with_autograd(activation):
    found = probes.backprop_error(*runs(MLP((40, 12, 9, 10), activation=activation)))
    assert set(found) == {"by_hand", "by_book"}
    for error in found.values():
        assert error.shape == (3,) and error.max() < 1e-12


def test_a_wrong_slope_is_seen_in_the_error(monkeypatch):
    wrong = activations.ACTIVATIONS["tanh"]._replace(slope=torch.ones_like)
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", wrong)
    found = probes.backprop_error(*runs(MLP((40, 12, 9, 10), activation="tanh")))
    assert found["by_hand"].min() > 0.01 and found["by_book"].max() < 1e-12


def test_a_network_with_a_norm_is_refused():
    with pytest.raises(ValueError, match="norm is 'batch'"):
        probes.backprop_error(*runs(MLP((40, 12, 10), norm="batch")))


@pytest.mark.parametrize("activation", activations.ACTIVATIONS)
def test_no_layer_lets_through_more_than_its_bound(activation):
    share = probes.layer_bound(*runs(MLP((40, 12, 9, 10), activation=activation)))["bound"]
    assert share.shape == (3,) and (share > 0.1).all() and (share <= 1).all()


def test_a_linear_layer_that_stretches_everything_alike_uses_its_whole_bound():
    net, params, buffers, dataset = runs(
        MLP((40, 40, 40, 10), activation="linear", initializer="orthogonal")
    )
    share = probes.layer_bound(net, params, buffers, dataset)["bound"]
    torch.testing.assert_close(share, torch.ones(3, dtype=torch.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("activation", "silent"), [("relu", 1.0), ("leaky_relu", 1.0), ("sigmoid", 0.0)]
)
def test_units_far_on_the_negative_side_are_silent(activation, silent):
    net, params, buffers, dataset = runs(MLP((40, 12, 10), activation=activation))
    params["bias1"].fill_(-100.0)
    assert probes.silent_units(net, params, buffers, dataset)["silent"].tolist() == [silent] * 3


def test_a_share_of_units_is_counted_over_all_hidden_layers():
    net, params, buffers, dataset = runs(dataclasses.replace(MLP((40, 6, 2, 10)), bias="zero"))
    params["bias1"].fill_(100.0)
    params["weight2"].fill_(-1.0)
    assert probes.silent_units(net, params, buffers, dataset)["silent"].tolist() == [0.25] * 3
