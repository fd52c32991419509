"""Statistics of comparing arms, against scipy and against cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from labsupport import compare
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.types import Arm, Recipe, Result

RECIPE = Recipe(MLP((40, 10)), SGD())


def result(columns, metric="test_accuracy", values=None):
    """A Result as if measured: {arm: one value a seed}; an earlier epoch holds other numbers."""
    rows = [
        (arm, seed, epoch, metric, value + (epoch == 1))
        for arm, series in columns.items()
        for seed, value in enumerate(series)
        for epoch in (1, 2)
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "epoch", "metric", "value"])
    arms = tuple(Arm(arm, RECIPE, (values or {}).get(arm, {})) for arm in columns)
    return Result(table, pd.DataFrame(columns=["arm", "seed", "step"]), arms, tuple(range(9)), 0.0)


RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 12))


def test_the_paired_interval_is_scipys():
    theirs = stats.ttest_rel(A, B).confidence_interval(0.95)
    ours = compare.paired(result({"a": A, "b": B}), "a", "b")
    assert (ours.low, ours.high, ours.runs) == (
        pytest.approx(theirs.low),
        pytest.approx(theirs.high),
        12,
    )
    assert ours.estimate == pytest.approx((A - B).mean())


def test_pairing_takes_out_what_seeds_share():
    shared = RNG.normal(size=12) * 100
    ours = compare.paired(result({"a": A + shared, "b": A + shared - 1}), "a", "b")
    assert ours.high - ours.low < 1e-9 and ours.estimate == pytest.approx(1)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    hits = sum(
        v.low < 0 < v.high for v in (compare.interval(row) for row in RNG.normal(size=(2000, 10)))
    )
    assert 0.935 < hits / 2000 < 0.965


def test_final_takes_the_last_epoch():
    assert compare.final(result({"a": A}), "test_accuracy")["a"].tolist() == A.tolist()


def test_best_is_the_highest_accuracy_and_the_lowest_loss():
    columns = {"low": A - 5, "high": A + 5}
    assert compare.best(result(columns), "test_accuracy").name == "high"
    assert compare.best(result(columns, "valid_loss"), "valid_loss").name == "low"
    assert (
        compare.best(result(columns), "test_accuracy", among=lambda arm: arm.name == "low").name
        == "low"
    )


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("ece", True),
        ("test_ece", True),
        ("calibration_error", True),
        ("valid_loss", True),
        ("seconds", True),
        ("accuracy", False),
        ("mc_accuracy", False),
    ],
)
def test_best_knows_the_direction_of_a_metric_by_its_last_word(metric, lower):
    found = compare.best(result({"low": A - 5, "high": A + 5}, metric), metric)
    assert found.name == ("low" if lower else "high")


def test_a_direction_that_is_not_known_is_asked_for():
    found = result({"low": A - 5, "high": A + 5}, "norm2")
    with pytest.raises(ValueError, match="'norm2' is better when it is lower is not known"):
        compare.best(found, "norm2")
    assert compare.best(found, "norm2", lower_is_better=True).name == "low"
    assert compare.best(found, "norm2", lower_is_better=False).name == "high"


def test_where_chooses_by_the_beginning_of_the_name_and_by_values():
    arms = [
        Arm("L2, lr=1", RECIPE, {"lr": 1.0}),
        Arm("L2, lr=2", RECIPE, {"lr": 2.0}),
        Arm("W, lr=1", RECIPE, {"lr": 1.0}),
    ]
    assert [arm.name for arm in arms if compare.where("L2", lr=1.0)(arm)] == ["L2, lr=1"]
    assert [arm.name for arm in arms if compare.where(lr=1.0)(arm)] == ["L2, lr=1", "W, lr=1"]
    assert not compare.where(momentum=0.9)(arms[0]) and all(map(compare.everything, arms))


def test_an_arm_with_a_diverged_run_is_never_best_nor_compared():
    lost = result({"a": A, "b": np.where(np.arange(12) == 3, np.nan, B + 9)})
    assert compare.best(lost, "test_accuracy").name == "a"
    with pytest.raises(ValueError, match=r"'b' diverged from seeds \[3\]"):
        compare.paired(lost, "a", "b")


GRID = {f"{r},{c}": {"row": r, "column": c} for r in (0.0, 1.0, 2.0, 3.0) for c in (10, 20, 30)}


def test_cells_tell_a_diverged_one_from_a_missing_one():
    columns = {name: v["row"] + np.zeros(3) for name, v in GRID.items()}
    columns["1.0,10"] = np.array([1, np.nan, 1])
    del columns["2.0,20"]
    cells = compare.cells(result(columns, values=GRID), "test_accuracy", "row", "column")
    assert (
        cells.loc[1.0, 10] == -np.inf and np.isnan(cells.loc[2.0, 20]) and cells.loc[3.0, 30] == 3
    )


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: compare.paired(result({"a": A}), "a", "c"), "no arm 'c'; there are a"),
        (
            lambda: compare.final(result({"a": A}), "speed"),
            "no metric 'speed'; measured were test_accuracy",
        ),
        (lambda: compare.interval([1.0]), "at least two finite values"),
        (lambda: compare.interval([1.0, float("nan")]), "at least two finite values"),
        (lambda: compare.interval([1.0, float("inf")]), "at least two finite values"),
        (
            lambda: compare.best(result({"a": A}), "test_accuracy", among=lambda arm: False),
            "no arm to choose from",
        ),
    ],
)
def test_a_bad_question_is_answered_plainly(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


def test_a_level_is_reached_at_the_first_measured_epoch_that_is_there():
    rows = [
        ("a", seed, epoch, "train_loss", value)
        for seed, losses in enumerate(([3, 1, 2], [3, 3, 1], [3, 3, np.nan]))
        for epoch, value in enumerate(losses, start=1)
    ]
    measured = Result(
        pd.DataFrame(rows, columns=["arm", "seed", "epoch", "metric", "value"]),
        pd.DataFrame(columns=["arm", "seed", "step"]),
        (Arm("a", RECIPE),),
        (0, 1, 2),
        0.0,
    )
    assert compare.reached(measured, "train_loss", below=1)["a"].tolist() == [2, 3, np.inf]
    assert compare.reached(measured, "train_loss", above=2.5)["a"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="exactly one of above and below"):
        compare.reached(measured, "train_loss")
    with pytest.raises(ValueError, match="no metric 'loss'"):
        compare.reached(measured, "loss", below=1)


def test_an_arm_without_the_metric_is_left_out():
    """Networks of other depths have other metrics: the third layer of a network of two is measured
    nowhere.
    """
    both = result({"deep": A, "flat": B})
    deep = both.table[both.table["arm"] == "deep"].assign(metric="forward3")
    measured = Result(pd.concat([both.table, deep]), both.diverged, both.arms, both.seeds, 0.0)
    assert list(compare.final(measured, "forward3")) == ["deep"]
    assert list(compare.final(measured, "test_accuracy")) == ["deep", "flat"]
