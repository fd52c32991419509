"""The full profile: what a recipe becomes, and that it trains; on small files in the published
formats, without a GPU.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from labsupport import claims, compare, datasets, landscape, rules, runtime, study, train
from labsupport.augment import Cutout, Mixup, RandomCrop, RandomFlip, RandomRotation
from labsupport.models import CNN, MLP, LocalMLP, Vmapped
from labsupport.profiles import sized
from labsupport.rules import SGD, Adam, Backprop, Decoupled, FeedbackAlignment, Greedy, LocalErrors
from labsupport.topics.alternating_minimization import experiments as alternating_minimization
from labsupport.topics.batch_norm import experiments as batch_norm
from labsupport.topics.feedback_alignment import experiments as feedback_runs
from labsupport.topics.mixup import experiments as mixup
from labsupport.topics.weight_decay import experiments as weight_decay
from labsupport.types import Arm, Interval, Recipe
from tests import small as files

DENSE = Recipe(
    MLP((40, 8, 6, 10)), SGD(lr=0.1), train_size=1000, valid_size=500, epochs=2, batch_size=20
)
IMAGES = Recipe(
    CNN(shape=(1, 28, 28), channels=(4, 6)),
    SGD(lr=0.1),
    data="mnist5k",
    train_size=1000,
    epochs=2,
    batch_size=20,
)
HEADS = dataclasses.replace(
    DENSE, model=LocalMLP((40, 8, 6, 10), heads=2, width=5), rule=SGD(lr=0.1, gradient=Greedy(75))
)
UNTOUCHED = {
    "wine": Recipe(MLP((13, 8, 3)), SGD(), data="wine"),
    "cancer": Recipe(MLP((30, 2)), SGD(), data="cancer"),
    "an identity": dataclasses.replace(DENSE, dtype="float64"),
    "any module": Recipe(Vmapped(lambda: nn.Linear(40, 10)), SGD()),
    "columns one by one": dataclasses.replace(DENSE, standardize=True),
}


class SeenSet(set):
    """What a spy has seen. To a digest it is always the same: looking makes no other study."""

    def __reduce_ex__(self, protocol):
        return type(self), ()


class SeenList(list):
    """As SeenSet, in order."""

    __reduce_ex__ = SeenSet.__reduce_ex__


@pytest.fixture
def mixed(full, monkeypatch):
    """The products of the full profile on a GPU, here on the CPU; collects the precisions that
    logits come in.
    """
    monkeypatch.setattr(runtime, "mixed", lambda: runtime.profile() == "full")
    monkeypatch.setenv("LABSUPPORT_THREADS", "1")
    seen = SeenSet()
    for net in (MLP, CNN):
        monkeypatch.setattr(net, "layers", spy(net.layers, seen))
    return seen


def spy(layers, seen):
    def spied(*args, **options):
        outputs = layers(*args, **options)
        seen.add(outputs[-1].dtype)
        return outputs

    return spied


# -- what a recipe becomes
# ---------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [DENSE, HEADS, IMAGES, *UNTOUCHED.values()])
def test_in_the_quick_profile_a_recipe_stays_itself(small, recipe):
    assert sized(recipe) is recipe


@pytest.mark.parametrize("data", ["mnist1d", "mnist5k"])
def test_a_fully_connected_network_learns_mnist_eight_times_as_wide(full, data):
    given = dataclasses.replace(DENSE, data=data)
    assert sized(given) == dataclasses.replace(
        given, data="mnist", model=MLP((784, 64, 48, 10)), train_size=100, valid_size=50
    )


def test_a_network_with_heads_learns_mnist_too_and_its_heads_are_eight_times_as_wide(full):
    assert sized(HEADS).data == "mnist" and sized(HEADS).model == LocalMLP(
        (784, 64, 48, 10), heads=2, width=40
    )


@pytest.mark.parametrize(
    "train, valid, before, after", [(1000, 500, 50, 5), (None, 0, 200, 20), (None, 2000, 100, 10)]
)
def test_a_stage_of_greedy_learning_stays_as_many_epochs_long(full, train, valid, before, after):
    found = sized(dataclasses.replace(HEADS, train_size=train, valid_size=valid))
    dataset = datasets.load("mnist", train_size=found.train_size, valid_size=found.valid_size)
    assert len(dataset.y_train) // found.batch_size == after
    assert found.rule == SGD(lr=0.1, gradient=Greedy(75 * after // before))


def test_a_network_without_a_hidden_layer_has_none_in_full(full):
    assert sized(dataclasses.replace(DENSE, model=MLP((40, 10)))).model == MLP((784, 10))


@pytest.mark.parametrize(("data", "shape"), [("mnist1d", (40,)), ("mnist5k", (1, 28, 28))])
def test_a_convolutional_network_learns_cifar10_with_four_times_the_channels(full, data, shape):
    given = dataclasses.replace(
        IMAGES, data=data, model=CNN(shape=shape, channels=(4, 6), norm="batch", dropout=0.1)
    )
    model = CNN(shape=(3, 32, 32), channels=(16, 24), norm="batch", dropout=0.1)
    assert sized(given) == dataclasses.replace(given, data="cifar10", model=model, train_size=100)


@pytest.mark.parametrize(
    "train, valid", [(None, 0), (None, 1000), (3000, 1000), (3999, 1), (10, 0), (123, 77)]
)
def test_the_parts_keep_their_shares_of_the_pool_and_fit_in_it(full, train, valid):
    found = sized(dataclasses.replace(DENSE, train_size=train, valid_size=valid))
    assert found.valid_size == valid * files.TRAIN // 4000
    assert found.train_size == (train and max(train * files.TRAIN // 4000, 10))
    assert (
        len(
            datasets.load("mnist", train_size=found.train_size, valid_size=found.valid_size).y_valid
        )
        == found.valid_size
    )


@pytest.mark.parametrize("recipe", UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_has_no_larger_self_stays_as_it_is(full, recipe):
    assert sized(recipe) is recipe


@pytest.mark.parametrize("recipe", [DENSE, HEADS, IMAGES, *UNTOUCHED.values()])
def test_what_is_sized_is_not_sized_again(full, recipe):
    assert sized(sized(recipe)) == sized(recipe)


def test_what_a_step_does_stays(full):
    given = dataclasses.replace(
        IMAGES,
        augment=(RandomCrop(2), RandomFlip()),
        mixup=Mixup(0.3, (0, 1)),
        rule=Adam(lr=0.3),
        label_noise=0.2,
        schedule="cosine",
        measure_every=0,
    )
    kept = (
        "augment",
        "mixup",
        "rule",
        "label_noise",
        "schedule",
        "measure_every",
        "epochs",
        "batch_size",
    )
    assert all(getattr(sized(given), name) == getattr(given, name) for name in kept)


# -- that it trains
# ----------------------------------------------------------------------------------

VARIANTS = {
    "plain": dict(),
    "batch norm": dict(norm="batch"),
    "ghost": dict(norm="batch", ghost=10),
    "layer norm": dict(norm="layer"),
    "noisy": dict(norm="noisy_batch", noise=0.3),
    "weight norm": dict(norm="weight"),
    "dropout": dict(dropout=0.3),
    "gelu": dict(activation="gelu"),
    "tanh": dict(activation="tanh"),
    "sigmoid": dict(activation="sigmoid"),
    "elu": dict(activation="elu"),
    "silu": dict(activation="silu"),
    "leaky": dict(activation="leaky_relu"),
}


def run(recipe):
    """Two runs of a sized recipe for a few steps: what was measured, and the end."""
    return train.train([dataclasses.replace(sized(recipe), epochs=1)] * 2, [0, 1])


def finite(trained):
    return (
        all(torch.isfinite(values).all() for _, _, values in trained.metrics)
        and not trained.diverged.any()
    )


@pytest.mark.parametrize("base", [DENSE, IMAGES], ids=["mnist", "cifar10"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_kind_of_layer_trains_at_full_size(full, base, variant):
    trained = run(study.vary(base, **variant))
    assert finite(trained) and {p.dtype for p in trained.params.values()} == {torch.float32}


@pytest.mark.parametrize("base", [DENSE, IMAGES], ids=["mnist", "cifar10"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_kind_of_layer_trains_with_products_in_bfloat16_and_weights_in_float32(
    mixed, base, variant
):
    trained = run(study.vary(base, **variant))
    assert mixed == {torch.bfloat16} and finite(trained)
    assert {tensor.dtype for tensor in (*trained.params.values(), *trained.buffers.values())} == {
        torch.float32
    }
    assert {values.dtype for _, _, values in trained.metrics} == {torch.float64}


@pytest.mark.parametrize(
    "source",
    [Greedy(2), Decoupled(2), LocalErrors("predsim"), Backprop()],
    ids=lambda source: type(source).__name__,
)
def test_local_learning_trains_at_full_size_and_with_products_in_bfloat16(
    mixed, monkeypatch, source
):
    recipe = dataclasses.replace(HEADS, rule=SGD(lr=0.1, gradient=source))
    for bfloat16 in (False, True):
        monkeypatch.setattr(runtime, "mixed", lambda: bfloat16)  # noqa: B023
        trained = run(recipe)
        assert finite(trained) and {p.dtype for p in trained.params.values()} == {torch.float32}


@pytest.mark.parametrize("base", [DENSE, IMAGES], ids=["mnist", "cifar10"])
def test_bfloat16_changes_little(full, monkeypatch, base):
    """It has three digits: after a few steps a loss differs in the third, and not in none."""
    plain = run(base).metrics
    monkeypatch.setattr(runtime, "mixed", lambda: True)
    rounded = run(base).metrics
    for (_, name, exact), (_, _, near) in zip(plain, rounded, strict=True):
        if name.endswith("loss"):
            assert (near / exact - 1).abs().max() < 0.02 and not torch.equal(near, exact)


@pytest.mark.parametrize("layers", [(0,), (0, 1, 2)])
def test_changes_and_mixup_train_in_bfloat16(mixed, layers):
    changes = (RandomCrop(2), RandomFlip(), RandomRotation(5.0), Cutout(4))
    trained = run(dataclasses.replace(IMAGES, augment=changes, mixup=Mixup(0.5, layers)))
    assert mixed == {torch.bfloat16} and finite(trained)


def test_an_identity_is_checked_in_float64_whatever_the_products_are(mixed):
    trained = run(dataclasses.replace(DENSE, dtype="float64", train_size=200, valid_size=0))
    assert mixed == {torch.float64} and trained.params.flat.dtype == torch.float64


def test_the_backward_pass_by_hand_is_left_out_under_bfloat16(mixed, monkeypatch):
    monkeypatch.setattr(
        MLP, "backprop", lambda *_: pytest.fail("the backward pass by hand writes into float32")
    )
    assert finite(run(DENSE))


def linear():
    return nn.Linear(40, 10)


def test_any_module_trains_beside_the_others(mixed):
    assert finite(run(Recipe(Vmapped(linear), SGD(lr=0.1), train_size=200)))


def test_channels_lie_last_in_memory_where_products_are_taken_in_bfloat16(mixed):
    net = sized(IMAGES).model
    params, buffers = net.init([runtime.generator(0, "init"), runtime.generator(1, "init")])
    x = torch.randn(2, 5, 3, 32, 32)
    last = net.layers(params, buffers, x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "mixed", lambda: False)
        first = net.layers(params, buffers, x)
    assert all(run.is_contiguous(memory_format=torch.channels_last) for h in last[:-1] for run in h)
    assert all(run.is_contiguous() for h in first[:-1] for run in h)
    for one, other in zip(last, first, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


# -- studies and what is made of them
# ----------------------------------------------------------------


def arms():
    return [
        *study.grid(study.vary(DENSE, epochs=1), "dense, ", lr=[0.05, 0.2]),
        Arm("images", study.vary(IMAGES, epochs=1)),
    ]


@pytest.fixture
def trained_on(monkeypatch):
    """The recipes that were trained."""
    seen = SeenList()
    original = study.train.train_many
    monkeypatch.setattr(
        study.train,
        "train_many",
        lambda runs, probes: seen.extend(r for r, _ in runs) or original(runs, probes),
    )
    return seen


def test_a_whole_study_runs_at_full_size_and_a_chosen_recipe_goes_into_the_next(full, trained_on):
    found = study.study(arms(), seeds=range(2))
    assert {recipe.data for recipe in trained_on} == {"mnist", "cifar10"} and np.isfinite(
        found.table["value"]
    ).all()
    assert found.arms == tuple(arms())
    chosen = compare.best(found, among=compare.where("dense"))
    study.study([Arm("again", chosen.recipe)], seeds=range(2))
    assert trained_on[-1] == sized(chosen.recipe) and trained_on[-1].model.sizes == (
        784,
        64,
        48,
        10,
    )


def test_a_study_in_bfloat16_is_another_study_and_is_read_back(mixed, trained_on, monkeypatch):
    one = study.study(arms(), seeds=range(2))
    two = study.study(arms(), seeds=range(2))
    assert len(trained_on) == 6 and one.table.equals(two.table) and mixed == {torch.bfloat16}
    monkeypatch.setattr(runtime, "mixed", lambda: False)
    study.study(arms(), seeds=range(2))
    assert len(trained_on) == 12


def test_the_two_profiles_do_not_share_results(full, trained_on, monkeypatch):
    study.study(arms(), seeds=range(2))
    monkeypatch.setenv("LABSUPPORT_PROFILE", "quick")
    study.study(arms(), seeds=range(2))
    assert [recipe.data for recipe in trained_on[6:]] == ["mnist1d"] * 4 + ["mnist5k"] * 2


def test_runs_compared_step_by_step_are_those_that_a_study_trains(full):
    """The course of the norms of a study's own recipe, replayed in the study."""
    batch_norm = study.vary(DENSE, norm="batch", epochs=1, valid_size=0)
    course = weight_decay.norm_course(batch_norm, seeds=[0, 1])
    assert len(course) == 1 + files.TRAIN * 1000 // 4000 // 20 and len(course[0]) == 2
    replay = study.vary(batch_norm, rule=rules.EffectiveLRReplay(lr=0.1, course=course))
    assert np.isfinite(study.study([Arm("replay", replay)], seeds=[0, 1]).table["value"]).all()
    assert weight_decay.gap(batch_norm, study.vary(batch_norm, lr=0.2), [0, 1], steps=5).shape == (
        6,
        2,
    )


def test_the_landscape_is_surveyed_at_full_size(full):
    seen = landscape.survey(
        study.vary(DENSE, epochs=1, valid_size=0), seeds=[0, 1], rates=[0.1], every=2
    )
    assert sorted(seen["step"].unique()) == [0, 2] and np.isfinite(seen["value"]).all()


GO_ON = {
    "angles": lambda r: feedback_runs.track_cosines(
        study.vary(r, gradient=FeedbackAlignment()), [0, 1]
    ),
    "moving units": lambda r: batch_norm.movement(study.vary(r, norm="batch"), [0, 1]),
    "faulty mixups": lambda r: mixup.fault_study(study.vary(r, mixup=Mixup()), [0, 1]),
    "a first pass": lambda r: alternating_minimization.first_pass(r, [0, 1], at=(1, 25, 50)),
}


@pytest.mark.parametrize("go_on", GO_ON.values(), ids=GO_ON)
def test_a_demonstration_that_goes_on_with_what_a_study_chose_trains_at_its_size(
    full, monkeypatch, go_on
):
    trained, steps, many = [], train.iterate_steps, train.train_many
    monkeypatch.setattr(
        train,
        "iterate_steps",
        lambda recipes, *rest: trained.extend(recipes) or steps(recipes, *rest),
    )
    monkeypatch.setattr(
        train,
        "train_many",
        lambda runs, *rest: trained.extend(r for r, _ in runs) or many(runs, *rest),
    )
    go_on(study.vary(DENSE, epochs=1, valid_size=0))
    assert {(recipe.data, recipe.model.sizes) for recipe in trained} == {
        ("mnist", (784, 64, 48, 10))
    }


def test_a_first_pass_is_looked_at_after_the_same_shares_of_it(full):
    """The pool is smaller here than the quick one, so the first two looks fall on the first
    step.
    """
    seen = alternating_minimization.first_pass(
        study.vary(DENSE, epochs=1, valid_size=0), [0, 1], at=(1, 10, 50)
    )
    assert (
        list(seen) == [1, 10, 50]
        and torch.equal(seen[1], seen[10])
        and not torch.equal(seen[10], seen[50])
    )


@pytest.mark.parametrize(
    ("profile", "words"), [("quick", "quick profile"), ("full", "full profile")]
)
def test_a_claim_names_the_profile_by_itself(small, monkeypatch, profile, words):
    monkeypatch.setenv("LABSUPPORT_PROFILE", profile)
    monkeypatch.setattr(claims, "_entered", {})
    card = claims.claim(
        "wd-2", Interval(0.1, 0.05, 0.2, 10), measure="m", above=0, budget="1,000 signals"
    )
    assert (
        card.budget.startswith(f"1,000 signals; {words}")
        and words in card._repr_html_()
        and words in claims.page()
    )
    assert ("size of the papers" in card.budget) == (profile == "full")


@pytest.mark.parametrize(
    ("profile", "device", "mixed"),
    [("full", "cuda", True), ("full", "cpu", False), ("quick", "cuda", False)],
)
def test_products_are_in_bfloat16_in_the_full_profile_on_cuda_alone(
    monkeypatch, profile, device, mixed
):
    monkeypatch.setenv("LABSUPPORT_PROFILE", profile)
    monkeypatch.setattr(runtime, "device", lambda: torch.device(device))
    assert runtime.mixed() is mixed
