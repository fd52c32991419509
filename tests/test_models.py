"""The networks: every layer as torch computes it, dropout with honest seeds, initializers with a
gain for each run.
"""

import dataclasses
import pickle

import pytest
import torch
from torch import nn

from labsupport import rules, runtime, train
from labsupport.models import ACTIVATIONS, CNN, MLP, initialization, layers
from labsupport.rules import SGD
from labsupport.stacks import Stack, stacked
from labsupport.streams import Streams
from labsupport.types import Batch, Recipe


class Sign(nn.Module):
    """A hard threshold, -1 or 1."""

    def forward(self, z):
        return torch.sign(z)


SIZES = (40, 12, 9, 10)
MODULES = {
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "linear": nn.Identity(),
    "sign": Sign(),
}
RATE = 0.3


def rngs(*seeds):
    return [runtime.generator(seed, "init") for seed in seeds]


def streams(*seeds):
    return Streams(seeds, "noise")


def drawn(net, *seeds):
    params, _ = net.init(rngs(*seeds))
    return Stack.of({name: p.double() for name, p in params.items()})


def batch(*seeds):
    made = torch.Generator().manual_seed(0)
    x = torch.randn(len(seeds), 20, 40, dtype=torch.float64, generator=made)
    return Batch(x, torch.randint(10, (len(seeds), 20), generator=made), 1, 1.0, streams(*seeds))


def module(net, params, run, masks=None):
    """The outputs of every layer of one run by torch's modules, from our weights and, if given, our
    masks.
    """

    def outputs(x):
        found = []
        for i in range(1, net.depth + 1):
            x = nn.functional.linear(x, params[f"weight{i}"][run], params[f"bias{i}"][run])
            if i < net.depth:
                x = MODULES[net.activation](x) * (masks[i - 1][run] if masks else 1)
            found.append(x)
        return found

    return outputs


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_layer_is_torchs(activation):
    net = MLP(SIZES, activation=activation)
    params, given = drawn(net, 0, 1), batch(0, 1)
    for mine, theirs in zip(
        net.layers(params, {}, given.x), module(net, params, 1)(given.x[1]), strict=True
    ):
        torch.testing.assert_close(mine[1], theirs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_through_dropout_are_torchs_for_the_same_masks(activation):
    """ReLU's come from the backward pass by hand, the others' from autograd."""
    net = MLP(SIZES, activation=activation, dropout=RATE)
    params, given = drawn(net, 0, 1), batch(0, 1)
    grads = params.like()
    loss = rules.gradients(net, params, {}, given, grads)
    masks = layers.masks(RATE, streams(0, 1), given.x, SIZES[1:-1])
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    theirs = nn.functional.cross_entropy(module(net, leaves, 1, masks)(given.x[1])[-1], given.y[1])
    torch.testing.assert_close(loss[1], theirs.detach())
    for mine, grad in zip(
        grads.values(), torch.autograd.grad(theirs, list(leaves.values())), strict=True
    ):
        torch.testing.assert_close(mine[1], grad[1], rtol=1e-10, atol=1e-13)


def test_a_mask_drops_the_share_that_is_asked_for_and_keeps_the_mean():
    for mask in layers.masks(RATE, streams(0), torch.zeros(1, 200, 40), (400, 400)):
        assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - RATE)])
        assert (mask == 0).float().mean().item() == pytest.approx(RATE, abs=0.01)
        assert mask.mean().item() == pytest.approx(1, abs=0.02)


def test_each_sample_and_each_layer_has_a_mask_of_its_own():
    first, second = layers.masks(0.5, streams(0), torch.zeros(1, 30, 40), (64, 64))
    assert len({tuple(row.tolist()) for row in torch.cat([first[0], second[0]])}) == 60


def test_without_training_nothing_is_dropped():
    net, given = MLP(SIZES, dropout=RATE), batch(0, 1)
    params = drawn(net, 0, 1)
    assert torch.equal(net.forward(params, {}, given.x), MLP(SIZES).forward(params, {}, given.x))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_seed_4_drops_the_same_units_among_any_others_and_beside_any_rate(activation):
    def recipe(rate):
        return Recipe(
            MLP(SIZES, activation=activation, dropout=rate),
            SGD(lr=0.1),
            train_size=300,
            epochs=2,
            dtype="float64",
        )

    among = [
        step for step in train.iterate_steps([recipe(0.0), recipe(0.5), recipe(RATE)], [9, 4, 4])
    ][-1]
    alone = [step for step in train.iterate_steps([recipe(RATE)], [4])][-1]
    torch.testing.assert_close(among.params.flat[2], alone.params.flat[0], rtol=1e-11, atol=1e-11)
    assert not torch.allclose(among.params.flat[1], among.params.flat[2])


def test_dropout_without_generators_says_so():
    net = MLP(SIZES, dropout=RATE)
    with pytest.raises(ValueError, match="there are 2 runs and 1 streams"):
        net.forward(drawn(net, 0, 1), {}, batch(0, 1).x, training=True, streams=streams(0))


def test_every_run_starts_with_a_gain_of_its_own():
    nets = [
        MLP(SIZES, initializer="kaiming_normal", bias="zero", gain=gain) for gain in (0.5, 1.0, 3.0)
    ]
    together = stacked(nets, torch.device("cpu")).init(
        [runtime.generator(4, "init")] * 1 + [runtime.generator(4, "init") for _ in range(2)]
    )[0]
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


@pytest.mark.parametrize(
    "field, value",
    [
        ("activation", "swish"),
        ("norm", "instance"),
        ("noise", -1.0),
        ("ghost", -1),
        ("initializer", "he"),
        ("bias", "one"),
        ("gain", -1.0),
        ("gain", float("nan")),
        ("dropout", 1.0),
        ("dropout", -0.1),
    ],
)
def test_a_bad_field_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=rf"{field} is '?{value}"):
        dataclasses.replace(MLP(SIZES), **{field: value})


def convolutions(net, params, run):
    """A CNN of one run by torch's functions and modules; logits of inputs (B, ...)."""
    convolve = torch.nn.functional.conv1d if len(net.shape) == 1 else torch.nn.functional.conv2d
    norm = nn.BatchNorm1d if len(net.shape) == 1 else nn.BatchNorm2d
    norms = [norm(c).double() for c in net.channels]

    def forward(x, training=True):
        h = x[:, None] if len(net.shape) == 1 else x
        for i, module in enumerate(norms, start=1):
            h = convolve(
                h,
                params[f"weight{i}"][run],
                params[f"bias{i}"][run],
                stride=2,
                padding=net.kernel // 2,
            )
            h = module.train(training)(h).relu() if net.norm else h.relu()
        h = h.transpose(1, 2) if len(net.shape) == 1 else h
        return torch.nn.functional.linear(
            h.flatten(1), params[f"weight{net.depth}"][run], params[f"bias{net.depth}"][run]
        )

    return forward


CNNS = [
    CNN(shape=shape, channels=(3, 5), kernel=kernel, norm=norm)
    for shape in ((40,), (13,), (2, 9, 12))
    for kernel in (3, 5)
    for norm in (None, "batch")
]


@pytest.mark.parametrize("net", CNNS, ids=str)
def test_convolutions_their_gradients_and_their_norms_are_torchs(net):
    params, buffers = (
        drawn(net, 0, 1),
        {name: b.double() for name, b in net.init(rngs(0, 1))[1].items()},
    )
    x = torch.randn(
        2, 7, *net.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    theirs = convolutions(net, leaves, 1)
    mine = net.forward(leaves, buffers, x, training=True)
    torch.testing.assert_close(mine[1], theirs(x[1]))
    ours, expected = (
        torch.autograd.grad(
            z.square().sum(), list(leaves.values()), allow_unused=True, retain_graph=True
        )
        for z in (mine[1], theirs(x[1]))
    )
    for name, one, other in zip(leaves, ours, expected, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11, msg=name)
    fresh = convolutions(net, params, 1)
    fresh(x[1])
    torch.testing.assert_close(net.forward(params, buffers, x)[1], fresh(x[1], training=False))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CNN(shape=(1, 28)), r"shape is \(1, 28\)"),
        (lambda: CNN(channels=()), r"channels are \(\)"),
        (lambda: CNN(kernel=4), "kernel is 4"),
        (lambda: CNN(classes=0), "classes 0"),
        (lambda: CNN(dropout=1.0), "dropout is 1.0"),
    ],
)
def test_a_bad_convolutional_network_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weight_norm_starts_from_the_same_function_and_is_torchs():
    plain, normed = MLP(SIZES), MLP(SIZES, norm="weight")
    params, given = drawn(normed, 0, 1), batch(0, 1)
    torch.testing.assert_close(
        normed.forward(params, {}, given.x), plain.forward(drawn(plain, 0, 1), {}, given.x)
    )
    params["weight1"].mul_(3)
    params["length1"].mul_(0.5)
    linear = nn.utils.parametrizations.weight_norm(nn.Linear(40, 12).double(), dim=0)
    with torch.no_grad():
        linear.parametrizations.weight.original0.copy_(params["length1"][1][:, None])
        linear.parametrizations.weight.original1.copy_(params["weight1"][1])
    torch.testing.assert_close(normed.weight(params, 1)[1], linear.weight.detach())


def test_layer_norm_is_torchs_and_the_same_in_both_modes():
    net, given = MLP(SIZES, norm="layer"), batch(0, 1)
    params = drawn(net, 0, 1)
    z = nn.functional.linear(given.x[1], params["weight1"][1], params["bias1"][1])
    torch.testing.assert_close(
        net.layers(params, {}, given.x)[0][1], nn.LayerNorm(12).double()(z).relu().detach()
    )
    assert torch.equal(
        net.forward(params, {}, given.x), net.forward(params, {}, given.x, training=True)
    )


def test_noisy_batch_norm_is_batch_norm_with_noise_in_training_alone():
    noisy, plain = MLP(SIZES, norm="noisy_batch", noise=0.5), MLP(SIZES, norm="batch")
    params, given = drawn(plain, 0, 1), batch(0, 1)
    buffers = {name: b.double() for name, b in plain.init(rngs(0, 1))[1].items()}
    first, second = (
        noisy.layers(params, buffers, given.x, training=True, streams=given.streams)[0]
        for _ in range(2)
    )
    assert not torch.allclose(first, second)
    silent = dataclasses.replace(noisy, noise=0.0).layers(
        params, buffers, given.x, training=True, streams=given.streams
    )[0]
    torch.testing.assert_close(silent, plain.layers(params, buffers, given.x, training=True)[0])
    assert torch.equal(
        noisy.forward(params, buffers, given.x), plain.forward(params, buffers, given.x)
    )


@pytest.mark.parametrize(
    "net",
    [
        MLP(SIZES, norm="batch"),
        CNN(channels=(4, 4), norm="batch"),
        CNN(shape=(1, 6, 6), channels=(4, 4), norm="batch"),
    ],
    ids=["vectors", "signals", "images"],
)
def test_ghost_batch_norm_normalizes_each_group_by_itself(net):
    ghost, params = dataclasses.replace(net, ghost=5), drawn(net, 0, 1)
    x = torch.randn(2, 10, *(net.shape if isinstance(net, CNN) else (40,)), dtype=torch.float64)
    start = {name: b.double() for name, b in net.init(rngs(0, 1))[1].items()}
    moved, moved_by = (
        {k: b.clone() for k, b in start.items()},
        [{k: b.clone() for k, b in start.items()} for _ in range(2)],
    )
    whole = ghost.layers(params, moved, x, training=True)[0]
    parts = [
        net.layers(params, moved_by[i], x[:, 5 * i : 5 * i + 5], training=True)[0] for i in range(2)
    ]
    torch.testing.assert_close(whole, torch.cat(parts, 1))
    for name in ("mean1", "var1"):
        torch.testing.assert_close(moved[name], (moved_by[0][name] + moved_by[1][name]) / 2)
    assert torch.equal(ghost.forward(params, start, x), net.forward(params, start, x))


def test_a_batch_that_is_not_made_of_whole_ghost_groups_is_refused():
    net = MLP(SIZES, norm="batch", ghost=3)
    params, buffers = net.init(rngs(0))
    with pytest.raises(ValueError, match=r"10 samples is not made of whole groups of 3"):
        net.forward(params, buffers, torch.zeros(1, 10, 40), training=True)


def test_batch_norm_of_one_row_is_refused_in_training():
    net = MLP(SIZES, norm="batch")
    params, buffers = net.init(rngs(0))
    with pytest.raises(ValueError, match="at least 2 values of each channel, not 1"):
        net.forward(params, buffers, torch.zeros(1, 1, 40), training=True)


def test_a_stack_is_sent_to_another_process_as_one_block():
    """Every view of a tensor is pickled with all that it is a view of: fifty layers would weigh a
    hundred times as much.
    """
    stack = drawn(MLP((40, *[32] * 20, 10)), 0, 1)
    sent = pickle.dumps(stack)
    assert len(sent) < 1.1 * stack.flat.numel() * stack.flat.element_size() + 10_000
    back = pickle.loads(sent)
    assert torch.equal(back.flat, stack.flat) and back.shapes == stack.shapes
    back["weight1"].zero_()
    assert not back.flat[:, back.spans["weight1"]].any(), "the views are of the block that arrived"
