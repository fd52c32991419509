"""Local learning: every module learns from its own loss, and from nothing above it."""

import pytest
import torch
import torch.nn.functional as F

from labsupport import runtime, train
from labsupport.models import MLP, LocalMLP
from labsupport.rules import SGD, Adam, Backprop, Decoupled, Greedy, LocalErrors, local
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.topics.local_learning import reference as ll
from labsupport.types import Batch, Mix, Recipe

SIZES = (40, 7, 6, 5, 10)
NET = LocalMLP(SIZES, heads=2, width=4)
SOURCES = [
    LocalErrors("pred"),
    LocalErrors("sim"),
    LocalErrors("predsim", 0.3),
    Greedy(3),
    Decoupled(),
    Decoupled(2),
    Decoupled(3, replay=True),
    Backprop(),
]
NAMES = ["pred", "sim", "predsim", "greedy", "decoupled", "queue", "replay", "end to end"]
every_source = pytest.mark.parametrize("source", SOURCES, ids=NAMES)


def drawn(net=NET, runs=2, batch=6):
    """Parameters of some runs in float64, and a batch."""
    params, _ = net.init([runtime.generator(seed, "init") for seed in range(runs)])
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(runs, batch, net.sizes[0], generator=rng, dtype=torch.float64)
    y = torch.randint(net.sizes[-1], (runs, batch), generator=rng)
    streams = Streams(range(runs), "noise")
    return Stack.of({name: p.double() for name, p in params.items()}), Batch(x, y, 1, 1.0, streams)


def gradient(source, net, params, batch, state=None):
    out = params.like()
    out.flat.fill_(99.0)
    with torch.no_grad():
        loss = source(
            net,
            params,
            {},
            source.init(net, params, batch.streams) if state is None else state,
            batch,
            out,
        )
    return loss, out


def by_autograd(net, params, batch, signal):
    """The gradient of the sum of all modules' signals, with what goes from layer to layer
    detached.
    """
    leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    h, total = batch.x, 0.0
    for i in range(1, net.modules + 1):
        h = torch.relu(
            torch.baddbmm(leaves[f"bias{i}"][:, None], h.detach(), leaves[f"weight{i}"].mT)
        )
        total = total + signal(leaves, i, h)
    return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))


def cross_entropy(net, batch, leaves, i, h):
    logits = h
    for j, name in enumerate(net.head_names(i), start=1):
        logits = torch.baddbmm(
            leaves[name.replace("weight", "bias")][:, None], logits, leaves[name].mT
        )
        logits = torch.relu(logits) if j < net.heads else logits
    return (
        F.cross_entropy(logits.flatten(0, 1), batch.y.flatten(), reduction="sum") / batch.y.shape[1]
    )


def matching(batch, h):
    return sum(ll.similarity_loss(one, y, 10) for one, y in zip(h, batch.y, strict=True))


@pytest.mark.parametrize("kind", ["pred", "sim", "predsim"])
def test_a_local_error_is_autograds_gradient_with_the_layers_detached(kind):
    params, batch = drawn()
    _, out = gradient(LocalErrors(kind, 0.3), NET, params, batch)
    share = {"pred": 0.0, "sim": 1.0, "predsim": 0.3}[kind]
    layers = by_autograd(
        NET,
        params,
        batch,
        lambda leaves, i, h: (
            (1 - share) * cross_entropy(NET, batch, leaves, i, h) + share * matching(batch, h)
        ),
    )
    heads = by_autograd(
        NET, params, batch, lambda leaves, i, h: cross_entropy(NET, batch, leaves, i, h)
    )
    for name in params:
        wanted = heads[name] if name.startswith("head") else layers[name]
        torch.testing.assert_close(out[name], wanted, rtol=1e-10, atol=1e-12)


def test_the_fast_slope_of_similarity_matching_is_the_references():
    _, batch = drawn()
    h = torch.randn(len(batch.y), batch.y.shape[1], 7, dtype=torch.float64)
    found = local.matching_slope(h, local.label_rows(NET, batch))
    wanted = torch.stack(
        [ll.similarity_slope(one, y, NET.sizes[-1]) for one, y in zip(h, batch.y, strict=True)]
    )
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14)


def test_decoupled_learning_without_delay_is_the_local_cross_entropy():
    params, batch = drawn()
    (loss, ours), (other, theirs) = (
        gradient(source, NET, params, batch) for source in (Decoupled(), LocalErrors("pred"))
    )
    assert torch.equal(loss, other)
    assert all(torch.equal(ours[name], theirs[name]) and ours[name].any() for name in params)


def test_end_to_end_is_autograds_gradient_and_leaves_the_other_heads_alone():
    params, batch = drawn()
    _, out = gradient(Backprop(), NET, params, batch)
    leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    h = batch.x
    for i in range(1, 4):
        h = torch.relu(torch.baddbmm(leaves[f"bias{i}"][:, None], h, leaves[f"weight{i}"].mT))
    cross_entropy(NET, batch, leaves, 3, h).backward()
    for name, leaf in leaves.items():
        torch.testing.assert_close(
            out[name],
            torch.zeros_like(leaf) if leaf.grad is None else leaf.grad,
            rtol=1e-10,
            atol=1e-12,
        )


@pytest.mark.parametrize("source", SOURCES[:-1], ids=NAMES[:-1])
def test_what_is_above_a_module_does_not_reach_it(source):
    params, batch = drawn()
    changed = Stack.of(dict(params))
    for name in ("weight2", "bias3", "head2_weight1", "head3_bias2"):
        changed[name].add_(torch.randn_like(changed[name]))
    before, after = (gradient(source, NET, p, batch)[1] for p in (params, changed))
    for name in ("weight1", "bias1", "head1_weight1", "head1_bias2"):
        assert torch.equal(before[name], after[name])
        assert before[name].any()


def test_end_to_end_it_does():
    params, batch = drawn()
    changed = Stack.of(dict(params))
    changed["weight3"].mul_(-1.5)
    before, after = (gradient(Backprop(), NET, p, batch)[1] for p in (params, changed))
    assert not torch.equal(before["weight1"], after["weight1"])


def test_greedy_learning_moves_one_module_at_a_time():
    recipe = Recipe(NET, SGD(lr=0.5, gradient=Greedy(2)), train_size=600, epochs=1, dtype="float64")
    moved, last = [], None
    for step in train.iterate_steps([recipe], [0]):
        if last is not None:
            moved.append({name for name in last if not torch.equal(last[name], step.params[name])})
        last = {name: p.clone() for name, p in step.params.items()}
    ours = [
        {name for name in last if name.startswith((f"weight{i}", f"bias{i}", f"head{i}_"))}
        for i in (1, 1, 2, 2, 3, 3)
    ]
    assert moved == ours


def test_a_queue_of_batches_only_shifts_a_module_in_time():
    """With a buffer of 3 module j has done, after 6 steps, what it had done 2(j - 1) steps earlier
    without delay.
    """
    recipes = [
        Recipe(
            NET, SGD(lr=0.5, gradient=Decoupled(buffer)), train_size=600, epochs=1, dtype="float64"
        )
        for buffer in (1, 3)
    ]
    courses = [
        [
            {n: p.clone() for n, p in step.params.items()}
            for step in train.iterate_steps([recipe], [0])
        ]
        for recipe in recipes
    ]
    for j in (1, 2, 3):
        for name in courses[0][0]:
            if name.startswith((f"weight{j}", f"head{j}_")):
                assert torch.equal(courses[1][6][name], courses[0][6 - 2 * (j - 1)][name])
                assert not torch.equal(courses[0][6][name], courses[0][0][name])


@every_source
def test_run_4_alone_is_run_4_among_others(source):
    recipe = Recipe(NET, SGD(lr=0.3, gradient=source), train_size=1000, epochs=1, dtype="float64")
    among = list(train.iterate_steps([recipe] * 6, [0, 1, 2, 3, 4, 5]))[-1].params
    alone = list(train.iterate_steps([recipe], [4]))[-1].params
    for name in alone:
        torch.testing.assert_close(among[name][4], alone[name][0], rtol=1e-10, atol=1e-12)


def test_runs_may_differ_in_beta():
    recipes = [
        Recipe(
            NET,
            SGD(lr=0.3, gradient=LocalErrors("predsim", beta)),
            train_size=500,
            epochs=1,
            dtype="float64",
        )
        for beta in (0.1, 0.9)
    ]
    both = list(train.iterate_steps(recipes, [0, 0]))[-1].params
    for row, recipe in enumerate(recipes):
        alone = list(train.iterate_steps([recipe], [0]))[-1].params
        torch.testing.assert_close(
            both["weight2"][row], alone["weight2"][0], rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize(
    "rule",
    [Adam(lr=0.005, gradient=LocalErrors(kind)) for kind in ("pred", "sim", "predsim")]
    + [SGD(lr=0.4, gradient=Decoupled()), SGD(lr=0.4, gradient=Greedy(100))],
    ids=NAMES[:3] + ["decoupled", "greedy"],
)
def test_they_learn_mnist1d_in_a_few_epochs(rule):
    trained = train.train(
        [Recipe(LocalMLP((40, 64, 64, 10)), rule, epochs=8, measure_every=0)], [0]
    )
    accuracy = next(values for _, name, values in trained.metrics if name == "test_accuracy")
    assert accuracy.item() > 0.3


def test_hidden_layers_start_alike_whatever_the_heads():
    rngs = [[runtime.generator(seed, "init") for seed in (0, 1)] for _ in range(2)]
    one, three = (LocalMLP(SIZES, heads=k).init(r)[0] for k, r in zip((1, 3), rngs, strict=True))
    assert all(torch.equal(one[f"weight{i}"], three[f"weight{i}"]) for i in (1, 2, 3))


def test_the_last_readout_is_what_the_network_says():
    params, batch = drawn()
    readouts = NET.readouts(params, batch.x)
    assert len(readouts) == 3
    assert torch.equal(readouts[-1], NET.forward(params, {}, batch.x))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LocalMLP(SIZES, heads=5), "heads have 5 layers"),
        (lambda: LocalMLP(SIZES, heads=0), "heads have 0 layers"),
        (lambda: LocalMLP((4, 3)), r"sizes are \(4, 3\)"),
        (lambda: LocalMLP(SIZES, width=0), "width is 0"),
        (lambda: LocalErrors("gram"), "kind is 'gram'"),
        (lambda: LocalErrors(beta=1.5), "beta is 1.5"),
        (lambda: LocalErrors(beta=-0.1), "beta is -0.1"),
        (lambda: Decoupled(buffer=0), "buffer is 0"),
        (lambda: Greedy(0), "stage is 0"),
    ],
    ids=[
        "k too deep",
        "k zero",
        "sizes",
        "width",
        "kind",
        "beta high",
        "beta low",
        "buffer",
        "stage",
    ],
)
def test_a_bad_value_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("source", SOURCES[:-1], ids=NAMES[:-1])
def test_a_network_without_heads_is_refused(source):
    with pytest.raises(ValueError, match="the network is a MLP"):
        list(train.iterate_steps([Recipe(MLP((40, 5, 10)), SGD(gradient=source), epochs=1)], [0]))


def test_a_blend_inside_the_network_is_refused():
    params, batch = drawn()
    mixed = batch._replace(mix=Mix(torch.arange(12), {1: torch.ones(2)}))
    with pytest.raises(ValueError, match=r"at layers \[1\]"):
        gradient(LocalErrors("pred"), NET, params, mixed)
