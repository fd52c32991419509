"""What aligns with what is drawn with its numbers."""

import pandas as pd
import pytest

from labsupport import plots
from labsupport.topics.feedback_alignment import experiments, figures
from labsupport.topics.feedback_alignment import reference as fa


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_picture_says_its_cosine_and_its_error():
    run, axes = experiments.run_linear("fixed", 0.0), figures.draw_alignment(10, "fixed", 0.0).axes
    cos = fa.cosine(run.uppers[10], run.feedback.mT).item()
    assert axes[0].get_title("left") == f"step 10: cosine {cos:.2f}, angle {fa.degrees(cos):.0f}°"
    assert axes[1].get_title("left") == f"error {run.losses[10]:.3f}"


def test_cosines_have_a_panel_for_each_run_and_a_line_for_each_metric():
    rows = [
        (step, seed, metric, 0.1 * step + seed)
        for step in (0, 6)
        for seed in (0, 1, 2)
        for metric in ("matrix2", "gradient1")
    ]
    tracked = pd.DataFrame(rows, columns=["step", "seed", "metric", "value"])
    metrics = {"a": "matrix2", "b": "gradient1"}
    fig = figures.draw_cosines({"one": tracked, "two": tracked}, metrics)
    assert [len(ax.lines) for ax in fig.axes] == [3, 3] and fig.axes[1].get_title("left") == "two"


def test_every_faulty_run_is_a_line():
    lines = figures.draw_faulty_runs(experiments.faulty_runs(steps=20)).axes[0].lines
    assert [line.get_label() for line in lines] == ["run A", "run B", "run C", "run D"]
