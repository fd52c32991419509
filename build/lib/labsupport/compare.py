"""A Result -> estimates with intervals: the statistics of comparing arms, paired by seed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from labsupport.types import Arm, Interval, Result

CONFIDENCE = 0.95
Among = Callable[[Arm], bool]


def where(prefix: str = "", **values: Any) -> Among:
    """The arms whose name begins with ``prefix`` and whose values are these: where("AdamW",
    lr=0.1).
    """
    return lambda arm: (
        arm.name.startswith(prefix) and all(arm.values.get(k) == v for k, v in values.items())
    )


everything = where()


def final(result: Result, metric: str) -> pd.DataFrame:
    """The last measurement of a metric: one row a seed, one column an arm that has it; NaN where a
    run diverged.

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


def interval(values: Sequence[float], unit: str = "") -> Interval:
    """The mean of one value a run, with its 95 % t interval.

    Raises:
        ValueError: for fewer than two values, or a value that is not finite.
    """
    values = pd.Series(values, dtype=float)
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs at least two finite values, not {values.tolist()}")
    mean, error = values.mean(), values.sem()
    half = error * stdtrit(
        len(values) - 1, (1 + CONFIDENCE) / 2
    )  # Student's t quantile; all of scipy.stats takes a second to import
    return Interval(float(mean), float(mean - half), float(mean + half), len(values), unit)


def paired(
    result: Result, arm: str, other: str, metric: str = "test_accuracy", unit: str = ""
) -> Interval:
    """The mean difference arm - other over seeds, seed by seed, with its 95 % interval.

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


def best(result: Result, metric: str = "valid_accuracy", among: Among = everything) -> Arm:
    """The arm whose mean is best: highest accuracy, or lowest loss; an arm with a diverged run is
    never best.

    Choose on the validation part and report on the test part.

    Raises:
        ValueError: if no arm is left to choose from.
    """
    means = final(result, metric).mean(skipna=False)
    arms = {arm.name: arm for arm in result.arms if among(arm) and pd.notna(means[arm.name])}
    if not arms:
        raise ValueError(
            f"no arm to choose from: all of {len(result.arms)} are ruled out or have a diverged run"
        )
    pick = means[list(arms)].idxmin() if metric.endswith("loss") else means[list(arms)].idxmax()
    return arms[pick]


def reached(
    result: Result, metric: str, *, above: float | None = None, below: float | None = None
) -> pd.DataFrame:
    """The first measured epoch at which a metric has got there: one row a seed, one column an arm;
    inf if it never did.

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
    """A grid's means: the axis ``rows`` down, the axis ``columns`` across.

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
