"""The networks: every layer as torch computes it, dropout with honest seeds, initializers with a gain for each run."""

import dataclasses

import pytest
import torch
from torch import nn

from labsupport import rules, runtime, train
from labsupport.contracts import Batch, Recipe
from labsupport.models import ACTIVATIONS, MLP
from labsupport.reference import initialization
from labsupport.rules import SGD
from labsupport.stacks import Stack, stacked

SIZES = (40, 12, 9, 10)
MODULES = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "leaky_relu": nn.LeakyReLU(), "elu": nn.ELU(),
           "gelu": nn.GELU(), "silu": nn.SiLU(), "linear": nn.Identity()}
RATE = 0.3


def rngs(*seeds):
    return [runtime.generator(seed, "noise") for seed in seeds]


def drawn(net, *seeds):
    params, _ = net.init([runtime.generator(seed, "init") for seed in seeds])
    return Stack.of({name: p.double() for name, p in params.items()})


def batch(*seeds):
    made = torch.Generator().manual_seed(0)
    x = torch.randn(len(seeds), 20, 40, dtype=torch.float64, generator=made)
    return Batch(x, torch.randint(10, (len(seeds), 20), generator=made), 1, 1.0, rngs(*seeds))


def module(net, params, run, masks=None):
    """The outputs of every layer of one run by torch's modules, from our weights and, if given, our masks."""
    def layers(x):
        outputs = []
        for i in range(1, net.depth + 1):
            x = nn.functional.linear(x, params[f"weight{i}"][run], params[f"bias{i}"][run])
            if i < net.depth:
                x = MODULES[net.activation](x) * (masks[i - 1][run] if masks else 1)
            outputs.append(x)
        return outputs
    return layers


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer_is_torchs(activation):
    net = MLP(SIZES, activation)
    params, given = drawn(net, 0, 1), batch(0, 1)
    for mine, theirs in zip(net.layers(params, {}, given.x), module(net, params, 1)(given.x[1]), strict=True):
        torch.testing.assert_close(mine[1], theirs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_through_dropout_are_torchs_for_the_same_masks(activation):
    """ReLU's come from the backward pass by hand, the others' from autograd."""
    net = MLP(SIZES, activation, dropout=RATE)
    params, given = drawn(net, 0, 1), batch(0, 1)
    grads = params.like()
    loss = rules.gradients(net, params, {}, given, grads)
    masks = net._masks(given.x, rngs(0, 1))
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    theirs = nn.functional.cross_entropy(module(net, leaves, 1, masks)(given.x[1])[-1], given.y[1])
    torch.testing.assert_close(loss[1], theirs.detach())
    for mine, grad in zip(grads.values(), torch.autograd.grad(theirs, list(leaves.values())), strict=True):
        torch.testing.assert_close(mine[1], grad[1], rtol=1e-10, atol=1e-13)


def test_a_mask_drops_the_share_that_is_asked_for_and_keeps_the_mean():
    net = MLP((40, 400, 400, 10), dropout=RATE)
    for mask in net._masks(torch.zeros(1, 200, 40), rngs(0)):
        assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - RATE)])
        assert (mask == 0).float().mean().item() == pytest.approx(RATE, abs=0.01)
        assert mask.mean().item() == pytest.approx(1, abs=0.02)


def test_each_sample_and_each_layer_has_a_mask_of_its_own():
    first, second = MLP((40, 64, 64, 10), dropout=0.5)._masks(torch.zeros(1, 30, 40), rngs(0))
    assert len({tuple(row.tolist()) for row in torch.cat([first[0], second[0]])}) == 60


def test_without_training_nothing_is_dropped():
    net, given = MLP(SIZES, dropout=RATE), batch(0, 1)
    params = drawn(net, 0, 1)
    assert torch.equal(net.forward(params, {}, given.x), MLP(SIZES).forward(params, {}, given.x))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_seed_4_drops_the_same_units_in_any_company_and_beside_any_rate(activation):
    def recipe(rate):
        return Recipe(MLP(SIZES, activation, dropout=rate), SGD(lr=0.1), train_size=300, epochs=2, dtype="float64")
    company = [step for step in train.walk([recipe(0.0), recipe(0.5), recipe(RATE)], [9, 4, 4])][-1]
    alone = [step for step in train.walk([recipe(RATE)], [4])][-1]
    torch.testing.assert_close(company.params.flat[2], alone.params.flat[0], rtol=1e-11, atol=1e-11)
    assert not torch.allclose(company.params.flat[1], company.params.flat[2])


def test_dropout_without_generators_says_so():
    net = MLP(SIZES, dropout=RATE)
    with pytest.raises(ValueError, match="there are 2 runs and 1 rngs"):
        net.forward(drawn(net, 0, 1), {}, batch(0, 1).x, training=True, rngs=rngs(0))


def test_every_run_starts_with_a_gain_of_its_own():
    nets = [MLP(SIZES, initializer="kaiming_normal", bias="zero", gain=gain) for gain in (0.5, 1.0, 3.0)]
    together = stacked(nets, torch.device("cpu")).init([runtime.generator(4, "init")] * 1
                                                       + [runtime.generator(4, "init") for _ in range(2)])[0]
    alone, _ = nets[1].init([runtime.generator(4, "init")])
    for i in range(1, 4):
        assert torch.equal(together[f"weight{i}"][1], alone[f"weight{i}"][0])
        torch.testing.assert_close(together[f"weight{i}"][2], 6 * together[f"weight{i}"][0])
        assert not together[f"bias{i}"].any()


@pytest.mark.parametrize("initializer", initialization.SCHEMES)
def test_the_weights_are_the_initializers(initializer):
    net = MLP(SIZES, initializer=initializer, bias="zero")
    params, _ = net.init([runtime.generator(4, "init")])
    first = initialization.SCHEMES[initializer]((12, 40), runtime.generator(4, "init"))
    assert torch.equal(params["weight1"][0], first)


def test_by_default_a_network_starts_as_torchs_linear_layers_do():
    params, _ = MLP((40, 10)).init([runtime.generator(4, "init")])
    seed = runtime.generator(4, "init").initial_seed()
    torch.manual_seed(seed)
    theirs = nn.Linear(40, 10)
    torch.testing.assert_close(params["weight1"][0], theirs.weight.detach())
    torch.testing.assert_close(params["bias1"][0], theirs.bias.detach())


@pytest.mark.parametrize("field, value", [("activation", "swish"), ("norm", "layer"), ("initializer", "he"),
                                          ("bias", "one"), ("gain", -1.0), ("gain", float("nan")), ("dropout", 1.0),
                                          ("dropout", -0.1)])
def test_a_bad_field_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=rf"{field} is '?{value}"):
        dataclasses.replace(MLP(SIZES), **{field: value})
