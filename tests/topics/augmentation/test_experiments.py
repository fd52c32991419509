"""Batched functions against torchvision's, versions counted and drawn, repeats simulated."""

import numpy as np
import pytest
import torch

from labsupport.topics.augmentation import experiments
from labsupport.topics.augmentation import reference as da


def test_the_batched_functions_are_torchvision_s_one_by_one():
    assert max(experiments.differences().values()) < 1e-10


def test_both_pipelines_draw_all_162_versions_alike():
    drawn = experiments.drawn_versions(2000)
    assert (drawn.sum() == 2000).all() and len(drawn) == 162
    assert experiments.same_distribution(drawn) > 0.001


def test_a_pipeline_that_mirrors_too_often_is_found_out():
    drawn = experiments.drawn_versions(2000)
    drawn["batched"] = drawn["batched"] * np.tile([1.6, 0.4], 81)
    assert experiments.same_distribution(drawn) < 1e-6


@pytest.mark.parametrize(
    "padding, mirrored, versions", [(0, False, 1), (1, False, 9), (2, True, 50)]
)
def test_all_crops_of_the_photograph_differ(padding, mirrored, versions):
    assert (
        da.count_distinct(experiments.all_crops(experiments.photograph(), padding, mirrored))
        == versions
    )


def test_an_empty_image_has_one_version_only():
    assert da.count_distinct(experiments.all_cutouts(torch.zeros(1, 6, 6), 2)) == 1


def test_the_simulated_share_of_repeats_is_the_expected_one():
    expected = 1 - da.seen_versions(torch.tensor([162.0]).double(), 50)[0].item() / 50
    assert experiments.repeats(162, 50, range(10)).estimate == pytest.approx(expected, abs=0.01)
