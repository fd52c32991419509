"""Estimates with intervals from a Result: the statistics of comparing arms, paired by seed."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from labsupport.types import Arm, Interval, Result

CONFIDENCE = 0.95
Among = Callable[[Arm], bool]
"""Which arms."""
LOWER_IS_BETTER = ("loss", "error", "errors", "seconds", "ece", "nll", "brier")
HIGHER_IS_BETTER = ("accuracy",)
"""The last words of metrics whose direction is known: ``valid_loss``, ``test_accuracy``."""


def lower_is_better(metric: str) -> bool:
    """Tell by its last word whether a metric is better when it is lower.

    Raises:
        ValueError: for a metric whose direction is not known.
    """
    word = metric.rsplit("_", 1)[-1]
    if word not in (*LOWER_IS_BETTER, *HIGHER_IS_BETTER):
        raise ValueError(
            f"whether {metric!r} is better when it is lower is not known; say lower_is_better=True"
            f" or False (known are metrics that end in {', '.join(LOWER_IS_BETTER)}, lower, and"
            f" {', '.join(HIGHER_IS_BETTER)}, higher)"
        )
    return word in LOWER_IS_BETTER


def where(prefix: str = "", **values: Any) -> Among:
    """Choose the arms with this prefix and these values: where("AdamW", lr=0.1)."""
    return lambda arm: (
        arm.name.startswith(prefix) and all(arm.values.get(k) == v for k, v in values.items())
    )


everything = where()
_direction = lower_is_better  # ``best`` has an argument of the same name


def final(result: Result, metric: str) -> pd.DataFrame:
    """Tabulate a metric's last value: a row a seed, a column an arm; NaN where a run diverged.

    Raises:
        ValueError: if the metric was not measured.
    """
    rows = result.table[result.table["metric"] == metric]
    if rows.empty:
        raise ValueError(
            f"no metric {metric!r}; measured were {', '.join(result.table['metric'].unique())}"
        )
    rows = rows[rows["epoch"] == rows.groupby("arm")["epoch"].transform("max")]
    table = rows.pivot(index="seed", columns="arm", values="value")
    return table[[arm.name for arm in result.arms if arm.name in table]]


def interval(values: Iterable[float], unit: str = "") -> Interval:
    """Compute the mean of one value a run, with its 95 % t interval.

    Raises:
        ValueError: for fewer than two values, or a value that is not finite.
    """
    runs = pd.Series(values, dtype=float)
    if len(runs) < 2 or not np.isfinite(runs).all():
        raise ValueError(f"an interval needs at least two finite values, not {runs.tolist()}")
    mean, error = runs.mean(), runs.sem()
    # Student's t quantile; all of scipy.stats takes a second to import
    half = error * stdtrit(len(runs) - 1, (1 + CONFIDENCE) / 2)
    return Interval(float(mean), float(mean - half), float(mean + half), len(runs), unit)


def paired(
    result: Result, arm: str, other: str, metric: str = "test_accuracy", unit: str = ""
) -> Interval:
    """Compute the mean difference arm - other over seeds, seed by seed, with its 95 % interval.

    Raises:
        ValueError: if an arm is unknown, or one of its runs diverged: then there is no difference
            to average.
    """
    table = final(result, metric)
    for name in (arm, other):
        if name not in table:
            raise ValueError(f"no arm {name!r}; there are {', '.join(table.columns)}")
        if table[name].isna().any():
            lost = table.index[table[name].isna()].tolist()
            raise ValueError(
                f"arm {name!r} diverged from seeds {lost}: no mean difference can be taken"
            )
    return interval(table[arm] - table[other], unit)


def best(
    result: Result,
    metric: str = "valid_accuracy",
    among: Among = everything,
    *,
    lower_is_better: bool | None = None,
) -> Arm:
    """Find the arm whose mean is best; an arm with a diverged run is never best.

    Choose on the validation part and report on the test part.

    Args:
        result: what was measured.
        metric: what to choose by.
        among: which arms to choose from.
        lower_is_better: the metric's direction; None takes it from the metric's last word, as the
            function of this name does.

    Raises:
        ValueError: if no arm is left to choose from, or the direction is not known.
    """
    lower = _direction(metric) if lower_is_better is None else lower_is_better
    means = final(result, metric).mean(skipna=False)
    arms = {arm.name: arm for arm in result.arms if among(arm) and pd.notna(means[arm.name])}
    if not arms:
        raise ValueError(
            f"no arm to choose from: all of {len(result.arms)} are ruled out or have a diverged run"
        )
    candidates = means[list(arms)]
    return arms[candidates.idxmin() if lower else candidates.idxmax()]


def reached(
    result: Result, metric: str, *, above: float | None = None, below: float | None = None
) -> pd.DataFrame:
    """Find the first measured epoch at which a metric reaches its target; inf if it never does.

    One row a seed, one column an arm.

    Args:
        result, metric: what was measured.
        above, below: exactly one: the value that the metric has to reach, from below or from above.

    Raises:
        ValueError: if the metric was not measured, or not exactly one of above and below is given.
    """
    if (above is None) == (below is None):
        raise ValueError(
            f"give exactly one of above and below, not above={above} and below={below}"
        )
    shape = final(result, metric)
    rows = result.table[result.table["metric"] == metric]
    there = rows[rows["value"] >= above] if below is None else rows[rows["value"] <= below]
    first = there.groupby(["seed", "arm"])["epoch"].min().unstack()
    return first.reindex(index=shape.index, columns=shape.columns).fillna(np.inf)


def cells(
    result: Result, metric: str, rows: str, columns: str, among: Among = everything
) -> pd.DataFrame:
    """Tabulate a grid's means: the axis ``rows`` down, the axis ``columns`` across.

    A cell in which a run diverged holds -inf; a cell that the grid does not have holds NaN.
    """
    means = final(result, metric).mean(skipna=False).fillna(-np.inf)
    table = pd.DataFrame(
        [
            {rows: arm.values[rows], columns: arm.values[columns], "value": means[arm.name]}
            for arm in result.arms
            if among(arm)
        ]
    )
    return table.pivot(index=rows, columns=columns, values="value")
