"""The plane of the explorer, and the losses of three codes."""

import matplotlib
import pytest

from labsupport import plots
from labsupport.topics.weight_norm import experiments, figures

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_plane_says_in_its_titles_where_the_path_ends_and_how_long_v_has_become():
    path, axes = experiments.descent_path(0.3, 1.0), figures.plane(0.3, 1.0).axes
    assert axes[0].get_title("left").endswith("from the minimum")
    assert axes[1].get_title("left") == f"norm of v from 1 to {path.v[-1].norm():.3g}"


def test_every_faulty_runs_loss_falls():
    courses = experiments.faulty_runs(steps=20)
    assert all(course.loss[-1] < 0.9 * course.loss[0] for course in courses.values())
    assert len(figures.draw_faulty_runs(courses).axes[0].lines) == 3
