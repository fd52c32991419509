"""Exercises on activations: derivatives, the loss's slope, a backward pass, a log to diagnose."""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, VALUES, evenly, one_of, tensor
from labsupport.topics.activations import backprop
from labsupport.topics.activations import reference as activations

LARGE = 1000.0
"""Its exponential is infinite, in float64 too."""


@st.composite
def _slope_inputs(draw):
    """Most z hold 0, where the corners are, and numbers whose exponential is infinite."""
    activation = evenly(draw, "relu", "elu", "sigmoid", "tanh", "leaky_relu", "relu", "elu")
    dtype, special = one_of(draw, *DTYPES), one_of(draw, (), (0.0, -LARGE, LARGE), (-LARGE, 0.0))
    z = tensor(draw, (4 - len(special) if special else 1,), dtype)
    return {
        "z": torch.cat([z, z.new_tensor(special)]).reshape(one_of(draw, (-1,), (1, -1))),
        "activation": activation,
        "alpha": one_of(draw, 0.5, 0.25, 0.1),
    }


def _but(name, wrong):
    """The right slopes, but for one activation, whose slope is ``wrong(z, alpha)``."""
    return lambda z, activation, alpha: (
        wrong(z, alpha) if activation == name else activations.slope(z, activation, alpha)
    )


def relu_above_one(z, activation, alpha):
    """You asked whether z > 1. ReLU rises from 0 on: its slope is 1 for every z > 0."""
    return _but("relu", lambda z, _: (z > 1).to(z.dtype))(z, activation, alpha)


def relu_from_zero(z, activation, alpha):
    """You gave ReLU the slope 1 at z = 0. There it has no derivative; the value asked for is
    PyTorch's, 0.
    """
    return _but("relu", lambda z, _: (z >= 0).to(z.dtype))(z, activation, alpha)


def sigmoid_slope_of_output(z, activation, alpha):
    """You put σ(z) where z belongs: that is σ'(σ(z)). If s = σ(z) is known already, the slope is s
    (1 - s).
    """
    return _but("sigmoid", lambda z, _: activations.sigmoid_slope(torch.sigmoid(z)))(
        z, activation, alpha
    )


def tanh_slope_of_output(z, activation, alpha):
    """You applied tanh twice. If t = tanh(z) is known already, the slope is 1 - t²; do not take the
    tanh of t again.
    """
    return _but("tanh", lambda z, _: 1 - torch.tanh(torch.tanh(z)) ** 2)(z, activation, alpha)


def tanh_unsquared(z, activation, alpha):
    """You wrote 1 - tanh z. The tanh is squared; yours exceeds 1 for negative z, where tanh never
    rises so fast.
    """
    return _but("tanh", lambda z, _: 1 - torch.tanh(z))(z, activation, alpha)


def alpha_forgotten(z, activation, alpha):
    """You gave ELU the slope exp(z) for z < 0. The function there is α(exp(z) - 1): α stays in its
    derivative.
    """
    return _but("elu", lambda z, _: activations.elu_slope(z, 1.0))(z, activation, alpha)


def elu_output_plus_one(z, activation, alpha):
    """You took ELU's output plus 1 for z < 0. It is the output plus α; the two agree for α = 1
    alone.
    """
    return _but("elu", lambda z, a: torch.where(z > 0, 1.0, activations.elu(z, a) + 1).to(z.dtype))(
        z, activation, alpha
    )


def leak_of_input(z, activation, alpha):
    """You returned αz for z < 0: that is what leaky ReLU puts out. Its slope there is the constant
    α.
    """
    return _but("leaky_relu", lambda z, a: torch.where(z > 0, 1.0, a * z).to(z.dtype))(
        z, activation, alpha
    )


def exponential_overflows(z, activation, alpha):
    """You wrote exp(-z)/(1 + exp(-z))². For very negative z that is ∞/∞, which is NaN: use σ(z)
    σ(-z), with torch.sigmoid.
    """
    return _but("sigmoid", lambda z, _: torch.exp(-z) / (1 + torch.exp(-z)) ** 2)(
        z, activation, alpha
    )


def tanh_by_exponentials(z, activation, alpha):
    """You built tanh from exp(z) and exp(-z). For large z that is ∞/∞, which is NaN: torch.tanh
    takes care of it.
    """

    def wrong(z, _):
        up, down = torch.exp(z), torch.exp(-z)
        return 1 - ((up - down) / (up + down)) ** 2

    return _but("tanh", wrong)(z, activation, alpha)


def nought_times_infinity(z, activation, alpha):
    """You multiplied exp(z) by 0 where z > 0. There exp(z) may be infinite, and 0 · ∞ is NaN:
    choose with torch.where.
    """
    return _but("elu", lambda z, a: (z > 0).to(z.dtype) + (z <= 0) * a * torch.exp(z))(
        z, activation, alpha
    )


def sigmoid_minus_one(z, activation, alpha):
    """You wrote σ(z)(σ(z) - 1), which is negative. A sigmoid rises everywhere: σ(z)(1 - σ(z))."""
    return _but("sigmoid", lambda z, _: -activations.sigmoid_slope(z))(z, activation, alpha)


def sigmoid_squared(z, activation, alpha):
    """You wrote 1 - σ(z)², as for tanh. The sigmoid's slope is σ(z)(1 - σ(z))."""
    return _but("sigmoid", lambda z, _: 1 - torch.sigmoid(z) ** 2)(z, activation, alpha)


def tanh_of_z_squared(z, activation, alpha):
    """You squared z itself. The square is of the output: 1 - tanh² z, not 1 - z²."""
    return _but("tanh", lambda z, _: 1 - z**2)(z, activation, alpha)


def elu_slope_of_output(z, activation, alpha):
    """You returned ELU's output for z < 0. Its derivative α exp(z) is the output plus α."""
    return _but("elu", lambda z, a: torch.where(z > 0, torch.ones_like(z), activations.elu(z, a)))(
        z, activation, alpha
    )


def elu_one_at_zero(z, activation, alpha):
    """You gave ELU the slope 1 at z = 0. There the table says "else": the slope is α."""
    return _but(
        "elu", lambda z, a: torch.where(z >= 0, torch.ones_like(z), activations.elu_slope(z, a))
    )(z, activation, alpha)


def leaky_one_at_zero(z, activation, alpha):
    """You gave leaky ReLU the slope 1 at z = 0. There the table says "else": the slope is α."""
    return _but(
        "leaky_relu",
        lambda z, a: torch.where(z >= 0, torch.ones_like(z), torch.full_like(z, a)),
    )(z, activation, alpha)


def one_at_zero(z, activation, alpha):
    """You gave the three with a corner the slope 1 at z = 0. There the table says "else": 0 for
    ReLU, α for the other two.
    """
    found = activations.slope(z, activation, alpha)
    corner = activation in ("relu", "leaky_relu", "elu")
    return torch.where(z == 0, torch.ones_like(z), found) if corner else found


def leak_ignored(z, activation, alpha):
    """You gave leaky ReLU the slope 0 for z < 0: that is plain ReLU. The leaky one keeps α."""
    return _but("leaky_relu", lambda z, _: (z > 0).to(z.dtype))(z, activation, alpha)


def values_returned(z, activation, alpha):
    """You returned what the activation puts out. Asked for is its derivative with respect to z."""
    if activation in ("leaky_relu", "elu"):
        return (activations.leaky_relu if activation == "leaky_relu" else activations.elu)(z, alpha)
    return activations.ACTIVATIONS[activation].value(z)


def slope_by_autograd(z, activation, alpha):
    """Every slope from torch's own activation."""
    leaf = z.detach().requires_grad_()
    values = {
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "leaky_relu": lambda u: F.leaky_relu(u, alpha),
        "elu": lambda u: F.elu(u, alpha),
    }
    return torch.autograd.grad(values[activation](leaf).sum(), leaf)[0]


def slope_from_outputs(z, activation, alpha):
    """Every slope from the output alone, as a backward pass that has thrown z away would do."""
    if activation == "sigmoid":
        return torch.sigmoid(z) * (1 - torch.sigmoid(z))
    if activation == "tanh":
        return 1 - torch.tanh(z) ** 2
    left = {"relu": 0 * z, "leaky_relu": 0 * z + alpha, "elu": F.elu(z, alpha) + alpha}[activation]
    return torch.where(z > 0, torch.ones_like(z), left)


@st.composite
def _logits_and_labels(draw):
    """Some logits are so large that their exponential is infinite."""
    batch, classes, dtype = (
        one_of(draw, 1, 2, 3),
        one_of(draw, 2, 3),
        one_of(draw, torch.float32, torch.float64),
    )
    values = one_of(draw, VALUES, (0.0, LARGE, -LARGE, 1.0), VALUES)
    labels = [one_of(draw, *range(classes)) for _ in range(batch)]
    return {"logits": tensor(draw, (batch, classes), dtype, values), "y": torch.tensor(labels)}


def _one_hot(logits, y):
    return F.one_hot(y, logits.shape[-1]).to(logits.dtype)


def batch_forgotten(logits, y):
    """You returned the slope of the summed loss. The loss is the mean over the batch: divide by
    B.
    """
    return backprop.cross_entropy_slope(logits, y) * len(y)


def divided_by_every_number(logits, y):
    """You divided by the number of all logits, as a mean over everything does. The mean is over the
    B samples alone.
    """
    return backprop.cross_entropy_slope(logits, y) / logits.shape[1]


def one_hot_added(logits, y):
    """You added the one-hot label. It comes off: raising the logit of the right class lowers the
    loss.
    """
    return (torch.softmax(logits, -1) + _one_hot(logits, y)) / len(y)


def sign_reversed(logits, y):
    """You returned label minus probability: the direction in which the loss falls. The gradient
    points uphill.
    """
    return -backprop.cross_entropy_slope(logits, y)


def label_forgotten(logits, y):
    """You returned the probabilities, whatever the label. Each row of a slope sums to zero: the
    label takes 1 off.
    """
    return torch.softmax(logits, -1) / len(y)


def softmax_over_samples(logits, y):
    """You took the softmax along the batch. Probabilities sum to 1 over the classes of one sample:
    the last axis.
    """
    return (torch.softmax(logits, 0) - _one_hot(logits, y)) / len(y)


def sigmoid_for_softmax(logits, y):
    """You squashed each logit by itself with a sigmoid. The classes compete here: use the softmax
    over them.
    """
    return (torch.sigmoid(logits) - _one_hot(logits, y)) / len(y)


def softmax_overflows(logits, y):
    """You divided exp(z) by the sum of exp(z). At z = 1000 that is ∞/∞, which is NaN: torch.softmax
    subtracts the largest logit first.
    """
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return (p - _one_hot(logits, y)) / len(y)


def label_divided_alone(logits, y):
    """You divided the one-hot label by B and not the softmax. A division binds tighter than a
    minus: put brackets around the difference.
    """
    return torch.softmax(logits, -1) - _one_hot(logits, y) / len(y)


def logarithm_for_probability(logits, y):
    """You took the log-softmax, which belongs into the loss itself. Its slope has the softmax."""
    return (torch.log_softmax(logits, -1) - _one_hot(logits, y)) / len(y)


def logits_left_raw(logits, y):
    """You subtracted the label from the logits: that is the slope of a squared error. Take the
    softmax of the logits first.
    """
    return (logits - _one_hot(logits, y)) / len(y)


def at_the_label_alone(logits, y):
    """You kept the slope of the right class and put 0 elsewhere. The other classes' probabilities
    have to fall: theirs is p.
    """
    return backprop.cross_entropy_slope(logits, y) * _one_hot(logits, y)


def slope_of_loss_by_autograd(logits, y):
    """From torch's cross-entropy."""
    leaf = logits.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(leaf, y), leaf)[0]


def slope_by_subtracting_in_place(logits, y):
    """One taken off at the label of each row."""
    p = torch.exp(logits - logits.logsumexp(1, keepdim=True))
    p[torch.arange(len(y)), y] -= 1
    return p / len(y)


@st.composite
def _passes(draw):
    """Draw a forward pass through one to three layers of one width.

    A transposed matrix still fits.
    """
    depth, width, batch = one_of(draw, 2, 1, 3), one_of(draw, 1, 2), one_of(draw, 1, 2)
    weights = [tensor(draw, (width, width), torch.float64) for _ in range(depth)]
    biases = [tensor(draw, (width,), torch.float64) for _ in range(depth)]
    x = tensor(draw, (batch, width), torch.float64, (1.0, 2.0, -1.0, 0.5))
    done = backprop.forward(weights, biases, x, "relu")
    return {
        "weights": weights,
        "x": x,
        "zs": done.zs,
        "v": tensor(draw, (batch, width), torch.float64),
    }


def _down(weights, x, zs, v, *, pair=None, through=None, shrink=None, sum_up=None):
    """The backward pass with one of its pieces exchanged."""
    pair = pair or (lambda v, layer: v.T @ (x if layer == 0 else zs[layer - 1].relu()))
    through = through or (lambda v, layer: v @ weights[layer])
    shrink = shrink or (lambda v, layer: v * (zs[layer - 1] > 0))
    sum_up = sum_up or (lambda v: v.sum(0))
    rows = []
    for layer in range(len(weights) - 1, -1, -1):
        rows.insert(0, (pair(v, layer), sum_up(v)))
        if layer:
            v = shrink(through(v, layer), layer)
    return [row[0] for row in rows], [row[1] for row in rows]


def paired_with_output(weights, x, zs, v):
    """You paired v with the layer's output, as the slide does. A weight is multiplied by its
    layer's input: use that.
    """
    return _down(weights, x, zs, v, pair=lambda v, layer: v.T @ zs[layer].relu())


def paired_before_activation(weights, x, zs, v):
    """You paired v with z of the layer below. What enters the next layer is ReLU of it."""
    return _down(weights, x, zs, v, pair=lambda v, layer: v.T @ (zs[layer - 1] if layer else x))


def weights_transposed(weights, x, zs, v):
    """You sent v through the weights the way the signal goes up. Down it goes through the
    transpose: with rows, v @ W.
    """
    return _down(weights, x, zs, v, through=lambda v, layer: v @ weights[layer].T)


def gradient_transposed(weights, x, zs, v):
    """You returned the transpose of each weight gradient. It has the shape of W, (out, in): rows
    belong to v.
    """
    grads, biases = backprop.relu_backward(weights, x, zs, v)
    return [g.T for g in grads], biases


def derivative_forgotten(weights, x, zs, v):
    """You never multiplied by ReLU's slope. Where z is not positive, no gradient passes."""
    return _down(weights, x, zs, v, shrink=lambda v, layer: v)


def derivative_at_zero(weights, x, zs, v):
    """You let the gradient pass where z = 0. ReLU's slope there is taken as 0: ask for z > 0."""
    return _down(weights, x, zs, v, shrink=lambda v, layer: v * (zs[layer - 1] >= 0))


def biases_averaged(weights, x, zs, v):
    """You took the mean over the batch for the biases. v has the 1/B in it already: sum over the
    samples.
    """
    return _down(weights, x, zs, v, sum_up=lambda v: v.mean(0))


def biases_left_apart(weights, x, zs, v):
    """You returned v itself for the biases, one gradient a sample. All samples share a bias: sum
    over them.
    """
    return _down(weights, x, zs, v, sum_up=lambda v: v)


def derivative_before_weights(weights, x, zs, v):
    """You multiplied by the slope first and sent v through the weights afterwards. Down the order
    is turned round: weights first, then the slope of what they lead to.
    """
    return _down(
        weights,
        x,
        zs,
        v,
        shrink=lambda v, layer: v,
        through=lambda v, layer: (v * (zs[layer - 1] > 0)) @ weights[layer],
    )


def derivative_at_logits(weights, x, zs, v):
    """You multiplied by ReLU's slope at the logits as well. The last layer is linear: v is its
    gradient already.
    """
    return backprop.relu_backward(weights, x, zs, v * (zs[-1] > 0))


def derivative_of_layer_above(weights, x, zs, v):
    """You used the slope of the layer that v comes from. After the weights of layer l it is z of
    layer l - 1.
    """
    return _down(weights, x, zs, v, shrink=lambda v, layer: v * (zs[layer] > 0))


def first_layer_left_out(weights, x, zs, v):
    """You stopped before the first layer, as the slide's loop does. It has weights too, and its
    input is x.
    """
    grads, biases = backprop.relu_backward(weights, x, zs, v)
    return [0 * grads[0], *grads[1:]], [0 * biases[0], *biases[1:]]


def batch_divided_again(weights, x, zs, v):
    """You took the mean over the batch. v has the 1/B in it already: sum over the samples."""
    return _down(weights, x, zs, v / len(x))


def last_layer_first(weights, x, zs, v):
    """You returned the gradients in the order in which you met them. The first layer's come
    first.
    """
    grads, biases = backprop.relu_backward(weights, x, zs, v)
    return grads[::-1], biases[::-1]


def backward_by_autograd(weights, x, zs, v):
    """The network built again, with biases that give back its zs."""
    xs = [x, *[z.relu() for z in zs[:-1]]]
    params = [
        [w.detach().requires_grad_() for w in weights],
        [(z - h @ w.T).detach().requires_grad_() for w, h, z in zip(weights, xs, zs, strict=True)],
    ]
    out = x
    for i, (w, b) in enumerate(zip(*params, strict=True)):
        out = (out.relu() if i else out) @ w.T + b
    grads = torch.autograd.grad(out, [*params[0], *params[1]], v)
    return list(grads[: len(weights)]), [g.sum(0) for g in grads[len(weights) :]]


_EDGES: dict[str, tuple[float, float, float]] = {
    "exploding, at the edge": (1.0, 100.0, 1.0),
    "exploding": (1.0, 100.5, 1.0),
    "vanishing, at the edge": (0.01, 1.0, 1.0),
    "vanishing": (0.00995, 1.0, 1.0),
    "both alike": (0.0625, 0.0625, 1.0),
    "twice": (1.0, 1.0, 2.0),
    "more than twice": (1.0, 1.0, 2.1),
    "half": (1.0, 1.0, 0.5),
    "less than half": (1.0, 1.0, 0.48),
    "lost": (1.0, 1.0, 0.0),
}
"""At and beside the thresholds of the text: slope, weight, and the factor over their product."""


@st.composite
def _logs(draw):
    """One to four layers; in some logs one layer lies at a threshold or close to it.

    There the other layers are 1 throughout, so that products and logarithms are exact.
    """
    steps = one_of(draw, 1, 2, 3, 4)
    slope = tensor(draw, (steps,), torch.float64, (1.0, 0.5, 0.03, 0.25))
    weight = tensor(draw, (steps,), torch.float64, (1.0, 1000.0, 0.02, 2.0))
    kinds = (
        "",
        "cancelling",
        "wrong",
        "dead",
        "",
        *_EDGES,
        "cancelling",
        "dead",
        "cancelling",
        "lost",
    )
    kind = evenly(draw, *kinds, beside=[slope, weight])
    if kind in _EDGES:
        slope, weight, code = (torch.ones(steps, dtype=torch.float64) for _ in range(3))
        at = draw(st.integers(0, steps - 1))
        slope[at], weight[at], code[at] = _EDGES[kind]
        return {"slope": slope, "weight": weight, "factor": slope * weight * code}
    code = (5.0, 0.2, 1.0) if kind == "wrong" else (1.0, 1.25)
    code = tensor(draw, (steps,), torch.float64, code)
    if kind == "cancelling":
        code[0], code[-1] = 5.0, 0.2
    if kind == "dead":
        slope[0] = 0.0
    factor = slope * weight * code
    # far from the thresholds, so that rounding decides nothing
    whole, shares = factor.prod().item(), (slope.prod() / weight.prod()).item()
    assume(all(not 0.8 < whole / edge < 1.25 for edge in (100, 0.01)))
    assume(whole > 0.01 or not 0.8 < shares < 1.25)
    return {"slope": slope, "weight": weight, "factor": factor}


def _verdict(slope, weight, factor, *, whole=None, wrong=None):
    """The right order of questions with an answer exchanged."""
    whole = factor.prod().item() if whole is None else whole
    wrong = backprop.diagnose(slope, weight, factor) == "wrong_slopes" if wrong is None else wrong
    if wrong or bool((factor == 0).any()):
        return "wrong_slopes" if wrong else "dead"
    if whole >= 0.01:
        return "exploding" if whole > 100 else "healthy"
    return "small_slopes" if slope.prod() < weight.prod() else "small_weights"


def read_upside_down(slope, weight, factor):
    """You took the factors for upper over lower. A factor below 1 means that the gradient shrinks
    on its way down.
    """
    return _verdict(slope, weight, factor, whole=1 / factor.prod().clamp(min=1e-30).item())


def slopes_blamed(slope, weight, factor):
    """You blamed the activation whenever the gradient vanishes. Small weights do it too: compare
    the two products.
    """
    found = backprop.diagnose(slope, weight, factor)
    return "small_slopes" if found == "small_weights" else found


def factors_averaged(slope, weight, factor):
    """You averaged the factors. They multiply from layer to layer: what counts is their product."""
    return _verdict(slope, weight, factor, whole=factor.mean().item())


def one_layer_only(slope, weight, factor):
    """You judged by the last factor alone. A gradient passes all the layers: take the product of
    all factors.
    """
    return _verdict(slope, weight, factor, whole=factor[-1].item())


def code_trusted(slope, weight, factor):
    """You never asked whether the code is right. Compare each factor with weight times slope
    first.
    """
    return _verdict(slope, weight, factor, wrong=False)


def weights_left_out(slope, weight, factor):
    """You expected each factor to be the slope alone. The gradient passes the weights as well:
    weight times slope.
    """
    return _verdict(
        slope, weight, factor, wrong=bool(((factor > 2 * slope) | (2 * factor < slope)).any())
    )


def code_checked_as_a_whole(slope, weight, factor):
    """You compared the products over all layers. One layer too large hides another too small:
    compare layer by layer.
    """
    whole, expected = factor.prod(), (slope * weight).prod()
    return _verdict(
        slope, weight, factor, wrong=bool((whole > 2 * expected) | (2 * whole < expected))
    )


def dead_taken_for_vanishing(slope, weight, factor):
    """You called it a vanishing gradient where nothing at all comes through. A factor of exactly 0
    is a dead layer.
    """
    found = backprop.diagnose(slope, weight, factor)
    return "small_slopes" if found == "dead" else found


def small_products_exchanged(slope, weight, factor):
    """You blamed the larger of the two products. What shrinks a gradient is the smaller one."""
    found = backprop.diagnose(slope, weight, factor)
    other = {"small_slopes": "small_weights", "small_weights": "small_slopes"}
    return other.get(found, found)


def dead_asked_first(slope, weight, factor):
    """You asked for dead layers before you asked whether the code is right. A factor of 0 where the
    weights and slopes are not is a fault of the code.
    """
    return "dead" if bool((factor == 0).any()) else backprop.diagnose(slope, weight, factor)


def larger_factors_only(slope, weight, factor):
    """You asked only whether a factor is more than twice what it should be. Less than half of it is
    a wrong slope as well.
    """
    return _verdict(slope, weight, factor, wrong=bool((factor > 2 * slope * weight).any()))


def diagnose_by_logarithms(slope, weight, factor):
    """The same questions asked of decades; nothing left is minus infinity."""
    ratio = torch.where(
        factor == slope * weight, torch.ones_like(factor), factor / (slope * weight)
    )
    if bool((ratio.log2().abs() > 1).any()):
        return "wrong_slopes"
    decades = factor.log10().sum().item()
    if decades == -float("inf"):
        return "dead"
    vanishing = "small_slopes" if slope.log10().sum() < weight.log10().sum() else "small_weights"
    return "exploding" if decades > 2 else vanishing if decades < -2 else "healthy"


EXERCISES = (
    Exercise(
        id="activations.slope",
        title="The derivatives of five activations",
        points=3,
        section="Idea",
        reference=activations.slope,
        inputs=_slope_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            relu_above_one,
            relu_from_zero,
            sigmoid_slope_of_output,
            tanh_slope_of_output,
            tanh_unsquared,
            alpha_forgotten,
            elu_output_plus_one,
            elu_slope_of_output,
            elu_one_at_zero,
            leak_of_input,
            leak_ignored,
            leaky_one_at_zero,
            one_at_zero,
            sigmoid_minus_one,
            sigmoid_squared,
            tanh_of_z_squared,
            exponential_overflows,
            tanh_by_exponentials,
            nought_times_infinity,
            values_returned,
        ),
        alternatives=(slope_by_autograd, slope_from_outputs),
    ),
    Exercise(
        id="activations.cross_entropy_slope",
        title="The slope of the loss in the logits",
        points=2,
        section="Idea",
        reference=backprop.cross_entropy_slope,
        inputs=_logits_and_labels(),
        returns=(),
        misconceptions=known(
            "Idea",
            batch_forgotten,
            divided_by_every_number,
            one_hot_added,
            sign_reversed,
            label_forgotten,
            softmax_over_samples,
            sigmoid_for_softmax,
            softmax_overflows,
            label_divided_alone,
            logarithm_for_probability,
            logits_left_raw,
            at_the_label_alone,
        ),
        alternatives=(slope_of_loss_by_autograd, slope_by_subtracting_in_place),
    ),
    Exercise(
        id="activations.relu_backward",
        title="The backward pass of a ReLU network",
        points=4,
        section="Code",
        reference=backprop.relu_backward,
        inputs=_passes(),
        returns=("weight gradients", "bias gradients"),
        misconceptions=known(
            "Idea",
            paired_with_output,
            paired_before_activation,
            weights_transposed,
            gradient_transposed,
            derivative_forgotten,
            derivative_at_zero,
            derivative_at_logits,
            derivative_before_weights,
            derivative_of_layer_above,
            first_layer_left_out,
            batch_divided_again,
            biases_averaged,
            biases_left_apart,
            last_layer_first,
        ),
        alternatives=(backward_by_autograd,),
    ),
    Exercise(
        id="activations.diagnose",
        title="Diagnose a backward pass",
        points=3,
        section="How it fails",
        reference=backprop.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "How it fails",
            read_upside_down,
            slopes_blamed,
            factors_averaged,
            one_layer_only,
            code_trusted,
            weights_left_out,
            code_checked_as_a_whole,
            dead_taken_for_vanishing,
            dead_asked_first,
            larger_factors_only,
            small_products_exchanged,
        ),
        alternatives=(diagnose_by_logarithms,),
    ),
)
