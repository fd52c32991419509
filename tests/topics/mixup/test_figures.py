"""What is drawn over the plane, and Beta(α, α)."""

import pytest

from labsupport import plots
from labsupport.topics.mixup import experiments, figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_mixup_widens_what_the_network_is_unsure_of_and_the_titles_say_so():
    fig = figures.shading("ring", 1.0)
    _, _, pictures = experiments.trained_plane("ring")
    assert experiments.unsure_share(pictures[1.0]) > 2 * experiments.unsure_share(pictures[0.0])
    left, right = (ax.get_title("left") for ax in fig.axes)
    assert left.startswith(
        f"no mixup\nunsure: {experiments.unsure_share(pictures[0.0]):.0%} of the plane, right: 100%"
    )
    assert right.startswith("mixup, alpha = 1\nunsure: ")


def test_half_of_all_blends_with_a_small_alpha_hold_next_to_nothing_of_the_weaker_sample():
    fig = figures.densities((0.1, 1.0))
    small, level = (line.get_ydata() for line in fig.axes[1].lines)
    assert small[0] > 0.45 and level[0] < 0.01 and small[-1] == pytest.approx(1)
