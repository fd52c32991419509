"""Draw small shapes, and numbers one can check by hand: what the exercises' strategies share.

In each tuple the simplest choice stands first, because a failure shrinks towards it.
"""

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

VALUES = (0.0, 1.0, 2.0, -1.0, 0.5, -3.0)
POSITIVE = (1.0, 4.0, 0.25, 9.0)
NONZERO = (1.0, 2.0, -1.0, 0.5, -3.0)
SHAPES: tuple[tuple[int, ...], ...] = ((1,), (2,), (3,), (2, 2))
DTYPES = (torch.float32, torch.float64)

T = TypeVar("T")


def one_of(draw: DrawFn, *choices: T) -> T:
    """Draw one of the choices."""
    return draw(st.sampled_from(choices))


def form(draw: DrawFn) -> tuple[tuple[int, ...], torch.dtype]:
    """Draw a shape and a dtype, for all the tensors of one call."""
    return one_of(draw, *SHAPES), one_of(draw, *DTYPES)


def tensor(
    draw: DrawFn, shape: Sequence[int], dtype: torch.dtype, values: Sequence[float] = VALUES
) -> Tensor:
    """Draw a tensor of this form, every element one of ``values``."""
    size = torch.Size(shape).numel()
    drawn = draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))
    return torch.tensor(drawn, dtype=dtype).reshape(shape)


def evenly(draw: DrawFn, *choices: T, beside: Sequence[Tensor] = ()) -> T:
    """Draw one of the choices, each about equally often in a battery.

    Hypothesis repeats a draw in the examples that follow it, so that rare choices may be missing
    among forty. The sum of four draws seldom repeats; what was drawn before takes part in it, too.

    Args:
        beside: tensors that were drawn for the same input.
    """
    picks = st.integers(0, len(choices) - 1)
    drawn = sum(draw(picks) for _ in range(4)) + sum(
        crc32(repr(t.tolist()).encode()) for t in beside
    )
    return choices[drawn % len(choices)]
