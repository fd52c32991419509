"""Everything is made on the chosen device, proved without a GPU: inside FakeTensorMode a mix of
devices raises.
"""

import dataclasses

import pytest
import torch
from torch import nn

from labsupport import datasets, models, published, rules, runtime, train
from labsupport.augment import Cutout, Mixup, RandomCrop, RandomFlip, RandomRotation
from labsupport.ops import mixup
from labsupport.stacks import Stack, stacked
from labsupport.types import Batch, Dataset, Recipe

CUDA = torch.device("cuda")
SEEDS = (0, 1, 2)
NETS = [
    models.MLP((6, 5, 4)),
    models.MLP((6, 5, 5, 4), norm="batch"),
    models.MLP((6, 5, 4), activation="tanh"),
    models.MLP((6, 5, 4), dropout=0.5),
    models.MLP((6, 5, 4), activation="gelu", dropout=0.5, bias="zero"),
    models.MLP((6, 5, 4), initializer="orthogonal", gain=2.0, activation="elu"),
    models.MLP((6, 5, 4), norm="noisy_batch", noise=0.5),
    models.MLP((6, 5, 4), norm="layer"),
    models.MLP((6, 5, 4), norm="weight"),
    models.CNN(shape=(6,), channels=(3, 2), classes=4, norm="batch"),
    models.Vmapped(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))),
]
RULES = [
    rules.SGD(lr=0.1),
    rules.SGD(lr=0.1, momentum=0.9, weight_decay=0.1),
    rules.Adam(weight_decay=0.1),
    rules.SGD(
        lr=0.1, momentum=0.9, weight_decay=0.1, decoupled=True, dampening=True, decay_on="hidden"
    ),
    rules.Adam(weight_decay=0.1, decoupled=False, decay_on="weights"),
    rules.EffectiveLRReplay(lr=0.1),
]


def dataset(device):
    x, y = torch.randn(40, 6, device=device), torch.zeros(40, dtype=torch.long, device=device)
    return Dataset("made", x, y, x, y, x, y, 4, "", torch.zeros((), device=device))


def forward_only(net, params, buffers, batch, out):
    """Stands in for ``rules.gradients`` where autograd is wanted: the forward pass, and gradients
    of zero.
    """
    by_hand = getattr(net, "backprop", None)
    loss = by_hand(params, buffers, batch, out) if by_hand else None
    inside = {"mix": batch.mix} if batch.mix else {}
    return (
        net.forward(params, buffers, batch.x, training=True, streams=batch.streams, **inside).sum(
            (1, 2)
        )
        if loss is None
        else loss
    )


@pytest.mark.parametrize(
    "source",
    [
        rules.LocalErrors("pred"),
        rules.LocalErrors("predsim"),
        rules.Greedy(2),
        rules.Decoupled(2),
        rules.Decoupled(2, replay=True),
        rules.Backprop(),
    ],
    ids=["pred", "predsim", "greedy", "queue", "replay", "end to end"],
)
def test_local_learning_stays_on_the_device(fake_cuda, source):
    recipe = Recipe(
        models.LocalMLP((6, 5, 5, 4), heads=2),
        rules.SGD(lr=0.1, gradient=source),
        epochs=1,
        batch_size=10,
    )
    steps = list(train.iterate_steps([recipe] * 3, SEEDS, dataset(CUDA)))
    assert len(steps) == 5
    assert {steps[-1].params.flat.device.type, steps[-1].loss.device.type} == {"cuda"}


@pytest.mark.parametrize(
    "net",
    NETS,
    ids=[
        "relu",
        "batch norm",
        "tanh",
        "dropout by hand",
        "dropout",
        "orthogonal",
        "noisy",
        "layer norm",
        "weight norm",
        "signals",
        "vmapped",
    ],
)
@pytest.mark.parametrize(
    "rule", RULES, ids=["sgd", "momentum", "adamw", "decay", "adam", "following"]
)
def test_a_whole_training_stays_on_the_device(fake_cuda, monkeypatch, net, rule):
    monkeypatch.setattr(rules.backprop, "gradients", forward_only)
    if isinstance(rule, rules.EffectiveLRReplay):
        rule = rules.EffectiveLRReplay(
            lr=0.1, course=((1.0,) * (net.depth - 1 if hasattr(net, "depth") else 1),) * 9
        )
    recipe = Recipe(net, rule, epochs=1, batch_size=10, schedule="cosine")
    steps = list(train.iterate_steps([recipe] * 3, SEEDS, dataset(CUDA)))
    assert len(steps) == 5
    assert {steps[-1].params.flat.device.type, steps[-1].loss.device.type} == {"cuda"}
    assert {buffer.device.type for buffer in steps[-1].buffers.values()} <= {"cuda"}


@pytest.mark.parametrize(
    "net",
    NETS,
    ids=[
        "relu",
        "batch norm",
        "tanh",
        "dropout by hand",
        "dropout",
        "orthogonal",
        "noisy",
        "layer norm",
        "weight norm",
        "signals",
        "vmapped",
    ],
)
def test_a_measurement_stays_on_the_device(fake_cuda, net):
    params, buffers = net.init([runtime.generator(seed, "init") for seed in SEEDS])
    measured = train.measure(net, Stack.of(params), buffers, dataset(CUDA))
    assert set(measured) == {
        f"{part}_{what}" for part in ("train", "valid", "test") for what in ("loss", "accuracy")
    }
    assert {value.device.type for value in measured.values()} == {"cuda"}


TRANSFORMS = (RandomCrop(1), RandomFlip(), RandomRotation(5.0), Cutout(2))


@pytest.mark.parametrize("layers", [(0,), (0, 1)])
def test_changes_and_mixup_stay_on_the_device(fake_cuda, monkeypatch, layers):
    """The quantile of the coefficient is SciPy's, which cannot see a fake tensor; it is stood in
    for.
    """
    monkeypatch.setattr(rules.backprop, "gradients", forward_only)
    monkeypatch.setattr(mixup, "coefficient", lambda u, alpha: u)
    net = models.CNN(shape=(1, 6, 6), channels=(3, 2), classes=4)
    x, y = torch.randn(40, 1, 6, 6, device=CUDA), torch.zeros(40, dtype=torch.long, device=CUDA)
    data = Dataset("made", x, y, x, y, x, y, 4, "", torch.zeros((), device=CUDA))
    recipe = Recipe(
        net,
        rules.SGD(lr=0.1),
        augment=TRANSFORMS,
        mixup=Mixup(0.5, layers),
        epochs=1,
        batch_size=10,
    )
    steps = list(train.iterate_steps([recipe] * 3, SEEDS, data))
    assert len(steps) == 5 and steps[-1].params.flat.device.type == "cuda"


@pytest.fixture
def fake_bfloat16(fake_cuda, monkeypatch):
    """The full profile on that GPU; autocast asks PyTorch whether there is one."""
    monkeypatch.setenv("LABSUPPORT_PROFILE", "full")
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)


def in_autocast(seen):
    """``forward_only`` where ``rules.gradients`` would run it; notes the precision of the
    logits.
    """

    def forward(net, params, buffers, batch, out):
        inside = {"mix": batch.mix} if batch.mix else {}
        with runtime.autocast():
            logits = net.forward(
                params, buffers, batch.x, training=True, streams=batch.streams, **inside
            )
        seen.add(logits.dtype)
        return logits.to(params.flat.dtype).sum((1, 2))

    return forward


FULL = {
    f"{net.__class__.__name__} {norm}": dataclasses.replace(net, norm=norm)
    for norm in (None, "batch", "layer", "weight", "noisy_batch")
    for net in (
        models.CNN(shape=(3, 32, 32), channels=(16, 24)),
        models.MLP((3 * 32 * 32, 64, 10), dropout=0.2),
    )
}


@pytest.mark.parametrize("net", FULL.values(), ids=FULL)
def test_images_of_cifars_shape_train_on_the_device_with_products_in_bfloat16(
    fake_bfloat16, monkeypatch, net
):
    seen = set()
    monkeypatch.setattr(rules.backprop, "gradients", in_autocast(seen))
    monkeypatch.setattr(mixup, "coefficient", lambda u, alpha: u)
    x, y = torch.randn(40, 3, 32, 32, device=CUDA), torch.zeros(40, dtype=torch.long, device=CUDA)
    data = Dataset("made", x, y, x, y, x, y, 10, "", torch.zeros(3, 1, 1, device=CUDA))
    recipe = Recipe(
        net,
        rules.SGD(lr=0.1, momentum=0.9),
        augment=TRANSFORMS,
        mixup=Mixup(0.5, (0, 1)),
        epochs=1,
        batch_size=10,
    )
    steps = list(train.iterate_steps([recipe] * 3, SEEDS, data))
    end = [steps[-1].params.flat, steps[-1].loss, *steps[-1].buffers.values()]
    assert {(tensor.device.type, tensor.dtype) for tensor in end} == {
        ("cuda", torch.float32)
    } and seen == {torch.bfloat16}
    measured = train.measure(net, steps[-1].params, steps[-1].buffers, data)
    assert {(value.device.type, value.dtype) for value in measured.values()} == {
        ("cuda", torch.float32)
    }


def test_a_gpus_convolutions_see_channels_last(fake_bfloat16):
    net = models.CNN(shape=(3, 32, 32), channels=(16, 24), norm="batch")
    params, buffers = net.init([runtime.generator(seed, "init") for seed in SEEDS])
    with runtime.autocast():
        *hidden, logits = net.layers(
            params, buffers, torch.randn(3, 10, 3, 32, 32, device=CUDA), training=True
        )
    assert all(
        run.is_contiguous(memory_format=torch.channels_last) for h in hidden for run in h.unbind()
    )
    assert (logits.device.type, logits.dtype, logits.shape) == ("cuda", torch.bfloat16, (3, 10, 10))


@pytest.fixture
def published_parts(small):
    """The small files, read before a device is pretended."""
    return {name: published.read(name) for name in published.PUBLISHED}


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_published_data_are_kept_on_the_device(published_parts, fake_cuda, monkeypatch, name):
    """Their digest and their number of classes are of values, which a fake tensor has none of."""
    monkeypatch.setattr(published, "read", published_parts.get)
    monkeypatch.setattr(datasets, "_digest", lambda tensors: "made")
    monkeypatch.setattr(datasets, "_whole", lambda name, digest, tensors: tensors)
    kept = datasets._pool(name, str(runtime.device()))
    assert {(axis, kept[key].device.type, kept[key].dtype) for key in kept for axis in key[0]} == {
        ("x", "cuda", torch.float32),
        ("y", "cuda", torch.int64),
        ("f", "cuda", torch.float32),
    }


def test_hyperparameters_that_differ_are_made_on_the_device(fake_cuda):
    assert stacked([rules.SGD(lr=0.1), rules.SGD(lr=0.2)], CUDA).lr.device.type == "cuda"


def test_the_proof_can_fail(fake_cuda):
    net = NETS[0]
    params, buffers = net.init([runtime.generator(seed, "init") for seed in SEEDS])
    with pytest.raises(Exception, match="device"):
        net.backprop(
            Stack.of(params),
            {},
            Batch(torch.randn(3, 10, 6), torch.zeros(3, 10, dtype=torch.long), 1, 1.0, ()),
            Stack.of(params).like(),
        )


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
    _, batch = next(train.batches([recipe] * 3, SEEDS, dataset(CUDA)))
    assert isinstance(batch, Batch) and {batch.x.device.type, batch.y.device.type} == {"cuda"}
