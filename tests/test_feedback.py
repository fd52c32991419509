"""The gradient estimators of feedback alignment: held to the reference and to autograd, honest
seeds, errors, devices.
"""

import pytest
import torch
import torch.nn.functional as F

from labsupport import models, rules, runtime, train
from labsupport.models import CNN, MLP, Vmapped
from labsupport.rules import SGD, DirectFeedbackAlignment, FeedbackAlignment
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.study import vary
from labsupport.topics.activations import backprop
from labsupport.topics.feedback_alignment import reference as fa
from labsupport.types import Batch, Mix, Recipe
from tests.test_device import dataset

SEEDS = (3, 4, 9)
NETS = [
    MLP((40, 12, 9, 10)),
    MLP((40, 12, 9, 10), activation="tanh"),
    MLP((40, 9, 10), activation="sigmoid"),
    CNN(channels=(5, 6)),
    CNN(shape=(11,), channels=(4, 5, 6), kernel=5),
    CNN(shape=(1, 12, 10), channels=(4, 5), activation="tanh"),
    CNN(shape=(2, 9, 7), channels=(4, 5), kernel=5),
]
IDS = ["relu", "tanh", "sigmoid", "signals", "odd signals", "images", "odd images"]
SOURCES = [
    FeedbackAlignment(),
    FeedbackAlignment("redrawn"),
    FeedbackAlignment("signs", frozen=(1,)),
    FeedbackAlignment("weights"),
    DirectFeedbackAlignment(),
    DirectFeedbackAlignment("redrawn"),
    DirectFeedbackAlignment(frozen=(2,)),
]


def start(net):
    params, _ = net.init([runtime.generator(seed, "init") for seed in SEEDS])
    shape = getattr(net, "shape", (40,))
    rng = torch.Generator().manual_seed(0)
    batch = Batch(
        torch.randn(3, 7, *shape, generator=rng).double(),
        torch.randint(0, 10, (3, 7), generator=rng),
        1,
        1.0,
        Streams(SEEDS, "noise"),
    )
    return Stack.of({name: p.double() for name, p in params.items()}), batch


def steps(source, net, params, batch, state=None):
    out = params.like()
    state = source.init(net, params, Streams(SEEDS, "rule")) if state is None else state
    return source(net, params, {}, state, batch, out), out, state


@pytest.mark.parametrize("net", NETS, ids=IDS)
def test_with_the_weights_for_feedback_it_is_autograds_gradient(net, monkeypatch):
    monkeypatch.setattr(MLP, "backprop", lambda *_: None)
    params, batch = start(net)
    true = params.like()
    loss = rules.gradients(net, params, {}, batch, true)
    found, out, _ = steps(FeedbackAlignment("weights"), net, params, batch)
    torch.testing.assert_close(found, loss, rtol=1e-10, atol=0)
    torch.testing.assert_close(out.flat, true.flat, rtol=1e-10, atol=1e-14)
    assert true["weight1"].norm() > 0


@pytest.mark.parametrize(
    "source", [FeedbackAlignment("weights"), DirectFeedbackAlignment("weights")]
)
def test_in_a_linear_network_both_are_backpropagation_for_soft_labels_too(source):
    net = MLP((40, 12, 9, 8, 10), activation="linear")
    params, batch = start(net)
    true = params.like()
    batch = batch._replace(targets=torch.rand(3, 7, 10).double().softmax(-1))
    rules.gradients(net, params, {}, batch, true)
    torch.testing.assert_close(
        steps(source, net, params, batch)[1].flat, true.flat, rtol=1e-10, atol=1e-14
    )


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(
    ("source", "by_hand"),
    [(FeedbackAlignment(), fa.fa_backward), (DirectFeedbackAlignment(), fa.dfa_backward)],
)
def test_the_fast_form_is_the_reference(source, by_hand, activation):
    net = MLP((40, 12, 9, 10), activation=activation)
    params, batch = start(net)
    _, out, state = steps(source, net, params, batch)
    for r in range(3):
        ws, bs = ([params[f"{kind}{i}"][r] for i in (1, 2, 3)] for kind in ("weight", "bias"))
        done = backprop.forward(ws, bs, batch.x[r], activation)
        error = backprop.cross_entropy_slope(done.zs[-1], batch.y[r])
        by_weight, by_bias = by_hand([state[i][r] for i in state], done, error, activation)
        for i, (w, b) in enumerate(zip(by_weight, by_bias, strict=True), start=1):
            torch.testing.assert_close(out[f"weight{i}"][r], w, rtol=1e-10, atol=1e-14)
            torch.testing.assert_close(out[f"bias{i}"][r], b, rtol=1e-10, atol=1e-14)


def test_the_filters_of_a_convolution_get_their_feedback_as_the_weights_would():
    """Feedback that happens to be the weights is the gradient, through the same code that random
    feedback takes.
    """
    net = NETS[3]
    params, batch = start(net)
    true = params.like()
    rules.gradients(net, params, {}, batch, true)
    state = {i: models.patches.matrix(params[f"weight{i}"]).mT for i in (2, 3)}
    torch.testing.assert_close(
        steps(FeedbackAlignment(), net, params, batch, state)[1].flat,
        true.flat,
        rtol=1e-10,
        atol=1e-14,
    )


@pytest.mark.parametrize("net", NETS, ids=IDS)
def test_layers_as_matrix_products_are_the_networks_own_forward_pass(net):
    params, batch = start(net)
    hs, loss, _ = rules.feedback.forward(net, params, batch)
    outputs = net.layers(params, {}, batch.x)
    for h, output in zip(hs[1:], outputs, strict=False):
        torch.testing.assert_close(h, output)
    torch.testing.assert_close(
        loss,
        torch.stack([F.cross_entropy(z, y) for z, y in zip(outputs[-1], batch.y, strict=True)]),
    )


def test_the_way_back_to_the_inputs_is_the_adjoint_of_the_way_to_the_rows():
    for net, shape in [
        (NETS[4], (3, 2, 11, 1)),
        (NETS[5], (3, 2, 1, 12, 10)),
        (NETS[6], (3, 2, 2, 9, 7)),
        (NETS[0], (3, 2, 40)),
    ]:
        h = torch.randn(shape).double()
        rows = models.patches.im2col(net, 1, h)
        g = torch.randn(rows.shape).double()
        torch.testing.assert_close(
            (rows * g).sum(), (h * models.patches.col2im(net, 1, g, h)).sum()
        )


@pytest.mark.parametrize("source", SOURCES, ids=str)
@pytest.mark.parametrize("net", [NETS[0], NETS[3]], ids=["mlp", "cnn"])
def test_run_4_alone_is_run_4_among_others(source, net):
    recipe = Recipe(
        net, SGD(lr=0.1, momentum=0.9, gradient=source), train_size=300, epochs=1, dtype="float64"
    )
    *_, among = train.iterate_steps([recipe] * 3, SEEDS)
    *_, alone = train.iterate_steps([recipe], [4])
    torch.testing.assert_close(among.params.flat[1], alone.params.flat[0])
    assert not torch.equal(among.params.flat[0], among.params.flat[1])


def test_fixed_matrices_stay_and_redrawn_ones_do_not():
    params, batch = start(NETS[0])
    for source in (FeedbackAlignment(), DirectFeedbackAlignment()):
        _, once, state = steps(source, NETS[0], params, batch)
        assert torch.equal(steps(source, NETS[0], params, batch, state)[1].flat, once.flat)
    for source in (FeedbackAlignment("redrawn"), DirectFeedbackAlignment("redrawn")):
        _, once, state = steps(source, NETS[0], params, batch)
        _, again, _ = steps(source, NETS[0], params, batch, state)
        assert torch.equal(once["weight3"], again["weight3"]) and not torch.allclose(
            once["weight1"], again["weight1"]
        )


def test_signs_take_the_weights_signs_and_the_sizes_of_the_matrices():
    params, batch = start(NETS[0])
    _, out, state = steps(FeedbackAlignment("signs"), NETS[0], params, batch)
    made = {i: m.abs() * params[f"weight{i}"].mT.sign() for i, m in state.items()}
    assert torch.equal(steps(FeedbackAlignment(), NETS[0], params, batch, made)[1].flat, out.flat)


def test_frozen_layers_do_not_move_and_the_others_learn():
    recipe = Recipe(
        NETS[0], SGD(lr=0.1, gradient=FeedbackAlignment(frozen=(1, 2))), train_size=300, epochs=1
    )
    first, *_, last = [
        {k: v.clone() for k, v in step.params.items()}
        for step in train.iterate_steps([recipe], [0])
    ]
    assert all(
        torch.equal(first[f"{kind}{i}"], last[f"{kind}{i}"])
        for kind in ("weight", "bias")
        for i in (1, 2)
    )
    assert not torch.equal(first["weight3"], last["weight3"])


def test_matrices_have_the_spread_of_the_weights_they_replace_and_runs_may_scale_them():
    net = MLP((40, 300, 200, 10))
    recipe = Recipe(net, SGD(gradient=FeedbackAlignment(scale=2.0)))
    assert vary(recipe, scale=3.0).rule.gradient.scale == 3.0
    params = Stack.of(net.init([runtime.generator(seed, "init") for seed in SEEDS])[0])
    state = FeedbackAlignment(scale=2.0).init(net, params, Streams(SEEDS, "rule"))
    assert {i: tuple(m.shape) for i, m in state.items()} == {2: (3, 300, 200), 3: (3, 200, 10)}
    assert all(
        (m.std() / (2 * params[f"weight{i}"].std()) - 1).abs() < 0.03 for i, m in state.items()
    )
    direct = DirectFeedbackAlignment().init(net, params, Streams(SEEDS, "rule"))
    assert {i: tuple(m.shape) for i, m in direct.items()} == {1: (3, 300, 10), 2: (3, 200, 10)}
    assert (direct[1].std() * 900**0.5 - 1).abs() < 0.03


def test_runs_of_one_stack_differ_in_their_scale():
    recipes = [
        Recipe(
            NETS[0],
            SGD(lr=0.1, gradient=FeedbackAlignment(scale=s)),
            train_size=300,
            epochs=1,
            dtype="float64",
        )
        for s in (0.5, 2.0)
    ]
    *_, together = train.iterate_steps(recipes, [4, 4])
    for row in range(2):
        *_, alone = train.iterate_steps([recipes[row]], [4])
        torch.testing.assert_close(together.params.flat[row], alone.params.flat[0])


@pytest.mark.parametrize(
    "source", [FeedbackAlignment(), DirectFeedbackAlignment()], ids=["fa", "dfa"]
)
def test_a_network_learns(source):
    recipe = Recipe(
        MLP((40, 32, 32, 10), activation="tanh", initializer="zero", bias="zero"),
        SGD(lr=0.2, momentum=0.9, gradient=source),
        train_size=1000,
        epochs=5,
        measure_every=0,
    )
    accuracy = {name: values for _, name, values in train.train([recipe] * 2, [0, 1]).metrics}[
        "train_accuracy"
    ]
    assert accuracy.min() > 0.2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FeedbackAlignment("random"),
            "feedback is 'random'; there are fixed, redrawn, weights, signs",
        ),
        (
            lambda: DirectFeedbackAlignment("signs"),
            "feedback is 'signs'; there are fixed, redrawn, weights",
        ),
        (lambda: FeedbackAlignment(scale=-1.0), "scale is -1.0; it must be a number of at least 0"),
        (
            lambda: begin(FeedbackAlignment(frozen=(4,)), NETS[0]),
            r"frozen is \(4,\); the layers are 1 to 3",
        ),
        (lambda: begin(FeedbackAlignment(), MLP(norm="batch")), "norm is 'batch' and dropout 0.0"),
        (lambda: begin(FeedbackAlignment(), MLP(dropout=0.5)), "norm is None and dropout 0.5"),
        (
            lambda: begin(FeedbackAlignment(), MLP(activation="sign")),
            "activation is 'sign'; feedback alignment knows the slopes of relu, tanh",
        ),
        (
            lambda: begin(FeedbackAlignment(), Vmapped(lambda: torch.nn.Linear(2, 2))),
            "written for MLP and CNN, not for Vmapped",
        ),
        (lambda: begin(DirectFeedbackAlignment("weights"), NETS[3]), "for an MLP, not for filters"),
    ],
)
def test_what_cannot_be_done_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def begin(source, net):
    source.init(net, Stack.of({"weight1": torch.ones(1, 2, 2)}), [torch.Generator()])


def test_a_matrix_of_the_wrong_shape_is_named_beside_the_right_one():
    params, batch = start(NETS[0])
    state = FeedbackAlignment().init(NETS[0], params, Streams(SEEDS, "rule"))
    with pytest.raises(
        ValueError, match=r"feedback of layer 3 has shape \(10, 9\); it must be \(9, 10\)"
    ):
        steps(FeedbackAlignment(), NETS[0], params, batch, state | {3: state[3].mT})
    with pytest.raises(
        ValueError, match=r"feedback of layer 1 has shape no matrix; it must be \(12, 10\)"
    ):
        steps(DirectFeedbackAlignment(), NETS[0], params, batch, state)


def test_samples_blended_inside_the_network_are_refused():
    params, batch = start(NETS[0])
    with pytest.raises(ValueError, match="blended inside the network"):
        steps(
            FeedbackAlignment(),
            NETS[0],
            params,
            batch._replace(mix=Mix(torch.zeros(21, dtype=torch.long), {1: torch.ones(3)})),
        )


@pytest.mark.parametrize("source", SOURCES, ids=str)
@pytest.mark.parametrize(
    "net", [MLP((6, 5, 4)), CNN(shape=(6,), channels=(3,), classes=4)], ids=["mlp", "cnn"]
)
def test_a_whole_training_stays_on_the_device(fake_cuda, source, net):
    recipe = Recipe(net, SGD(lr=0.1, gradient=source), epochs=1, batch_size=10)
    *_, last = train.iterate_steps([recipe] * 3, (0, 1, 2), dataset(torch.device("cuda")))
    assert last.t == 4 and {last.params.flat.device.type, last.loss.device.type} == {"cuda"}
