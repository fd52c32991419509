"""The plane of the explorer and the patients of the chapter on weight norm."""

import matplotlib
import pytest
import torch

from labsupport import plots
from labsupport.topics.weight_norm import figures as toy
from labsupport.topics.weight_norm import reference as wn

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


@pytest.mark.parametrize("lr", [0.03, 0.3, 0.9])
def test_the_norm_of_v_never_falls_along_a_path(lr):
    norm = toy.path(lr, 0.3).v.norm(dim=1)
    assert len(norm) == toy.STEPS + 1 and (norm.diff() >= -1e-12).all() and norm[-1] > 1.1 * norm[0]


def test_every_path_starts_from_the_same_weight_however_long_v_is():
    starts = [toy.path(0.1, start) for start in (0.1, 1.0, 3.0)]
    assert [round(path.v[0].norm().item(), 9) for path in starts] == [0.1, 1.0, 3.0]
    for path in starts:
        torch.testing.assert_close(path.w[0], starts[0].w[0])


def test_a_moderate_rate_finds_the_minimum():
    assert (toy.path(0.3, 1.0).w[-1] - toy.MINIMUM).norm() < 1e-6


def test_the_plane_says_in_its_titles_where_the_path_ends_and_how_long_v_has_become():
    path, axes = toy.path(0.3, 1.0), toy.plane(0.3, 1.0).axes
    assert axes[0].get_title("left").endswith("from the minimum")
    assert axes[1].get_title("left") == f"norm of v from 1 to {path.v[-1].norm():.3g}"


def test_the_patients_logs_hold_what_their_codes_compute():
    courses = toy.patients(steps=5)
    assert {name: wn.diagnose(*course.log) for name, course in courses.items()} == toy.PATIENTS


def test_every_patients_loss_falls():
    courses = toy.patients(steps=20)
    assert all(course.loss[-1] < 0.9 * course.loss[0] for course in courses.values())
    assert len(toy.draw_patients(courses).axes[0].lines) == 3
