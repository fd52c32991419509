"""The ring and the faulty runs of local learning are drawn with what they show."""

import pytest

from labsupport import plots
from labsupport.topics.local_learning import experiments, figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_a_frame_of_the_ring_says_what_it_shows():
    fig = figures.draw_ring(layers=2, noise=0.1)
    assert "selection error" in fig.get_suptitle() and fig.axes[1].get_title(loc="left").startswith(
        "layer 2: R² = "
    )


def test_the_figure_of_the_faulty_runs_writes_every_norm():
    fig = figures.draw_faulty_runs(experiments.faulty_runs())
    assert [len(ax.texts) for ax in fig.axes] == [9, 9, 9, 9]
