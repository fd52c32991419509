r"""Weight normalization: the length of a weight vector and its direction as two parameters.

Symbols: v direction (O, D), one row a unit; g lengths (O,); w weights (O, D); M the projection away
from w.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def weight(v: Tensor, g: Tensor) -> Tensor:
    r"""The weights that a layer multiplies with.

    .. math:: w = \frac{g}{\lVert v\rVert}\, v

    Args:
        v: (O, D), no row zero.
        g: (O,), the lengths of the rows of w.

    Returns:
        w, (O, D).

    Raises:
        ValueError: if g is not (O,), v holds integers, or a row of v is zero: it has no direction.

    Source: Salimans & Kingma (2016), equation 2; the lecture, "Weight Normalization".
    """
    return (g / _norm(v, g))[:, None] * v


def gradients(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    r"""The gradients in length and direction, from the gradient in the weights.

    .. math::
        \nabla_g L = \frac{\nabla_w L \cdot v}{\lVert v\rVert}, \qquad
        \nabla_v L = \frac{g}{\lVert v\rVert}\, M_w \nabla_w L, \qquad
        M_w = I - \frac{w w^\top}{\lVert w\rVert^2}

    Args:
        dw: the gradient in w, (O, D).
        v, g: as in :func:`weight`.

    Returns:
        (dv (O, D), dg (O,)).

    Raises:
        ValueError: as :func:`weight`, and if dw is not shaped like v.

    Source: Salimans & Kingma (2016), equations 3 and 4.
    """
    if dw.shape != v.shape:
        raise ValueError(
            f"dw has the shape {tuple(dw.shape)}, v {tuple(v.shape)}: they must be equal"
        )
    norm = _norm(v, g)
    along = (dw * v).sum(1) / norm
    return (g / norm)[:, None] * (dw - (along / norm)[:, None] * v), along


def projection(w: Tensor) -> Tensor:
    r"""The matrix that takes away what lies along w: :math:`M_w = I - w w^\top / \lVert w\rVert^2`.

    Args:
        w: one weight vector (D,), not zero.

    Returns:
        (D, D): symmetric, :math:`M^2 = M`, :math:`Mw = 0`.

    Raises:
        ValueError: if w is no vector, or zero.

    Source: Salimans & Kingma (2016), equation 4.
    """
    if w.dim() != 1 or not bool(w.any()):
        raise ValueError(
            f"w is {w.tolist() if w.dim() < 2 else tuple(w.shape)}; it must be one vector with a"
            " direction"
        )
    return torch.eye(len(w), dtype=w.dtype, device=w.device) - torch.outer(w, w) / w.dot(w)


def norm_after_step(v: Tensor, dv: Tensor, lr: float) -> Tensor:
    r"""The norm of v after a step of gradient descent, by Pythagoras: the gradient is perpendicular
    to v.

    .. math:: \lVert v - \eta\nabla_v L\rVert^2 = \lVert v\rVert^2 + \eta^2\lVert\nabla_v L\rVert^2

    Args:
        v, dv: direction and its gradient, (O, D).
        lr: :math:`\eta \ge 0`.

    Returns:
        (O,) never less than the norm before: the larger the rate, the more v grows, and the less
        the next step turns it.

    Raises:
        ValueError: for a negative lr.

    Source: Salimans & Kingma (2016), section 2.1.
    """
    _check_lr(lr)
    return (v.square().sum(1) + lr**2 * dv.square().sum(1)).sqrt()


def effective_rate(v: Tensor, g: Tensor, lr: float) -> Tensor:
    r"""The learning rate that the direction of w feels.

    To first order in :math:`\eta` a step of gradient descent on v and g moves w by

    .. math::
        \Delta w
        = -\eta\,(I - M_w)\,\nabla_w L - \eta\,\frac{g^2}{\lVert v\rVert^2}\, M_w \nabla_w L

    Along w it is the plain step. Across w the rate is multiplied by :math:`(g/\lVert v\rVert)^2`,
    and that is returned times :math:`\eta`. It is :math:`\eta` itself while
    :math:`\lVert v\rVert = |g|`.

    Args:
        v, g: as in :func:`weight`.
        lr: :math:`\eta \ge 0`.

    Returns:
        (O,), in units of lr.

    Raises:
        ValueError: as :func:`weight`, and for a negative lr.

    Source: insert equation 4 of Salimans & Kingma (2016) into equation 2 and expand in
    :math:`\eta`.
    """
    _check_lr(lr)
    return lr * (g / _norm(v, g)).square()


def data_dependent_init(v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Length and bias for which the pre-activations of one batch have mean 0 and variance 1.

    .. math::

        t = \frac{v \cdot x}{\lVert v\rVert}, \qquad g = \frac{1}{\sigma[t]}, \qquad
        b = -\frac{\mu[t]}{\sigma[t]}

    Args:
        v: (O, D), no row zero.
        x: inputs of the layer, (B, D), B at least 2.

    Returns:
        (g (O,), b (O,)).

    Raises:
        ValueError: for fewer than two samples, a zero row of v, or a unit that puts out the same
            for every sample.

    Source: Salimans & Kingma (2016), equations 5 and 6.
    """
    if len(x) < 2:
        raise ValueError(f"x has {len(x)} sample(s); a variance needs at least 2")
    t = x @ v.T / _norm(v, v.new_ones(len(v)))
    var, mean = torch.var_mean(t, 0, correction=0)
    rounding = 4 * torch.finfo(t.dtype).eps * t.abs().amax(0)
    if bool((var <= rounding.square()).any()):
        unit = (var - rounding.square()).argmin()
        raise ValueError(
            f"unit {unit.item()} puts out {mean[unit].item():g} for every sample: its variance is"
            " zero"
        )
    return 1 / var.sqrt(), -mean / var.sqrt()


Gradients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def faulty_gradients() -> dict[str, Gradients]:
    r"""Gradients as five codes compute them, each a function of (dw, v, g) that returns (dv, dg).

    ``healthy`` is :func:`gradients`. The others: ``norm_constant`` does not differentiate through
    the norm, so nothing is projected away, :math:`\nabla_v L = \frac{g}{\lVert v\rVert}\nabla_w L`;
    ``scale_forgotten`` leaves out the factor,
    :math:`\nabla_v L = M_w\nabla_w L`; ``length_undivided`` leaves out the norm,
    :math:`\nabla_g L = \nabla_w L\cdot v`; ``matrix_norm`` divides the whole matrix by one norm,
    and differentiates that correctly.
    """
    return {
        "healthy": gradients,
        "norm_constant": _norm_constant,
        "scale_forgotten": _scale_forgotten,
        "length_undivided": _length_undivided,
        "matrix_norm": _matrix_norm,
    }


def _norm_constant(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    _, dg = gradients(dw, v, g)
    return (g / _norm(v, g))[:, None] * dw, dg


def _scale_forgotten(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    _, dg = gradients(dw, v, g)
    return dw - (dg / _norm(v, g))[:, None] * v, dg


def _length_undivided(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    dv, _ = gradients(dw, v, g)
    return dv, (dw * v).sum(1)


def _matrix_norm(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    norm, along = v.norm(), (dw * v).sum(1)
    return g[:, None] * dw / norm - (g * along).sum() / norm**3 * v, along / norm


def diagnose(v: Tensor, g: Tensor, dw: Tensor, dv: Tensor, dg: Tensor) -> str:
    """Name what a hand-written weight norm really computes, from its log of one step.

    Args:
        v, g: direction and length before the step, (O, D) and (O,), O and D at least 2.
        dw: the true gradient in the weights, (O, D).
        dv, dg: the gradients that the code computed from it, (O, D) and (O,).

    Returns:
        The name, among those of :func:`faulty_gradients`, whose gradients lie nearest to the log.

    Raises:
        ValueError: as :func:`gradients`.
    """
    return nearest(dv, dg, {name: code(dw, v, g) for name, code in faulty_gradients().items()})


def nearest(dv: Tensor, dg: Tensor, suspects: dict[str, tuple[Tensor, Tensor]]) -> str:
    """The suspect whose gradients (dv, dg) are closest to those of the log; the first of equals."""
    return min(suspects, key=lambda name: _distance((dv, dg), suspects[name]))


def _distance(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    return sum((a - b).square().sum().item() for a, b in zip(one, other, strict=True))


def _check_lr(lr: float) -> None:
    if not lr >= 0:
        raise ValueError(f"lr is {lr}; it must be at least 0")


def _norm(v: Tensor, g: Tensor) -> Tensor:
    if v.dim() != 2 or g.shape != v.shape[:1]:
        raise ValueError(
            f"v has the shape {tuple(v.shape)} and g {tuple(g.shape)}; they must be (O, D) and (O,)"
        )
    if not v.is_floating_point():
        raise ValueError(f"v holds {v.dtype}; it must be floating")
    norm = v.norm(dim=1)
    if bool((norm == 0).any()):
        raise ValueError(f"row {norm.argmin().item()} of v is zero: it has no direction")
    return norm
