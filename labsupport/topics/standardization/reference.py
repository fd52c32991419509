r"""Standardized inputs, and what they do to gradient descent on linear regression.

The pipeline itself (``fit``, ``apply``, ``standardize``) is in ``labsupport.ops.standardization``,
because training uses it too; it is imported here as well. Pipelines with a fault are in faults.py.
This file has the bowl, how far from round it is, and how many steps gradient descent takes on it.

Symbols: X inputs (N, D), one row a sample; A = [X 1] the design (N, D + 1), its last column the
constant of the bias; H = AᵀA/N the Hessian; λ its eigenvalues, the curvatures; κ the condition
number; e the distance to the minimum.
"""

import math

import torch
from torch import Tensor

from labsupport.ops.standardization import (
    Statistics,
    apply,
    constant_columns,
    fit,
    require_samples,
    standardize,
)

__all__ = [
    "Statistics",
    "apply",
    "best_rate",
    "condition_number",
    "constant_columns",
    "contraction",
    "curvatures",
    "design",
    "fit",
    "gradient_step",
    "hessian",
    "plan",
    "standardize",
    "steps_needed",
    "steps_taken",
]


def design(x: Tensor, constant: bool = True) -> Tensor:
    """Append a column of ones to inputs (N, D) for the bias, or return the inputs themselves."""
    require_samples(x)
    if x.dim() != 2:
        raise ValueError(f"x has the shape {tuple(x.shape)}; a table has two axes, (N, D)")
    return torch.cat([x, x.new_ones(len(x), 1)], 1) if constant else x


def hessian(x: Tensor, constant: bool = True) -> Tensor:
    r"""Compute the Hessian of the loss of linear regression.

    The loss is :math:`L = \frac1{2N}\sum_n (w^\top x_n + b - t_n)^2`.

    .. math:: H = \tfrac1N A^\top A, \qquad A = [X\ \mathbf 1]

    The targets do not enter: the shape of the bowl is a matter of the inputs alone.

    Args:
        x: inputs (N, D).
        constant: whether there is a bias.

    Returns:
        (D + 1, D + 1), or (D, D) without the bias.

    Raises:
        ValueError: if there is no sample, the inputs are integers, or x is no table.
    """
    a = design(x, constant)
    return a.T @ a / len(a)


def curvatures(x: Tensor, constant: bool = True) -> Tensor:
    r"""Compute the eigenvalues of :func:`hessian`, ascending.

    They are squared singular values of the design, :math:`s_i^2/N`.

    The product :math:`A^\top A` is never formed: it squares the condition number and so loses half
    of the digits.

    Args, Raises: as :func:`hessian`.

    Returns:
        (D + 1,), or (D,) without the bias; zeros where there are fewer samples than columns.
    """
    a = design(x, constant)
    found = torch.linalg.svdvals(a).square() / len(a)
    return torch.cat([found, found.new_zeros(a.shape[1] - len(found))]).flip(0)


def condition_number(x: Tensor, constant: bool = True) -> Tensor:
    r"""Compute the ratio of largest to smallest curvature of linear regression.

    :math:`\kappa = \lambda_{\max}/\lambda_{\min} \ge 1`.

    Args, Raises: as :func:`hessian`.

    Returns:
        A number, infinite where columns depend on each other linearly.
    """
    found = curvatures(x, constant)
    return found[-1] / found[0]


def best_rate(curvature: Tensor) -> Tensor:
    r"""Compute the learning rate at which gradient descent contracts fastest on a quadratic.

    .. math:: \eta^\star = \frac{2}{\lambda_{\max} + \lambda_{\min}}

    Args:
        curvature: the eigenvalues of the Hessian (D,), in any order, all positive.

    Raises:
        ValueError: if there is none, or one is not positive.

    Source: at this rate the factors :math:`1 - \eta\lambda` of the flattest and the steepest
    direction are opposite; any other makes one of the two larger.
    """
    _require_positive(curvature)
    return 2 / (curvature.max() + curvature.min())


def contraction(kappa: float | Tensor) -> float | Tensor:
    r"""Compute the factor on the worst error in one step at the best rate.

    :math:`\rho = (\kappa - 1)/(\kappa + 1)`.

    Raises:
        ValueError: if kappa is below 1.
    """
    if not kappa >= 1:
        raise ValueError(f"kappa is {kappa}; a condition number is at least 1")
    return (kappa - 1) / (kappa + 1)


def steps_needed(kappa: float | Tensor, factor: float) -> float:
    r"""Predict the steps at the best rate that divide the worst error by ``factor``.

    .. math::

        T = \frac{\ln F}{\ln\frac{\kappa+1}{\kappa-1}} \approx \frac\kappa2 \ln F, \quad
        \text{but at least 1}

    Args:
        kappa: the condition number, at least 1.
        factor: F above 1.

    Returns:
        A real number; the next whole one is the number of steps.

    Raises:
        ValueError: if kappa is below 1, or the factor is not above 1.
    """
    if not factor > 1:
        raise ValueError(f"factor is {factor}; it must be above 1")
    if contraction(float(kappa)) == 0:
        return 1.0
    # log1p keeps the digits that (κ+1)/(κ-1) loses at a large κ, where it is nearly 1
    return max(1.0, math.log(factor) / math.log1p(2 / (float(kappa) - 1)))


def gradient_step(w: Tensor, h: Tensor, b: Tensor, *, lr: float | Tensor) -> Tensor:
    r"""Take one gradient step, :math:`w - \eta\,(Hw - b)`.

    The loss is :math:`\tfrac12 w^\top H w - b^\top w`.
    """
    return w - lr * (h @ w - b)


def steps_taken(error: Tensor, h: Tensor, *, lr: float | Tensor, factor: float) -> int:
    r"""Count the steps until gradient descent has divided its distance by ``factor``.

    The distance to the minimum; the first such step counts.

    The distance obeys :math:`e_{t+1} = (I - \eta H)\,e_t`, so T steps are one product with the
    T-th power of that matrix. Powers are squared until one overshoots, and then applied from the
    largest to the smallest while they stay short of the goal: T is found by about
    :math:`2\log_2` T products, not by T steps.

    Args:
        error: :math:`e_0 = w_0 - w^\star`, (D,), not zero.
        h: the Hessian (D, D), positive definite.
        lr: learning rate, above 0 and below :math:`2/\lambda_{\max}`, where descent converges.
        factor: F above 1.

    Raises:
        ValueError: if the factor is not above 1, or the rate is out of the range in which descent
            converges.
    """
    limit = 2 / torch.linalg.eigvalsh(h)[-1]
    if not (factor > 1 and 0 < lr < limit):
        raise ValueError(
            f"factor is {factor} and lr {float(lr):g}; the distance shrinks "
            f"for factors above 1, at rates above 0 and below {limit.item():g}"
        )
    goal = error.norm() / factor
    powers = [torch.eye(len(error), dtype=error.dtype, device=error.device) - lr * h]
    while (powers[-1] @ error).norm() > goal and len(powers) < 62:
        powers.append(powers[-1] @ powers[-1])
    taken = 0
    for k in reversed(range(len(powers))):
        further = powers[k] @ error
        if further.norm() > goal:
            error, taken = further, taken + 2**k
    return taken + 1


def plan(curvature: Tensor, factor: float) -> tuple[float, float]:
    """Compute the best learning rate for curvatures (D,), and the steps that it needs.

    The steps divide the worst error by ``factor``.

    Raises:
        ValueError: as :func:`best_rate` and :func:`steps_needed`.
    """
    rate = best_rate(curvature)
    return rate.item(), steps_needed(curvature.max() / curvature.min(), factor)


def _require_positive(curvature: Tensor) -> None:
    if not len(curvature) or bool((curvature <= 0).any()):
        raise ValueError(
            f"the curvatures are {curvature.tolist()}; there must be at least one, and all above 0"
        )
