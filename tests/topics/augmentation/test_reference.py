"""Versions of a sample: counted by hand, by enumeration, and where floating point would lose
them.
"""

import itertools
import math

import pytest
import torch

from labsupport.topics.augmentation import reference as da


def test_the_lecture_s_crop_and_flip_have_162_versions():
    assert da.count_versions(4) == 162
    assert da.count_versions(4, mirrored=False) == 81
    assert da.count_versions(0, mirrored=False) == 1


@pytest.mark.parametrize("versions, draws", [(3, 2), (4, 3), (2, 5), (3, 0), (1, 3)])
def test_the_formulas_agree_with_all_sequences_of_draws(versions, draws):
    sequences = list(itertools.product(range(versions), repeat=draws))
    seen = [len(set(sequence)) for sequence in sequences]
    distinct, none = da.seen_versions(torch.tensor([float(versions)]).double(), draws)
    assert distinct.item() == pytest.approx(sum(seen) / len(seen), abs=1e-12)
    assert none.item() == pytest.approx(sum(d == draws for d in seen) / len(seen), abs=1e-12)


def test_the_chain_is_a_distribution_with_the_formula_s_mean():
    likely = da.distinct_by_chain(162, 200)
    mean = (likely * torch.arange(163)).sum().item()
    assert likely.sum().item() == pytest.approx(1, rel=1e-12)
    assert mean == pytest.approx(
        da.seen_versions(torch.tensor([162.0]).double(), 200)[0].item(), rel=1e-12
    )


def test_many_versions_do_not_vanish_in_rounding():
    """The plain formula loses half of its digits here: 1 - (1 - 1e-12)^10."""
    distinct, _ = da.seen_versions(torch.tensor([1e12]).double(), 10)
    assert distinct.item() == pytest.approx(10, rel=1e-10)
    assert abs(1e12 * (1 - (1 - 1e-12) ** 10) / 10 - 1) > 1e-6


def test_with_more_draws_than_versions_a_repeat_is_certain():
    assert da.seen_versions(torch.tensor([2.0]).double(), 5)[1].item() == 0


def test_after_the_birthday_number_of_draws_a_repeat_is_about_as_likely_as_not():
    draws = math.ceil(math.sqrt(2 * 365 * math.log(2)))
    assert da.seen_versions(torch.tensor([365.0]).double(), draws)[1].item() == pytest.approx(
        0.5, abs=0.05
    )


def test_equal_versions_are_counted_once():
    assert da.count_distinct(torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])) == 2


def test_a_negative_zero_makes_no_new_version():
    assert da.count_distinct(torch.tensor([[0.0, 1.0], [-0.0, 1.0]])) == 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: da.count_versions(-1), "padding is -1"),
        (lambda: da.seen_versions(torch.tensor([0.5]), 3), "0.5"),
        (lambda: da.seen_versions(torch.tensor([5.0]), -3), "draws is -3"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_given(call, words):
    with pytest.raises(ValueError, match=words):
        call()
