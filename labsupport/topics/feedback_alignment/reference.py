r"""Feedback alignment and direct feedback alignment, as functions of autograd and by hand.

Symbols as in topics/activations/backprop.py: layers 1 to L, samples in rows, :math:`v_l` the error
at :math:`z_l`. The feedback matrix :math:`B_l` stands where the slide has :math:`W_l^\top` and has
its shape, (in, out): it sends the error of layer l down to the layer's inputs. In direct feedback
alignment :math:`B_l`, (units of layer l, K), sends the error of the output. Chapter 3's
backpropagation is here as ``backprop``; the same for R runs at once are the gradient estimators in
rules/feedback.py.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# feedback alignment is chapter 3's backpropagation with other matrices on the way back
from labsupport.topics.activations import backprop

# feedback alignment is chapter 3's backpropagation with other matrices on the way back
from labsupport.topics.activations.reference import ACTIVATIONS

__all__ = [
    "WAYS",
    "DirectFeedback",
    "FeedbackLinear",
    "after_two_steps",
    "backprop",
    "cosine",
    "degrees",
    "dfa_backward",
    "diagnose",
    "direct_feedback",
    "direct_step",
    "direct_transposes",
    "fa_backward",
    "feedback_linear",
    "hidden_step",
    "linear_steps",
    "network",
]


class FeedbackLinear(torch.autograd.Function):
    """A linear layer that sends its error down through B; its forward pass is the usual one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, feedback: Tensor) -> Tensor:
        ctx.save_for_backward(x, feedback)
        return x @ weight.mT + bias

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, feedback = ctx.saved_tensors
        return v @ feedback.mT, v.mT @ x, v.sum(-2), None


def feedback_linear(x: Tensor, weight: Tensor, bias: Tensor, feedback: Tensor) -> Tensor:
    r"""Apply a linear layer whose backward pass uses a matrix of its own.

    .. math::

        z = W x + b, \qquad \nabla_x \to B\,v, \quad \nabla_W \to v\,x^\top, \quad \nabla_b \to v

    Args:
        x: inputs, (B, in).
        weight, bias: (out, in) and (out).
        feedback: :math:`B`, (in, out), the shape of :math:`W^\top`.

    Returns:
        (B, out).

    Raises:
        ValueError: for a feedback matrix of another shape.

    Source: Lillicrap and others (2016); the slide "FeedBack Alignment".
    """
    _check_shape("feedback", feedback, (weight.shape[1], weight.shape[0]))
    return FeedbackLinear.apply(x, weight, bias, feedback)


class DirectFeedback(torch.autograd.Function):
    """The identity on the logits, whose backward pass also sends the error through the B."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, *hidden_and_feedback: Tensor) -> Tensor:
        ctx.count = len(hidden_and_feedback) // 2
        ctx.save_for_backward(*hidden_and_feedback[ctx.count :])
        return logits.view_as(logits)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        return error, *(error @ b.mT for b in ctx.saved_tensors), *[None] * ctx.count


def direct_feedback(logits: Tensor, hidden: Sequence[Tensor], feedback: Sequence[Tensor]) -> Tensor:
    r"""Send the error of the logits straight to every hidden layer.

    .. math:: \nabla_{x_l} \to B_l\, v_L \qquad (l < L)

    Nothing else may arrive at a hidden layer: pass ``x_l.detach()`` on to layer l + 1.

    Args:
        logits: (B, K).
        hidden: what the hidden layers put out, [(B, units), ...], first layer first, still attached
            to their own weights.
        feedback: a matrix for each of them, [(units, K), ...].

    Returns:
        The logits.

    Raises:
        ValueError: for not as many matrices as hidden layers, or a matrix of the wrong shape.

    Source: Nøkland (2016).
    """
    if len(hidden) != len(feedback):
        raise ValueError(
            f"{len(feedback)} feedback matrices for {len(hidden)} hidden layers; there must be as"
            " many"
        )
    for layer, (h, b) in enumerate(zip(hidden, feedback, strict=True), start=1):
        _check_shape(f"feedback {layer}", b, (h.shape[-1], logits.shape[-1]))
    return DirectFeedback.apply(logits, *hidden, *feedback)


def network(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    feedback: Sequence[Tensor],
    x: Tensor,
    activation: str,
    *,
    direct: bool = False,
) -> Tensor:
    """Apply a network made of the two functions above; autograd returns FA's or DFA's steps.

    Args:
        weights, biases: of the L layers, [(out, in), ...] and [(out), ...].
        feedback: L - 1 matrices: for FA of the layers 2 to L, for DFA (``direct``) of the layers 1
            to L - 1.
        x: (B, in).
        activation: a name in ``activations.ACTIVATIONS``.

    Returns:
        Logits (B, K).
    """
    hidden, h = [], x
    for layer, (w, b) in enumerate(zip(weights[:-1], biases[:-1], strict=True)):
        if direct or layer == 0:
            z = (h.detach() if direct else h) @ w.mT + b
        else:
            z = feedback_linear(h, w, b, feedback[layer - 1])
        h = ACTIVATIONS[activation].value(z)
        hidden.append(h)
    if direct:
        logits = h.detach() @ weights[-1].mT + biases[-1]
        return direct_feedback(logits, hidden, feedback)
    return feedback_linear(h, weights[-1], biases[-1], feedback[-1])


def fa_backward(
    feedback: Sequence[Tensor], done: backprop.Pass, v: Tensor, activation: str
) -> tuple[list[Tensor], list[Tensor]]:
    r"""Compute the backward pass of feedback alignment by hand.

    .. math:: \Delta W_l = v_l\,x_{l-1}^\top, \qquad v_{l-1} = (B_l\,v_l) \circ \rho'(z_{l-1})

    Args:
        feedback: B of the layers 2 to L, [(in, out), ...]; with :math:`B_l = W_l^\top` this is
            backpropagation.
        done: what ``backprop.forward`` returned.
        v: the gradient of the loss in the logits, (B, K).
        activation: as there.

    Returns:
        What stands in for the gradients of the weights and of the biases, first layer first.

    Raises:
        ValueError: for a matrix too many or too few, or of the wrong shape; it names the shapes.

    Source: the slide "FeedBack Alignment", with the index corrected: slip e-2.
    """
    _check_all(
        feedback,
        [(x.shape[-1], z.shape[-1]) for x, z in zip(done.xs[1:], done.zs[1:], strict=True)],
    )
    weight_steps: list[Tensor] = []
    bias_steps: list[Tensor] = []
    for layer in reversed(range(len(done.xs))):  # counted from 0, as the lists are
        weight_steps.insert(0, v.mT @ done.xs[layer])
        bias_steps.insert(0, v.sum(-2))
        if layer > 0:
            slope = ACTIVATIONS[activation].slope(done.zs[layer - 1])
            v = (v @ feedback[layer - 1].mT) * slope
    return weight_steps, bias_steps


def dfa_backward(
    feedback: Sequence[Tensor], done: backprop.Pass, error: Tensor, activation: str
) -> tuple[list[Tensor], list[Tensor]]:
    r"""Compute the backward pass of direct feedback alignment by hand.

    .. math:: \Delta W_l = v_l\,x_{l-1}^\top, \qquad v_l = (B_l\,v_L) \circ \rho'(z_l) \quad (l < L)

    Args:
        feedback: B of the layers 1 to L - 1, [(units, K), ...].
        done, activation: as in :func:`fa_backward`.
        error: :math:`v_L`, the gradient of the loss in the logits, (B, K).

    Returns, Raises: as :func:`fa_backward`.

    Source: Nøkland (2016). The slide leaves B out here: slip e-13.
    """
    _check_all(feedback, [(z.shape[-1], error.shape[-1]) for z in done.zs[:-1]])
    slopes = [ACTIVATIONS[activation].slope(z) for z in done.zs[:-1]]
    vs = [(error @ b.mT) * slope for b, slope in zip(feedback, slopes, strict=True)] + [error]
    return [v.mT @ x for v, x in zip(vs, done.xs, strict=True)], [v.sum(-2) for v in vs]


def direct_transposes(weights: Sequence[Tensor]) -> list[Tensor]:
    r"""Compute the B with which DFA is backpropagation in a linear network.

    They are :math:`B_l = (W_L \cdots W_{l+1})^\top`, l = 1 to L - 1.
    """
    above = weights[-1]
    found: list[Tensor] = []
    for w in reversed(weights[:-1]):
        found.insert(0, above.mT)
        above = above @ w
    return found


def hidden_step(
    x: Tensor, z: Tensor, weight: Tensor, feedback: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Apply feedback alignment at one hidden ReLU layer: its error, and its weights' step.

    .. math:: v_1 = (B\,v) \circ \rho'(z), \qquad \Delta W_1 = v_1\,x^\top

    Args:
        x: the layer's inputs, (B, in).
        z: its pre-activations, (B, H).
        weight: of the layer above, (out, H). Feedback alignment does not look at it.
        feedback: B, (H, out).
        v: the error of the layer above, (B, out), already divided by the batch.

    Returns:
        :math:`v_1`, (B, H), and :math:`\Delta W_1`, (H, in). ReLU's slope at 0 is 0.
    """
    v1 = (v @ feedback.mT) * (z > 0).to(z.dtype)
    return v1, v1.mT @ x


def direct_step(
    x: Tensor, z1: Tensor, z2: Tensor, feedback1: Tensor, feedback2: Tensor, error: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Apply direct feedback alignment at two hidden ReLU layers: their weights' steps.

    .. math::

        v_l = (B_l\,e) \circ \rho'(z_l), \qquad
        \Delta W_1 = v_1\,x^\top, \quad \Delta W_2 = v_2\,x_1^\top

    Args:
        x: inputs, (B, in).
        z1, z2: pre-activations, (B, H1) and (B, H2).
        feedback1, feedback2: (H1, K) and (H2, K).
        error: e, the gradient in the logits, (B, K).

    Returns:
        :math:`\Delta W_1`, (H1, in), and :math:`\Delta W_2`, (H2, H1).
    """
    v1, v2 = (error @ feedback1.mT) * (z1 > 0), (error @ feedback2.mT) * (z2 > 0)
    return v1.mT @ x, v2.mT @ z1.relu()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    r"""Compute the cosine between two updates as long vectors: 0 if one of them is zero.

    .. math:: \cos(a, b) = \frac{\sum_i a_i b_i}{\lVert a\rVert\,\lVert b\rVert}

    Args:
        a, b: of one shape.

    Returns:
        A number in [-1, 1].

    Raises:
        ValueError: if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"a has shape {tuple(a.shape)} and b {tuple(b.shape)}; "
            "an angle is between updates of one shape"
        )
    lengths = a.norm() * b.norm()
    return torch.where(lengths > 0, (a * b).sum() / lengths, 0.0).clamp(-1, 1)


def linear_steps(
    w1: Tensor, w2: Tensor, draws: Sequence[Tensor], x: Tensor, y: Tensor, *, lr: float
) -> tuple[Tensor, Tensor]:
    r"""Train a linear network with one hidden layer by feedback alignment, a step a draw.

    Every step sends the error back through the first draw.

    .. math::
        e &= W_2 W_1 x - y, \qquad \Delta W_1 = (B\,e)\,x^\top, \quad \Delta W_2 = e\,(W_1 x)^\top
        \\ W_l &\leftarrow W_l - \eta\, \Delta W_l \quad
        \text{(both computed before either is changed)}

    Args:
        w1, w2: (H, D) and (K, H).
        draws: as many matrices (H, K) as steps; the first of them is B, and it stays.
        x, y: one sample a row, (N, D), and its targets, (N, K); updates are summed over the
            samples.
        lr: :math:`\eta`.

    Returns:
        w1 and w2 after the steps.
    """
    for _ in draws:  # as many steps as draws, but B is the first of them throughout
        h = x @ w1.mT
        e = h @ w2.mT - y
        w1, w2 = w1 - lr * (e @ draws[0].mT).mT @ x, w2 - lr * e.mT @ h
    return w1, w2


def after_two_steps(feedback: Tensor, m: Tensor, *, lr: float) -> Tensor:
    r"""Return the upper weights of :func:`linear_steps` after two steps from zero weights.

    .. math:: W_2 = \eta^2\, M M^\top B^\top, \qquad M = \sum_n e_n x_n^\top, \quad e_n = -y_n

    At zero weights the first step moves :math:`W_1` alone, to :math:`-\eta B M`. The output is
    still zero, so the error is the same in the second step, and :math:`W_2` gets
    :math:`-\eta M W_1^\top`. :math:`M M^\top` has no negative eigenvalue, so the inner product of
    :math:`W_2` and :math:`B^\top` is :math:`\eta^2 \lVert B M\rVert^2 \ge 0`.

    Args:
        feedback: B, (H, K).
        m: M, (K, D).
        lr: :math:`\eta`.

    Returns:
        :math:`W_2`, (K, H).
    """
    return lr**2 * m @ m.mT @ feedback.mT


WAYS = {
    "last_layer": lambda w, b, v, e: 0 * v,
    "backprop": lambda w, b, v, e: w.mT @ v,
    "feedback_alignment": lambda w, b, v, e: b @ v,
    "direct": lambda w, b, v, e: b @ e,
    "sign_symmetric": lambda w, b, v, e: (b.abs() * w.mT.sign()) @ v,
}
"""What each rule sends to the inputs of a layer, from W, B, the layer's error v and that of the
output e; in the order of asking.
"""


def diagnose(
    weights: Sequence[Tensor],
    feedback: Sequence[Tensor],
    vs: Sequence[Tensor],
    errors: Sequence[Tensor],
    sent: Sequence[Tensor],
) -> str:
    r"""Name a learning rule from a log of T steps at the inputs of a layer.

    The log has what arrived there, and what could have sent it.

    The first of these that holds in every step is the answer:

    - ``last_layer``: nothing arrived;
    - ``backprop``: :math:`W^\top v` arrived;
    - ``feedback_alignment``: :math:`B v`, and B is the same in all steps; ``redrawn``: :math:`B v`,
      and it is not;
    - ``direct``: :math:`B e`;
    - ``sign_symmetric``: :math:`C v`, with the sizes of B's entries and the signs of those of
      :math:`W^\top`;
    - ``unknown``: none of them.

    Args:
        weights: W of the layer before each step, T times (n, n).
        feedback: B in memory at each step, T times (n, n).
        vs, errors: one sample's error at the layer, and at the output, T times (n).
        sent: what arrived at the inputs of the layer, T times (n).

    Returns:
        One of the seven names.
    """
    log = list(zip(weights, feedback, vs, errors, sent, strict=True))
    name = next(
        (
            name
            for name, way in WAYS.items()
            if all(torch.allclose(way(*seen), s) for *seen, s in log)
        ),
        "unknown",
    )
    fixed = all(torch.equal(b, feedback[0]) for b in feedback)
    return "redrawn" if name == "feedback_alignment" and not fixed else name


def degrees(cos: float) -> float:
    """Return the angle with this cosine, in degrees."""
    return math.degrees(math.acos(min(1.0, max(-1.0, cos))))


def _check_shape(name: str, matrix: Tensor, shape: tuple[int, int]) -> None:
    if tuple(matrix.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(matrix.shape)}; it must be {shape}: what it sends to, what it"
            " sends"
        )


def _check_all(feedback: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> None:
    if len(feedback) != len(shapes):
        raise ValueError(
            f"there are {len(feedback)} feedback matrices; {len(shapes)} are needed, of shapes"
            f" {list(shapes)}"
        )
    for i, (matrix, shape) in enumerate(zip(feedback, shapes, strict=True), start=1):
        _check_shape(f"feedback matrix {i}", matrix, shape)
