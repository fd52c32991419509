"""The table, the ring and the patients show what the chapter says of them."""

import matplotlib
import pytest
import torch

from labsupport import plots
from labsupport.topics.local_learning import figures as toy
from labsupport.topics.local_learning import reference as ll

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_a_cut_shares_the_table_out_without_overlap():
    parts = toy.cut(3)
    assert [len(y) for _, y in parts] == [221, 111, 110]
    rows = {tuple(row.tolist()) for x, _ in parts for row in x}
    assert len(rows) == 442


def test_a_cut_is_the_same_whatever_others_are_made():
    alone = toy.contest([4])
    together = toy.contest([3, 4])
    assert together.loc[4].to_dict() == pytest.approx(alone.loc[4].to_dict(), rel=1e-9)


def test_explained_is_one_for_every_number_right_and_zero_for_the_mean():
    y = torch.tensor([1.0, 2.0, 6.0])
    assert toy.explained(y, y) == 1 and toy.explained(y.mean().expand(3), y) == pytest.approx(0)


def test_the_ring_is_learned_by_layers_and_not_by_one():
    errors = [layer.error for layer in toy.grown(0.0)]
    assert errors[0] > 4 * errors[3]


def test_a_frame_of_the_ring_says_what_it_shows():
    fig = toy.draw_ring(layers=2, noise=0.1)
    assert "selection error" in fig.get_suptitle() and fig.axes[1].get_title(loc="left").startswith(
        "layer 2: R² = "
    )


@pytest.mark.parametrize(
    "kind", ["decoupled", "leaking", "blocked", "end_to_end", "heads_frozen", "stale"]
)
def test_every_kind_of_program_is_diagnosed_from_its_log(kind):
    assert ll.diagnose(*toy.log(kind)) == kind
    assert ll.diagnose(*toy.log(kind, modules=2, units=3)) == kind


def test_the_patients_are_what_the_solution_says():
    assert {name: ll.diagnose(*log) for name, log in toy.patients().items()} == toy.PATIENTS


def test_the_patients_figure_writes_every_norm():
    fig = toy.draw_patients(toy.patients())
    assert [len(ax.texts) for ax in fig.axes] == [9, 9, 9, 9]
