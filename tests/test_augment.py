"""Transforms and mixup inside the loop: each run draws for itself, and the numbers are those of the
plain loop.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from labsupport import augment, datasets, rules, runtime, train
from labsupport.augment import Cutout, Mixup, RandomCrop, RandomFlip, RandomRotation
from labsupport.models import CNN, MLP, Vmapped
from labsupport.rules import SGD
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.study import vary
from labsupport.types import Batch, Recipe

IMAGES, SIGNALS = torch.rand(3, 50, 2, 12, 12), torch.rand(3, 50, 40)
BLACK = torch.tensor(-0.5)
TRANSFORMS = [
    RandomCrop(3),
    RandomFlip(0.5),
    RandomRotation(30.0),
    Cutout(4),
    Cutout(4, inside=True),
]


def draws(seeds, stream="augment"):
    return Streams(seeds, stream)


def rngs(seeds):
    return [runtime.generator(seed, "init") for seed in seeds]


def recipe(**options):
    return Recipe(
        MLP((40, 12, 12, 10)),
        SGD(lr=0.1),
        **{"train_size": 300, "epochs": 2, "dtype": "float64", **options},
    )


def end(recipes, seeds):
    for step in train.iterate_steps(recipes, seeds):
        pass
    return step


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_run_4_is_changed_alike_alone_and_among_others(transform):
    together = transform(IMAGES, draws([9, 4, 2]), BLACK)
    alone = transform(IMAGES[1:2], draws([4]), BLACK)
    assert torch.equal(together[1], alone[0]) and together.shape == IMAGES.shape
    assert not torch.equal(together, IMAGES)


@pytest.mark.parametrize("transform", [RandomCrop(3), RandomFlip(0.5), Cutout(4)], ids=str)
def test_a_signal_is_an_image_of_one_row(transform):
    as_signal = transform(SIGNALS, draws([0, 1, 2]), BLACK)
    assert as_signal.shape == SIGNALS.shape and not torch.equal(as_signal, SIGNALS)
    if not isinstance(transform, Cutout):
        assert set(as_signal[0, 0].tolist()) <= {*SIGNALS[0, 0].tolist(), BLACK.item()}


def counted(transform, like, outcomes, runs=400):
    """How often each outcome came up, of one small image changed many times."""
    x = like.expand(1, runs * 10, *like.shape)
    seen = transform(x, draws([0]), torch.tensor(-1.0))[0]
    keys = [row.numpy().tobytes() for row in seen]
    assert set(keys) <= {o.numpy().tobytes() for o in outcomes}
    return [keys.count(o.numpy().tobytes()) for o in outcomes]


SMALL = torch.arange(1.0, 17.0).view(1, 4, 4)


def test_a_random_crop_has_the_distribution_of_torchvisions():
    """Every window that torchvision can cut, and each alike often."""
    p = 1
    padded = tv.pad(SMALL, [p], fill=-1.0)
    windows = [
        tv.crop(padded, top, left, 4, 4) for top in range(2 * p + 1) for left in range(2 * p + 1)
    ]
    assert stats.chisquare(counted(RandomCrop(p), SMALL, windows)).pvalue > 1e-3
    torch.manual_seed(0)
    theirs = v2.RandomCrop(4, padding=p, fill=-1.0)
    assert {theirs(SMALL).numpy().tobytes() for _ in range(300)} == {
        w.contiguous().numpy().tobytes() for w in windows
    }


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_a_random_flip_has_the_distribution_of_torchvisions(p):
    kept, mirrored = counted(RandomFlip(p), SMALL, [SMALL, tv.horizontal_flip(SMALL).contiguous()])
    assert stats.binomtest(mirrored, kept + mirrored, p).pvalue > 1e-3


def test_a_random_rotation_is_torchvisions_at_an_angle_uniform_in_its_range():
    x = torch.rand(1, 2000, 1, 9, 9)
    transposed = RandomRotation(40.0)(x, draws([3]), torch.tensor(0.0))
    angles = (2 * draws([3]).uniform(2000, x)[0] - 1) * 40.0
    assert stats.kstest(angles.double().numpy(), stats.uniform(-40, 80).cdf).pvalue > 1e-3
    for i in range(20):
        theirs = tv.rotate(x[0, i], angles[i].item(), interpolation=tv.InterpolationMode.BILINEAR)
        torch.testing.assert_close(transposed[0, i], theirs, rtol=1e-4, atol=1e-4)
    darker = RandomRotation(40.0)(x - 1, draws([3]), torch.tensor(-1.0))
    torch.testing.assert_close(darker, transposed - 1)


def test_a_square_inside_has_the_distribution_of_torchvisions_random_erasing():
    places = [tv.erase(SMALL, i, j, 2, 2, torch.tensor(-1.0)) for i in range(3) for j in range(3)]
    assert stats.chisquare(counted(Cutout(2, inside=True), SMALL, places)).pvalue > 1e-3
    torch.manual_seed(0)
    theirs = v2.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0), value=-1.0)
    assert {theirs(SMALL).numpy().tobytes() for _ in range(300)} == {
        place.numpy().tobytes() for place in places
    }


def test_a_square_that_hangs_over_has_its_middle_anywhere():
    places = []
    for i in range(4):
        for j in range(4):
            top, left = max(i - 1, 0), max(j - 1, 0)
            places.append(tv.erase(SMALL, top, left, i + 1 - top, j + 1 - left, torch.tensor(-1.0)))
    assert stats.chisquare(counted(Cutout(2), SMALL, places)).pvalue > 1e-3


def test_runs_may_differ_in_a_float_field():
    together = [recipe(augment=(RandomFlip(p),)) for p in (0.0, 0.5, 1.0)]
    alone = end([recipe(augment=(RandomFlip(0.5),))], [4])
    torch.testing.assert_close(end(together, [4, 4, 4]).params.flat[1], alone.params.flat[0])
    torch.testing.assert_close(
        end(together, [4, 4, 4]).params.flat[0], end([recipe()], [4]).params.flat[0]
    )


def test_transforms_touch_training_batches_alone():
    ours = recipe(augment=(RandomCrop(2), RandomFlip()))
    dataset, plain = train.load(ours), train.load(recipe())
    assert torch.equal(dataset.x_test, plain.x_test) and torch.equal(dataset.x_train, plain.x_train)
    (_, changed), (_, same) = (next(train.batches([r], [0], dataset)) for r in (ours, recipe()))
    assert torch.equal(changed.y, same.y) and not torch.equal(changed.x, same.x)


def test_what_comes_in_at_the_border_is_black():
    dataset = datasets.load("mnist5k")
    moved = RandomCrop(4)(dataset.x_train[None, :200], draws([0]), dataset.fill_value)
    assert dataset.fill_value == dataset.x_train.min() and moved.min() == dataset.fill_value
    assert torch.isclose(moved[..., 0, :].amin(), dataset.fill_value)


def mixed(mix, runs=2, size=40, classes=5):
    x = torch.randn(runs, size, 6, dtype=torch.float64)
    batch = Batch(x, torch.randint(classes, (runs, size)), 1, 1.0, [])
    return batch, mix(batch, classes, draws(range(runs), "mixup"))


def test_mixup_blends_inputs_and_labels_alike():
    batch, after = mixed(Mixup(1.0))
    onehot = F.one_hot(batch.y, 5).double()
    for run in range(2):
        whole = torch.cat([batch.x[run], onehot[run]], 1)
        blended = torch.cat([after.x[run], after.targets[run]], 1)
        order = rank_of_partner(whole, blended)
        lam = ((blended - whole[order]) * (whole - whole[order])).sum() / (
            whole - whole[order]
        ).square().sum()
        torch.testing.assert_close(blended, lam * whole + (1 - lam) * whole[order])
        assert sorted(order.tolist()) == list(range(40))
    assert after.mix is None


def rank_of_partner(whole, blended):
    """For each row the row whose segment with it the blended one lies on."""
    found = []
    for row, (mine, mid) in enumerate(zip(whole, blended, strict=True)):
        gaps = (mine - mid).norm() + (whole - mid).norm(dim=1) - (whole - mine).norm(dim=1)
        # a sample may be its own partner; then it lies on its segment with every row
        found.append(row if torch.allclose(mine, mid) else gaps.abs().argmin().item())
    return torch.tensor(found)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_the_coefficient_has_its_distribution_and_is_one_a_batch_and_run(alpha):
    onehot = torch.zeros(2000, 2, dtype=torch.long)
    onehot[:, 1] = 1
    batch = Batch(torch.zeros(2000, 2, 1, dtype=torch.float64), onehot, 1, 1.0, [])
    targets = Mixup(alpha)(batch, 2, draws(range(2000), "mixup")).targets
    swapped = targets[:, 0, 1] > 0
    lam = targets[swapped, 0, 0].numpy()
    assert swapped.double().mean().sub(0.5).abs() < 0.05
    assert stats.kstest(lam, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    torch.testing.assert_close(targets[swapped, 0, 0], targets[swapped, 1, 1])


def test_run_4_is_blended_alike_alone_and_among_others():
    ours = recipe(mixup=Mixup(0.4))
    torch.testing.assert_close(
        end([ours] * 3, [9, 4, 2]).params.flat[1], end([ours], [4]).params.flat[0]
    )


def test_runs_may_differ_in_alpha():
    together = end([recipe(mixup=Mixup(alpha)) for alpha in (0.1, 1.0)], [4, 4])
    torch.testing.assert_close(
        together.params.flat[1], end([recipe(mixup=Mixup(1.0))], [4]).params.flat[0]
    )
    assert not torch.allclose(together.params.flat[0], together.params.flat[1])


def test_a_stack_with_mixup_trains_as_a_plain_loop_with_soft_labels():
    ours = recipe(mixup=Mixup(1.0))
    dataset = train.load(ours)
    net = torch.nn.Sequential(
        torch.nn.Linear(40, 12),
        torch.nn.ReLU(),
        torch.nn.Linear(12, 12),
        torch.nn.ReLU(),
        torch.nn.Linear(12, 10),
    ).double()
    drawn, _ = ours.model.init(rngs([4]))
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), drawn.values(), strict=True):
            parameter.copy_(value[0])
    steps = torch.optim.SGD(net.parameters(), lr=0.1)
    for _, batch in train.batches([ours], [4], dataset):
        steps.zero_grad()
        F.cross_entropy(net(batch.x[0]), batch.targets[0]).backward()
        steps.step()
    for mine, theirs in zip(end([ours] * 2, [1, 4]).params.values(), net.parameters(), strict=True):
        torch.testing.assert_close(mine[1], theirs.detach())


NETS = [
    MLP((40, 12, 12, 10)),
    MLP((40, 12, 12, 10), norm="batch", dropout=0.2),
    CNN(channels=(3, 4)),
    CNN(shape=(1, 8, 5), channels=(3, 4), classes=10),
]


@pytest.mark.parametrize("net", NETS, ids=["mlp", "batch norm", "signals", "images"])
def test_hidden_layers_are_blended_where_each_run_says(net):
    """Run 0 blends its inputs, run 1 its first hidden layer, run 2 its second: as each alone."""
    params, buffers = net.init(rngs(range(3)))
    x, y = (
        torch.randn(3, 20, *(net.shape if isinstance(net, CNN) else (40,))),
        torch.randint(10, (3, 20)),
    )
    grads = Stack.of(params).like()
    batch = Batch(x, y, 1, 1.0, draws(range(3), "noise"))
    mix = Mixup(0.7, layers=(0, 1, 2))(batch, 10, draws(range(3), "mixup")).mix
    lam = torch.tensor([0.3, 0.6, 0.8])
    mix = mix._replace(
        coefficient={i: torch.where(torch.arange(3) == i, lam, 1.0) for i in range(3)}
    )
    blended = batch._replace(x=augment.blended(x, mix, 0), mix=mix)
    rules.gradients(net, Stack.of(params), dict(buffers), blended, grads)
    for run in range(3):
        own = {name: p[run : run + 1].clone() for name, p in params.items()}
        partner = mix.partner.view(3, 20)[run] - 20 * run
        alone = mix._replace(partner=partner, coefficient={run: lam[run : run + 1]})
        first = augment.blended(x[run : run + 1], alone, 0)
        single = Batch(first, y[run : run + 1], 1, 1.0, draws([run], "noise"), mix=alone)
        found = Stack.of(own).like()
        rules.gradients(
            net,
            Stack.of(own),
            {k: b[run : run + 1].clone() for k, b in net.init(rngs(range(3)))[1].items()},
            single,
            found,
        )
        torch.testing.assert_close(grads.flat[run], found.flat[0], rtol=1e-4, atol=1e-6)


def test_manifold_mixup_takes_each_layer_alike_often():
    batch = Batch(torch.zeros(3000, 2, 1), torch.zeros(3000, 2, dtype=torch.long), 1, 1.0, [])
    mix = Mixup(1.0, layers=(0, 2))(batch, 2, draws(range(3000), "mixup")).mix
    unmixed = [(mix.coefficient[layer] == 1).sum().item() for layer in (0, 2)]
    assert sum(unmixed) == 3000 and stats.binomtest(unmixed[0], 3000, 0.5).pvalue > 1e-3


def test_label_noise_is_the_share_it_says_and_grows_around_itself():
    clean = datasets.load("mnist1d")
    some, more = (datasets.load("mnist1d", label_noise=share) for share in (0.2, 0.5))
    changed = [(s.y_train != clean.y_train) for s in (some, more)]
    for share, rows in zip((0.2, 0.5), changed, strict=True):
        assert abs(rows.double().mean() - 0.9 * share) < 3 * math.sqrt(share / 4000)
    assert not (changed[0] & ~changed[1]).any() and torch.equal(some.y_test, clean.y_test)
    assert len({clean.digest, some.digest, more.digest}) == 3
    assert torch.equal(
        datasets.load("mnist1d", valid_size=500, label_noise=0.5).y_valid, clean.y_train[-500:]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixup(0.0), "alpha is 0.0; it must be a number above 0"),
        (lambda: Mixup(-1.0), "alpha is -1.0"),
        (lambda: Mixup(math.inf), "alpha is inf"),
        (lambda: Mixup(1.0, layers=()), r"layers are \(\)"),
        (lambda: Mixup(1.0, layers=(0, -1)), "layers are"),
        (lambda: RandomCrop(-1), "padding is -1"),
        (lambda: RandomCrop(1.5), "padding is 1.5"),
        (lambda: RandomFlip(1.5), "p is 1.5"),
        (lambda: RandomRotation(-3.0), "degrees is -3.0"),
        (lambda: Cutout(0), "size is 0"),
        (
            lambda: RandomCrop(13)(IMAGES, draws(range(3)), BLACK),
            "padding is 13; .* at most the image's side, 12",
        ),
        (
            lambda: Cutout(13, inside=True)(IMAGES, draws(range(3)), BLACK),
            "size is 13; a square inside an image",
        ),
        (
            lambda: RandomFlip()(torch.zeros(3, 5, 2, 4), draws(range(3)), BLACK),
            r"inputs have shape \(3, 5, 2, 4\)",
        ),
        (lambda: RandomFlip()(IMAGES, draws([0]), BLACK), "there are 3 runs and 1 streams"),
        (
            lambda: end([recipe(mixup=Mixup(1.0, layers=(0, 3)))], [0]),
            "mixup at layer 3: MLP has 2 hidden layers",
        ),
        (
            lambda: end([vary(recipe(mixup=Mixup(1.0, layers=(1,))), model=Vmapped(list))], [0]),
            "mixup at layer 1: Vmapped has 0",
        ),
        (
            lambda: recipe(augment=RandomFlip()),
            r"augment is RandomFlip\(p=0.5\); it must be a tuple",
        ),
        (lambda: recipe(augment=("flip",)), r"augment is \('flip',\)"),
        (lambda: recipe(mixup=0.2), "mixup is 0.2"),
        (
            lambda: end([recipe(augment=(RandomFlip(),), standardize=True)], [0]),
            "standardize scales every column by itself",
        ),
        (
            lambda: end([recipe(), recipe(augment=(RandomFlip(),))], [0, 1]),
            "may differ only in hyperparameters",
        ),
        (lambda: datasets.load("mnist1d", label_noise=1.5), "label_noise is 1.5"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
