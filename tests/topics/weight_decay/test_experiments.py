"""Runs side by side, three optimizers on one bowl, logs that hold what their codes did."""

import torch

from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.weight_decay import experiments
from labsupport.types import Recipe


def test_without_decay_the_two_adams_walk_one_path():
    paths = experiments.paths(lr=0.03, weight_decay=0.0)
    assert torch.equal(paths["Adam + L2"], paths["AdamW"])


def test_sgd_and_adam_with_l2_end_at_the_penalized_minimum_and_adamw_does_not():
    minimum = experiments.CURVATURE * experiments.MINIMUM / (experiments.CURVATURE + 0.3)
    ends = {
        name: points[-1] for name, points in experiments.paths(lr=0.1, weight_decay=0.3).items()
    }
    assert (ends["SGD"] - minimum).norm() < 1e-3 and (ends["Adam + L2"] - minimum).norm() < 1e-2
    assert (ends["AdamW"] - minimum).norm() > 0.1


def test_the_logs_to_diagnose_hold_what_their_codes_removed():
    for name, log in experiments.faulty_runs(steps=5).items():
        removed = log.w_before - log.lr * log.g - log.w_after
        torch.testing.assert_close(
            removed, experiments.FAULTY_RUNS[name](log.lr, log.weight_decay) * log.w_before
        )


def test_a_gap_starts_at_zero_and_equal_recipes_stay_together():
    recipe = Recipe(
        MLP((40, 8, 10)), SGD(lr=0.1, weight_decay=0.1), train_size=200, dtype="float64"
    )
    gap = experiments.gap(recipe, recipe, [0, 1], steps=4)
    assert gap.shape == (5, 2) and gap.max() == 0


def test_the_course_of_norms_has_a_row_for_every_step_and_one_for_the_start():
    recipe = Recipe(MLP((40, 8, 6, 10)), SGD(lr=0.1), train_size=200, epochs=2)
    course = experiments.norm_course(recipe, [0, 1])
    assert (
        len(course) == 2 * 2 + 1
        and len(course[0]) == 2
        and all(norm > 0 for row in course for norm in row)
    )
