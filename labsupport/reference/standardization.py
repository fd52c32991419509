r"""Input standardization: mean 0 and variance 1 for every column, and what that does to gradient descent.

Symbols: X inputs (N, D), one row a sample; A = [X 1] the design (N, D + 1), its last column the constant of the bias;
H = AᵀA/N the Hessian of least squares; κ its condition number; e the distance to the minimum.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Statistics(NamedTuple):
    """What is learnt from the training samples, and from nothing else."""

    mean: Tensor
    """(D,)"""
    std: Tensor
    """(D,) root of the mean squared deviation, all positive."""


def fit(x: Tensor, *, correction: int = 0) -> Statistics:
    r"""The mean and the deviation of every column.

    .. math:: \mu_d = \frac1N \sum_n x_{nd}, \qquad \sigma_d = \sqrt{\frac1{N-c} \sum_n (x_{nd} - \mu_d)^2}

    Args:
        x: the training inputs, (N, ...), N at least 1; all axes but the first are columns.
        correction: c: 0 is the population's deviation, 1 the sample's, ``torch.std``'s default. All columns change by
            one factor, :math:`\sqrt{N/(N-1)}`.

    Returns:
        Statistics of shape (...).

    Raises:
        ValueError: if there is no sample, the inputs are integers, the correction is neither 0 nor 1, or a column has
            one value throughout; the message names the column and its value.

    Source: the lecture, "Input Normalization". The division by N is scikit-learn's ``StandardScaler``'s.
    """
    _require_samples(x)
    if correction not in (0, 1):
        raise ValueError(f"correction is {correction}; it must be 0 (divide by N) or 1 (divide by N - 1)")
    flat = constant_columns(x)
    if bool(flat.any()):
        where = flat.nonzero()[0].tolist()
        raise ValueError(f"column {where[0] if len(where) == 1 else tuple(where)} is {x[0][tuple(where)].item():g} in "
                         f"every one of {len(x)} samples: its variance is zero; leave it out")
    var, mean = torch.var_mean(x, 0, correction=correction)
    return Statistics(mean, var.sqrt())


def apply(x: Tensor, statistics: Statistics) -> Tensor:
    r"""Standardized inputs, by statistics that were learnt elsewhere.

    .. math:: \tilde x_{nd} = (x_{nd} - \mu_d) / \sigma_d

    Args:
        x: inputs (N, ...).
        statistics: of the *training* samples.

    Returns:
        (N, ...), like x.

    Raises:
        ValueError: if the columns are not those of the statistics.
    """
    if x.shape[1:] != statistics.mean.shape:
        raise ValueError(f"x has columns {tuple(x.shape[1:])}, the statistics {tuple(statistics.mean.shape)}")
    return (x - statistics.mean) / statistics.std


def standardize(x_train: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts by the statistics of the training part: :func:`fit` on one, :func:`apply` to both.

    Args:
        x_train, x_test: inputs (N, D) and (M, D).

    Returns:
        Standardized (x_train, x_test).

    Raises:
        ValueError: as :func:`fit` and :func:`apply`.
    """
    statistics = fit(x_train)
    return apply(x_train, statistics), apply(x_test, statistics)


def constant_columns(x: Tensor, tiny: float = 0.0) -> Tensor:
    r"""Which columns hold one value throughout, or as good as one: :math:`\max_n x - \min_n x \le \text{tiny}\cdot\max_n |x|`.

    Args:
        x: inputs (N, ...).
        tiny: the range, as a fraction of the column's largest absolute value, that passes for none. A few units of
            rounding are 1e-6 in float32.

    Returns:
        Booleans (...).

    Raises:
        ValueError: if there is no sample, the inputs are integers, or tiny is negative.
    """
    _require_samples(x)
    if tiny < 0:
        raise ValueError(f"tiny is {tiny}; it must be >= 0")
    return x.amax(0) - x.amin(0) <= tiny * x.abs().amax(0)


def design(x: Tensor, constant: bool = True) -> Tensor:
    """The inputs (N, D) with a column of ones for the bias, (N, D + 1); without it, the inputs themselves."""
    _require_samples(x)
    if x.dim() != 2:
        raise ValueError(f"x has the shape {tuple(x.shape)}; a table has two axes, (N, D)")
    return torch.cat([x, x.new_ones(len(x), 1)], 1) if constant else x


def hessian(x: Tensor, constant: bool = True) -> Tensor:
    r"""The Hessian of the loss of linear regression, :math:`L = \frac1{2N}\sum_n (w^\top x_n + b - t_n)^2`.

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
    r"""The eigenvalues of :func:`hessian`, ascending, as squared singular values of the design: :math:`s_i^2/N`.

    The product :math:`A^\top A` is never formed: it squares the condition number and so loses half of the digits.

    Args, Raises: as :func:`hessian`.

    Returns:
        (D + 1,), or (D,) without the bias; zeros where there are fewer samples than columns.
    """
    a = design(x, constant)
    found = torch.linalg.svdvals(a).square() / len(a)
    return torch.cat([found, found.new_zeros(a.shape[1] - len(found))]).flip(0)


def condition_number(x: Tensor, constant: bool = True) -> Tensor:
    r"""The largest curvature of linear regression over the smallest, :math:`\kappa = \lambda_{\max}/\lambda_{\min} \ge 1`.

    Args, Raises: as :func:`hessian`.

    Returns:
        A number, infinite where columns depend on each other linearly.
    """
    found = curvatures(x, constant)
    return found[-1] / found[0]


def best_rate(curvature: Tensor) -> Tensor:
    r"""The learning rate at which gradient descent contracts fastest on a quadratic.

    .. math:: \eta^\star = \frac{2}{\lambda_{\max} + \lambda_{\min}}

    Args:
        curvature: the eigenvalues of the Hessian (D,), in any order, all positive.

    Raises:
        ValueError: if there is none, or one is not positive.

    Source: at this rate the factors :math:`1 - \eta\lambda` of the flattest and the steepest direction are opposite;
    any other makes one of the two larger.
    """
    _require_positive(curvature)
    return 2 / (curvature.max() + curvature.min())


def contraction(kappa: float | Tensor) -> float | Tensor:
    r"""What is left of the worst error after one step at the best rate, :math:`\rho = (\kappa - 1)/(\kappa + 1)`.

    Raises:
        ValueError: if kappa is below 1.
    """
    if not kappa >= 1:
        raise ValueError(f"kappa is {kappa}; a condition number is at least 1")
    return (kappa - 1) / (kappa + 1)


def steps_needed(kappa: float | Tensor, factor: float) -> float:
    r"""Steps at the best rate that are predicted to divide the worst error by ``factor``.

    .. math:: T = \frac{\ln F}{\ln\frac{\kappa+1}{\kappa-1}} \approx \frac\kappa2 \ln F, \quad\text{but at least 1}

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
    left = contraction(float(kappa))
    # log1p keeps the digits that (κ+1)/(κ-1) loses at a large κ, where it is nearly 1
    return max(1.0, math.log(factor) / math.log1p(2 / (float(kappa) - 1))) if left > 0 else 1.0


def gradient_step(w: Tensor, h: Tensor, b: Tensor, *, lr: float | Tensor) -> Tensor:
    r"""One step of gradient descent on :math:`\tfrac12 w^\top H w - b^\top w`: :math:`w - \eta\,(Hw - b)`."""
    return w - lr * (h @ w - b)


def descend(w: Tensor, h: Tensor, b: Tensor, *, lr: float | Tensor, steps: int) -> Tensor:
    r"""``steps`` steps of :func:`gradient_step` at once, by repeated squaring.

    A step is the affine map :math:`w \mapsto (I - \eta H)\,w + \eta b`. With a 1 appended to w it is one matrix, and its
    power, from :math:`\log_2` T squarings, is T steps.

    Args:
        w, b: where it starts, and the linear term, (D,).
        h: the Hessian (D, D).
        lr: learning rate, at least 0.
        steps: T, at least 0.

    Returns:
        The weights after T steps.

    Raises:
        ValueError: if lr or steps is negative.
    """
    if lr < 0 or steps < 0:
        raise ValueError(f"lr is {float(lr):g} and steps {steps}; neither may be negative")
    top = torch.cat([torch.eye(len(w), dtype=w.dtype, device=w.device) - lr * h, (lr * b)[:, None]], 1)
    last = torch.eye(len(w) + 1, dtype=w.dtype, device=w.device)[-1:]
    one_step = torch.cat([top, last])
    return (torch.linalg.matrix_power(one_step, steps) @ torch.cat([w, w.new_ones(1)]))[:-1]


def steps_taken(error: Tensor, h: Tensor, *, lr: float | Tensor, factor: float) -> int:
    r"""The first step after which gradient descent has divided its distance to the minimum by ``factor``.

    The distance obeys :math:`e_{t+1} = (I - \eta H)\,e_t`. Powers of that matrix, squared until one overshoots, are then
    taken from the largest to the smallest while they stay short of the goal: every step is taken, T of them by
    :math:`2\log_2` T products.

    Args:
        error: :math:`e_0 = w_0 - w^\star`, (D,), not zero.
        h: the Hessian (D, D), positive definite.
        lr: learning rate, above 0 and below :math:`2/\lambda_{\max}`, where descent converges.
        factor: F above 1.

    Raises:
        ValueError: if the factor is not above 1, or the rate is out of the range in which descent converges.
    """
    limit = 2 / torch.linalg.eigvalsh(h)[-1]
    if not (factor > 1 and 0 < lr < limit):
        raise ValueError(f"factor is {factor} and lr {float(lr):g}; the factor must be above 1, the rate above 0 and "
                         f"below {limit.item():g}, or the distance does not shrink")
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


def _require_samples(x: Tensor) -> None:
    if not x.is_floating_point():
        raise ValueError(f"x has the dtype {x.dtype}; standardized inputs are no integers: give a floating dtype")
    if not len(x):
        raise ValueError(f"x has the shape {tuple(x.shape)}: there is no sample to learn a mean from")


def _require_positive(curvature: Tensor) -> None:
    if not len(curvature) or bool((curvature <= 0).any()):
        raise ValueError(f"the curvatures are {curvature.tolist()}; there must be at least one, and all above 0")


def plan(curvature: Tensor, factor: float) -> tuple[float, float]:
    """The best learning rate for these curvatures (D,), and the steps it needs to divide the worst error by ``factor``.

    Raises:
        ValueError: as :func:`best_rate` and :func:`steps_needed`.
    """
    rate = best_rate(curvature)
    return rate.item(), steps_needed(curvature.max() / curvature.min(), factor)


def pipelines(x_train: Tensor, x_test: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What the right pipeline and seven wrong ones make of a training part (N, D) and a test part (M, D).

    Raises:
        ValueError: if a column of either part has one value throughout, as :func:`fit`.
    """
    train, test = fit(x_train), fit(x_test)
    every = fit(torch.cat([x_train, x_test]))
    whole = Statistics(x_train.mean().expand_as(train.mean), x_train.std(correction=0).expand_as(train.std))
    learnt = {"healthy": (train, train), "each_by_its_own": (train, test), "statistics_of_all": (every, every),
              "statistics_from_test": (test, test), "one_for_the_table": (whole, whole),
              "variance_for_std": (Statistics(train.mean, train.std**2),) * 2,
              "not_centred": (Statistics(0 * train.mean, train.std),) * 2}
    found = {name: (apply(x_train, a), apply(x_test, b)) for name, (a, b) in learnt.items()}
    return found | {"test_untouched": (apply(x_train, train), x_test)}


def diagnose(x_train: Tensor, x_test: Tensor, z_train: Tensor, z_test: Tensor) -> str:
    """Name what a pipeline did, from what went in and what came out: the one of :func:`pipelines` that comes closest.

    Args:
        x_train, x_test: inputs (N, D) and (M, D).
        z_train, z_test: what the pipeline made of them.

    Returns:
        ``healthy``, or the name of a fault.
    """
    suspects = pipelines(x_train, x_test)
    return min(suspects, key=lambda name: _distance(suspects[name], (z_train, z_test)))


def _distance(made: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(made, found, strict=True))
