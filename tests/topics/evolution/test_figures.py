"""The figures of evolution say in words what they show."""

import pytest

from labsupport import plots
from labsupport.topics.evolution import experiments, figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_explorer_says_in_its_titles_where_the_populations_are():
    fig = figures.draw_populations(2, 0.2)
    run = experiments.run_genetic(0.2, 2)
    loss, spread = experiments.staircase(run.centres[-1]), run.populations[-1].std(0).mean()
    assert fig.axes[0].get_title("left") == f"genetic: loss {loss:.2f}, spread {spread:.2f}"
    assert fig.get_suptitle() == "generation 2, 60 evaluations, σ = 0.2"


def test_all_frames_share_their_axes():
    limits = {
        (ax.get_xlim(), ax.get_ylim())
        for generation in (0, 16)
        for ax in figures.draw_populations(generation, 0.8).axes
    }
    assert limits == {((-2.5, 2.5), (-2.0, 2.0))}


def test_the_faulty_runs_are_drawn_by_name():
    fig = figures.draw_faulty_runs(experiments.faulty_runs())
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [
        "run A",
        "run B",
        "run C",
    ]
    assert [len(ax.lines) for ax in fig.axes] == [3, 3]
