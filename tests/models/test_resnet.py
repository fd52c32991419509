"""The residual networks are their plain torch modules, run by run, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labsupport import models, rules, runtime, train
from labsupport.models import ResNet, ResNet9, modules
from labsupport.models.layers import NORMS
from labsupport.rules import SGD
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.types import Batch, Recipe

SMALL = (3, 9, 8)
PAIRS = [
    (
        ResNet(shape=SMALL, channels=(4, 6, 8), blocks=2, norm="batch"),
        modules.ResNet((4, 6, 8), blocks=2),
    ),
    (
        ResNet9(shape=(3, 16, 16), channels=(4, 6, 8, 10), norm="batch"),
        modules.ResNet9((4, 6, 8, 10)),
    ),
]


def drawn(net, seeds):
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    return (
        Stack.of({name: p.double() for name, p in params.items()}),
        {name: b.double() for name, b in buffers.items()},
    )


def batch(net, seeds, size=5):
    made = torch.Generator().manual_seed(0)
    x = torch.randn(len(seeds), size, *net.shape, dtype=torch.float64, generator=made)
    y = torch.randint(10, (len(seeds), size), generator=made)
    return Batch(x, y, 1, 1.0, Streams(seeds, "noise"))


def loaded(net, module, params, run):
    """The module with a run's weights: its convolutions in order, then the shortcuts, by order."""
    module = module.double()
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    shortcuts = [m for m in convs if getattr(m, "kernel_size", None) == (1, 1)]
    layers = [m for m in convs if m not in shortcuts]
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    names = [name for name in params if name.startswith("shortcut")]
    assert len(layers) == net.depth and len(norms) == net.depth - 1
    assert len(shortcuts) == len(names)
    with torch.no_grad():
        for i, layer in enumerate(layers, start=1):
            layer.weight.copy_(params[f"weight{i}"][run])
            layer.bias.copy_(params[f"bias{i}"][run])
        for name, shortcut in zip(names, shortcuts, strict=True):
            shortcut.weight.copy_(params[name][run])
    return module, layers, shortcuts, norms


@pytest.mark.parametrize(("net", "module"), PAIRS, ids=["resnet", "resnet9"])
def test_logits_gradients_and_statistics_are_the_modules(net, module):
    params, buffers = drawn(net, [0, 1])
    seen = batch(net, [0, 1])
    module, layers, shortcuts, norms = loaded(net, module, params, 1)
    grads = params.like()
    loss = rules.gradients(net, params, buffers, seen, grads)
    expected = F.cross_entropy(module.train()(seen.x[1]), seen.y[1])
    expected.backward()
    torch.testing.assert_close(loss[1], expected.detach(), rtol=1e-10, atol=0)
    for i, layer in enumerate(layers, start=1):
        torch.testing.assert_close(grads[f"weight{i}"][1], layer.weight.grad, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(grads[f"bias{i}"][1], layer.bias.grad, rtol=1e-8, atol=1e-12)
    names = [name for name in params if name.startswith("shortcut")]
    for name, shortcut in zip(names, shortcuts, strict=True):
        torch.testing.assert_close(grads[name][1], shortcut.weight.grad, rtol=1e-8, atol=1e-12)
    for i, norm in enumerate(norms, start=1):
        torch.testing.assert_close(buffers[f"mean{i}"][1], norm.running_mean)
        torch.testing.assert_close(buffers[f"var{i}"][1], norm.running_var)
    torch.testing.assert_close(
        net.forward(params, buffers, seen.x)[1], module.eval()(seen.x[1]), rtol=1e-10, atol=1e-12
    )


NETS = [ResNet(shape=SMALL, channels=(4, 6)), ResNet9(shape=(3, 8, 8), channels=(4, 4, 6, 6))]


def with_norm(net, norm, dropout=0.0):
    kind = type(net)
    return kind(shape=net.shape, channels=net.channels, norm=norm, dropout=dropout)


@pytest.mark.parametrize("net", NETS, ids=["resnet", "resnet9"])
@pytest.mark.parametrize("norm", NORMS)
def test_a_run_alone_is_the_run_among_others_with_every_norm_and_dropout(net, norm):
    net = with_norm(net, norm, dropout=0.3)
    params, buffers = drawn(net, [7, 4])
    alone, own = drawn(net, [4])
    seen = batch(net, [7, 4])
    single = Batch(seen.x[1:], seen.y[1:], 1, 1.0, Streams([4], "noise"))
    grads, ours = params.like(), alone.like()
    loss = rules.gradients(net, params, buffers, seen, grads)
    assert torch.equal(loss[1:], rules.gradients(net, alone, own, single, ours))
    assert torch.equal(grads.flat[1:], ours.flat)
    for parameter in ours.values():
        assert parameter.isfinite().all()
    assert all(ours[f"weight{i}"].any() for i in range(1, net.depth + 1))


@pytest.mark.parametrize("norm", [None, "weight"])
def test_without_a_norm_the_sum_is_not_overwritten_by_its_activation(norm):
    net = with_norm(NETS[0], norm)
    params, buffers = drawn(net, [0])
    x = batch(net, [0]).x
    stem = models.cnn.convolve(x, net.weight(params, 1), params["bias1"], 1)
    h = stem.relu()
    inside = models.cnn.convolve(h, net.weight(params, 2), params["bias2"], 1).relu()
    total = stem + models.cnn.convolve(inside, net.weight(params, 3), params["bias3"], 1)
    third = net.layers(params, buffers, x)[2]
    torch.testing.assert_close(third, total.relu())


def test_group_norm_is_torchs():
    net = ResNet(shape=SMALL, channels=(16, 12), norm="group")
    params, buffers = drawn(net, [0, 1])
    params["scale1"].uniform_(0.5, 2.0)
    params["shift1"].uniform_(-1.0, 1.0)
    z = torch.randn(2, 5, 16, 9, 8, dtype=torch.float64)
    for run in range(2):
        norm = nn.GroupNorm(8, 16).double()
        norm.weight.data, norm.bias.data = params["scale1"][run], params["shift1"][run]
        found = models.layers.group_norm(z, params, 1, axis=2)[run]
        torch.testing.assert_close(found, norm(z[run]).detach())
    # channels that eight does not divide: four groups of three
    z = torch.randn(2, 5, 9, 12, dtype=torch.float64)
    params = {"scale1": torch.ones(2, 12).double(), "shift1": torch.zeros(2, 12).double()}
    found = models.layers.group_norm(z, params, 1, axis=-1)
    expected = F.group_norm(z[0].movedim(-1, 1), 4).movedim(1, -1)
    torch.testing.assert_close(found[0], expected)


def test_a_block_halves_as_often_as_there_are_stages():
    net = ResNet(shape=(3, 32, 32), channels=(8, 16, 32), norm="batch")
    params, buffers = drawn(net, [0])
    shapes = [
        tuple(h.shape[2:])
        for h in net.layers(params, buffers, torch.zeros(1, 2, 3, 32, 32).double())
    ]
    assert shapes[0] == (8, 32, 32) and shapes[-2] == (32, 8, 8) and shapes[-1] == (10,)
    assert sum(p[0].numel() for p in params.values()) == 19_978
    deep = ResNet(blocks=3)
    assert deep.depth == 2 * 9 + 2


def test_a_residual_network_learns_images(shared_home):
    net = ResNet(shape=(1, 28, 28), channels=(8, 16), norm="batch")
    size = dict(data="mnist5k", train_size=500, epochs=8, batch_size=50, schedule="cosine")
    recipe = Recipe(net, SGD(lr=0.3, momentum=0.9), **size)
    trained = train.train([recipe] * 2, [0, 1])
    accuracy = [v for _, metric, v in trained.metrics if metric == "test_accuracy"]
    assert (accuracy[-1] > 0.5).all() and not trained.diverged.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet(shape=(40,)), r"shape is \(40,\)"),
        (lambda: ResNet(channels=()), r"channels \(\)"),
        (lambda: ResNet(blocks=0), "blocks 0"),
        (lambda: ResNet(norm="spectral"), "norm is 'spectral'"),
        (lambda: ResNet9(channels=(4, 4)), r"channels \(4, 4\)"),
        (lambda: ResNet9(shape=(3, 7, 32)), r"shape is \(3, 7, 32\)"),
        (lambda: ResNet().check_data((1, 28, 28), 10), "shape of ResNet is"),
    ],
)
def test_a_bad_network_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
