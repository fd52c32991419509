"""Two tricks, a forest of effects, 32 cells, and where strategies end."""

import pytest
import torch

from labsupport import plots
from labsupport.topics.interactions import experiments, figures
from labsupport.topics.interactions import reference as it


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def noise(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_tricks_say_their_effects_in_the_title():
    """40, 44 with A, 44 with B, 40 with both: no main effect, and an interaction of -4."""
    title = figures.two_tricks(4.0, 0.0).axes[0].get_title("left")
    assert "A +0.0, B +0.0, interaction -4.0" in title and "antagonism" in title


def test_a_forest_fills_the_markers_that_are_clear_of_zero():
    effects = noise(10, 32)
    effects = effects - effects.mean(0)
    effects[:, 1] += 5
    _, (ax,) = plots.figure()
    figures.forest(ax, effects)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(labels) == 15 and labels[-1] == "norm"
    filled = [
        line.get_markerfacecolor() != "white" for line in ax.lines if len(line.get_xdata()) == 1
    ]
    assert filled[-1] and sum(filled) == 1


def test_an_interaction_plot_averages_over_the_other_tricks():
    y = torch.stack([torch.arange(32.0), torch.arange(32.0)]).double()
    _, (ax,) = plots.figure()
    figures.interaction_plot(ax, y, "norm", "decay")
    heights = [container.lines[0].get_ydata().tolist() for container in ax.containers]
    assert heights == experiments.pair_means(y, "norm", "decay").tolist() == [[14, 16], [15, 17]]


def test_the_switches_say_where_their_cell_stands_and_what_to_do_next():
    y = torch.arange(32.0).double() + noise(10, 32) * 0.01
    fig = figures.cell_explorer(y)(norm="on", mixup="on")
    here, best = (ax.get_title("left") for ax in fig.axes)
    assert here.startswith("norm + mixup\n17.0 %") and "place 15 of 32" in here
    assert best == "best switch from here:\ncrop on (+8.0)"


def test_the_fit_shows_every_cell_once():
    _, (ax,) = plots.figure()
    figures.train_against_test(
        ax, torch.arange(32.0).expand(2, 32), torch.arange(32.0).flip(0).expand(2, 32)
    )
    assert sum(len(line.get_xdata()) for line in ax.lines) == 32
    assert {text.get_text() for text in ax.texts} == {"none", "all five"}, (
        "cell 0 is the best one here"
    )


def test_the_share_of_a_course_of_pure_main_effects_is_zero():
    y = it.design(5).sum(1).expand(4, 32) + torch.arange(4.0).double()[:, None]
    _, (ax,) = plots.figure()
    figures.interaction_share_over_epochs(ax, {"made up": {10: y, 20: 2 * y}})
    assert ax.lines[0].get_xdata().tolist() == [10, 20]
    assert ax.lines[0].get_ydata() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_decisions_show_where_all_seeds_and_each_single_seed_lead():
    """Cell 8 is best on average; one seed of three would take cell 9."""
    valid, test = torch.zeros(3, 32).double(), torch.arange(32.0).double() + noise(10, 32) * 0.01
    valid[:, 8], valid[0, 9] = 5.0, 6.0
    _, (ax,) = plots.figure()
    figures.draw_strategies(ax, valid, test)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    row = labels.index("all cells, keep the best (32 cells)")
    single = next(
        line
        for line in ax.lines
        if len(line.get_xdata()) == 3 and row - 0.5 < line.get_ydata()[0] < row
    )
    assert single.get_xdata().round().tolist() == [9, 8, 8]
    assert single.get_ydata() == pytest.approx([row - 0.2, row - 0.2, row - 0.27]), (
        "equal ones stand below each other"
    )
    assert ax.texts[row].get_text() == "crop"
