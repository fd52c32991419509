"""Standardized columns against torch and scikit-learn, in float64."""

import pytest
import torch
from sklearn.preprocessing import StandardScaler

from labsupport.ops import standardization as sd


def table(rows=20, columns=3, seed=0):
    """Columns with units that differ by a factor of a million, and with offsets."""
    x = torch.randn(
        rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return x * 10.0 ** torch.arange(-3, 3 * columns - 3, 3) + torch.arange(columns)


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_standardized_parts_are_those_of_scikit_learn():
    train, test = table(), table(seed=1)
    scaler = StandardScaler().fit(train.numpy())
    for ours, part in zip(sd.standardize(train, test), (train, test), strict=True):
        same(ours, torch.from_numpy(scaler.transform(part.numpy())))


def test_two_samples_by_hand():
    """The mean of 1 and 5 is 3, their deviation 2; a test sample of 9 is 3 deviations above."""
    train, test = sd.standardize(torch.tensor([[1.0], [5.0]]), torch.tensor([[9.0]]))
    assert train.tolist() == [[-1.0], [1.0]] and test.tolist() == [[3.0]]


def test_dividing_by_n_minus_one_changes_all_columns_by_one_factor():
    x = table(rows=5)
    population, sample = sd.fit(x), sd.fit(x, correction=1)
    same(sample.std, x.std(0))
    same(sample.std / population.std, torch.full((3,), (5 / 4) ** 0.5, dtype=torch.float64))
    same(sample.mean, population.mean)


def test_units_and_offsets_leave_no_trace():
    x = table()
    moved = x * torch.tensor([1e3, 1e-2, 7.0]) + torch.tensor([5.0, -1.0, 1e4])
    for ours, theirs in zip(
        sd.standardize(moved, moved[:2]), sd.standardize(x, x[:2]), strict=True
    ):
        same(ours, theirs)


def test_a_large_offset_does_not_eat_the_variance():
    """E[x²] - E[x]² in float32 at an offset of 10,000 loses everything; the mean squared deviation
    does not.
    """
    noise = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    x = noise + 1e4
    naive = (x * x).mean(0) - x.mean(0) ** 2
    true = noise.double().var(0, correction=0)
    assert (naive / true - 1).abs() > 0.1
    assert (sd.fit(x).std.double() ** 2 / true - 1).abs() < 1e-2


def test_the_test_part_has_no_say():
    x = table()
    with_one, with_other = (
        sd.standardize(x, part)[0] for part in (table(seed=1), table(seed=2) + 100)
    )
    assert torch.equal(with_one, with_other)


def test_inputs_with_more_axes_have_a_column_for_each_position():
    x = table(rows=6, columns=4).view(6, 2, 2)
    same(sd.standardize(x, x)[0].flatten(1), sd.standardize(x.flatten(1), x.flatten(1))[0])


def test_a_column_is_constant_up_to_the_noise_that_is_allowed():
    x = torch.tensor([[20.0, 1.0, 0.0], [20.001, 2.0, 0.0]])
    assert sd.constant_columns(x).tolist() == [False, False, True]
    assert sd.constant_columns(x, tiny=1e-4).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: sd.fit(torch.ones(0, 2)), r"shape \(0, 2\): there is no sample"),
        (
            lambda: sd.fit(torch.ones(3, 2, dtype=torch.int64)),
            "dtype torch.int64; standardized inputs are no integers",
        ),
        (
            lambda: sd.fit(torch.tensor([[1.0, 7.0], [2.0, 7.0]])),
            "column 1 is 7 in every one of 2 samples",
        ),
        (lambda: sd.fit(torch.ones(1, 2)), "column 0 is 1 in every one of 1 samples"),
        (lambda: sd.fit(table(), correction=2), "correction is 2; it must be 0 or 1"),
        (
            lambda: sd.apply(table(columns=2), sd.fit(table())),
            r"x has columns \(2,\), the statistics \(3,\)",
        ),
        (lambda: sd.constant_columns(table(), tiny=-1.0), "tiny is -1.0; it must be >= 0"),
        (lambda: sd.constant_columns(torch.ones(0, 2)), "there is no sample"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
