"""The chapter's figures show what they say they show."""

import matplotlib
import pandas as pd
import pytest

from labsupport import plots
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.batch_norm import experiments, figures
from labsupport.types import Arm, Recipe, Result

matplotlib.use("agg")


RECIPE = Recipe(
    MLP((40, 12, 9, 10), norm="batch"),
    SGD(lr=0.3),
    train_size=200,
    batch_size=20,
    epochs=1,
    dtype="float64",
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_in_a_batch_of_two_only_the_order_is_left():
    titles = [
        figures.batch_dependence(2, batch).axes[1].get_title("left") for batch in (1, 2, 3, 4)
    ]
    assert {title.split()[-1] for title in titles} == {"1.00", "-1.00"}


def test_in_a_large_batch_our_signal_lands_near_where_all_the_data_put_it():
    z = experiments.hidden_unit()
    settled = ((figures.SIGNAL - z.mean()) / z.std()).item()
    for batch in (1, 2, 3):
        shown = float(figures.batch_dependence(1000, batch).axes[1].get_title("left").split()[-1])
        assert abs(shown - settled) < 0.15


def test_the_two_maps_show_the_epoch_that_was_asked_for():
    arms = [
        Arm(f"{norm}, lr={lr}, gain={gain}", RECIPE, {"lr": lr, "gain": gain})
        for norm in ("none", "batch")
        for lr in (0.1, 1.0)
        for gain in (1.0, 3.0)
    ]
    rows = [(arm.name, 0, epoch, "test_accuracy", epoch / 100) for arm in arms for epoch in (5, 10)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "epoch", "metric", "value"])
    fig = figures.two_maps(
        Result(table, table.iloc[:0], tuple(arms), (0,), 0.0), "test_accuracy", 5
    )
    assert [ax.get_title("left") for ax in fig.axes] == [
        "no norm, epoch 5: best test accuracy 0.05",
        "batch norm, epoch 5: best test accuracy 0.05",
    ]


def test_the_landscape_has_a_panel_for_each_probe():
    metrics = ("loss_low", "loss_high", "smoothness", "predictiveness_low", "predictiveness_high")
    table = pd.DataFrame(
        [(step, 0, metric, 3.0) for step in (0, 20) for metric in metrics],
        columns=["step", "seed", "metric", "value"],
    )
    fig = figures.draw_landscape({"a": table, "b": table})
    assert [len(ax.lines) for ax in fig.axes] == [4, 4, 2]
    assert fig.axes[0].lines[1].get_ydata().tolist() == [3.0, 3.0]


def test_the_runs_to_diagnose_have_a_line_each():
    assert len(figures.draw_faulty_runs(experiments.faulty_runs()).axes[0].lines) == 3
