"""Exercises on feedback alignment: direct and indirect steps, angles, a run, a log."""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, VALUES, form, one_of, tensor
from labsupport.topics.feedback_alignment import reference
from labsupport.topics.feedback_alignment.experiments import two_steps

_EDGES = (*VALUES, 2.0**-40, -(2.0**-40))
"""Pre-activations at the kink of the ReLU, and close to it on either side."""


@st.composite
def _hidden_inputs(draw):
    """Draw a square B, so that a transposed or forgotten matrix still fits."""
    batch, into, hidden, dtype = (
        one_of(draw, 1, 2),
        one_of(draw, 1, 2),
        one_of(draw, 2, 1),
        one_of(draw, *DTYPES),
    )
    square = (hidden, hidden)
    shapes = {
        "x": (batch, into),
        "z": (batch, hidden),
        "weight": square,
        "feedback": square,
        "v": (batch, hidden),
    }
    return {
        name: tensor(draw, shape, dtype, _EDGES if name == "z" else VALUES)
        for name, shape in shapes.items()
    }


def weight_used(x, z, weight, feedback, v):
    """You sent the error down through the transposed weights. That is backpropagation; here B
    stands in their place.
    """
    return reference.hidden_step(x, z, weight, weight.mT, v)


def feedback_transposed(x, z, weight, feedback, v):
    """You used B the wrong way round. It has the shape (H, out), as the transposed weights: with
    samples in rows it is v Bᵀ.
    """
    return reference.hidden_step(x, z, weight, feedback.mT, v)


def slope_forgotten(x, z, weight, feedback, v):
    """You left out ρ'(z). A unit that is switched off (z ≤ 0) must not learn: random feedback
    replaces the weights alone.
    """
    v1 = v @ feedback.mT
    return v1, v1.mT @ x


def slope_in_the_step_alone(x, z, weight, feedback, v):
    """You left ρ'(z) out of the error that you return. The layer below gets v_1, and a unit that is
    switched off passes nothing on.
    """
    return v @ feedback.mT, reference.hidden_step(x, z, weight, feedback, v)[1]


def slope_in_the_error_alone(x, z, weight, feedback, v):
    """You left ρ'(z) out of the step. The step is v_1 x^T, with the v_1 that you return."""
    v1, _ = reference.hidden_step(x, z, weight, feedback, v)
    return v1, (v @ feedback.mT).mT @ x


def sign_lost(x, z, weight, feedback, v):
    """You turned the sign. This stands in for a gradient, and the optimizer subtracts it: no minus
    here.
    """
    v1, step = reference.hidden_step(x, z, weight, feedback, v)
    return -v1, -step


def step_transposed(x, z, weight, feedback, v):
    """You transposed the step. It has the shape of the weights, (H, in): the error stands on the
    left, v_1^T x.
    """
    v1, step = reference.hidden_step(x, z, weight, feedback, v)
    return v1, step.mT


def activation_for_slope(x, z, weight, feedback, v):
    """You multiplied by ρ(z), what the unit puts out. It is the slope ρ'(z) that belongs there: 1
    where z > 0, else 0.
    """
    v1 = (v @ feedback.mT) * z.relu()
    return v1, v1.mT @ x


def slope_at_zero(x, z, weight, feedback, v):
    """You let a unit learn at z = 0. ReLU's slope there is 0 here, as in PyTorch: z > 0, not z ≥
    0.
    """
    v1 = (v @ feedback.mT) * (z >= 0)
    return v1, v1.mT @ x


def relu_of_the_error(x, z, weight, feedback, v):
    """You took the ReLU of what came down. An error may be negative; what switches it on or off is
    the sign of z.
    """
    v1 = (v @ feedback.mT).relu()
    return v1, v1.mT @ x


def paired_with_output(x, z, weight, feedback, v):
    """You paired the error with what the layer puts out. As on the slide, but a weight's step pairs
    with its input x.
    """
    v1, _ = reference.hidden_step(x, z, weight, feedback, v)
    return v1, v1.mT @ z.relu()


def averaged_again(x, z, weight, feedback, v):
    """You divided by the batch once more. The mean over the batch is in v already: add up over the
    samples.
    """
    v1, step = reference.hidden_step(x, z, weight, feedback, v)
    return v1, step / len(x)


def hidden_by_outer_products(x, z, weight, feedback, v):
    """Sample by sample, as the slide writes it."""
    v1 = torch.stack([(feedback @ row) * (at > 0) for row, at in zip(v, z, strict=True)])
    return v1, sum(torch.outer(a, b) for a, b in zip(v1, x, strict=True))


@st.composite
def _direct_inputs(draw):
    """Draw layers as wide as there are classes, where the slide's rule as printed runs."""
    batch, into, width, dtype = (
        one_of(draw, 1, 2),
        one_of(draw, 1, 2),
        one_of(draw, 2, 1),
        one_of(draw, *DTYPES),
    )
    shapes = (
        {"x": (batch, into)}
        | dict.fromkeys(("z1", "z2", "error"), (batch, width))
        | dict.fromkeys(("feedback1", "feedback2"), (width, width))
    )
    return {
        name: tensor(draw, shape, dtype, _EDGES if name in ("z1", "z2") else VALUES)
        for name, shape in shapes.items()
    }


def _direct(x, z1, z2, v1, v2):
    return v1.mT @ x, v2.mT @ z1.relu()


def without_feedback(x, z1, z2, feedback1, feedback2, error):
    """You put the error itself into each layer, as the slide says it. It has to go through that
    layer's B first: slip e-13.
    """
    return _direct(x, z1, z2, error * (z1 > 0), error * (z2 > 0))


def chained(x, z1, z2, feedback1, feedback2, error):
    """You sent the second layer's error on to the first. That is feedback alignment; the direct
    form starts from e each time.
    """
    v2 = (error @ feedback2.mT) * (z2 > 0)
    return _direct(x, z1, z2, (v2 @ feedback1.mT) * (z1 > 0), v2)


def slope_above_kept(x, z1, z2, feedback1, feedback2, error):
    """You let the slope of the second layer act on the first. In DFA the error of a layer has not
    been through any other layer.
    """
    v2 = (error @ feedback2.mT) * (z2 > 0)
    return _direct(x, z1, z2, (error @ feedback1.mT) * (z1 > 0) * (z2 > 0), v2)


def one_matrix_for_both(x, z1, z2, feedback1, feedback2, error):
    """You used one matrix for both layers. Each has its own: B_1 for the first, B_2 for the
    second.
    """
    return reference.direct_step(x, z1, z2, feedback1, feedback1, error)


def matrices_exchanged(x, z1, z2, feedback1, feedback2, error):
    """You exchanged the matrices. B_1 sends the error to the first hidden layer, B_2 to the
    second.
    """
    return reference.direct_step(x, z1, z2, feedback2, feedback1, error)


def first_slope_forgotten(x, z1, z2, feedback1, feedback2, error):
    """You left out ρ'(z_1). Each layer's error goes through that layer's own slope, the first
    one's as well.
    """
    return _direct(x, z1, z2, error @ feedback1.mT, (error @ feedback2.mT) * (z2 > 0))


def second_slope_forgotten(x, z1, z2, feedback1, feedback2, error):
    """You left out ρ'(z_2). Each layer's error goes through that layer's own slope, the second
    one's as well.
    """
    return _direct(x, z1, z2, (error @ feedback1.mT) * (z1 > 0), error @ feedback2.mT)


def slopes_at_zero(x, z1, z2, feedback1, feedback2, error):
    """You let a unit learn at z = 0. ReLU's slope there is 0 here, as in PyTorch: z > 0, not z ≥
    0.
    """
    v1, v2 = (error @ feedback1.mT) * (z1 >= 0), (error @ feedback2.mT) * (z2 >= 0)
    return _direct(x, z1, z2, v1, v2)


def both_slopes_forgotten(x, z1, z2, feedback1, feedback2, error):
    """You left out ρ'(z). DFA replaces the way of the error down to a layer, not what the layer's
    own activation does to it.
    """
    return _direct(x, z1, z2, error @ feedback1.mT, error @ feedback2.mT)


def second_paired_with_x(x, z1, z2, feedback1, feedback2, error):
    """You paired the second layer's error with the inputs of the network. That layer takes in x_1 =
    ρ(z_1), not x.
    """
    step1, _ = reference.direct_step(x, z1, z2, feedback1, feedback2, error)
    return step1, ((error @ feedback2.mT) * (z2 > 0)).mT @ x


def second_paired_with_z1(x, z1, z2, feedback1, feedback2, error):
    """You paired the second layer's error with z_1. What that layer takes in is x_1 = ρ(z_1),
    behind the ReLU.
    """
    step1, _ = reference.direct_step(x, z1, z2, feedback1, feedback2, error)
    return step1, ((error @ feedback2.mT) * (z2 > 0)).mT @ z1


def steps_averaged(x, z1, z2, feedback1, feedback2, error):
    """You divided by the batch. The gradient in the logits holds the mean already: add up over the
    samples.
    """
    return tuple(
        step / len(x) for step in reference.direct_step(x, z1, z2, feedback1, feedback2, error)
    )


def direct_transposed(x, z1, z2, feedback1, feedback2, error):
    """You used the B the wrong way round. Each has the shape (units, K): with samples in rows it is
    e Bᵀ.
    """
    return reference.direct_step(x, z1, z2, feedback1.mT, feedback2.mT, error)


def direct_by_einsum(x, z1, z2, feedback1, feedback2, error):
    """With the indices written out."""
    v1 = torch.einsum("hk,bk->bh", feedback1, error).where(z1 > 0, 0.0)
    v2 = torch.einsum("hk,bk->bh", feedback2, error).where(z2 > 0, 0.0)
    return torch.einsum("bh,bd->hd", v1, x), torch.einsum("bh,bd->hd", v2, F.relu(z1))


@st.composite
def _pairs(draw):
    """Updates may be small or large: their lengths are no measure of their angle."""
    shape, dtype = form(draw)
    scales = [one_of(draw, 1.0, 2.0**-20, 2.0**20) for _ in range(2)]
    return {
        "a": scales[0] * tensor(draw, shape, dtype, (1.0, 0.0, 2.0, -1.0, -3.0)),
        "b": scales[1] * tensor(draw, shape, dtype, (2.0, 1.0, 0.0, -1.0, 0.5)),
    }


def _safe(top, bottom):
    return torch.where(bottom > 0, top / bottom, 0.0)


def lengths_forgotten(a, b):
    """You returned the inner product. Divide by both lengths, or a large update looks like a well
    aligned one.
    """
    return (a * b).sum()


def angle_returned(a, b):
    """You returned the angle. The cosine itself is asked for: 1 is the same direction, 0 a right
    angle.
    """
    return torch.arccos(reference.cosine(a, b))


def row_by_row(a, b):
    """You took the cosine along the last axis and averaged. Each update is one long vector: flatten
    the matrices first.
    """
    return _safe((a * b).sum(-1), a.norm(dim=-1) * b.norm(dim=-1)).mean()


def lengths_squared(a, b):
    """You divided by the squared lengths. A length is the square root of the sum of the squares."""
    return _safe((a * b).sum(), a.square().sum() * b.square().sum())


def small_number_added(a, b):
    """You added a small number to the lengths. Beside short updates it is not small: guard the zero
    alone, with torch.where.
    """
    return (a * b).sum() / (a.norm() * b.norm() + 1e-8)


def lengths_clamped(a, b):
    """You took a small number for the least that the lengths can be. The product of two short
    lengths is smaller: guard the zero alone, with torch.where.
    """
    return (a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-8)


def angle_without_sign(a, b):
    """You lost the sign. An update that points against the gradient has a cosine of -1, and that is
    the worst there is.
    """
    return reference.cosine(a, b).abs()


def one_length(a, b):
    """You divided by the squared length of b alone. That is how far a reaches along b, not the
    angle between them.
    """
    return _safe((a * b).sum(), b.square().sum())


def means_removed(a, b):
    """You subtracted the means first. That is a correlation; a direction is measured from zero."""
    return reference.cosine(a - a.mean(), b - b.mean())


def not_a_number(a, b):
    """You divided by a length of zero. An update of zero has no direction, and 0 is asked for, not
    NaN.
    """
    return (a * b).sum() / (a.norm() * b.norm())


def cosine_of_unit_vectors(a, b):
    """Both made one long first."""
    return F.normalize(a.flatten(), dim=0) @ F.normalize(b.flatten(), dim=0)


def cosine_of_torch(a, b):
    """The function that torch has."""
    return F.cosine_similarity(a.flatten(), b.flatten(), dim=0)


def cosine_as_on_the_page(a, b):
    """The solution of the chapter."""
    lengths = a.norm() * b.norm()
    return torch.where(lengths > 0, (a * b).sum() / lengths, 0.0)


@st.composite
def _runs(draw):
    into, hidden, out, samples = (
        one_of(draw, 1, 2),
        one_of(draw, 2, 1),
        one_of(draw, 2, 1),
        one_of(draw, 1, 2),
    )
    small = (1.0, 0.0, -1.0, 0.5)
    return {
        "w1": tensor(draw, (hidden, into), torch.float64, small),
        "w2": tensor(draw, (out, hidden), torch.float64, small),
        "draws": [
            tensor(draw, (hidden, out), torch.float64, small) for _ in range(one_of(draw, 2, 1, 3))
        ],
        "x": tensor(draw, (samples, into), torch.float64, small),
        "y": tensor(draw, (samples, out), torch.float64, small),
        "lr": one_of(draw, 1.0, 0.5),
    }


def redrawn(w1, w2, draws, x, y, *, lr):
    """You took a new feedback matrix in every step. Then the weights have nothing to align with: B
    is drawn once and stays.
    """
    for b in draws:
        w1, w2 = reference.linear_steps(w1, w2, [b], x, y, lr=lr)
    return w1, w2


def latest_draw(w1, w2, draws, x, y, *, lr):
    """You used the last of the draws. B is the first of them, and it stays for all steps."""
    return reference.linear_steps(w1, w2, draws[::-1], x, y, lr=lr)


def feedback_at_the_output(w1, w2, draws, x, y, *, lr):
    """You sent the output layer's own error through matrices as well. W_2 sees e itself; B is for
    the layer below.
    """
    b = draws[0]
    for _ in draws:
        h = x @ w1.mT
        e = h @ w2.mT - y
        w1, w2 = w1 - lr * (e @ b.mT).mT @ x, w2 - lr * (e @ b.mT @ b).mT @ h
    return w1, w2


def through_the_weights(w1, w2, draws, x, y, *, lr):
    """You sent the error through the transposed weights, as backpropagation does. It goes through
    B.
    """
    for _ in draws:
        w1, w2 = reference.linear_steps(w1, w2, [w2.mT], x, y, lr=lr)
    return w1, w2


def one_after_the_other(w1, w2, draws, x, y, *, lr):
    """You changed W_1 before you computed the step of W_2. Both steps come from one forward
    pass.
    """
    for _ in draws:
        e = x @ w1.mT @ w2.mT - y
        w1 = w1 - lr * (e @ draws[0].mT).mT @ x
        w2 = w2 - lr * e.mT @ (x @ w1.mT)
    return w1, w2


def uphill(w1, w2, draws, x, y, *, lr):
    """You added the steps. Error is output minus target, so they are subtracted."""
    return reference.linear_steps(w1, w2, draws, x, y, lr=-lr)


def averaged(w1, w2, draws, x, y, *, lr):
    """You averaged over the samples. Here the steps are sums over n; a mean would need a learning
    rate N times as large.
    """
    return reference.linear_steps(w1, w2, draws, x, y, lr=lr / len(x))


def factor_two(w1, w2, draws, x, y, *, lr):
    """You put in a factor 2. The steps as given have none: they belong to half the squared
    error.
    """
    return reference.linear_steps(w1, w2, draws, x, y, lr=2 * lr)


def returned_in_the_loop(w1, w2, draws, x, y, *, lr):
    """You stopped after one step. Is the return inside the loop? There are as many steps as draws,
    though B is the first in all.
    """
    return reference.linear_steps(w1, w2, draws[:1], x, y, lr=lr)


def one_step_too_few(w1, w2, draws, x, y, *, lr):
    """You took one step fewer than there are draws. The first draw is B, and it has a step of its
    own.
    """
    return reference.linear_steps(w1, w2, draws[:1] * (len(draws) - 1), x, y, lr=lr)


def error_of_the_start(w1, w2, draws, x, y, *, lr):
    """You computed the errors once, before the loop. Every step starts with a forward pass through
    the weights as they are now.
    """
    e = x @ w1.mT @ w2.mT - y
    for _ in draws:
        w1, w2 = w1 - lr * (e @ draws[0].mT).mT @ x, w2 - lr * e.mT @ (x @ w1.mT)
    return w1, w2


def steps_by_autograd(w1, w2, draws, x, y, *, lr):
    """By the function of autograd that this chapter shows."""
    for _ in draws:
        a, b = w1.clone().requires_grad_(), w2.clone().requires_grad_()
        out = reference.feedback_linear(x @ a.mT, b, b.new_zeros(len(b)), draws[0])
        g1, g2 = torch.autograd.grad((out - y).square().sum() / 2, (a, b))
        w1, w2 = w1 - lr * g1, w2 - lr * g2
    return w1, w2


@st.composite
def _logs(draw):
    """Draw two steps of a layer of two units; a log of two possible rules is passed over."""
    picks = [one_of(draw, *range(4)) for _ in range(8)]
    name, log = two_steps(one_of(draw, *range(8)), picks, one_of(draw, 0.0, 1e-12))
    assume(reference.diagnose(*log) == name)
    return log._asdict()


def _named(weights, feedback, vs, errors, sent, *, every=all, near=torch.allclose, **ways):
    log = list(zip(weights, feedback, vs, errors, sent, strict=True))
    ways = reference.WAYS | ways
    name = next(
        (name for name, way in ways.items() if every(near(way(*seen), s) for *seen, s in log)),
        "unknown",
    )
    fixed = all(torch.equal(b, feedback[0]) for b in feedback)
    return "redrawn" if name == "feedback_alignment" and not fixed else name


def redrawn_passed_over(weights, feedback, vs, errors, sent):
    """You did not compare the matrices of the steps. The rule needs a B that stays; one that is
    redrawn cannot be aligned with.
    """
    return reference.diagnose(weights, feedback, vs, errors, sent).replace(
        "redrawn", "feedback_alignment"
    )


def _renamed(log, **names):
    found = reference.diagnose(*log)
    return names.get(found, found)


def direct_called_indirect(weights, feedback, vs, errors, sent):
    """You took direct feedback for feedback alignment. Ask which error went through B: the layer's
    own, or that of the output.
    """
    return _renamed((weights, feedback, vs, errors, sent), direct="feedback_alignment")


def signs_called_backprop(weights, feedback, vs, errors, sent):
    """You looked at the signs alone. The signs of Wᵀ with the sizes of B are a rule of its own, and
    not backpropagation.
    """
    return _renamed((weights, feedback, vs, errors, sent), sign_symmetric="backprop")


def feedback_not_looked_for(weights, feedback, vs, errors, sent):
    """You called everything that is not backpropagation unknown when B v arrived. Compare with B
    before you give up.
    """
    log = (weights, feedback, vs, errors, sent)
    return _renamed(log, feedback_alignment="unknown", redrawn="unknown")


def weights_not_transposed(weights, feedback, vs, errors, sent):
    """You looked for W v. Backpropagation sends Wᵀ v; with a square matrix the shapes do not warn
    you.
    """
    return _named(weights, feedback, vs, errors, sent, backprop=lambda w, b, v, e: w @ v)


def rows_taken_for_columns(weights, feedback, vs, errors, sent):
    """You wrote v @ b. For one sample B v is b @ v; v @ b multiplies by Bᵀ, and a square matrix
    does not complain.
    """
    rows = {
        "feedback_alignment": lambda w, b, v, e: v @ b,
        "direct": lambda w, b, v, e: e @ b,
        "sign_symmetric": lambda w, b, v, e: v @ (b.abs() * w.mT.sign()),
    }
    return _named(weights, feedback, vs, errors, sent, **rows)


def signs_not_transposed(weights, feedback, vs, errors, sent):
    """You took the signs of W. What lies in the place of Wᵀ has the signs of Wᵀ: transpose before
    you take them.
    """
    return _named(
        weights,
        feedback,
        vs,
        errors,
        sent,
        sign_symmetric=lambda w, b, v, e: (b.abs() * w.sign()) @ v,
    )


def one_step_is_enough(weights, feedback, vs, errors, sent):
    """You took a name that fits one step. By chance two rules can send the same once; the name has
    to fit in all steps.
    """
    return _named(weights, feedback, vs, errors, sent, every=any)


def equal_to_the_last_bit(weights, feedback, vs, errors, sent):
    """You compared what arrived to the last bit. It was computed in another order of operations:
    torch.allclose, not ==.
    """
    return _named(weights, feedback, vs, errors, sent, near=torch.equal)


def matrices_compared_as_objects(weights, feedback, vs, errors, sent):
    """You called a matrix redrawn that had stayed. Compare its numbers, with torch.equal: equal
    tensors need not be one object.
    """
    return reference.diagnose(weights, feedback, vs, errors, sent).replace(
        "feedback_alignment", "redrawn"
    )


def silence_is_unknown(weights, feedback, vs, errors, sent):
    """You did not expect that nothing arrives. Then the layers below stay as they were drawn, and
    the last layer learns alone.
    """
    return reference.diagnose(weights, feedback, vs, errors, sent).replace("last_layer", "unknown")


def diagnose_by_distance(weights, feedback, vs, errors, sent):
    """The first rule that is never far from what arrived."""
    log = list(zip(weights, feedback, vs, errors, sent, strict=True))
    far = {
        name: max((way(*seen) - s).abs().max() for *seen, s in log)
        for name, way in reference.WAYS.items()
    }
    name = next((name for name, distance in far.items() if distance < 1e-6), "unknown")
    return (
        "redrawn"
        if name == "feedback_alignment" and any((b != feedback[0]).any() for b in feedback)
        else name
    )


EXERCISES = (
    Exercise(
        id="feedback_alignment.hidden_step",
        title="Feedback alignment at one hidden layer",
        points=2,
        section="Idea",
        reference=reference.hidden_step,
        inputs=_hidden_inputs(),
        returns=("v1", "step"),
        misconceptions=known("A slip on the slide", paired_with_output)
        + known(
            "Idea",
            weight_used,
            feedback_transposed,
            slope_forgotten,
            activation_for_slope,
            averaged_again,
            slope_at_zero,
            relu_of_the_error,
            slope_in_the_step_alone,
            slope_in_the_error_alone,
            sign_lost,
            step_transposed,
        ),
        alternatives=(hidden_by_outer_products,),
    ),
    Exercise(
        id="feedback_alignment.direct_step",
        title="Direct feedback alignment",
        points=2,
        section="Idea",
        reference=reference.direct_step,
        inputs=_direct_inputs(),
        returns=("step1", "step2"),
        misconceptions=known("A slip on the slide", without_feedback)
        + known(
            "Idea",
            chained,
            slope_above_kept,
            one_matrix_for_both,
            matrices_exchanged,
            first_slope_forgotten,
            second_slope_forgotten,
            slopes_at_zero,
            both_slopes_forgotten,
            second_paired_with_x,
            second_paired_with_z1,
            direct_transposed,
            steps_averaged,
        ),
        alternatives=(direct_by_einsum,),
    ),
    Exercise(
        id="feedback_alignment.cosine",
        title="The angle between two updates",
        points=1,
        section="Code",
        reference=reference.cosine,
        inputs=_pairs(),
        returns=(),
        misconceptions=known(
            "Code",
            lengths_forgotten,
            lengths_squared,
            angle_returned,
            row_by_row,
            small_number_added,
            lengths_clamped,
            angle_without_sign,
            one_length,
            means_removed,
            not_a_number,
        ),
        alternatives=(cosine_of_unit_vectors, cosine_of_torch, cosine_as_on_the_page),
    ),
    Exercise(
        id="feedback_alignment.linear_steps",
        title="A run of feedback alignment",
        points=3,
        section="Idea",
        reference=reference.linear_steps,
        inputs=_runs(),
        returns=("w1", "w2"),
        misconceptions=known("A matrix drawn in the backward pass", redrawn)
        + known("Idea", through_the_weights, latest_draw, feedback_at_the_output)
        + known(
            "Your turn",
            one_after_the_other,
            uphill,
            averaged,
            factor_two,
            returned_in_the_loop,
            one_step_too_few,
            error_of_the_start,
        ),
        alternatives=(steps_by_autograd,),
    ),
    Exercise(
        id="feedback_alignment.diagnose",
        title="Name the rule",
        points=3,
        section="Four runs to diagnose",
        reference=reference.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "Four runs to diagnose",
            redrawn_passed_over,
            direct_called_indirect,
            signs_called_backprop,
            feedback_not_looked_for,
            weights_not_transposed,
            rows_taken_for_columns,
            signs_not_transposed,
            one_step_is_enough,
            equal_to_the_last_bit,
            matrices_compared_as_objects,
            silence_is_unknown,
        ),
        alternatives=(diagnose_by_distance,),
    ),
)
