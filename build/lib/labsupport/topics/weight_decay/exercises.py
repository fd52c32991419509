"""The exercises of the chapter on weight decay: three update rules to write, and one sick run to
diagnose.
"""

import torch
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import NONZERO, POSITIVE, form, one_of, tensor
from labsupport.topics.weight_decay import reference

_RATES = (0.1, 0.5, 1.0, 0.01)
_DECAYS = (0.0, 0.1, 0.5, 0.01)


@st.composite
def _sgd_inputs(draw):
    size = form(draw)
    return {
        "w": tensor(draw, *size),
        "g": tensor(draw, *size),
        "lr": one_of(draw, *_RATES),
        "weight_decay": one_of(draw, *_DECAYS),
    }


@st.composite
def _momentum_inputs(draw):
    size = form(draw)
    return {
        "w": tensor(draw, *size),
        "g": tensor(draw, *size),
        "v": tensor(draw, *size),
        "lr": one_of(draw, *_RATES),
        "momentum": one_of(draw, 0.9, 0.0, 0.25, 0.5),
        "weight_decay": one_of(draw, *_DECAYS),
    }


@st.composite
def _adamw_inputs(draw):
    """The first step starts from zero moments; at a later one the second moment is positive."""
    size = form(draw)
    w, g, t = tensor(draw, *size), tensor(draw, *size), one_of(draw, 1, 2, 10)
    m = torch.zeros_like(w) if t == 1 else tensor(draw, *size)
    v = torch.zeros_like(w) if t == 1 else tensor(draw, *size, POSITIVE)
    return {
        "w": w,
        "g": g,
        "m": m,
        "v": v,
        "t": t,
        "lr": one_of(draw, *_RATES),
        "weight_decay": one_of(draw, *_DECAYS),
        "eps": one_of(draw, 1e-8, 0.1, 0.001),
        "betas": one_of(draw, (0.9, 0.999), (0.5, 0.9), (0.0, 0.5)),
    }


# -- sgd_step --------------------------------------------------------------------------------------


def decay_unscaled(w, g, *, lr, weight_decay):
    """You removed λw; the update removes ηλw: the learning rate multiplies the decay as well."""
    return w - lr * g - weight_decay * w


def decay_adds(w, g, *, lr, weight_decay):
    """You added the decay, so the weights grow. It pulls them towards zero: subtract it."""
    return w - lr * g + lr * weight_decay * w


def decay_after_update(w, g, *, lr, weight_decay):
    """You decayed the weights that the gradient had already moved. Both terms start from the same
    old w.
    """
    moved = w - lr * g
    return moved - lr * weight_decay * moved


def decay_of_gradient(w, g, *, lr, weight_decay):
    """You multiplied λ with the gradient. Weight decay acts on the weights: the last term holds w,
    not g.
    """
    return w - lr * g - lr * weight_decay * g


def penalty_without_half(w, g, *, lr, weight_decay):
    """You decay twice as fast: 2λw is the gradient of λ‖w‖². The penalty has a half in front, λ/2
    ‖w‖².
    """
    return w - lr * g - 2 * lr * weight_decay * w


def decay_forgotten(w, g, *, lr, weight_decay):
    """You wrote a plain SGD step: weight_decay is never used. A third term is missing."""
    return w - lr * g


def decay_of_sign(w, g, *, lr, weight_decay):
    """You removed the same amount from every weight: that is the L1 penalty. Here what is removed
    grows with w.
    """
    return w - lr * g - lr * weight_decay * w.sign()


def sgd_by_shrinking(w, g, *, lr, weight_decay=0.0):
    """The decay as a factor on the weights."""
    return (1 - lr * weight_decay) * w - lr * g


def sgd_by_penalty(w, g, *, lr, weight_decay=0.0):
    """The decay as the gradient of an L2 penalty, from autograd."""
    leaf = w.detach().requires_grad_()
    penalty = weight_decay / 2 * (leaf**2).sum()
    return w - lr * (g + torch.autograd.grad(penalty, leaf)[0])


# -- momentum_step ---------------------------------------------------------------------------------


def decay_through_velocity(w, g, v, *, lr, momentum, weight_decay):
    """You added λw to the gradient, so the velocity carries it along: that is L2. Decay w itself,
    past v.
    """
    hyper = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
    return reference.momentum_step(w, g, v, **hyper, decoupled=False)


def gradient_undamped(w, g, v, *, lr, momentum, weight_decay):
    """You added the whole gradient to the velocity, as PyTorch does. The lecture damps it by 1 -
    μ.
    """
    hyper = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
    return reference.torch_momentum_step(w, g, v, **hyper, decoupled=True)


def momentum_swapped(w, g, v, *, lr, momentum, weight_decay):
    """You exchanged μ and 1 - μ: the old velocity keeps the share μ, the new gradient gets 1 -
    μ.
    """
    v = (1 - momentum) * v + momentum * g
    return w - lr * v - lr * weight_decay * w, v


def old_velocity_steps(w, g, v, *, lr, momentum, weight_decay):
    """You stepped with the velocity from before. Update v first; the weights move with the new
    one.
    """
    new = momentum * v + (1 - momentum) * g
    return w - lr * v - lr * weight_decay * w, new


def momentum_decay_unscaled(w, g, v, *, lr, momentum, weight_decay):
    """You removed λw; the update removes ηλw: the learning rate multiplies the decay too."""
    moved, v = reference.momentum_step(w, g, v, lr=lr, momentum=momentum)
    return moved - weight_decay * w, v


def momentum_decay_after_update(w, g, v, *, lr, momentum, weight_decay):
    """You decayed the weights that the velocity had already moved. Both terms start from the same
    old w.
    """
    moved, v = reference.momentum_step(w, g, v, lr=lr, momentum=momentum)
    return moved * (1 - lr * weight_decay), v


def velocity_first(w, g, v, **hyper):
    """You returned the velocity first. The order asked for is (w, v)."""
    return reference.momentum_step(w, g, v, **hyper)[::-1]


def momentum_by_lerp(w, g, v, *, lr, momentum, weight_decay=0.0):
    """The velocity as a point between its old self and the gradient."""
    v = torch.lerp(v, g, 1 - momentum)
    return w * (1 - lr * weight_decay) - lr * v, v


# -- adamw_step ------------------------------------------------------------------------------------


def _moments(g, m, v, betas):
    return betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2


def _corrected(m, v, t, betas):
    return m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


def l2_in_gradient(w, g, m, v, t, *, weight_decay, **hyper):
    """You added λw to the gradient, so Adam divides the decay by √v̂: that is Adam with L2. Decay w
    itself.
    """
    return reference.adam_step(w, g, m, v, t, weight_decay=weight_decay, **hyper)


def adamw_decay_unscaled(w, g, m, v, t, *, weight_decay, **hyper):
    """You removed λw, as the paper does when its schedule is 1. Here, as in PyTorch, it is ηλw."""
    moved, m, v = reference.adamw_step(w, g, m, v, t, weight_decay=0.0, **hyper)
    return moved - weight_decay * w, m, v


def no_bias_correction(w, g, m, v, t, *, lr, weight_decay, betas, eps):
    """You stepped with m and v as they are. They start at zero: divide by 1 - β₁ᵗ and 1 - β₂ᵗ
    first.
    """
    m, v = _moments(g, m, v, betas)
    return w - lr * weight_decay * w - lr * m / (v.sqrt() + eps), m, v


def steps_counted_from_zero(w, g, m, v, t, *, lr, weight_decay, betas, eps):
    """You corrected the bias with t - 1. Steps are counted from 1: at the first one the exponent is
    1.
    """
    m, v = _moments(g, m, v, betas)
    m_hat, v_hat = _corrected(m, v, t - 1, betas)
    return w - lr * weight_decay * w - lr * m_hat / (v_hat.sqrt() + eps), m, v


def steps_counted_ahead(w, g, m, v, t, *, lr, weight_decay, betas, eps):
    """You corrected the bias with t + 1. Here t already counts from 1: the first step's exponent is
    1, not 2.
    """
    m, v = _moments(g, m, v, betas)
    m_hat, v_hat = _corrected(m, v, t + 1, betas)
    return w - lr * weight_decay * w - lr * m_hat / (v_hat.sqrt() + eps), m, v


def decay_divided(w, g, m, v, t, *, lr, weight_decay, betas, eps):
    """You put λw beside m̂, so √v̂ divides it too. The decay stands outside the fraction."""
    m, v = _moments(g, m, v, betas)
    m_hat, v_hat = _corrected(m, v, t, betas)
    return w - lr * (m_hat + weight_decay * w) / (v_hat.sqrt() + eps), m, v


def eps_under_root(w, g, m, v, t, *, lr, weight_decay, betas, eps):
    """You put ε under the root. It is added after the root is taken: √v̂ + ε."""
    m, v = _moments(g, m, v, betas)
    m_hat, v_hat = _corrected(m, v, t, betas)
    return w - lr * weight_decay * w - lr * m_hat / (v_hat + eps).sqrt(), m, v


def root_forgotten(w, g, m, v, t, *, lr, weight_decay, betas, eps):
    """You divided by v̂. Divide by its root √v̂, which has the unit of a gradient."""
    m, v = _moments(g, m, v, betas)
    m_hat, v_hat = _corrected(m, v, t, betas)
    return w - lr * weight_decay * w - lr * m_hat / (v_hat + eps), m, v


def corrected_moments_kept(w, g, m, v, t, **hyper):
    """You returned m̂ and v̂. The correction is for the step alone: carry the plain m and v to the
    next one.
    """
    w, m, v = reference.adamw_step(w, g, m, v, t, **hyper)
    return w, *_corrected(m, v, t, hyper["betas"])


def adamw_by_step_size(w, g, m, v, t, *, lr, weight_decay=1e-2, betas=(0.9, 0.999), eps=1e-8):
    """Both bias corrections moved into the step size and ε."""
    m, v = m.lerp(g, 1 - betas[0]), (betas[1] * v).addcmul(g, g, value=1 - betas[1])
    root = (1 - betas[1] ** t) ** 0.5
    return (
        (w * (1 - lr * weight_decay)).addcdiv(
            m, v.sqrt() + eps * root, value=-lr * root / (1 - betas[0] ** t)
        ),
        m,
        v,
    )


# -- diagnose --------------------------------------------------------------------------------------


@st.composite
def _logs(draw):
    """A run of one to three steps by one of the five implementations.

    It may begin from zero weights, as a run of softmax regression does. No later weight comes near
    zero.
    """
    steps, size = one_of(draw, 1, 2, 3), one_of(draw, 1, 2, 3)
    lr, decay = one_of(draw, 0.1, 0.2, 0.25, 0.05), one_of(draw, 0.1, 0.5, 0.2, 0.01)
    fraction = one_of(draw, *reference.fractions(lr, decay).values())
    gradients = tensor(draw, (steps, size), torch.float64)
    weights = [tensor(draw, (size,), torch.float64, NONZERO)]
    if steps > 1 and one_of(draw, False, True):
        gradients[0], weights[0] = -weights[0] / lr, torch.zeros_like(weights[0])
    for g in gradients:
        weights.append(weights[-1] - lr * g - fraction * weights[-1])
    assume(all(bool((w.abs() > 0.05).all()) for w in weights[1:]))
    return {
        "w_before": torch.stack(weights[:-1]),
        "g": gradients,
        "w_after": torch.stack(weights[1:]),
        "lr": lr,
        "weight_decay": decay,
    }


def judged_by_norm(w_before, g, w_after, lr, weight_decay):
    """You judged by how the norm of the weights changes. The gradient alone can make it fall or
    grow.
    """
    return reference.nearest_fault(
        1 - w_after.norm() / w_before.norm(), reference.fractions(lr, weight_decay)
    )


def gradient_left_in(w_before, g, w_after, lr, weight_decay):
    """You took the whole change of the weights for decay. Subtract the gradient's part, ηg,
    first.
    """
    return reference.nearest_fault(
        reference.share(w_before - w_after, w_before), reference.fractions(lr, weight_decay)
    )


def gradient_unscaled(w_before, g, w_after, lr, weight_decay):
    """You subtracted g as the gradient's part of a step. Its part is ηg: multiply by the learning
    rate.
    """
    return reference.nearest_fault(
        reference.share(w_before - g - w_after, w_before), reference.fractions(lr, weight_decay)
    )


def rate_left_out(w_before, g, w_after, lr, weight_decay):
    """You expected a healthy step to remove λw. It removes ηλw; the bare λw is the fault
    decay_unscaled.
    """
    believed = {
        "healthy": weight_decay,
        "decay_sign": -weight_decay,
        "decay_unscaled": lr * weight_decay,
        "no_decay": 0.0,
        "decay_doubled": 2 * weight_decay,
    }
    return reference.nearest_fault(reference.share(w_before - lr * g - w_after, w_before), believed)


def only_direction(w_before, g, w_after, lr, weight_decay):
    """You looked at the direction of the decay alone. Compare its size with ηλw as well."""
    found = reference.diagnose(w_before, g, w_after, lr, weight_decay)
    return found if found in ("no_decay", "decay_sign") else "healthy"


def sign_reversed(w_before, g, w_after, lr, weight_decay):
    """You took what was added to the weights for what was removed: healthy decay takes ηλw away."""
    return reference.nearest_fault(
        reference.share(w_after - w_before + lr * g, w_before),
        reference.fractions(lr, weight_decay),
    )


def ratio_of_single_weights(w_before, g, w_after, lr, weight_decay):
    """You divided weight by weight, or used one step alone. A weight of zero has no ratio: pool
    all, then divide.
    """
    return reference.nearest_fault(
        ((w_before - lr * g - w_after) / w_before).mean(), reference.fractions(lr, weight_decay)
    )


def diagnose_by_trial(w_before, g, w_after, lr, weight_decay):
    """Replay each suspect and see which one reproduces the log."""
    for name, fraction in reference.fractions(lr, weight_decay).items():
        if torch.allclose(w_before - lr * g - fraction * w_before, w_after):
            return name


# -- the shelf -------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="weight_decay.sgd_step",
        title="One step of SGD with weight decay",
        points=2,
        section="Idea",
        reference=reference.sgd_step,
        inputs=_sgd_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            decay_unscaled,
            decay_adds,
            decay_after_update,
            decay_of_gradient,
            penalty_without_half,
            decay_forgotten,
            decay_of_sign,
        ),
        alternatives=(sgd_by_shrinking, sgd_by_penalty),
    ),
    Exercise(
        id="weight_decay.momentum_step",
        title="The lecture's momentum with decoupled decay",
        points=3,
        section="Idea",
        reference=reference.momentum_step,
        inputs=_momentum_inputs(),
        returns=("w", "v"),
        misconceptions=known(
            "Idea",
            decay_through_velocity,
            gradient_undamped,
            momentum_swapped,
            old_velocity_steps,
            momentum_decay_unscaled,
            momentum_decay_after_update,
            velocity_first,
        ),
        alternatives=(momentum_by_lerp,),
    ),
    Exercise(
        id="weight_decay.adamw_step",
        title="One step of AdamW",
        points=3,
        section="Idea",
        reference=reference.adamw_step,
        inputs=_adamw_inputs(),
        returns=("w", "m", "v"),
        misconceptions=known(
            "Idea",
            l2_in_gradient,
            adamw_decay_unscaled,
            no_bias_correction,
            steps_counted_from_zero,
            steps_counted_ahead,
            decay_divided,
            eps_under_root,
            root_forgotten,
            corrected_moments_kept,
        ),
        alternatives=(adamw_by_step_size,),
    ),
    Exercise(
        id="weight_decay.diagnose",
        title="Diagnose a run",
        points=2,
        section="How it fails",
        reference=reference.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "How it fails",
            judged_by_norm,
            gradient_left_in,
            gradient_unscaled,
            rate_left_out,
            only_direction,
            sign_reversed,
            ratio_of_single_weights,
        ),
        alternatives=(diagnose_by_trial,),
    ),
)
