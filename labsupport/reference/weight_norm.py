r"""Weight normalization: the length of a weight vector and its direction as two parameters.

Symbols: v direction (O, D), one row a unit; g lengths (O,); w weights (O, D); M the projection away from w.
"""

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
        ValueError: if g is not (O,), or a row of v is zero: it has no direction.

    Source: Salimans & Kingma (2016), equation 2; the lecture, "Weight Normalization".
    """
    return (g / _norm(v, g))[:, None] * v


def gradients(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    r"""The gradients in length and direction, from the gradient in the weights.

    .. math::
        \nabla_g L = \frac{\nabla_w L \cdot v}{\lVert v\rVert}, \qquad
        \nabla_v L = \frac{g}{\lVert v\rVert}\, M_w \nabla_w L, \qquad M_w = I - \frac{w w^\top}{\lVert w\rVert^2}

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
        raise ValueError(f"dw has the shape {tuple(dw.shape)}, v {tuple(v.shape)}: they must be equal")
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
        raise ValueError(f"w is {w.tolist() if w.dim() < 2 else tuple(w.shape)}; it must be one vector with a direction")
    return torch.eye(len(w), dtype=w.dtype, device=w.device) - torch.outer(w, w) / w.dot(w)


def norm_after_step(v: Tensor, dv: Tensor, lr: float) -> Tensor:
    r"""The norm of v after a step of gradient descent, by Pythagoras: the gradient is perpendicular to v.

    .. math:: \lVert v - \eta\nabla_v L\rVert^2 = \lVert v\rVert^2 + \eta^2\lVert\nabla_v L\rVert^2

    Args:
        v, dv: direction and its gradient, (O, D).
        lr: :math:`\eta \ge 0`.

    Returns:
        (O,) never less than the norm before: the larger the rate, the more v grows, and the less the next step turns it.

    Raises:
        ValueError: for a negative lr.

    Source: Salimans & Kingma (2016), section 2.1.
    """
    if not lr >= 0:
        raise ValueError(f"lr is {lr}; it must be at least 0")
    return (v.square().sum(1) + lr**2 * dv.square().sum(1)).sqrt()


def data_dependent_init(v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Length and bias for which the pre-activations of one batch have mean 0 and variance 1.

    .. math:: t = \frac{v \cdot x}{\lVert v\rVert}, \qquad g = \frac{1}{\sigma[t]}, \qquad b = -\frac{\mu[t]}{\sigma[t]}

    Args:
        v: (O, D), no row zero.
        x: inputs of the layer, (B, D), B at least 2.

    Returns:
        (g (O,), b (O,)).

    Raises:
        ValueError: for fewer than two samples, a zero row of v, or a unit that puts out the same for every sample.

    Source: Salimans & Kingma (2016), equations 5 and 6.
    """
    if len(x) < 2:
        raise ValueError(f"x has {len(x)} sample(s); a variance needs at least 2")
    t = x @ v.T / _norm(v, v.new_ones(len(v)))
    var, mean = torch.var_mean(t, 0, correction=0)
    if bool((var == 0).any()):
        raise ValueError(f"unit {var.argmin().item()} puts out {mean[var.argmin()].item():g} for every sample: its variance is zero")
    return 1 / var.sqrt(), -mean / var.sqrt()


def _norm(v: Tensor, g: Tensor) -> Tensor:
    if v.dim() != 2 or g.shape != v.shape[:1]:
        raise ValueError(f"v has the shape {tuple(v.shape)} and g {tuple(g.shape)}; they must be (O, D) and (O,)")
    norm = v.norm(dim=1)
    if bool((norm == 0).any()):
        raise ValueError(f"row {norm.argmin().item()} of v is zero: it has no direction")
    return norm
