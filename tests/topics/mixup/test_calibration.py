"""Calibration against sums by hand and cases worked out, in float64."""

import pytest
import torch

from labsupport.topics.mixup import calibration


def drawn(*shape, seed=1, kind=torch.randn):
    return kind(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


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
