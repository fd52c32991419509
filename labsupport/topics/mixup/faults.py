"""Seven functions that call themselves mixup, one of them right, and the diagnosis of a log."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.topics.mixup.reference import blend


class Pairs(NamedTuple):
    """Samples and their partners, with all that a faulty mixup may use by mistake."""

    x: Tensor
    """(N, ...) inputs."""
    y: Tensor
    """(N, ...) labels: one-hot rows, or 0.0 and 1.0."""
    x2: Tensor
    y2: Tensor
    """Of the partners."""
    y3: Tensor
    """Labels in another order, of samples that the inputs are not blended with."""
    lam: Tensor
    """The coefficient, one of the batch."""
    own: Tensor
    """(N,) a coefficient for each sample."""


BLENDS: dict[str, Callable[[Pairs], tuple[Tensor, Tensor]]] = {
    "healthy": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y2, p.lam)),
    "labels_not_mixed": lambda p: (blend(p.x, p.x2, p.lam), p.y.clone()),
    "inputs_not_mixed": lambda p: (p.x.clone(), blend(p.y, p.y2, p.lam)),
    "lam_swapped": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y2, 1 - p.lam)),
    "hardened": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y2, p.lam).round()),
    "other_partner": lambda p: (blend(p.x, p.x2, p.lam), blend(p.y, p.y3, p.lam)),
    "lam_per_sample": lambda p: (blend(p.x, p.x2, p.own), blend(p.y, p.y2, p.lam)),
}
"""Seven functions that call themselves mixup: pairs -> inputs and targets. One is right."""


def diagnose(x: Tensor, y: Tensor, order: Tensor, lam: float, mixed: Tensor, target: Tensor) -> str:
    r"""Name what a mixup did to a batch of two classes, from its inputs and outputs.

    ``healthy``: :math:`\tilde x` and :math:`\tilde y` as in ``mixup_batch``. ``inputs_not_mixed``
    puts out x, ``labels_not_mixed`` y. ``lam_swapped`` gives the labels :math:`1 - \lambda`.
    ``hardened`` rounds the healthy target to 0 or 1. ``lam_per_sample`` blends every input by a
    coefficient of its own, the labels by the batch's. ``other_partner`` blends the labels in
    another order than the inputs.

    Args:
        x: one number a sample, (B,).
        y: the class of each, 0.0 or 1.0, (B,).
        order: the partners of the inputs, (B,).
        lam: the coefficient that was drawn for the batch, above 0 and below 1/2: above it, a
            rounded target is the own label.
        mixed, target: what came out, (B,).

    Returns:
        One of the seven names.
    """
    other, right = x[order], lam * y + (1 - lam) * y[order]
    if _same(mixed, x):
        return "inputs_not_mixed"
    if not _same(mixed, lam * x + (1 - lam) * other):
        return "lam_per_sample"
    fits = {
        "healthy": right,
        "labels_not_mixed": y,
        "lam_swapped": (1 - lam) * y + lam * y[order],
        "hardened": right.round(),
    }
    return next((name for name, made in fits.items() if _same(target, made)), "other_partner")


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)
