r"""Gradients of weight norm as five codes compute them, and the diagnosis of a log.

Symbols as in :mod:`labsupport.topics.weight_norm.reference`.
"""

from collections.abc import Callable

from torch import Tensor

from labsupport.topics.weight_norm.reference import gradients

Gradients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def faulty_gradients() -> dict[str, Gradients]:
    r"""Return five codes' gradients, each a function of (dw, v, g) that returns (dv, dg).

    ``healthy`` is :func:`gradients`. The others: ``norm_constant`` does not differentiate through
    the norm, so nothing is projected away, :math:`\nabla_v L = \frac{g}{\lVert v\rVert}\nabla_w L`;
    ``scale_forgotten`` leaves out the factor, :math:`\nabla_v L = M_w\nabla_w L`;
    ``length_undivided`` leaves out the norm, :math:`\nabla_g L = \nabla_w L\cdot v`;
    ``matrix_norm`` divides the whole matrix by one norm, and differentiates that correctly.
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
    return (g / v.norm(dim=1))[:, None] * dw, dg


def _scale_forgotten(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    _, dg = gradients(dw, v, g)
    return dw - (dg / v.norm(dim=1))[:, None] * v, dg


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
    """Name the suspect whose gradients (dv, dg) are closest; the first of equals."""
    return min(suspects, key=lambda name: _distance((dv, dg), suspects[name]))


def _distance(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    return sum((a - b).square().sum().item() for a, b in zip(one, other, strict=True))
