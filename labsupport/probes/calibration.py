"""How far a network's confidence on the test part is from its accuracy."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.contracts import Net, Split
from labsupport.reference.calibration import calibration_error, reliability
from labsupport.stacks import Stack


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error ``ece`` on the test part, its parts, and what it is made of.

    ``confidence`` is the mean probability of the class that is named. Of each of a few bins of confidence, counted from 1:
    ``share<b>`` of the predictions, ``confidence<b>`` and ``accuracy<b>``; the last two are 0 in an empty bin.

    Args:
        bins: of equal width, for the error.
        shown: of equal width, for the parts.
    """

    bins: int = 15
    shown: int = 10

    def __call__(self, net: Net, params: Stack, buffers: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        runs = len(params.flat)
        x = split.x_test.to(params.flat.dtype)
        sure, named = net.forward(params, buffers, x.expand(runs, *x.shape)).softmax(-1).max(-1)
        correct = named == split.y_test
        found = {"ece": calibration_error(sure, correct, self.bins), "confidence": sure.mean(-1)}
        for name, values in zip(("share", "confidence", "accuracy"), reliability(sure, correct, self.shown), strict=True):
            values = values / len(x) if name == "share" else values
            found |= {f"{name}{b}": column for b, column in enumerate(torch.unbind(values, -1), start=1)}
        return found
