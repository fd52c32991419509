"""Checks of single arguments; they accept a value of any type."""

import math
from numbers import Integral, Real
from typing import Any


def is_number(
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> bool:
    """Tell whether a value is finite with least <= value <= most and above < value < below."""
    real = isinstance(value, Real)
    return real and math.isfinite(value) and least <= value <= most and above < value < below


def is_count(value: Any, least: int = 0) -> bool:
    """Tell whether a value is a whole number of at least ``least``; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        return False
    return int(value) >= least
