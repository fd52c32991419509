"""The exercises of the chapter on feedback alignment: its steps, direct and indirect, angles, a run, and a log to diagnose."""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, NONZERO, VALUES, form, one_of, tensor
from labsupport.reference import feedback_alignment as reference


def _turned(matrix):
    """A square matrix transposed; another one as it is, or nothing would fit."""
    return matrix.mT if matrix.shape[0] == matrix.shape[1] else matrix


def _relu_slope(z):
    return (z > 0).to(z.dtype)


# -- hidden_step -----------------------------------------------------------------------------------


@st.composite
def _hidden_inputs(draw):
    batch, into, hidden, out = one_of(draw, 1, 2), one_of(draw, 1, 2), one_of(draw, 2, 1), one_of(draw, 2, 1)
    dtype = one_of(draw, *DTYPES)
    shapes = {"x": (batch, into), "z": (batch, hidden), "weight": (out, hidden), "feedback": (hidden, out), "v": (batch, out)}
    return {name: tensor(draw, shape, dtype) for name, shape in shapes.items()}


def weight_used(x, z, weight, feedback, v):
    """You sent the error down through the transposed weights. That is backpropagation; here B stands in their place."""
    return reference.hidden_step(x, z, weight, weight.mT, v)


def feedback_turned(x, z, weight, feedback, v):
    """You used B the wrong way round. It has the shape (H, out), as the transposed weights: with samples in rows it is v Bᵀ."""
    return reference.hidden_step(x, z, weight, _turned(feedback), v)


def slope_forgotten(x, z, weight, feedback, v):
    """You left out ρ'(z). A unit that is switched off (z ≤ 0) must not learn: random feedback replaces the weights alone."""
    v1 = v @ feedback.mT
    return v1, v1.mT @ x


def activation_for_slope(x, z, weight, feedback, v):
    """You multiplied by ρ(z), what the unit puts out. It is the slope ρ'(z) that belongs there: 1 where z > 0, else 0."""
    v1 = (v @ feedback.mT) * z.relu()
    return v1, v1.mT @ x


def sign_lost(x, z, weight, feedback, v):
    """You turned the sign. This stands in for a gradient, and the optimizer subtracts it: no minus here."""
    v1, step = reference.hidden_step(x, z, weight, feedback, v)
    return -v1, -step


def paired_with_output(x, z, weight, feedback, v):
    """You paired the error with what the layer puts out. As on the slide, but a weight's step pairs with its input x."""
    v1, step = reference.hidden_step(x, z, weight, feedback, v)
    return v1, v1.mT @ z.relu() if z.shape == x.shape else 2 * step


def averaged_again(x, z, weight, feedback, v):
    """You divided by the batch once more. The mean over the batch is in v already: add up over the samples."""
    v1, step = reference.hidden_step(x, z, weight, feedback, v)
    return v1, step / len(x)


def hidden_by_outer_products(x, z, weight, feedback, v):
    """Sample by sample, as the slide writes it."""
    v1 = torch.stack([(feedback @ row) * _relu_slope(at) for row, at in zip(v, z, strict=True)])
    return v1, sum(torch.outer(a, b) for a, b in zip(v1, x, strict=True))


# -- direct_step -----------------------------------------------------------------------------------


@st.composite
def _direct_inputs(draw):
    batch, into, width, out, dtype = (one_of(draw, 1, 2), one_of(draw, 1, 2), one_of(draw, 2, 1), one_of(draw, 2, 1),
                                      one_of(draw, *DTYPES))
    shapes = {"x": (batch, into), "z1": (batch, width), "z2": (batch, width), "feedback1": (width, out),
              "feedback2": (width, out), "error": (batch, out)}
    return {name: tensor(draw, shape, dtype) for name, shape in shapes.items()}


def _direct(x, z1, z2, v1, v2):
    return v1.mT @ x, v2.mT @ z1.relu()


def without_feedback(x, z1, z2, feedback1, feedback2, error):
    """You put the error itself into each layer, as the slide says it. It has to go through that layer's B first: slip e-13."""
    if z1.shape == error.shape:
        return _direct(x, z1, z2, error * _relu_slope(z1), error * _relu_slope(z2))
    total = error.sum(1, keepdim=True)
    return _direct(x, z1, z2, total * _relu_slope(z1), total * _relu_slope(z2))


def slope_above_kept(x, z1, z2, feedback1, feedback2, error):
    """You let the slope of the second layer act on the first. In DFA the error of a layer has not been through any other layer."""
    v2 = (error @ feedback2.mT) * _relu_slope(z2)
    return _direct(x, z1, z2, (error @ feedback1.mT) * _relu_slope(z1) * _relu_slope(z2), v2)


def both_slopes_forgotten(x, z1, z2, feedback1, feedback2, error):
    """You left out ρ'(z). DFA replaces the way of the error down to a layer, not what the layer's own activation does to it."""
    return _direct(x, z1, z2, error @ feedback1.mT, error @ feedback2.mT)


def one_matrix_for_both(x, z1, z2, feedback1, feedback2, error):
    """You used one matrix for both layers. Each has its own: B_1 for the first, B_2 for the second."""
    return reference.direct_step(x, z1, z2, feedback1, feedback1, error)


def matrices_exchanged(x, z1, z2, feedback1, feedback2, error):
    """You exchanged the matrices. B_1 sends the error to the first hidden layer, B_2 to the second."""
    return reference.direct_step(x, z1, z2, feedback2, feedback1, error)


def second_paired_with_x(x, z1, z2, feedback1, feedback2, error):
    """You paired the second layer's error with something that is not its input. It takes in x_1 = ρ(z_1), behind the ReLU."""
    v1, v2 = (error @ feedback1.mT) * _relu_slope(z1), (error @ feedback2.mT) * _relu_slope(z2)
    return v1.mT @ x, v2.mT @ z1


def direct_turned(x, z1, z2, feedback1, feedback2, error):
    """You used the B the wrong way round. Each has the shape (units, K): with samples in rows it is e Bᵀ."""
    return reference.direct_step(x, z1, z2, _turned(feedback1), _turned(feedback2), error)


def direct_by_einsum(x, z1, z2, feedback1, feedback2, error):
    """With the indices written out."""
    v1 = torch.einsum("hk,bk->bh", feedback1, error).where(z1 > 0, 0.0)
    v2 = torch.einsum("hk,bk->bh", feedback2, error).where(z2 > 0, 0.0)
    return torch.einsum("bh,bd->hd", v1, x), torch.einsum("bh,bd->hd", v2, F.relu(z1))


# -- cosine ----------------------------------------------------------------------------------------


@st.composite
def _pairs(draw):
    shape, dtype = form(draw)
    return {"a": tensor(draw, shape, dtype, (1.0, 0.0, 2.0, -1.0, -3.0)), "b": tensor(draw, shape, dtype, (2.0, 1.0, 0.0, -1.0, 0.5))}


def _safe(top, bottom):
    return torch.where(bottom > 0, top / bottom, 0.0)


def lengths_forgotten(a, b):
    """You returned the inner product. Divide by both lengths, or a large update looks like a well aligned one."""
    return (a * b).sum()


def one_length(a, b):
    """You divided by the squared length of b alone. That is how far a reaches along b, not the angle between them."""
    return _safe((a * b).sum(), b.square().sum())


def angle_without_sign(a, b):
    """You lost the sign. An update that points against the gradient has a cosine of -1, and that is the worst there is."""
    return reference.cosine(a, b).abs()


def angle_returned(a, b):
    """You returned the angle. The cosine itself is asked for: 1 is the same direction, 0 a right angle."""
    return torch.arccos(reference.cosine(a, b))


def row_by_row(a, b):
    """You took the cosine along the last axis and averaged. Each update is one long vector: flatten the matrices first."""
    return _safe((a * b).sum(-1), a.norm(dim=-1) * b.norm(dim=-1)).mean()


def means_removed(a, b):
    """You subtracted the means first. That is a correlation; a direction is measured from zero."""
    a, b = a - a.mean(), b - b.mean()
    return reference.cosine(a, b)


def not_a_number(a, b):
    """You divided by a length of zero. An update of zero has no direction, and 0 is asked for, not NaN."""
    return (a * b).sum() / (a.norm() * b.norm())


def cosine_of_unit_vectors(a, b):
    """Both made one long first."""
    return F.normalize(a.flatten(), dim=0) @ F.normalize(b.flatten(), dim=0)


# -- linear_steps ----------------------------------------------------------------------------------


@st.composite
def _runs(draw):
    into, hidden, out, samples = one_of(draw, 1, 2), one_of(draw, 2, 1), one_of(draw, 2, 1), one_of(draw, 1, 2)
    small = (1.0, 0.0, -1.0, 0.5)
    return {"w1": tensor(draw, (hidden, into), torch.float64, small), "w2": tensor(draw, (out, hidden), torch.float64, small),
            "draws": [tensor(draw, (hidden, out), torch.float64, small) for _ in range(one_of(draw, 2, 1, 3))],
            "x": tensor(draw, (samples, into), torch.float64, small), "y": tensor(draw, (samples, out), torch.float64, small),
            "lr": one_of(draw, 1.0, 0.5)}


def _linear(w1, w2, matrices, x, y, lr, *, sign=1.0, own=lambda e, b: e):
    for b in matrices:
        h = x @ w1.mT
        e = h @ w2.mT - y
        w1, w2 = w1 - sign * lr * (e @ b.mT).mT @ x, w2 - sign * lr * own(e, b).mT @ h
    return w1, w2


def redrawn(w1, w2, draws, x, y, *, lr):
    """You took a new feedback matrix in every step. Then the weights have nothing to align with: B is drawn once and stays."""
    return _linear(w1, w2, draws, x, y, lr)


def latest_draw(w1, w2, draws, x, y, *, lr):
    """You used the last of the draws. B is the first of them, and it stays for all steps."""
    return _linear(w1, w2, [draws[-1]] * len(draws), x, y, lr)


def through_the_weights(w1, w2, draws, x, y, *, lr):
    """You sent the error through the transposed weights, as backpropagation does. It goes through B."""
    for _ in draws:
        h = x @ w1.mT
        e = h @ w2.mT - y
        w1, w2 = w1 - lr * (e @ w2).mT @ x, w2 - lr * e.mT @ h
    return w1, w2


def one_after_the_other(w1, w2, draws, x, y, *, lr):
    """You changed W_1 before you computed the step of W_2. Both steps come from one forward pass."""
    for _ in draws:
        e = x @ w1.mT @ w2.mT - y
        w1 = w1 - lr * (e @ draws[0].mT).mT @ x
        w2 = w2 - lr * e.mT @ (x @ w1.mT)
    return w1, w2


def feedback_at_the_output(w1, w2, draws, x, y, *, lr):
    """You sent the output layer's own error through matrices as well. W_2 sees e itself; B is for the layer below."""
    return _linear(w1, w2, [draws[0]] * len(draws), x, y, lr, own=lambda e, b: e @ b.mT @ b)


def uphill(w1, w2, draws, x, y, *, lr):
    """You added the steps. Error is output minus target, so they are subtracted."""
    return _linear(w1, w2, [draws[0]] * len(draws), x, y, lr, sign=-1.0)


def one_step_only(w1, w2, draws, x, y, *, lr):
    """You took one step. There is one for each of the draws, though only the first of them is used as B."""
    return _linear(w1, w2, draws[:1], x, y, lr)


def steps_by_autograd(w1, w2, draws, x, y, *, lr):
    """By the function of autograd that this chapter shows."""
    for _ in draws:
        a, b = w1.clone().requires_grad_(), w2.clone().requires_grad_()
        out = reference.feedback_linear(x @ a.mT, b, b.new_zeros(len(b)), draws[0])
        g1, g2 = torch.autograd.grad((out - y).square().sum() / 2, (a, b))
        w1, w2 = w1 - lr * g1, w2 - lr * g2
    return w1, w2


# -- diagnose --------------------------------------------------------------------------------------

_WAYS = {"feedback_alignment": lambda w, b, v, e: b @ v, "redrawn": lambda w, b, v, e: b @ v, "backprop": lambda w, b, v, e: w.mT @ v,
         "direct": lambda w, b, v, e: b @ e, "sign_symmetric": lambda w, b, v, e: (b.abs() * w.mT.sign()) @ v,
         "last_layer": lambda w, b, v, e: 0 * v, "unknown": lambda w, b, v, e: w @ v}


@st.composite
def _logs(draw):
    """Two steps of a layer with two units on either side; logs that two rules could have left are passed over."""
    name = one_of(draw, *_WAYS, "redrawn", "sign_symmetric")
    weights = [tensor(draw, (2, 2), torch.float64, NONZERO) for _ in range(2)]
    feedback = [tensor(draw, (2, 2), torch.float64, NONZERO) for _ in range(2)]
    if name != "redrawn":
        feedback[1] = feedback[0].clone()
    vs, errors = ([tensor(draw, (2,), torch.float64, VALUES) for _ in range(2)] for _ in range(2))
    sent = [_WAYS[name](*seen) for seen in zip(weights, feedback, vs, errors, strict=True)]
    assume(reference.diagnose(weights, feedback, vs, errors, sent) == name)
    return {"weights": weights, "feedback": feedback, "vs": vs, "errors": errors, "sent": sent}


def _renamed(log, **names):
    found = reference.diagnose(*log)
    return names.get(found, found)


def redrawn_passed_over(weights, feedback, vs, errors, sent):
    """You did not compare the matrices of the steps. The rule needs a B that stays; one that is redrawn cannot be aligned with."""
    return _renamed((weights, feedback, vs, errors, sent), redrawn="feedback_alignment")


def direct_called_indirect(weights, feedback, vs, errors, sent):
    """You took direct feedback for feedback alignment. Ask which error went through B: the layer's own, or that of the output."""
    return _renamed((weights, feedback, vs, errors, sent), direct="feedback_alignment")


def signs_called_backprop(weights, feedback, vs, errors, sent):
    """You looked at the signs alone. The signs of Wᵀ with the sizes of B are a rule of its own, and not backpropagation."""
    return _renamed((weights, feedback, vs, errors, sent), sign_symmetric="backprop")


def weights_not_transposed(weights, feedback, vs, errors, sent):
    """You looked for W v. Backpropagation sends Wᵀ v; with a square matrix the shapes do not warn you."""
    return _renamed((weights, feedback, vs, errors, sent), unknown="backprop", backprop="unknown")


def silence_is_unknown(weights, feedback, vs, errors, sent):
    """You did not expect that nothing arrives. Then the layers below stay as they were drawn, and the last layer learns alone."""
    return _renamed((weights, feedback, vs, errors, sent), last_layer="unknown")


def feedback_not_looked_for(weights, feedback, vs, errors, sent):
    """You called everything that is not backpropagation unknown when B v arrived. Compare with B before you give up."""
    return _renamed((weights, feedback, vs, errors, sent), feedback_alignment="unknown", redrawn="unknown")


def diagnose_in_one_loop(weights, feedback, vs, errors, sent):
    """Cross out the rules that a step refutes."""
    left = dict.fromkeys(("last_layer", "backprop", "feedback_alignment", "direct", "sign_symmetric"))
    for w, b, v, e, s in zip(weights, feedback, vs, errors, sent, strict=True):
        for name in tuple(left):
            if (_WAYS[name](w, b, v, e) - s).abs().max() > 1e-8 * (1 + s.abs().max()):
                del left[name]
    name = next(iter(left), "unknown")
    if name == "feedback_alignment" and any((b != feedback[0]).any() for b in feedback):
        return "redrawn"
    return name


EXERCISES = (
    Exercise(
        id="feedback_alignment.hidden_step", title="Feedback alignment at one hidden layer", points=2, section="Idea",
        reference=reference.hidden_step, inputs=_hidden_inputs(), returns=("v1", "step"),
        misconceptions=known("Idea", weight_used, feedback_turned, slope_forgotten, activation_for_slope, sign_lost, averaged_again)
        + known("A slip on the slide", paired_with_output),
        alternatives=(hidden_by_outer_products,)),
    Exercise(
        id="feedback_alignment.direct_step", title="Direct feedback alignment", points=2, section="Idea",
        reference=reference.direct_step, inputs=_direct_inputs(), returns=("step1", "step2"),
        misconceptions=known("A slip on the slide", without_feedback)
        + known("Idea", slope_above_kept, both_slopes_forgotten, one_matrix_for_both, matrices_exchanged,
                second_paired_with_x, direct_turned),
        alternatives=(direct_by_einsum,)),
    Exercise(
        id="feedback_alignment.cosine", title="The angle between two updates", points=1, section="Code",
        reference=reference.cosine, inputs=_pairs(), returns=(),
        misconceptions=known("Code", lengths_forgotten, one_length, angle_without_sign, angle_returned, row_by_row, means_removed,
                             not_a_number),
        alternatives=(cosine_of_unit_vectors,)),
    Exercise(
        id="feedback_alignment.linear_steps", title="A run of feedback alignment", points=3, section="Idea",
        reference=reference.linear_steps, inputs=_runs(), returns=("w1", "w2"),
        misconceptions=known("Idea", latest_draw, through_the_weights, one_after_the_other, feedback_at_the_output, uphill,
                             one_step_only) + known("How it fails", redrawn),
        alternatives=(steps_by_autograd,)),
    Exercise(
        id="feedback_alignment.diagnose", title="Name the rule", points=3, section="How it fails",
        reference=reference.diagnose, inputs=_logs(), returns=(),
        misconceptions=known("How it fails", redrawn_passed_over, direct_called_indirect, signs_called_backprop,
                             weights_not_transposed, silence_is_unknown, feedback_not_looked_for),
        alternatives=(diagnose_in_one_loop,)),
)
