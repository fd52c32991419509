"""Alternating minimization: networks, one hidden unit in closed form, multipliers, diagnosis.

The equations of a network are in ops/alternating_minimization.py, for the training rules in
rules/alternating.py compute with them; they are listed in ``__all__`` and can be used from here.
"""

import torch
from torch import Tensor

from labsupport.ops.alternating_minimization import (
    ACTIVATIONS,
    best_code,
    check_codes,
    check_positive,
    encode,
    layer,
    moments,
    norm_bound,
    objective,
    output_slope,
    output_weights,
    remember,
    residuals,
    ridge_weights,
    update_code,
    update_codes,
    with_one,
)

__all__ = [
    "ACTIVATIONS",
    "FAULTS",
    "best_code",
    "check_codes",
    "check_positive",
    "diagnose",
    "encode",
    "layer",
    "moments",
    "multiplier_sweep",
    "norm_bound",
    "objective",
    "output_slope",
    "output_weights",
    "remember",
    "residuals",
    "ridge_weights",
    "small_objective",
    "sweep",
    "update_code",
    "update_codes",
    "with_one",
]


def sweep(x: Tensor, y: Tensor, w: Tensor, v: Tensor, mu: float) -> tuple[Tensor, Tensor, Tensor]:
    r"""Update the codes, then both weights, each by its exact minimum of the objective.

    That is :math:`\operatorname{mean}\,[(y - v c)^2 + \mu (c - w x)^2]`.

    .. math::
        c = \frac{v\,y + \mu\,w\,x}{v^2 + \mu}, \qquad w = \frac{\sum x\,c}{\sum x^2}, \qquad v =
        \frac{\sum y\,c}{\sum c^2}

    Args:
        x, y: (B,) inputs and targets.
        w, v: () weights below and above the code.
        mu: the penalty on a squared residual.

    Returns:
        New codes (B,), w and v; a weight whose input is 0 throughout stays.

    Raises:
        ValueError: for mu <= 0.
    """
    check_positive("mu", mu)
    c = (v * y + mu * w * x) / (v.square() + mu)
    return c, _fit(x, c, w), _fit(c, y, v)


def _fit(a: Tensor, b: Tensor, old: Tensor) -> Tensor:
    norm = (a * a).sum()
    return torch.where(norm > 0, (a * b).sum() / norm.where(norm > 0, 1.0), old)


def small_objective(x: Tensor, y: Tensor, c: Tensor, w: Tensor, v: Tensor, mu: float) -> Tensor:
    """Compute mean [(y - v c)² + mu (c - w x)²]."""
    return ((y - v * c).square() + mu * (c - w * x).square()).mean()


def multiplier_sweep(
    x: Tensor, y: Tensor, u: Tensor, w: Tensor, v: Tensor, mu: float
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Take one sweep of ADMM for w and the codes; v stays.

    With u the multipliers over 2 mu,

    .. math::

        c = \frac{v\,y + \mu\,(w\,x - u)}{v^2 + \mu}, \qquad
        w = \frac{\sum x\,(c + u)}{\sum x^2}, \qquad u \leftarrow u + c - w x .

    Args:
        x, y, w, v, mu: as in ``sweep``.
        u: (B,) scaled multipliers; zeros to begin with.

    Returns:
        New codes, weight w and multipliers.

    Source: the augmented Lagrangian, as in Taylor and others (2016), scaled.
    """
    check_positive("mu", mu)
    c = (v * y + mu * (w * x - u)) / (v.square() + mu)
    w = _fit(x, c + u, w)
    return c, w, u + c - w * x


FAULTS = ("healthy", "codes_frozen", "weights_frozen", "codes_rise", "weights_rise", "codes_lost")


def diagnose(start: Tensor, coded: Tensor, ended: Tensor, tolerance: float = 1e-6) -> str:
    """Name what is wrong with a batch run, from its objective at three moments of T sweeps.

    Args:
        start, coded, ended: (T,) the objective at the start of each sweep, after its codes, after
            its weights.
        tolerance: changes up to this share of the largest objective are none.

    Returns:
        The first that applies: "codes_rise", "weights_rise" (some update raises the objective),
        "codes_lost" (a sweep does not begin where the one before ended), "codes_frozen",
        "weights_frozen" (an update never changes anything), "healthy".

    Raises:
        ValueError: for logs of different lengths, or fewer than two sweeps.
    """
    if not start.shape == coded.shape == ended.shape or start.dim() != 1 or len(start) < 2:
        raise ValueError(
            f"the logs have shapes {tuple(start.shape)}, {tuple(coded.shape)} and"
            f" {tuple(ended.shape)}; each must be (T,), with two sweeps at least"
        )
    slack = tolerance * torch.stack([start, coded, ended]).abs().max()
    if (coded > start + slack).any():
        return "codes_rise"
    if (ended > coded + slack).any():
        return "weights_rise"
    if ((start[1:] - ended[:-1]).abs() > slack).any():
        return "codes_lost"
    if ((start - coded).abs() <= slack).all():
        return "codes_frozen"
    if ((coded - ended).abs() <= slack).all():
        return "weights_frozen"
    return "healthy"
