"""Half precision: compute in float32 and round once, or refuse.

float16 overflows at 65,504, so the square of 256 is infinite; bfloat16 has three digits, so a sum
of ones stands still at 256 and no uniform number lies between 0.996 and 1.
"""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widened(x: Tensor) -> Tensor:
    """Convert half precision to float32; return anything else as it is."""
    return x.float() if x.dtype in HALF else x


def require_full(name: str, x: Tensor) -> None:
    """Refuse half precision.

    Raises:
        ValueError: for a float16 or bfloat16 tensor; it names the dtype.
    """
    if x.dtype in HALF:
        raise ValueError(
            f"{name}: the dtype is {x.dtype}, which has too few digits here; give float32 or"
            " float64"
        )
