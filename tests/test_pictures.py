"""Plots and listings show what was measured, and say so when something is missing."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from labsupport import compare, plots
from labsupport.listing import listing
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.weight_decay import reference as wd
from labsupport.types import Arm, Interval, Recipe, Result

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def result(values):
    """{(arm, axis value): one number a seed, or NaN}, measured at two epochs."""
    recipe = Recipe(MLP(), SGD())
    rows = [
        (name, seed, epoch, "test_accuracy", value)
        for (name, _), series in values.items()
        for seed, value in enumerate(series)
        for epoch in (1, 2)
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "epoch", "metric", "value"])
    arms = tuple(Arm(name, recipe, {"weight_decay": axis}) for name, axis in values)
    return Result(table, table.iloc[:0], arms, (0, 1, 2), 0.0)


def test_a_sweep_draws_means_with_bands_and_names_what_diverged():
    measured = result({("a", 0.0): [1, 2, 3], ("b", 0.1): [2, 3, 4], ("c", 1.0): [1, np.nan, 1]})
    _, (ax,) = plots.figure()
    plots.sweep(ax, measured, "test_accuracy", "weight_decay", {"decay": compare.everything})
    assert ax.lines[0].get_ydata().tolist() == [2, 3]
    assert ax.get_legend().get_texts()[0].get_text() == "decay (1 diverged)"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "0.1", "1"]


def test_a_band_covers_its_intervals():
    _, (ax,) = plots.figure()
    plots.band(ax, [1, 2], [Interval(1, 0.5, 1.5, 10), Interval(2, 1, 3, 10)], "x", 0)
    spanned = ax.collections[0].get_paths()[0].vertices
    assert spanned[:, 1].min() == 0.5 and spanned[:, 1].max() == 3


def test_curves_follow_the_epochs():
    _, (ax,) = plots.figure()
    plots.curves(ax, result({("a", 0.0): [1, 2, 3]}), "test_accuracy", {"decay": "a"})
    assert ax.lines[0].get_xdata().tolist() == [1, 2] and ax.get_ylabel() == "test accuracy"


def test_a_heatmap_writes_values_marks_divergence_and_frames_the_best():
    cells = pd.DataFrame(
        {0.1: [0.25, -np.inf], 1.0: [0.75, np.nan]},
        index=pd.Index([0.0, 0.01], name="weight_decay"),
    )
    cells.columns.name = "lr"
    _, (ax,) = plots.figure()
    plots.heatmap(ax, cells)
    assert [text.get_text() for text in ax.texts] == ["0.25", "0.75", "div.", ""]
    frame = ax.patches[0]
    assert (
        round(frame.get_x() + frame.get_width() / 2),
        round(frame.get_y() + frame.get_height() / 2),
    ) == (1, 0)
    assert ax.get_xlabel() == "learning rate"
    plots.heatmap(ax, cells, lower_is_better=True)
    assert round(ax.patches[1].get_x() + ax.patches[1].get_width() / 2) == 0


def test_every_colour_of_a_line_stands_out_from_the_paper():
    """WCAG asks 3:1 of graphics."""

    def luminance(colour):
        rgb = np.array(matplotlib.colors.to_rgb(colour))
        return np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    paper = luminance(plots.STYLE["axes.facecolor"])
    assert all((paper + 0.05) / (luminance(colour) + 0.05) >= 3 for colour in plots.COLOURS)


def test_a_listing_is_the_source_without_its_docstring():
    shown = listing(wd.sgd_step).data
    assert "return w - lr * g - lr * weight_decay * w" in shown and "Args:" not in shown
    assert shown.startswith("```python\ndef sgd_step(")
