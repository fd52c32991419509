r"""Weight decay and L2: the update rules of chapter 1, one pure step each.

Symbols: w weights, g gradient of the data loss, v velocity, m and v the two moments of Adam, t the
step. All tensors of one call have one shape ``(...)``; a hyperparameter is a number or a tensor
that broadcasts against them (one value per run, say). Nothing is changed in place.
"""

import torch
from torch import Tensor

Number = float | Tensor


def sgd_step(w: Tensor, g: Tensor, *, lr: Number, weight_decay: Number = 0.0) -> Tensor:
    r"""Take one SGD step with weight decay, the update on the lecture's first slide.

    .. math:: w_{t+1} = w_t - \eta\, g_t - \eta\lambda\, w_t

    Args:
        w, g: weights and loss gradient, shape (...).
        lr: :math:`\eta \ge 0`, in units of w per unit of g.
        weight_decay: :math:`\lambda \ge 0`; :math:`\eta\lambda` is the fraction of w removed in one
            step.

    Returns:
        The new weights, shape (...).

    Raises:
        ValueError: if ``lr`` or ``weight_decay`` is negative.

    Source: the lecture, "Weight Decay and L2".
    """
    _require_nonnegative(lr=lr, weight_decay=weight_decay)
    return w - lr * g - lr * weight_decay * w


def l2_gradient(w: Tensor, g: Tensor, *, l2: Number) -> Tensor:
    r"""Compute the gradient of the loss with an L2 penalty added.

    .. math:: \nabla\bigl(\mathcal L + \tfrac{\lambda}{2}\lVert w\rVert^2\bigr) = g + \lambda w

    Args:
        w, g: weights and gradient of the loss alone, shape (...).
        l2: :math:`\lambda \ge 0`, the coefficient of the penalty.

    Returns:
        The penalized gradient, shape (...).

    Raises:
        ValueError: if ``l2`` is negative.

    Source: the lecture, "SGD + Momentum", second block.
    """
    _require_nonnegative(l2=l2)
    return g + l2 * w


def momentum_step(
    w: Tensor,
    g: Tensor,
    v: Tensor,
    *,
    lr: Number,
    momentum: Number,
    weight_decay: Number = 0.0,
    decoupled: bool = True,
) -> tuple[Tensor, Tensor]:
    r"""Take one step of the lecture's momentum, with decay on the weights or L2.

    .. math::
        v_{t+1} = \mu v_t + (1-\mu)\, g_t, \qquad
        w_{t+1} = w_t - \eta\, v_{t+1} - \eta\lambda\, w_t

    With ``decoupled=False`` the decay term is dropped and :math:`g_t + \lambda w_t` takes the place
    of :math:`g_t`: the L2 form of the same slide.

    Args:
        w, g, v: weights, loss gradient, velocity, shape (...); v starts at zero.
        lr: :math:`\eta \ge 0`.
        momentum: :math:`\mu` in [0, 1): the velocity remembers about :math:`1/(1-\mu)` steps.
        weight_decay: :math:`\lambda \ge 0`.
        decoupled: decay the weights themselves (True) or add L2 to the gradient (False).

    Returns:
        New (w, v).

    Raises:
        ValueError: if ``lr`` or ``weight_decay`` is negative, or ``momentum`` is outside [0, 1).

    Source: the lecture, "SGD + Momentum + Weight Decay". ``torch.optim.SGD`` has no factor
    :math:`1-\mu`: see :func:`torch_momentum_step`.
    """
    _require_nonnegative(lr=lr, weight_decay=weight_decay)
    _require_unit(momentum=momentum)
    if not decoupled:
        g = l2_gradient(w, g, l2=weight_decay)
    v = momentum * v + (1 - momentum) * g
    decay = lr * weight_decay * w if decoupled else 0.0
    return w - lr * v - decay, v


def torch_momentum_step(
    w: Tensor,
    g: Tensor,
    v: Tensor,
    *,
    lr: Number,
    momentum: Number,
    weight_decay: Number = 0.0,
    decoupled: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Take one step of PyTorch's momentum, which adds the gradient without dampening.

    .. math:: v_{t+1} = \mu v_t + g_t, \qquad w_{t+1} = w_t - \eta\, v_{t+1}

    From zero velocity it takes the very steps of :func:`momentum_step` with
    :math:`\eta_{\text{lecture}} = \eta/(1-\mu)`; a decoupled decay must be rescaled the other way,
    :math:`\lambda_{\text{lecture}} = (1-\mu)\lambda`, because it is multiplied by the rate and not
    damped.

    Args:
        w, g, v: weights, loss gradient, velocity, shape (...); v starts at zero.
        lr: :math:`\eta \ge 0`.
        momentum: :math:`\mu` in [0, 1).
        weight_decay: :math:`\lambda \ge 0`.
        decoupled: False is ``torch.optim.SGD(weight_decay=...)``, which is L2; True decays the
            weights.

    Returns:
        New (w, v).

    Raises:
        ValueError: if ``lr`` or ``weight_decay`` is negative, or ``momentum`` is outside [0, 1).

    Source: the documented update of ``torch.optim.SGD``; checked against it in float64.
    """
    _require_nonnegative(lr=lr, weight_decay=weight_decay)
    _require_unit(momentum=momentum)
    if not decoupled:
        g = l2_gradient(w, g, l2=weight_decay)
    v = momentum * v + g
    decay = lr * weight_decay * w if decoupled else 0.0
    return w - lr * v - decay, v


def adam_step(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    *,
    lr: Number,
    weight_decay: Number = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Take one Adam step with L2: the penalty passes through both moments.

    .. math::
        \tilde g_t &= g_t + \lambda w_{t-1}, \qquad
        m_t = \beta_1 m_{t-1} + (1-\beta_1)\,\tilde g_t, \qquad
        v_t = \beta_2 v_{t-1} + (1-\beta_2)\,\tilde g_t^2 \\
        w_t &= w_{t-1} - \eta\,\frac{m_t/(1-\beta_1^t)}{\sqrt{v_t/(1-\beta_2^t)}+\epsilon}

    Args:
        w, g, m, v: weights, loss gradient and the two moments, shape (...); moments start at zero.
        t: step number, counted from 1.
        lr: :math:`\eta \ge 0`, in units of w: roughly how far a weight moves in a step.
        weight_decay: :math:`\lambda \ge 0`, the L2 coefficient.
        betas: memory of each moment; :math:`1/(1-\beta)` is its length in steps.
        eps: floor of the denominator, in units of g.

    Returns:
        New (w, m, v).

    Raises:
        ValueError: if t < 1, a beta is outside [0, 1), or ``lr``, ``weight_decay`` or ``eps`` is
            negative.

    Source: Kingma & Ba (2015), Algorithm 1, on the penalized gradient, as ``torch.optim.Adam``
    does.
    """
    _require_nonnegative(lr=lr, weight_decay=weight_decay, eps=eps)
    _require_unit(beta1=betas[0], beta2=betas[1])
    if t < 1:
        raise ValueError(f"t is {t}; steps are counted from 1")
    g = l2_gradient(w, g, l2=weight_decay)
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    # both start at zero, so t steps' weights add up to less than 1: divide by the sum
    m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return w - lr * m_hat / (v_hat.sqrt() + eps), m, v


def adamw_step(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    *,
    lr: Number,
    weight_decay: Number = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Take one AdamW step: Adam on the loss gradient alone, decay straight on the weights.

    .. math::

        w_t = (1-\eta\lambda)\,w_{t-1}
        - \eta\,\frac{m_t/(1-\beta_1^t)}{\sqrt{v_t/(1-\beta_2^t)}+\epsilon}

    with the moments of :func:`adam_step` at :math:`\lambda = 0`.

    Args:
        w, g, m, v, t, lr, betas, eps: as in :func:`adam_step`.
        weight_decay: :math:`\lambda \ge 0`; :math:`\eta\lambda` is the fraction of w removed in one
            step.

    Returns:
        New (w, m, v).

    Raises:
        ValueError: as :func:`adam_step`.

    Source: Loshchilov & Hutter (2019), Algorithm 2, with the decay scaled by ``lr`` as in
    ``torch.optim.AdamW``; the paper scales it by the schedule only.
    """
    _require_nonnegative(weight_decay=weight_decay)
    decay = lr * weight_decay * w  # of the old w, before Adam moves it
    w, m, v = adam_step(w, g, m, v, t, lr=lr, betas=betas, eps=eps)
    return w - decay, m, v


def momentum_gap(
    w: Tensor, *, lr: float, momentum: float, weight_decay: float, damped: bool = True
) -> tuple[int, Tensor]:
    r"""Compute when L2 and decoupled decay first differ under momentum, and by how much.

    Both start at :math:`w_0` with zero velocity and see the same gradients of the data loss. L2
    sends its :math:`\lambda w_0` through the velocity, decay does not:

    .. math::
        w_1^{\text{L2}} - w_1^{\text{decay}} &= +\eta\lambda\mu\, w_0 \quad\text{(the lecture's
        damped form)} \\ w_2^{\text{L2}} - w_2^{\text{decay}} &= -\eta\lambda\mu\, w_0
        \quad\text{(PyTorch's form)}

    Args:
        w: the weights at the start, shape (...).
        lr, momentum, weight_decay: :math:`\eta, \mu, \lambda`, as in :func:`momentum_step`.
        damped: the lecture's form (True) or PyTorch's (False).

    Returns:
        The first step at which they differ, counted from 1, and the difference L2 minus decay,
        shape (...).

    Source: subtract the two forms of :func:`momentum_step` (of :func:`torch_momentum_step`) from v
    = 0.
    """
    gap = lr * weight_decay * momentum * w
    return (1, gap) if damped else (2, -gap)


def diagnose(w_before: Tensor, g: Tensor, w_after: Tensor, lr: float, weight_decay: float) -> str:
    r"""Name what a run of SGD with weight decay really did, from its log.

    What a step changed beyond the gradient's part is a multiple of the weights:

    .. math:: w_t - \eta g_t - w_{t+1} = c\, w_t

    with c = ηλ (``healthy``), -ηλ (``decay_sign``), λ (``decay_unscaled``), 0 (``no_decay``) or 2ηλ
    (``decay_doubled``). The five are distinct if λ > 0, w ≠ 0 and η is none of 0, 1/2, 1.

    Args:
        w_before, g, w_after: weights before, loss gradient, weights after each step, shape (T, D).
        lr, weight_decay: η and λ that were asked for.

    Returns:
        One of the five names.
    """
    return nearest_fault(share(w_before - lr * g - w_after, w_before), fractions(lr, weight_decay))


def fractions(lr: float, weight_decay: float) -> dict[str, float]:
    """Compute the fraction of w that each implementation removes in a step."""
    return {
        "healthy": lr * weight_decay,
        "decay_sign": -lr * weight_decay,
        "decay_unscaled": weight_decay,
        "no_decay": 0.0,
        "decay_doubled": 2 * lr * weight_decay,
    }


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Compute the number c for which c times ``whole`` is closest to ``part``.

    All numbers are pooled, because a single weight of zero has no ratio.
    """
    return (part * whole).sum() / (whole * whole).sum()


def nearest_fault(fraction: Tensor | float, candidates: dict[str, float]) -> str:
    """Name the implementation whose fraction is closest."""
    return min(candidates, key=lambda name: abs(candidates[name] - float(fraction)))


def _require_nonnegative(**values: Number) -> None:
    for name, value in values.items():
        if bool(torch.as_tensor(value).lt(0).any()):
            raise ValueError(f"{name} is {value}; it must be >= 0")


def _require_unit(**values: Number) -> None:
    for name, value in values.items():
        tensor = torch.as_tensor(value)
        if bool(((tensor < 0) | (tensor >= 1)).any()):
            raise ValueError(f"{name} is {value}; it must be in [0, 1)")
