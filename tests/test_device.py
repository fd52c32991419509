"""Everything is made on the chosen device, proved without a GPU: inside FakeTensorMode a mix of devices raises."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from labsupport import models, rules, runtime, train
from labsupport.augment import Cutout, Mixup, RandomCrop, RandomFlip, RandomRotation
from labsupport.contracts import Batch, Recipe, Split
from labsupport.reference import mixup
from labsupport.stacks import Stack, stacked

CUDA = torch.device("cuda")
SEEDS = (0, 1, 2)
NETS = [models.MLP((6, 5, 4)), models.MLP((6, 5, 5, 4), norm="batch"), models.MLP((6, 5, 4), activation="tanh"),
        models.MLP((6, 5, 4), dropout=0.5), models.MLP((6, 5, 4), activation="gelu", dropout=0.5, bias="zero"),
        models.MLP((6, 5, 4), initializer="orthogonal", gain=2.0, activation="elu"),
        models.MLP((6, 5, 4), norm="noisy_batch", noise=0.5), models.MLP((6, 5, 4), norm="layer"),
        models.MLP((6, 5, 4), norm="weight"), models.CNN(shape=(6,), channels=(3, 2), classes=4, norm="batch"),
        models.Vmapped(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)))]
RULES = [rules.SGD(lr=0.1), rules.SGD(lr=0.1, momentum=0.9, weight_decay=0.1), rules.Adam(weight_decay=0.1),
         rules.SGD(lr=0.1, momentum=0.9, weight_decay=0.1, decoupled=True, damped=True, decay_on="hidden"),
         rules.Adam(weight_decay=0.1, decoupled=False, decay_on="weights"),
         rules.FollowingSGD(lr=0.1)]


@pytest.fixture
def fake_cuda(monkeypatch):
    """Tensors on a GPU that is not there. Autograd cannot run on them, so its gradients are stood in for.

    Autograd counts the devices once, at the first backward pass of a process, and starts a thread for each; processes
    that are forked after that cannot use it. So that pass comes before a device is pretended.
    """
    torch.ones(1, requires_grad=True).sum().backward()
    monkeypatch.setattr(runtime, "device", lambda: CUDA)
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield


def split(device):
    x, y = torch.randn(40, 6, device=device), torch.zeros(40, dtype=torch.long, device=device)
    return Split("made", x, y, x, y, x, y, 4, "", torch.zeros((), device=device))


def forward_only(net, params, buffers, batch, out):
    """Stands in for ``rules.gradients`` where autograd is wanted: the forward pass, and gradients of zero."""
    by_hand = getattr(net, "backprop", None)
    loss = by_hand(params, buffers, batch, out) if by_hand else None
    inside = {"mix": batch.mix} if batch.mix else {}
    return net.forward(params, buffers, batch.x, training=True, rngs=batch.rngs, **inside).sum((1, 2)) if loss is None else loss


@pytest.mark.parametrize("source", [rules.LocalErrors("pred"), rules.LocalErrors("predsim"), rules.Greedy(2), rules.Decoupled(2),
                                    rules.Decoupled(2, replay=True), rules.Backprop()],
                         ids=["pred", "predsim", "greedy", "queue", "replay", "end to end"])
def test_local_learning_stays_on_the_device(fake_cuda, source):
    recipe = Recipe(models.LocalMLP((6, 5, 5, 4), heads=2), rules.SGD(lr=0.1, gradient=source), epochs=1, batch_size=10)
    steps = list(train.walk([recipe] * 3, SEEDS, split(CUDA)))
    assert len(steps) == 5
    assert {steps[-1].params.flat.device.type, steps[-1].loss.device.type} == {"cuda"}


@pytest.mark.parametrize("net", NETS, ids=["relu", "batch norm", "tanh", "dropout by hand", "dropout", "orthogonal", "noisy",
                                  "layer norm", "weight norm", "signals", "vmapped"])
@pytest.mark.parametrize("rule", RULES, ids=["sgd", "momentum", "adamw", "decay", "adam", "following"])
def test_a_whole_training_stays_on_the_device(fake_cuda, monkeypatch, net, rule):
    monkeypatch.setattr(rules.backprop, "gradients", forward_only)
    if isinstance(rule, rules.FollowingSGD):
        rule = rules.FollowingSGD(lr=0.1, course=((1.0,) * (net.depth - 1 if hasattr(net, "depth") else 1),) * 9)
    recipe = Recipe(net, rule, epochs=1, batch_size=10, schedule="cosine")
    steps = list(train.walk([recipe] * 3, SEEDS, split(CUDA)))
    assert len(steps) == 5
    assert {steps[-1].params.flat.device.type, steps[-1].loss.device.type} == {"cuda"}
    assert {buffer.device.type for buffer in steps[-1].buffers.values()} <= {"cuda"}


@pytest.mark.parametrize("net", NETS, ids=["relu", "batch norm", "tanh", "dropout by hand", "dropout", "orthogonal", "noisy",
                                  "layer norm", "weight norm", "signals", "vmapped"])
def test_a_measurement_stays_on_the_device(fake_cuda, net):
    params, buffers = net.init([runtime.generator(seed, "init") for seed in SEEDS])
    measured = train.measure(net, Stack.of(params), buffers, split(CUDA))
    assert set(measured) == {f"{part}_{what}" for part in ("train", "valid", "test") for what in ("loss", "accuracy")}
    assert {value.device.type for value in measured.values()} == {"cuda"}


TRANSFORMS = (RandomCrop(1), RandomFlip(), RandomRotation(5.0), Cutout(2))


@pytest.mark.parametrize("layers", [(0,), (0, 1)])
def test_changes_and_mixup_stay_on_the_device(fake_cuda, monkeypatch, layers):
    """The quantile of the coefficient is SciPy's, which cannot see a fake tensor; it is stood in for."""
    monkeypatch.setattr(rules.backprop, "gradients", forward_only)
    monkeypatch.setattr(mixup, "coefficient", lambda u, alpha: u)
    net = models.CNN(shape=(1, 6, 6), channels=(3, 2), classes=4)
    x, y = torch.randn(40, 1, 6, 6, device=CUDA), torch.zeros(40, dtype=torch.long, device=CUDA)
    data = Split("made", x, y, x, y, x, y, 4, "", torch.zeros((), device=CUDA))
    recipe = Recipe(net, rules.SGD(lr=0.1), augment=TRANSFORMS, mixup=Mixup(0.5, layers), epochs=1, batch_size=10)
    steps = list(train.walk([recipe] * 3, SEEDS, data))
    assert len(steps) == 5 and steps[-1].params.flat.device.type == "cuda"


def test_hyperparameters_that_differ_are_made_on_the_device(fake_cuda):
    assert stacked([rules.SGD(lr=0.1), rules.SGD(lr=0.2)], CUDA).lr.device.type == "cuda"


def test_the_proof_can_fail(fake_cuda):
    net = NETS[0]
    params, buffers = net.init([runtime.generator(seed, "init") for seed in SEEDS])
    with pytest.raises(Exception, match="device"):
        net.backprop(Stack.of(params), {}, Batch(torch.randn(3, 10, 6), torch.zeros(3, 10, dtype=torch.long), 1, 1.0, ()),
                     Stack.of(params).like())


def test_the_environment_chooses_the_device(monkeypatch):
    monkeypatch.setenv("LABSUPPORT_DEVICE", "cpu")
    assert runtime.device() == torch.device("cpu")


def test_cuda_is_chosen_where_it_is_available(monkeypatch):
    monkeypatch.delenv("LABSUPPORT_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.device() == CUDA


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "mps"])
def test_an_unknown_device_is_named(monkeypatch, name):
    monkeypatch.setenv("LABSUPPORT_DEVICE", name)
    with pytest.raises(ValueError, match=f"LABSUPPORT_DEVICE is '{name}'"):
        runtime.device()


def test_asking_for_cuda_where_there_is_none_says_so(monkeypatch):
    monkeypatch.setenv("LABSUPPORT_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no CUDA device"):
        runtime.device()


def test_a_batch_is_made_where_the_data_are(fake_cuda):
    recipe = Recipe(NETS[0], RULES[0], epochs=1, batch_size=10)
    _, batch = next(train.batches([recipe] * 3, SEEDS, split(CUDA)))
    assert isinstance(batch, Batch) and {batch.x.device.type, batch.y.device.type} == {"cuda"}
