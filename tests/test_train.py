"""The training loop: many runs at once are the runs alone, seeds are honest, a diverged run harms
nobody.
"""

import dataclasses
import math
import time
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labsupport import datasets, rules, runtime, train
from labsupport.augment import Mixup, RandomFlip, RandomRotation
from labsupport.models import MLP, Vmapped
from labsupport.rules import SGD, Adam, Backprop, EffectiveLRReplay
from labsupport.stacks import Stack, column, hyperparameter, hyperparameters, stacked
from labsupport.streams import Streams
from labsupport.study import vary
from labsupport.topics.weight_decay import reference as wd
from labsupport.types import Batch, Dataset, Recipe

SIZES = (40, 12, 12, 10)


def recipe(model=None, rule=None, **options):
    options = {"train_size": 300, "epochs": 2, "dtype": "float64", **options}
    return Recipe(model or MLP(SIZES), rule or SGD(lr=0.1, momentum=0.9), **options)


def end(recipes, seeds):
    for step in train.iterate_steps(recipes, seeds):
        pass
    return step


def plain(recipe, seed, make, optimizer):
    """The same run by a loop that every PyTorch user would write: weights and batches from our
    generators.
    """
    dataset = train.load(recipe)
    net = make().double()
    drawn, _ = recipe.model.init([runtime.generator(seed, "init")])
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), drawn.values(), strict=True):
            parameter.copy_(value[0])
    steps = optimizer(net.parameters())
    order = runtime.generator(seed, "order")
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(dataset.y_train), generator=order).split(recipe.batch_size):
            loss = F.cross_entropy(net(dataset.x_train[rows].double()), dataset.y_train[rows])
            steps.zero_grad()
            loss.backward()
            steps.step()
    return net


def layers(activation, norm):
    return lambda: nn.Sequential(
        nn.Linear(40, 12),
        *([nn.BatchNorm1d(12)] if norm else []),
        activation(),
        nn.Linear(12, 12),
        *([nn.BatchNorm1d(12)] if norm else []),
        activation(),
        nn.Linear(12, 10),
    )


@pytest.mark.parametrize(
    ("rule", "optimizer"),
    [
        (SGD(lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            SGD(lr=0.1, momentum=0.9, weight_decay=0.01),
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        ),
        (
            Adam(lr=0.01, weight_decay=0.1),
            lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        ),
        (
            Adam(lr=0.01, weight_decay=0.1, decoupled=False),
            lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        ),
    ],
    ids=["sgd", "momentum and L2", "adamw", "adam and L2"],
)
@pytest.mark.parametrize(
    ("activation", "module", "norm"),
    [("relu", nn.ReLU, None), ("tanh", nn.Tanh, None), ("relu", nn.ReLU, "batch")],
)
def test_a_stack_trains_as_a_plain_pytorch_loop(rule, optimizer, activation, module, norm):
    ours = recipe(MLP(SIZES, activation=activation, norm=norm), rule)
    stack = end([ours] * 3, [0, 7, 4])
    net = plain(ours, 7, layers(module, norm), optimizer)
    for mine, theirs in zip(stack.params.values(), net.parameters(), strict=True):
        torch.testing.assert_close(mine[1], theirs.detach(), rtol=1e-8, atol=1e-10)
    if norm:
        theirs = [b for name, b in net.named_buffers() if "num_batches" not in name]
        for mine, other in zip(stack.buffers.values(), theirs, strict=True):
            torch.testing.assert_close(mine[1], other, rtol=1e-8, atol=1e-10)


def test_batch_norm_measures_with_running_statistics():
    ours = recipe(MLP(SIZES, norm="batch"), SGD(lr=0.1))
    stack = end([ours], [7])
    net = plain(ours, 7, layers(nn.ReLU, "batch"), lambda p: torch.optim.SGD(p, lr=0.1)).eval()
    dataset = train.load(ours)
    loss, accuracy = train.evaluate(
        ours.model, stack.params, stack.buffers, dataset.x_test, dataset.y_test
    )
    logits = net(dataset.x_test.double())
    torch.testing.assert_close(loss[0], F.cross_entropy(logits, dataset.y_test).detach())
    assert accuracy[0].item() == (logits.argmax(1) == dataset.y_test).double().mean().item()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_seed_4_alone_is_seed_4_among_others(dtype):
    tolerance = {"float32": 1e-4, "float64": 1e-11}[dtype]
    among = end([recipe(dtype=dtype)] * 6, [9, 3, 4, 0, 1, 8])
    alone = end([recipe(dtype=dtype)], [4])
    torch.testing.assert_close(
        among.params.flat[2], alone.params.flat[0], rtol=tolerance, atol=tolerance
    )


def test_seed_4_draws_the_same_weights_and_batches_among_any_others():
    """To the last bit: nothing of a run's draws depends on its neighbours, nor on the arm."""
    dataset = train.load(recipe())
    among = [
        next(train.batches([recipe()] * len(seeds), seeds, dataset))[1]
        for seeds in ([4], [9, 4, 2])
    ]
    assert torch.equal(among[0].x[0], among[1].x[1]) and torch.equal(among[0].y[0], among[1].y[1])
    weights = [
        next(train.iterate_steps([recipe(rule=rule)] * len(seeds), seeds)).params
        for rule, seeds in ((SGD(lr=0.1), [4]), (Adam(), [9, 4, 2]))
    ]
    assert torch.equal(weights[0].flat[0], weights[1].flat[1])


def test_different_seeds_and_streams_draw_different_numbers():
    draws = {
        torch.rand(1, generator=runtime.generator(seed, stream)).item()
        for seed in range(20)
        for stream in ("init", "order")
    } | {
        Streams([seed], stream).uniform(1, torch.zeros(1)).item()
        for seed in range(20)
        for stream in ("noise", "augment", "mixup", "rule")
    }
    assert len(draws) == 120


def test_the_global_generator_plays_no_part():
    torch.manual_seed(0)
    one = end([recipe()], [4]).params.flat.clone()
    torch.manual_seed(1)
    assert torch.equal(one, end([recipe()], [4]).params.flat)


@dataclass(frozen=True)
class Settings:
    """A record whose fields are all numbers; what may differ is said, not guessed."""

    rate: "float | int" = hyperparameter(1.0)
    bins: float = 2.0


@dataclass(frozen=True)
class Holder:
    inner: Settings = Settings()


def test_what_is_declared_may_differ_between_runs_and_nothing_else():
    device = torch.device("cpu")
    together = stacked([Holder(Settings(rate)) for rate in (1.0, 3.0)], device)
    assert together.inner.rate.tolist() == [1.0, 3.0] and together.inner.bins == 2.0
    with pytest.raises(ValueError, match="differ in more than hyperparameters"):
        stacked([Settings(bins=bins) for bins in (1.0, 3.0)], device)


@pytest.mark.parametrize("item", [SGD(), Adam(), MLP(), Mixup(), RandomFlip(), RandomRotation()])
def test_the_numbers_that_a_recipe_varies_are_declared(item):
    """Every field of type float of what the book trains with may differ between runs."""
    floats = {f.name for f in dataclasses.fields(item) if f.type is float}
    assert floats and floats == set(hyperparameters(item))


def test_every_run_has_hyperparameters_of_its_own():
    rates = [0.01, 0.1, 0.5]
    together = end(
        [
            recipe(rule=SGD(lr=lr, momentum=m, weight_decay=0.1))
            for lr, m in zip(rates, (0.0, 0.5, 0.9), strict=True)
        ],
        [0, 0, 0],
    )
    alone = end([recipe(rule=SGD(lr=0.1, momentum=0.5, weight_decay=0.1))], [0])
    torch.testing.assert_close(
        together.params.flat[1], alone.params.flat[0], rtol=1e-11, atol=1e-11
    )
    assert not torch.allclose(together.params.flat[0], together.params.flat[2])


def test_the_vmapped_fallback_gives_the_numbers_of_the_fast_path():
    make = layers(nn.ReLU, None)
    fast, general = MLP(SIZES), Vmapped(make)
    drawn, _ = general.init([runtime.generator(seed, "init") for seed in range(3)])
    params = Stack.of({name: value.double() for name, value in drawn.items()})
    renamed = Stack.of(
        dict(
            zip(
                ("weight1", "bias1", "weight2", "bias2", "weight3", "bias3"),
                params.values(),
                strict=True,
            )
        )
    )
    x, y = torch.randn(3, 20, 40, dtype=torch.float64), torch.randint(10, (3, 20))
    batch = Batch(x, y, 1, 1.0, [])
    torch.testing.assert_close(general.forward(params, {}, x), fast.forward(renamed, {}, x))
    grads, renamed_grads = params.like(), renamed.like()
    one = rules.gradients(general, params, {}, batch, grads)
    other = rules.gradients(fast, renamed, {}, batch, renamed_grads)
    torch.testing.assert_close(one, other)
    for mine, theirs in zip(grads.values(), renamed_grads.values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "targets"])
@pytest.mark.parametrize(
    "options", [{}, {"norm": "batch"}, {"dropout": 0.4}, {"norm": "batch", "dropout": 0.4}], ids=str
)
def test_backprop_by_hand_is_autograd(options, soft):
    net = MLP(SIZES, **options)
    params, buffers = net.init([runtime.generator(s, "init") for s in range(3)])
    params = Stack.of({name: value.double() + 0.1 for name, value in params.items()})
    targets = torch.rand(3, 20, 10, dtype=torch.float64).softmax(-1) if soft else None
    batch = Batch(
        torch.randn(3, 20, 40, dtype=torch.float64), torch.randint(10, (3, 20)), 1, 1.0, [], targets
    )
    found = []
    for kind in (MLP, Autograd):
        grads, own = params.like(), {name: buffer.double() for name, buffer in buffers.items()}
        noise = Streams(range(3), "noise")
        loss = rules.gradients(
            kind(SIZES, **options), params, own, batch._replace(streams=noise), grads
        )
        found.append([loss, grads.flat, *own.values()])
        assert (
            kind is Autograd
            or net.backprop(
                params,
                {k: b.clone() for k, b in own.items()},
                batch._replace(streams=noise),
                grads.like(),
            )
            is not None
        )
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-13)


class Autograd(MLP):
    """The same network without a backward pass of its own."""

    backprop = None


@pytest.mark.parametrize(
    "rule",
    [
        SGD(lr=0.1, momentum=0.9, weight_decay=0.05, decoupled=decoupled, dampening=dampening)
        for decoupled in (True, False)
        for dampening in (True, False)
    ],
    ids=str,
)
def test_the_fast_momentum_is_the_reference(rule):
    step = wd.momentum_step if rule.dampening else wd.torch_momentum_step
    hyper = dict(
        lr=rule.lr, momentum=rule.momentum, weight_decay=rule.weight_decay, decoupled=rule.decoupled
    )
    hold_against_reference(rule, 1, lambda w, g, t, v: step(w, g, v, **hyper))


@pytest.mark.parametrize("decoupled", [True, False])
def test_the_fast_adam_is_the_reference(decoupled):
    step = wd.adamw_step if decoupled else wd.adam_step
    rule = Adam(lr=0.01, weight_decay=0.05, decoupled=decoupled, beta1=0.8, beta2=0.95, eps=1e-4)
    hold_against_reference(
        rule,
        2,
        lambda w, g, t, m, v: step(
            w, g, m, v, t, lr=0.01, weight_decay=0.05, betas=(0.8, 0.95), eps=1e-4
        ),
    )


def hold_against_reference(rule, states, step):
    """Ten steps of the rule, each beside the reference's step on the same gradient."""
    ours = recipe(rule=rule, epochs=4)
    dataset, net = train.load(ours), ours.model
    params = Stack.of(
        {name: p.double() for name, p in net.init([runtime.generator(0, "init")])[0].items()}
    )
    w, held = params.flat.clone(), [torch.zeros_like(params.flat)] * states
    state = rule.init(net, params)
    for t, (_, batch) in zip(range(1, 11), train.batches([ours], [0], dataset), strict=False):
        g = params.like()
        rules.gradients(net, params, {}, batch, g)
        w, *held = step(w, g.flat, t, *held)
        params, state, _ = rule.step(net, params, {}, state, batch)
        torch.testing.assert_close(params.flat, w, rtol=1e-10, atol=1e-12)


def test_the_cosine_schedule_scales_the_rate():
    ours = recipe(rule=SGD(lr=0.1), schedule="cosine", epochs=1)
    net = recipe(rule=SGD(lr=0.1), epochs=1)
    scales = [batch.lr_scale for _, batch in train.batches([ours], [0], train.load(ours))]
    assert scales == [1.0, pytest.approx(0.75), pytest.approx(0.25)]
    assert [batch.lr_scale for _, batch in train.batches([net], [0], train.load(net))] == [1.0] * 3


@pytest.mark.parametrize(
    ("decay_on", "names"),
    [("hidden", {"weight1", "weight2"}), ("weights", {"weight1", "weight2", "weight3"})],
)
def test_decay_reaches_only_what_it_is_told_to(decay_on, names):
    """With a gradient of zero, a step changes just the parameters that decay."""
    rule = SGD(lr=0.1, weight_decay=0.5, decoupled=True, decay_on=decay_on)
    net = MLP(SIZES, norm="batch")
    params = Stack.of(net.init([runtime.generator(0, "init")])[0])
    before, state = params.flat.clone(), rule.init(net, params)
    state.decay.expand_as(params.flat)
    old = Stack(before, params.shapes)
    params.flat.mul_(1 - 0.1 * state.decay)
    assert {name for name in params if not torch.equal(params[name], old[name])} == names


def test_a_rate_that_follows_its_own_course_changes_nothing():
    """Replaying the norms of the very same run multiplies every gradient by one."""
    base = recipe(MLP(SIZES, norm="batch"), SGD(lr=0.1))
    course = tuple(
        (s.params["weight1"].square().sum().item(), s.params["weight2"].square().sum().item())
        for s in train.iterate_steps([base], [3])
    )
    followed = end([recipe(base.model, EffectiveLRReplay(lr=0.1, course=course))], [3])
    torch.testing.assert_close(
        followed.params.flat, end([base], [3]).params.flat, rtol=1e-10, atol=1e-12
    )


def test_a_diverged_run_is_marked_at_its_step_and_does_not_disturb_its_neighbours():
    # measured over four epochs: the wild run explodes within the first
    calm, wild = (
        recipe(rule=SGD(lr=0.1), dtype="float32", epochs=4),
        recipe(rule=SGD(lr=1e12), dtype="float32", epochs=4),
    )
    together = train.train([calm, wild, calm], [0, 1, 2])
    alone = train.train([calm, calm], [0, 2])
    step = together.diverged[1].item()
    assert together.diverged.tolist() == [0, step, 0] and 1 < step <= 12
    for (epoch, metric, values), (_, _, expected) in zip(
        together.metrics, alone.metrics, strict=True
    ):
        if metric == "seconds":
            continue
        assert math.isnan(values[1]) == (epoch * 3 >= step)
        torch.testing.assert_close(values[[0, 2]], expected, rtol=1e-4, atol=1e-5)


def test_measurements_come_when_the_recipe_says():
    epochs = {
        every: sorted(
            {
                epoch
                for epoch, _, _ in train.train([recipe(epochs=5, measure_every=every)], [0]).metrics
            }
        )
        for every in (0, 1, 2)
    }
    assert epochs == {0: [5], 1: [1, 2, 3, 4, 5], 2: [2, 4, 5]}


def test_many_runs_come_back_complete_whatever_stacks_they_trained_in():
    runs = [
        (recipe(rule=rule, dtype="float32"), seed)
        for rule in (SGD(lr=0.1), SGD(lr=0.2), Adam())
        for seed in range(3)
    ]
    done = train.train_many(runs)
    assert sorted(row for rows, _ in done for row in rows) == list(range(9))
    assert len(done) >= 2
    for rows, trained in done:
        assert len(trained.params.flat) == len(rows)


def test_grad_mode_is_left_alone_between_steps():
    for _ in train.iterate_steps([recipe()], [0]):
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(schedule="linear"), "schedule is 'linear'"),
        (dict(epochs=-1), "epochs is -1"),
        (dict(batch_size=0), "batch_size is 0"),
        (dict(data="mnist2d"), "no data set 'mnist2d'"),
        (dict(train_size=9999), "9999"),
        (dict(dtype="float8"), "dtype is 'float8'"),
    ],
)
def test_a_bad_recipe_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        next(train.iterate_steps([recipe(**options)], [0]))


def test_recipes_of_one_stack_must_share_their_structure():
    with pytest.raises(ValueError, match="differ only in hyperparameters"):
        next(train.iterate_steps([recipe(), recipe(rule=Adam())], [0, 1]))
    with pytest.raises(ValueError, match="2 recipes and 1 seeds"):
        next(train.iterate_steps([recipe()] * 2, [0]))
    with pytest.raises(ValueError, match="cannot share a stack"):
        stacked([SGD(), SGD(dampening=True)], torch.device("cpu"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=-1), "lr is -1"),
        (lambda: SGD(momentum=1.0), "momentum is 1.0"),
        (lambda: SGD(weight_decay=-0.1), "weight_decay is -0.1"),
        (lambda: SGD(decay_on="bias"), "decay_on is 'bias'"),
        (lambda: Adam(beta2=1.0), "beta2 is 1.0"),
        (lambda: Adam(lr=math.nan), "lr is nan"),
        (lambda: MLP((4,)), r"sizes are \(4,\)"),
    ],
)
def test_a_bad_hyperparameter_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_split_of_two_sizes_holds_samples_apart():
    dataset = datasets.load("mnist1d", train_size=1000, valid_size=1000)
    assert isinstance(dataset, Dataset)
    seen = {tuple(row.tolist()) for row in dataset.x_train}
    assert not seen & {tuple(row.tolist()) for row in torch.cat([dataset.x_valid, dataset.x_test])}


@dataclass(frozen=True)
class Pulled(Backprop):
    """Backpropagation that draws a vector for each run once, and is pulled towards it: a gradient
    source of another kind.
    """

    strength: float = hyperparameter(0.0)

    def init(self, net, params, streams):
        return streams.normal(params.flat.shape[1], params.flat)

    def __call__(self, net, params, buffers, state, batch, out):
        loss = super().__call__(net, params, buffers, state, batch, out)
        out.flat.addcmul_(column(self.strength, out.flat), state)
        return loss


def test_an_optimizer_steps_along_what_its_gradient_source_brings():
    plain, pulled = (
        end([recipe(rule=SGD(lr=0.1, gradient=g))] * 2, [3, 4])
        for g in (Backprop(), Pulled(strength=0.0))
    )
    assert torch.equal(plain.params.flat, pulled.params.flat)
    for optimizer in (SGD, Adam):
        one = recipe(rule=optimizer(lr=0.01, gradient=Pulled(strength=1.0)))
        among = end([one] * 3, [9, 4, 2])
        torch.testing.assert_close(among.params.flat[1], end([one], [4]).params.flat[0])


def test_runs_may_differ_in_a_number_of_the_gradient_source():
    recipes = [
        recipe(rule=SGD(lr=0.1, gradient=Pulled(strength=strength))) for strength in (0.0, 0.5, 2.0)
    ]
    together = end(recipes, [4, 4, 4])
    for row in range(3):
        torch.testing.assert_close(
            together.params.flat[row], end([recipes[row]], [4]).params.flat[0]
        )
    assert vary(recipes[0], strength=0.5) == recipes[1]


def test_the_seconds_of_the_steps_grow_and_leave_out_what_is_measured():
    slow = [lambda *_: time.sleep(0.3) or {"slow": torch.zeros(2)}]
    started = time.perf_counter()
    trained = train.train([recipe(epochs=3)] * 2, [0, 1], slow)
    took = time.perf_counter() - started
    seconds = [values[0].item() for _, name, values in trained.metrics if name == "seconds"]
    assert (
        len(seconds) == 3
        and 0 < seconds[0] < seconds[1] < seconds[2]
        and 2 * seconds[2] + 0.9 <= took
    )


# -- what a GPU adds -------------------------------------------------------------------------------


def test_a_stack_that_memory_does_not_hold_is_trained_in_halves(monkeypatch):
    recipes = [recipe(rule=SGD(lr=rate)) for rate in (0.1, 0.2, 0.3, 0.4, 0.5)]
    whole = train.train(recipes, range(5))
    sizes, plain = [], train.train

    def forgetful(recipes, seeds, *rest):
        sizes.append(len(seeds))
        if len(seeds) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return plain(recipes, seeds, *rest)

    monkeypatch.setattr(train, "train", forgetful)
    parts = train.train_in_memory(recipes, range(5))
    assert sizes == [5, 2, 3, 1, 2]
    assert torch.equal(parts.params.flat, whole.params.flat)
    assert torch.equal(parts.diverged, whole.diverged)
    for (epoch, metric, values), (_, _, expected) in zip(parts.metrics, whole.metrics, strict=True):
        assert metric == "seconds" or torch.equal(values, expected), (epoch, metric)


def test_one_run_that_memory_does_not_hold_is_named(monkeypatch):
    def forgetful(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train, "train", forgetful)
    with pytest.raises(RuntimeError, match="does not hold one run of MLP.*batches of 100"):
        train.train_in_memory([recipe()], [0])


def test_time_is_read_when_the_gpu_is_done_and_measuring_is_not_counted(monkeypatch):
    waits = []

    def synchronize():
        waits.append(1)
        time.sleep(0.2)

    monkeypatch.setattr(runtime, "synchronize", synchronize)
    trained = train.train([recipe()], [0])
    seconds = [values.item() for _, metric, values in trained.metrics if metric == "seconds"]
    # the start is measured too; after each epoch, and after each measurement
    assert len(waits) == 2 * len(seconds)
    assert 0.2 * len(seconds) <= seconds[-1] < 0.2 * len(waits)
