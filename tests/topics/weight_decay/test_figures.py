"""The plane of paths and the logs to diagnose, as drawn."""

import matplotlib
import pytest

from labsupport import plots
from labsupport.topics.weight_decay import experiments, figures

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_plane_says_in_its_title_where_each_path_ends():
    fig = figures.plane(0.1, 0.3)
    assert "SGD at (0.50, 0.95)" in fig.axes[0].get_title("left")


def test_the_runs_to_diagnose_are_drawn_by_name_with_a_point_for_every_step():
    (ax,) = figures.draw_faulty_runs(experiments.faulty_runs(steps=5)).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["run A", "run B", "run C"]
    assert all(len(line.get_xdata()) == 5 for line in ax.lines)
