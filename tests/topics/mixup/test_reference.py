"""Mixup of one batch against torch, sums by hand and cases worked out, in float64."""

import pytest
import torch
import torch.nn.functional as F

from labsupport.ops.mixup import blend, coefficient
from labsupport.topics.mixup import calibration
from labsupport.topics.mixup import reference as mb


def drawn(*shape, seed=1, kind=torch.randn):
    return kind(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def labels(size=6, classes=4, seed=2):
    return torch.randint(classes, (size,), generator=torch.Generator().manual_seed(seed))


def order(size=6, seed=3):
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


def test_two_samples_by_hand():
    """λ = 1/4: a quarter of the sample itself, three quarters of the other."""
    x, y = torch.tensor([[0.0], [8.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    mixed, target = mb.mixup_batch(x, y, torch.tensor([1, 0]), 0.25)
    same(mixed, torch.tensor([[6.0], [2.0]]))
    same(target, torch.tensor([[0.25, 0.75], [0.75, 0.25]]))


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_a_batch_is_blended_row_by_row_and_images_too(lam):
    x, y, partner = drawn(6, 2, 3, 3), F.one_hot(labels(), 4).double(), order()
    mixed, target = mb.mixup_batch(x, y, partner, lam)
    for i, j in enumerate(partner.tolist()):
        same(mixed[i], lam * x[i] + (1 - lam) * x[j])
        same(target[i], lam * y[i] + (1 - lam) * y[j])
    same(target.sum(1), torch.ones(6, dtype=torch.float64))


def test_a_coefficient_of_one_leaves_the_batch_as_it_is():
    x, y = drawn(6, 2), labels()
    mixed, target = mb.blended_classes(x, y, order(), 1.0, 4)
    assert torch.equal(mixed, x) and torch.equal(target, F.one_hot(y, 4).double())


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: coefficient(drawn(2, kind=torch.rand), 0.0),
            "alpha is 0; it must be a number above 0",
        ),
        (lambda: coefficient(drawn(2, kind=torch.rand), -1.0), "alpha is -1"),
        (lambda: blend(drawn(2), drawn(3), torch.tensor(0.5)), r"shapes \(2,\) and \(3,\)"),
        (
            lambda: mb.require_one_hot(torch.tensor([[0.5, 0.5]])),
            r"label \[0.5, 0.5\] is not one-hot",
        ),
        (
            lambda: mb.require_one_hot(torch.tensor([[1.0, 0.0], [1.0, 1.0]])),
            r"label \[1.0, 1.0\] is not one-hot",
        ),
        (lambda: mb.require_one_hot(torch.zeros(1, 2)), r"label \[0.0, 0.0\] is not one-hot"),
        (
            lambda: mb.require_one_hot(torch.tensor([0, 1])),
            r"shape \(2,\) and dtype torch.int64; they must be one-hot rows",
        ),
        (
            lambda: mb.mixup_batch(drawn(2, 1), torch.eye(2), torch.tensor([0, 0]), 0.5),
            r"order is \[0, 0\]",
        ),
        (
            lambda: mb.mixup_batch(drawn(2, 1), torch.eye(2), torch.tensor([1, 0]), 1.5),
            "lam is 1.5",
        ),
        (lambda: mb.soft_cross_entropy(drawn(2, 3), drawn(2, 2)), "must be the same"),
        (lambda: mb.soft_cross_entropy(drawn(1, 2), torch.tensor([[0.7, 0.7]])), "adds up to 1"),
        (
            lambda: mb.soft_cross_entropy(drawn(1, 2), torch.tensor([[1.5, -0.5]])),
            "least element -0.5",
        ),
        (
            lambda: calibration.reliability(torch.tensor([0.5]), torch.tensor([True]), 0),
            "bins is 0",
        ),
        (
            lambda: calibration.reliability(torch.tensor([1.5]), torch.tensor([True]), 5),
            "must be in",
        ),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_soft_loss_and_its_gradient_are_torchs():
    logits, target = drawn(6, 4).requires_grad_(), drawn(6, 4, seed=5).softmax(1)
    ours, theirs = mb.soft_cross_entropy(logits, target), F.cross_entropy(logits, target)
    same(ours, theirs)
    same(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.9])
def test_the_loss_of_a_soft_label_is_that_of_two_hard_ones(lam):
    logits, y, partner = drawn(6, 4), labels(), order()
    _, target = mb.blended_classes(logits, y, partner, lam, 4)
    same(mb.soft_cross_entropy(logits, target), mb.mixed_cross_entropy(logits, y, partner, lam))


def test_the_least_loss_of_a_blend_is_the_entropy_of_its_coefficient():
    target = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    same(mb.soft_cross_entropy(target.log(), target), torch.special.entr(target).sum())


def test_the_soft_loss_of_a_large_logit_is_finite():
    logits, target = torch.tensor([[1000.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    same(mb.soft_cross_entropy(logits, target), torch.tensor(500.0))


def test_the_accuracy_of_a_blend_by_hand():
    """Two samples that are each other's partners: the first is named by its own class, the second
    by its partner's.
    """
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    found = mb.mixed_accuracy(logits, torch.tensor([0, 1]), torch.tensor([1, 0]), 0.75)
    same(found, torch.tensor((0.75 + 0.25) / 2, dtype=torch.float64))
    alike = mb.mixed_accuracy(logits, torch.tensor([0, 0]), torch.tensor([1, 0]), 0.75)
    same(alike, torch.tensor(1.0, dtype=torch.float64))
