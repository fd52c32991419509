r"""Split a weight vector into a length and a direction: weight normalization.

Symbols: v direction (O, D), one row a unit; g lengths (O,); w weights (O, D); M the projection away
from w.
"""

import math

import torch
from torch import Tensor


def weight(v: Tensor, g: Tensor) -> Tensor:
    r"""Compute the weights that a layer multiplies with.

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
    scaled, norm, _ = _scaled(v, g)
    return (g / norm)[:, None] * scaled


def gradients(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute the gradients in length and direction, from the gradient in the weights.

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
    scaled, norm, scale = _scaled(v, g)
    along = (dw * scaled).sum(1) / norm
    across = dw - (along / norm)[:, None] * scaled
    return (g / norm * scale)[:, None] * across, along


def projection(w: Tensor) -> Tensor:
    r"""Compute the projection away from w: :math:`M_w = I - w w^\top / \lVert w\rVert^2`.

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
    r"""Predict the norm of v after a gradient step by Pythagoras: v ⊥ its gradient.

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
    scale = _power_of_two(torch.maximum(v.abs(), lr * dv.abs()))
    v, dv = v * scale[:, None], dv * scale[:, None]
    return (v.square().sum(1) + lr**2 * dv.square().sum(1)).sqrt() / scale


def effective_rate(v: Tensor, g: Tensor, lr: float) -> Tensor:
    r"""Compute the learning rate that the direction of w feels.

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
    _, norm, scale = _scaled(v, g)
    return lr * (g / norm * scale).square()


def data_dependent_init(v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Set length and bias so that the pre-activations of one batch have mean 0 and variance 1.

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
    scaled, norm, _ = _scaled(v, v.new_ones(len(v)))
    t = x @ scaled.T / norm
    var, mean = torch.var_mean(t, 0, correction=0)
    rounding = 4 * torch.finfo(t.dtype).eps * t.abs().amax(0)
    if bool((var <= rounding.square()).any()):
        unit = (var - rounding.square()).argmin()
        raise ValueError(
            f"unit {unit.item()} puts out {mean[unit].item():g} for every sample: its variance is"
            " zero"
        )
    return 1 / var.sqrt(), -mean / var.sqrt()


def _check_lr(lr: float) -> None:
    if not lr >= 0:
        raise ValueError(f"lr is {lr}; it must be at least 0")


def _scaled(v: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale rows of v so that no square leaves the dtype's range; also return norms and scale.

    In float32 the square of 1e20 is infinite and that of 1e-30 is 0. Only the direction of v
    counts, so each row may be multiplied by any number; by a power of two nothing is rounded.
    """
    if v.dim() != 2 or g.shape != v.shape[:1]:
        raise ValueError(
            f"v has the shape {tuple(v.shape)} and g {tuple(g.shape)}; they must be (O, D) and (O,)"
        )
    if not v.is_floating_point():
        raise ValueError(f"v holds {v.dtype}; it must be floating")
    zero = ~v.any(1)
    if bool(zero.any()):
        raise ValueError(f"row {zero.int().argmax().item()} of v is zero: it has no direction")
    scale = _power_of_two(v)
    scaled = v * scale[:, None]
    return scaled, scaled.norm(dim=1), scale


def _power_of_two(v: Tensor) -> Tensor:
    """Find powers of two (O,) that bring each row's largest entry between 1/2 and 1.

    At the ends of the dtype's range it stops where the power itself would leave the range.
    """
    _, exponent = v.detach().abs().amax(1).frexp()
    most = 1 - math.frexp(torch.finfo(v.dtype).tiny)[1]
    return torch.ldexp(v.new_ones(len(v)), -exponent.clamp(-most, most))
