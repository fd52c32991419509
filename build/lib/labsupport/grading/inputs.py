"""Pieces of Hypothesis strategies that exercises share: small shapes and numbers one can check by
hand.

In each tuple the simplest choice stands first, because a failure shrinks towards it.
"""

from collections.abc import Callable, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

VALUES = (0.0, 1.0, 2.0, -1.0, 0.5, -3.0)
POSITIVE = (1.0, 4.0, 0.25, 9.0)
NONZERO = (1.0, 2.0, -1.0, 0.5, -3.0)
SHAPES = ((1,), (2,), (3,), (2, 2))
DTYPES = (torch.float32, torch.float64)


def one_of(draw: Callable, *choices):
    """One of the choices."""
    return draw(st.sampled_from(choices))


def form(draw: Callable) -> tuple[tuple[int, ...], torch.dtype]:
    """A shape and a dtype, for all the tensors of one call."""
    return one_of(draw, *SHAPES), one_of(draw, *DTYPES)


def tensor(
    draw: Callable, shape: Sequence[int], dtype: torch.dtype, values: Sequence[float] = VALUES
) -> Tensor:
    """A tensor of this form, every element one of ``values``."""
    size = torch.Size(shape).numel()
    drawn = draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))
    return torch.tensor(drawn, dtype=dtype).reshape(shape)
