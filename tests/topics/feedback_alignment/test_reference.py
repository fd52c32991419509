"""Feedback alignment: backpropagation when B is the transposed weights, by hand as by autograd, and
its limits.
"""

import pytest
import torch
import torch.nn.functional as F

from labsupport.topics.activations import backprop
from labsupport.topics.feedback_alignment import reference as fa

SIZES = (6, 5, 4, 3)


def network(sizes=SIZES, seed=0):
    rng = torch.Generator().manual_seed(seed)
    ws = [
        torch.randn(o, i, generator=rng).double() / i**0.5
        for i, o in zip(sizes, sizes[1:], strict=False)
    ]
    bs = [torch.randn(len(w), generator=rng).double() for w in ws]
    x, y = (
        torch.randn(7, sizes[0], generator=rng).double(),
        torch.randint(sizes[-1], (7,), generator=rng),
    )
    return ws, bs, x, y


def matrices(direct=False, sizes=SIZES, seed=1):
    rng = torch.Generator().manual_seed(seed)
    shapes = (
        [(h, sizes[-1]) for h in sizes[1:-1]]
        if direct
        else list(zip(sizes[1:], sizes[2:], strict=False))
    )
    return [torch.randn(*shape, generator=rng).double() for shape in shapes]


def autograd(ws, bs, x, y, activation):
    ws, bs = ([p.clone().requires_grad_() for p in ps] for ps in (ws, bs))
    act = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda z: z}[activation]
    h = x
    for w, b in zip(ws[:-1], bs[:-1], strict=True):
        h = act(F.linear(h, w, b))
    grads = torch.autograd.grad(F.cross_entropy(F.linear(h, ws[-1], bs[-1]), y), [*ws, *bs])
    return grads[: len(ws)], grads[len(ws) :]


def by_function(ws, bs, feedback, x, y, activation, direct):
    ws, bs = ([p.clone().requires_grad_() for p in ps] for ps in (ws, bs))
    loss = F.cross_entropy(fa.network(ws, bs, feedback, x, activation, direct=direct), y)
    grads = torch.autograd.grad(loss, [*ws, *bs])
    return grads[: len(ws)], grads[len(ws) :]


def by_hand(ws, bs, feedback, x, y, activation, direct):
    done = backprop.forward(ws, bs, x, activation)
    error = backprop.cross_entropy_slope(done.zs[-1], y)
    return (fa.dfa_backward if direct else fa.fa_backward)(feedback, done, error, activation)


def close(found, expected):
    for some, others in zip(found, expected, strict=True):
        for a, b in zip(some, others, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("way", [by_function, by_hand])
@pytest.mark.parametrize("activation", ["relu", "tanh", "linear"])
def test_with_the_transposed_weights_it_is_backpropagation(way, activation):
    ws, bs, x, y = network()
    close(
        way(ws, bs, [w.mT.clone() for w in ws[1:]], x, y, activation, False),
        autograd(ws, bs, x, y, activation),
    )


@pytest.mark.parametrize("way", [by_function, by_hand])
def test_direct_feedback_through_the_transposed_products_is_backpropagation_in_a_linear_network(
    way,
):
    ws, bs, x, y = network()
    found = way(ws, bs, fa.direct_transposes(ws), x, y, "linear", True)
    close(found, autograd(ws, bs, x, y, "linear"))
    with pytest.raises(AssertionError):
        close(
            way(ws, bs, fa.direct_transposes(ws), x, y, "tanh", True),
            autograd(ws, bs, x, y, "tanh"),
        )


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_function_of_autograd_and_the_pass_by_hand_agree_for_random_feedback(
    direct, activation
):
    ws, bs, x, y = network()
    found, other = (
        way(ws, bs, matrices(direct), x, y, activation, direct) for way in (by_function, by_hand)
    )
    close(found, other)
    true = autograd(ws, bs, x, y, activation)[0]
    assert torch.allclose(found[0][-1], true[-1])
    assert all(abs(fa.cosine(a, b)) < 0.99 for a, b in zip(found[0][:-1], true[:-1], strict=True))


def test_with_one_hidden_layer_both_are_one_method():
    ws, bs, x, y = network((6, 5, 3))
    feedback = matrices(False, (6, 5, 3))
    close(
        by_hand(ws, bs, feedback, x, y, "tanh", False),
        by_hand(ws, bs, feedback, x, y, "tanh", True),
    )


def test_the_forward_pass_is_that_of_the_plain_network():
    ws, bs, x, _ = network()
    for direct in (False, True):
        assert torch.equal(
            fa.network(ws, bs, matrices(direct), x, "tanh", direct=direct),
            backprop.forward(ws, bs, x, "tanh").zs[-1],
        )


def test_the_steps_of_one_unit_by_hand():
    x, z, weight, feedback, v = (
        torch.tensor(t) for t in ([[2.0]], [[1.0, -1.0]], [[5.0, 5.0]], [[3.0], [4.0]], [[0.5]])
    )
    v1, step = fa.hidden_step(x, z, weight, feedback, v)
    assert v1.tolist() == [[1.5, 0.0]] and step.tolist() == [[3.0], [0.0]]
    step1, step2 = fa.direct_step(x, z, z, feedback, feedback, v)
    assert step1.tolist() == [[3.0], [0.0]] and step2.tolist() == [[1.5, 0.0], [0.0, 0.0]]


def test_the_steps_of_the_exercises_are_those_of_the_whole_pass():
    ws, bs, x, y = network()
    done = backprop.forward(ws, bs, x, "relu")
    error = backprop.cross_entropy_slope(done.zs[-1], y)
    through, straight = matrices(), matrices(True)
    v2, step2 = fa.hidden_step(done.xs[1], done.zs[1], ws[2], through[1], error)
    _, step1 = fa.hidden_step(done.xs[0], done.zs[0], ws[1], through[0], v2)
    close(([step1, step2],), (fa.fa_backward(through, done, error, "relu")[0][:2],))
    close(
        (fa.direct_step(x, *done.zs[:2], *straight, error),),
        (fa.dfa_backward(straight, done, error, "relu")[0][:2],),
    )


def test_two_steps_from_zero_write_the_feedback_into_the_upper_weights():
    rng = torch.Generator().manual_seed(3)
    b, x, y = (torch.randn(*shape, generator=rng).double() for shape in ((7, 3), (20, 5), (20, 3)))
    w1, w2 = torch.zeros(7, 5).double(), torch.zeros(3, 7).double()
    once = fa.linear_steps(w1, w2, [b], x, y, lr=0.1)
    assert once[1].abs().max() == 0 and torch.allclose(once[0], 0.1 * b @ y.mT @ x)
    _, twice = fa.linear_steps(w1, w2, [b, b], x, y, lr=0.1)
    torch.testing.assert_close(twice, fa.after_two_steps(b, -y.mT @ x, lr=0.1), rtol=1e-10, atol=0)
    assert 0.3 < fa.cosine(twice, b.mT) < 1


def test_cosines_of_equal_opposite_and_orthogonal_updates():
    a = torch.tensor([[3.0, 4.0]])
    assert (
        fa.cosine(a, 7 * a) == 1
        and fa.cosine(a, -a) == -1
        and fa.cosine(a, torch.tensor([[4.0, -3.0]])) == 0
    )
    assert fa.cosine(a, 0 * a) == 0
    assert fa.degrees(fa.cosine(a, a).item()) == 0 and fa.degrees(-1.0) == 180
    long = torch.full((10_000,), 0.1)
    assert fa.cosine(long, long) <= 1 and fa.degrees(1.0000001) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda ws, bs, x: fa.feedback_linear(x, ws[0], bs[0], torch.ones(5, 6).double()),
            r"feedback has shape \(5, 6\); it must be \(6, 5\)",
        ),
        (
            lambda ws, bs, x: fa.fa_backward(
                [m.mT for m in matrices()], backprop.forward(ws, bs, x, "tanh"), x[:, :3], "tanh"
            ),
            r"feedback matrix 1 has shape \(4, 5\); it must be \(5, 4\)",
        ),
        (
            lambda ws, bs, x: fa.fa_backward(
                matrices()[:1], backprop.forward(ws, bs, x, "tanh"), x[:, :3], "tanh"
            ),
            r"there are 1 feedback matrices; 2 are needed, of shapes \[\(5, 4\), \(4, 3\)\]",
        ),
        (
            lambda ws, bs, x: fa.dfa_backward(
                matrices(), backprop.forward(ws, bs, x, "tanh"), x[:, :3], "tanh"
            ),
            r"feedback matrix 1 has shape \(5, 4\); it must be \(5, 3\)",
        ),
        (
            lambda ws, bs, x: fa.network(ws, bs, matrices()[:1], x, "tanh", direct=True),
            "1 feedback matrices for 2 hidden layers",
        ),
        (
            lambda ws, bs, x: fa.network(ws, bs, matrices(), x, "tanh", direct=True),
            r"feedback 1 has shape \(5, 4\); it must be \(5, 3\)",
        ),
        (lambda ws, bs, x: fa.cosine(ws[0], ws[1]), r"a has shape \(5, 6\) and b \(4, 5\)"),
    ],
)
def test_a_wrong_shape_is_named_beside_the_right_one(call, message):
    ws, bs, x, _ = network()
    with pytest.raises(ValueError, match=message):
        call(ws, bs, x)
