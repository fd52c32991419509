"""Mixup of one batch and calibration against torch, scipy, sums by hand and cases worked out, in
float64.
"""

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from labsupport.ops.mixup import blend, coefficient
from labsupport.topics.mixup import calibration
from labsupport.topics.mixup import reference as mb
from labsupport.topics.mixup.faults import BLENDS, Pairs


def drawn(*shape, seed=1, kind=torch.randn):
    return kind(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def labels(size=6, classes=4, seed=2):
    return torch.randint(classes, (size,), generator=torch.Generator().manual_seed(seed))


def order(size=6, seed=3):
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))


# -- a blended batch -------------------------------------------------------------------------------


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


@pytest.mark.parametrize("alpha", [0.1, 1.0, 5.0])
def test_coefficients_follow_the_beta_distribution_with_the_variance_that_the_chapter_states(alpha):
    u = drawn(20_000, kind=torch.rand)
    lam = coefficient(u, alpha)
    assert stats.kstest(lam.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert lam.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


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


# -- losses and accuracy ---------------------------------------------------------------------------


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


# -- calibration -----------------------------------------------------------------------------------


def by_loop(confidence, correct, bins):
    total = 0.0
    for b in range(bins):
        rows = [i for i, c in enumerate(confidence.tolist()) if b / bins < c <= (b + 1) / bins]
        if rows:
            gap = sum(correct[rows].double().tolist()) / len(rows) - sum(
                confidence[rows].tolist()
            ) / len(rows)
            total += len(rows) / len(confidence) * abs(gap)
    return total


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_calibration_error_is_the_sum_over_bins(bins):
    confidence, correct = drawn(200, kind=torch.rand), drawn(200, seed=9, kind=torch.rand) < 0.6
    found = calibration.calibration_error(confidence, correct, bins)
    assert found.item() == pytest.approx(by_loop(confidence, correct, bins), rel=1e-10)


def test_one_bin_compares_the_means():
    confidence, correct = torch.tensor([0.875, 0.5]).double(), torch.tensor([True, False])
    same(calibration.calibration_error(confidence, correct, 1), torch.tensor(0.1875).double())


def test_a_network_that_is_always_certain_errs_by_its_error_rate():
    correct = torch.tensor([True, True, False, True])
    same(
        calibration.calibration_error(torch.ones(4).double(), correct), torch.tensor(0.25).double()
    )


def test_answers_drawn_with_their_own_confidence_are_calibrated():
    confidence = drawn(200_000, kind=torch.rand)
    correct = drawn(200_000, seed=4, kind=torch.rand) < confidence
    assert calibration.calibration_error(confidence, correct) < 0.01


def test_rows_are_judged_apart_and_an_empty_bin_counts_nothing():
    confidence, correct = (
        drawn(3, 50, kind=torch.rand) / 2,
        drawn(3, 50, seed=4, kind=torch.rand) < 0.5,
    )
    found = calibration.calibration_error(confidence, correct, 10)
    same(
        found,
        torch.stack(
            [
                calibration.calibration_error(c, r, 10)
                for c, r in zip(confidence, correct, strict=True)
            ]
        ),
    )
    count, sure, right = calibration.reliability(confidence, correct, 10)
    assert (
        count[:, 5:].sum() == sure[:, 5:].sum() == right[:, 5:].sum() == 0
        and count.sum(1).tolist() == [50] * 3
    )


# -- the diagnosis ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLENDS)
def test_each_fault_is_named_from_its_log(name):
    x, y = drawn(8), torch.tensor([0.0, 1, 1, 0, 0, 1, 0, 1]).double()
    partner, other = torch.tensor([1, 2, 3, 4, 5, 6, 7, 0]), torch.tensor([4, 5, 6, 7, 0, 1, 2, 3])
    pairs = Pairs(
        x,
        y,
        x[partner],
        y[partner],
        y[other],
        torch.tensor(0.3).double(),
        drawn(8, kind=torch.rand),
    )
    assert mb.diagnose(x, y, partner, 0.3, *BLENDS[name](pairs)) == name
