"""GMDH against least squares of numpy, the local signals against autograd, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from labsupport.topics.local_learning import reference as ll


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def test_a_neuron_is_fitted_as_numpy_fits_it():
    a, b, y = normal(3, 40)
    wanted = np.linalg.lstsq(
        np.stack([np.ones(40), a, b, a * b, a**2, b**2], 1), y.numpy(), rcond=None
    )[0]
    torch.testing.assert_close(
        ll.fit_neuron(a, b, y), torch.from_numpy(wanted), rtol=1e-10, atol=1e-12
    )


def test_neurons_fitted_together_are_neurons_fitted_alone():
    a, b, y = normal(5, 30, seed=1), normal(5, 30, seed=2), normal(30, seed=3)
    alone = torch.stack([ll.fit_neuron(one, other, y) for one, other in zip(a, b, strict=True)])
    torch.testing.assert_close(ll.fit_neuron(a, b, y), alone, rtol=1e-10, atol=1e-12)


def test_a_quadratic_is_found_as_it_is():
    a, b = normal(2, 20)
    c = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.25, -1.0], dtype=torch.float64)
    torch.testing.assert_close(ll.fit_neuron(a, b, ll.neuron(c, a, b)), c, rtol=1e-10, atol=1e-10)


def test_two_inputs_that_are_one_leave_the_shortest_coefficients():
    a = torch.tensor([0.0, 1.0, 2.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(ll.fit_neuron(a, a, 2 * a)[1:3], torch.ones(2, dtype=torch.float64))


def test_a_polynomial_of_degree_four_needs_more_than_one_layer():
    x = normal(200, 4)
    y = (x[:, 0] * x[:, 1]) ** 2 + x[:, 2]
    layers = ll.grow(x[:120], y[:120], x[120:], y[120:], width=6, carry=True)
    assert len(layers) > 1 and layers[-1].error < 0.2 * layers[0].error


def test_selection_errors_fall_from_layer_to_layer_and_are_what_the_network_says():
    x, y = normal(90, 5), normal(90, seed=7)
    y = y + 2 * x[:, 0] * x[:, 1] - x[:, 2] ** 2
    layers = ll.grow(x[:60], y[:60], x[60:], y[60:], width=5)
    errors = [layer.error for layer in layers]
    assert (
        len(errors) > 1
        and errors == sorted(errors, reverse=True)
        and len(set(errors)) == len(errors)
    )
    predicted = ll.predict(layers, x[60:])
    assert (predicted - y[60:]).square().mean().item() == pytest.approx(errors[-1], rel=1e-10)


def test_a_layer_that_gains_too_little_is_not_kept():
    x, y = normal(90, 5), normal(90, seed=7)
    y = y + 2 * x[:, 0] * x[:, 1]
    deep, shallow = (
        ll.grow(x[:60], y[:60], x[60:], y[60:], width=5, least=least) for least in (0.0, 0.9)
    )
    assert len(deep) > len(shallow) == 1


def test_the_fitting_part_decides_about_coefficients_and_the_other_about_survivors():
    x, y = normal(60, 3), normal(60, seed=9)
    one = ll.grow(x[:40], y[:40], x[40:], y[40:], width=3, most=1)[0]
    two = ll.grow(x[:40], y[:40], x[40:], -y[40:], width=3, most=1)[0]
    order = [[pair.tolist() for pair in layer.pairs] for layer in (one, two)]
    assert sorted(order[0]) == sorted(order[1])
    matched = [order[1].index(pair) for pair in order[0]]
    assert torch.equal(one.coefficients, two.coefficients[matched])


def test_of_equal_neurons_the_first_survives():
    assert ll.select(torch.tensor([2.0, 1.0, 1.0, 0.5]), 3).tolist() == [3, 1, 2]


def test_a_layer_is_kept_if_its_best_neuron_is_better_than_anything_below():
    errors = torch.tensor([2.0, 1.0])
    assert [ll.survivors(errors, errors, width=1, below=below)[1] for below in (0.5, 1.0, 1.5)] == [
        False,
        False,
        True,
    ]


def test_similarity_is_the_correlation_of_rows():
    h = normal(6, 9)
    torch.testing.assert_close(ll.similarity(h), torch.corrcoef(h), rtol=1e-10, atol=1e-12)


def test_labels_are_alike_within_a_class_and_as_far_apart_as_can_be_between_two():
    s = ll.similarity(F.one_hot(torch.tensor([0, 1, 0]), 5).double())
    torch.testing.assert_close(
        s, torch.tensor([[1, -0.25, 1], [-0.25, 1, -0.25], [1, -0.25, 1]], dtype=torch.float64)
    )


def test_similarity_does_not_see_scale_or_offset():
    h = normal(6, 9)
    torch.testing.assert_close(ll.similarity(1e6 * h + 3), ll.similarity(h), rtol=1e-8, atol=1e-8)


def test_a_flat_row_is_like_nothing_and_gets_no_gradient():
    h = torch.tensor([[2.0, 2.0, 2.0], [1.0, 0.0, 3.0]], dtype=torch.float64)
    assert ll.similarity(h)[0].tolist() == [0, 0]
    assert ll.similarity_slope(h, torch.tensor([0, 1]), 2)[0].tolist() == [0, 0, 0]


def test_the_slope_of_similarity_matching_is_autograds():
    h, y = normal(7, 5).requires_grad_(), torch.randint(3, (7,), generator=rng())
    ll.similarity_loss(h, y, 3).backward()
    torch.testing.assert_close(
        ll.similarity_slope(h.detach(), y, 3), h.grad, rtol=1e-10, atol=1e-12
    )


def test_a_decoupled_step_is_autograds_with_a_detach_between_the_modules():
    weights = [normal(4, 6, seed=1), normal(3, 4, seed=2), normal(5, 3, seed=3)]
    heads = [normal(3, w.shape[0], seed=4) for w in weights]
    x, y = normal(8, 6, seed=5), torch.randint(3, (8,), generator=rng())
    leaves = [p.clone().requires_grad_() for p in (*weights, *heads)]
    h, total = x, 0.0
    for w, v in zip(leaves[:3], leaves[3:], strict=True):
        h = (h.detach() @ w.T).relu()
        total = total + F.cross_entropy(h @ v.T, y)
    total.backward()
    found = [p for part in ll.decoupled_step(weights, heads, x, y, lr=0.3) for p in part]
    for new, leaf in zip(found, leaves, strict=True):
        torch.testing.assert_close(new, leaf.detach() - 0.3 * leaf.grad, rtol=1e-10, atol=1e-12)


def test_what_is_above_does_not_change_a_decoupled_step_by_a_bit():
    weights, heads = [normal(4, 6), normal(3, 4)], [normal(3, 4, seed=1), normal(3, 3, seed=2)]
    x, y = normal(8, 6, seed=5), torch.randint(3, (8,), generator=rng())
    before = ll.decoupled_step(weights, heads, x, y, lr=0.3)
    after = ll.decoupled_step([weights[0], 7 * weights[1]], [heads[0], -heads[1]], x, y, lr=0.3)
    assert torch.equal(before[0][0], after[0][0]) and torch.equal(before[1][0], after[1][0])
    assert not torch.equal(before[0][0], weights[0])


def test_a_flawless_log_is_called_decoupled_and_each_fault_by_its_name():
    eye, moved, now = torch.eye(3), torch.ones(3), torch.zeros(3)
    last = torch.zeros(3, 3)
    last[:, 2] = 1
    cases = {
        "decoupled": (eye, moved, now),
        "heads_frozen": (eye, 0 * moved, now),
        "stale": (eye, moved, now + 2),
        "leaking": (eye.triu() + last, moved, now),
        "blocked": (0 * eye, moved, now),
        "end_to_end": (last, moved, now),
    }
    assert {name: ll.diagnose(*case) for name, case in cases.items()} == {
        name: name for name in cases
    }


X, Y = torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: ll.fit_neuron(Y[:0], Y[:0], Y[:0]), "0 samples"),
        (lambda: ll.select(Y, 0), "width is 0"),
        (lambda: ll.grow(X[:, :1], Y, X[:, :1], Y), r"\(4, 1\)"),
        (lambda: ll.grow(X, Y, X[:0], Y[:0]), r"chosen_x \(0, 3\)"),
        (lambda: ll.grow(X, Y, X, Y, width=1), "width is 1"),
        (lambda: ll.grow(X, Y, X, Y, most=0), "most 0"),
        (lambda: ll.grow(X, Y, X, Y, least=1.0), "least is 1.0"),
        (lambda: ll.quadratic([1.0], Y, Y), "c has 1 coefficients"),
        (lambda: ll.similarity_loss(X, torch.zeros(4, dtype=torch.long), 1), "classes is 1"),
        (lambda: ll.similarity_loss(X, torch.zeros(3, dtype=torch.long), 2), "4 rows and 3 labels"),
        (lambda: ll.decoupled_step([X], [], X, Y, lr=0.1), "1 layers and 0 heads"),
        (
            lambda: ll.diagnose(torch.ones(1, 1), torch.ones(1), torch.zeros(1)),
            "reach is of 1 modules",
        ),
    ],
)
def test_bad_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
