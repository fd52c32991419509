"""Exercises on batch norm: forward, backward, running statistics, a layer to diagnose."""

import itertools

import torch
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, NONZERO, POSITIVE, VALUES, one_of, tensor
from labsupport.topics.batch_norm import faults, reference

_EPS = (1e-5, 1.0, 0.25)
_FAR = (300_000.1, 300_001.3, 299_999.7, 300_002.9)
"""With a mean so much larger than the standard deviation, the mean of squares minus the square of
the mean is wrong from the sixth digit on, in float64.
"""


def _batch(draw):
    """A batch (B, C) whose first channel varies: ordinary, tiny, large, or far from zero."""
    size, dtype = (one_of(draw, 2, 3, 4), one_of(draw, 1, 2)), one_of(draw, *DTYPES)
    kind = one_of(draw, 1.0, "far", 0.01, 100.0, "far")
    x = tensor(draw, size, torch.float64, _FAR) if kind == "far" else tensor(draw, size, dtype)
    varies = (x != x[0]).any(0)
    # a constant channel is divided by √ε alone: far from zero, that would show any rounding
    assume(bool(varies.all()) if kind in ("far", 100.0) else bool(varies[0]))
    return x if kind == "far" else kind * x


@st.composite
def _forward_inputs(draw):
    x = _batch(draw)
    beta = tensor(draw, x.shape[1:], x.dtype)
    if bool((x > 1e5).all()):  # a shift that cancels the rest would show any rounding
        beta = torch.zeros_like(beta)
    return {
        "x": x,
        "gamma": tensor(draw, x.shape[1:], x.dtype, NONZERO),
        "beta": beta,
        "eps": one_of(draw, *_EPS),
    }


@st.composite
def _backward_inputs(draw):
    x = _batch(draw)
    return {
        "dy": tensor(draw, x.shape, x.dtype),
        "x": x,
        "gamma": tensor(draw, x.shape[1:], x.dtype, NONZERO),
        "eps": one_of(draw, *_EPS[1:]),
    }


@st.composite
def _running_inputs(draw):
    x = _batch(draw)
    return {
        "mean": tensor(draw, x.shape[1:], x.dtype),
        "var": tensor(draw, x.shape[1:], x.dtype, POSITIVE),
        "x": x,
        "momentum": one_of(draw, 0.25, 0.1, 0.75),
    }


# -- batch_norm ------------------------------------------------------------------------------------


def unbiased_variance(x, gamma, beta, *, eps):
    """You divided the squared deviations by m - 1, as x.var(0) does. To normalize, divide them by
    m: correction=0.
    """
    return gamma * (x - x.mean(0)) / (x.var(0) + eps).sqrt() + beta


def eps_outside_root(x, gamma, beta, *, eps):
    """You added ε after the root was taken. It stands under the root, beside the variance."""
    return gamma * (x - x.mean(0)) / (x.std(0, correction=0) + eps) + beta


def root_forgotten(x, gamma, beta, *, eps):
    """You divided by the variance. Divide by its root: a standard deviation has the unit of x, a
    variance that of x².
    """
    return gamma * (x - x.mean(0)) / (x.var(0, correction=0) + eps) + beta


def eps_forgotten(x, gamma, beta, *, eps):
    """You left ε out. A channel that never changes has variance zero, and then you divide by
    zero.
    """
    return gamma * (x - x.mean(0)) / x.var(0, correction=0).sqrt() + beta


def over_features(x, gamma, beta, *, eps):
    """You averaged over the features of each sample: that is layer norm. Batch norm averages over
    the batch, axis 0.
    """
    var, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
    return gamma * (x - mean) / (var + eps).sqrt() + beta


def scale_and_shift_exchanged(x, gamma, beta, *, eps):
    """You multiplied by β and added γ. The scale γ multiplies, the shift β is added."""
    return reference.batch_norm(x, beta, gamma, eps=eps)


def not_centred(x, gamma, beta, *, eps):
    """You divided x by the standard deviation, but did not take the mean away first."""
    return gamma * x / (x.var(0, correction=0) + eps).sqrt() + beta


def shift_inside(x, gamma, beta, *, eps):
    """You multiplied the shift by γ as well. The shift β is added last, as it is."""
    return gamma * (reference.batch_norm(x, torch.ones_like(gamma), beta, eps=eps))


def variance_by_squares(x, gamma, beta, *, eps):
    """You took the variance as the mean of squares minus the square of the mean. Where the mean is
    large, two large numbers cancel and rounding is left: average the squared deviations from the
    mean.
    """
    var = x.square().mean(0) - x.mean(0).square()
    return gamma * (x - x.mean(0)) / (var + eps).sqrt() + beta


def eps_beside_torchs_std(x, gamma, beta, *, eps):
    """You divided by x.std(0) + ε. Two things differ: x.std divides by m - 1, and ε stands under
    the root, beside the variance.
    """
    return gamma * (x - x.mean(0)) / (x.std(0) + eps) + beta


def one_mean_for_all_channels(x, gamma, beta, *, eps):
    """You took one mean and one variance of the whole batch. Every channel has its own: average
    over axis 0.
    """
    return gamma * (x - x.mean()) / (x.var(correction=0) + eps).sqrt() + beta


def forward_by_torch(x, gamma, beta, *, eps=1e-5):
    """PyTorch's own."""
    return torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def forward_by_affine_map(x, gamma, beta, *, eps=1e-5):
    """One factor and one summand a channel."""
    var, mean = torch.var_mean(x, 0, correction=0)
    factor = gamma * torch.rsqrt(var + eps)
    return x * factor + (beta - mean * factor)


# -- batch_norm_backward ---------------------------------------------------------------------------


def _parts(dy, x, eps):
    """The normalized inputs, the root, and the two sums."""
    root = (x.var(0, correction=0) + eps).sqrt()
    hat = (x - x.mean(0)) / root
    return hat, root, (dy * hat).sum(0), dy.sum(0)


def statistics_held_fixed(dy, x, gamma, *, eps):
    """You took mean and variance for constants: that is the gradient of eval mode. In train mode
    both depend on every x.
    """
    _, root, dgamma, dbeta = _parts(dy, x, eps)
    return gamma / root * dy, dgamma, dbeta


def mean_term_missing(dy, x, gamma, *, eps):
    """You left out what the mean answers: the mean of dy has to be subtracted."""
    hat, root, dgamma, dbeta = _parts(dy, x, eps)
    return gamma / root * (dy - hat * dgamma / len(x)), dgamma, dbeta


def variance_term_missing(dy, x, gamma, *, eps):
    """You left out what the variance answers: x̂ times the mean of dy·x̂ has to be subtracted."""
    _, root, dgamma, dbeta = _parts(dy, x, eps)
    return gamma / root * (dy - dbeta / len(x)), dgamma, dbeta


def gamma_forgotten(dy, x, gamma, *, eps):
    """You left γ out of the gradient in x. It multiplies the outputs, so it multiplies what comes
    back through them.
    """
    return reference.batch_norm_backward(dy, x, torch.ones_like(gamma), eps=eps)


def sums_for_means(dy, x, gamma, *, eps):
    """You subtracted the sums of dy and dy·x̂. Their means are what is subtracted: divide both by
    m.
    """
    hat, root, dgamma, dbeta = _parts(dy, x, eps)
    return gamma / root * (dy - dbeta - hat * dgamma), dgamma, dbeta


def scale_gradient_of_x(dy, x, gamma, *, eps):
    """You multiplied dy with x for the gradient in γ. What γ multiplies is the normalized x̂."""
    dx, _, dbeta = reference.batch_norm_backward(dy, x, gamma, eps=eps)
    return dx, (dy * x).sum(0), dbeta


def parameters_averaged(dy, x, gamma, *, eps):
    """You averaged the gradients in γ and β over the batch. They are sums: dy already holds the
    loss's own 1/m.
    """
    dx, dgamma, dbeta = reference.batch_norm_backward(dy, x, gamma, eps=eps)
    return dx, dgamma / len(x), dbeta / len(x)


def parameters_exchanged(dy, x, gamma, *, eps):
    """You returned the gradient in β before that in γ. The order asked for is (dx, dgamma,
    dbeta).
    """
    dx, dgamma, dbeta = reference.batch_norm_backward(dy, x, gamma, eps=eps)
    return dx, dbeta, dgamma


def eps_left_out_backwards(dy, x, gamma, *, eps):
    """You went backwards without ε. The root that the forward pass divides by holds it: √(σ² +
    ε).
    """
    return reference.batch_norm_backward(dy, x, gamma, eps=1e-30)


def variance_by_squares_backwards(dy, x, gamma, *, eps):
    """You took the variance as the mean of squares minus the square of the mean. Where the mean is
    large, two large numbers cancel and rounding is left: average the squared deviations from the
    mean.
    """
    root = (x.square().mean(0) - x.mean(0).square() + eps).sqrt()
    hat = (x - x.mean(0)) / root
    dgamma, dbeta = (dy * hat).sum(0), dy.sum(0)
    return gamma / root * (dy - dbeta / len(x) - hat * dgamma / len(x)), dgamma, dbeta


def unbiased_variance_backwards(dy, x, gamma, *, eps):
    """You divided the squared deviations by m - 1, as x.var(0) does. The forward pass divides by m:
    correction=0.
    """
    root = (x.var(0) + eps).sqrt()
    hat = (x - x.mean(0)) / root
    dgamma, dbeta = (dy * hat).sum(0), dy.sum(0)
    return gamma / root * (dy - dbeta / len(x) - hat * dgamma / len(x)), dgamma, dbeta


def backward_by_autograd(dy, x, gamma, *, eps=1e-5):
    """From autograd, through the forward pass."""
    x, gamma, beta = (
        leaf.detach().clone().requires_grad_() for leaf in (x, gamma, torch.zeros_like(gamma))
    )
    return torch.autograd.grad(reference.batch_norm(x, gamma, beta, eps=eps), (x, gamma, beta), dy)


def backward_by_projection(dy, x, gamma, *, eps=1e-5):
    """Step by step: through the scale, then what mean and variance take away."""
    hat, root, dgamma, dbeta = _parts(dy, x, eps)
    dhat = gamma * dy
    return (dhat - dhat.mean(0) - hat * (dhat * hat).mean(0)) / root, dgamma, dbeta


# -- running_step ----------------------------------------------------------------------------------


def momentum_of_the_old(mean, var, x, *, momentum):
    """You gave the old statistics the share `momentum`, as the lecture's m. In PyTorch it is the
    weight of the new batch.
    """
    return reference.running_step(mean, var, x, momentum=1 - momentum)


def biased_variance(mean, var, x, *, momentum):
    """You averaged the variance that the batch is normalized by. PyTorch keeps the unbiased one:
    divided by m - 1.
    """
    return torch.lerp(mean, x.mean(0), momentum), torch.lerp(var, x.var(0, correction=0), momentum)


def std_averaged(mean, var, x, *, momentum):
    """You averaged standard deviations, as the slide writes. What is kept, and asked for, is a
    variance: average σ², not σ.
    """
    return torch.lerp(mean, x.mean(0), momentum), torch.lerp(
        var.sqrt(), x.std(0), momentum
    ).square()


def std_kept(mean, var, x, *, momentum):
    """You mixed the batch's standard deviation into a variance: their units differ. Take x.var, not
    x.std.
    """
    return torch.lerp(mean, x.mean(0), momentum), torch.lerp(var, x.std(0), momentum)


def old_not_shrunk(mean, var, x, *, momentum):
    """You added the batch's share without taking it from the old: the old statistics keep only 1 -
    momentum.
    """
    return mean + momentum * x.mean(0), var + momentum * x.var(0)


def batch_replaces(mean, var, x, *, momentum):
    """You returned the batch's own statistics. The running ones move towards them, by the share
    `momentum`.
    """
    return x.mean(0), x.var(0)


def variance_first(mean, var, x, *, momentum):
    """You returned the variance first. The order asked for is (mean, var)."""
    return reference.running_step(mean, var, x, momentum=momentum)[::-1]


def about_the_running_mean(mean, var, x, *, momentum):
    """You took the deviations from the running mean. The batch's variance is about the batch's own
    mean.
    """
    new = torch.lerp(mean, x.mean(0), momentum)
    return new, torch.lerp(var, (x - new).square().sum(0) / (len(x) - 1), momentum)


def unbiased_by_squares(mean, var, x, *, momentum):
    """You took the variance as the mean of squares minus the square of the mean. Where the mean is
    large, two large numbers cancel and rounding is left: take x.var(0).
    """
    batch = (x.square().mean(0) - x.mean(0).square()) * len(x) / (len(x) - 1)
    return torch.lerp(mean, x.mean(0), momentum), torch.lerp(var, batch, momentum)


def running_by_torch(mean, var, x, *, momentum=0.1):
    """PyTorch's own layer, which changes what it is given in place."""
    mean, var = mean.clone(), var.clone()
    torch.nn.functional.batch_norm(x, mean, var, training=True, momentum=momentum)
    return mean, var


def running_by_lerp(mean, var, x, *, momentum=0.1):
    """As points between the old and the new."""
    return torch.lerp(mean, x.mean(0), momentum), torch.lerp(var, x.var(0), momentum)


# -- diagnose --------------------------------------------------------------------------------------


_NAMES = (
    "healthy",
    "std_averaged",
    "biased_variance",
    "momentum_swapped",
    "never_updated",
    "train_mode",
)


@st.composite
def _logs(draw):
    """Draw training batches, a test batch, and the outputs of one of the six codes.

    One to three batches of two or three values.
    """
    steps, size, name = one_of(draw, 1, 2, 3, 2, 3), one_of(draw, 2, 3), one_of(draw, *_NAMES)
    # the two variances, and a standard deviation with its square, part where they are far from 1
    scale = one_of(draw, 1.0, 4.0) if name in ("std_averaged", "biased_variance") else 1.0
    batches = scale * tensor(draw, (steps, size, 1), torch.float64, VALUES)
    x = tensor(draw, (one_of(draw, 2, 3), 1), torch.float64, VALUES)
    momentum = one_of(draw, 0.25, 0.1, 0.4)
    assume(bool((batches.std(1) > 0).all()) and x.std() > 0)
    outputs = faults.suspects(batches, x, momentum)
    assume(all((a - b).abs().max() > 0.02 for a, b in itertools.combinations(outputs.values(), 2)))
    return {
        "batches": batches,
        "x": x,
        "out": outputs[name],
        "momentum": momentum,
    }


def _by(x, mean, var):
    return reference.normalize(x, mean, var, torch.ones_like(mean), torch.zeros_like(mean))


def momentum_of_the_old_expected(batches, x, out, momentum):
    """You gave the old statistics the share `momentum`. It is the weight of the new batch; the
    other way is the fault.
    """
    return faults.closest(out, faults.suspects(batches, x, 1 - momentum))


def judged_by_the_mean(batches, x, out, momentum):
    """You only looked whether the outputs have mean 0. That tells train mode, and nothing about the
    other faults.
    """
    return "train_mode" if out.mean().abs() < 1e-6 else "healthy"


def last_batch_alone(batches, x, out, momentum):
    """You took the last batch for the running statistics. They hold all batches, and what they
    started from.
    """
    last = batches[-1]
    return faults.closest(
        out,
        faults.suspects(batches, x, momentum)
        | {
            "healthy": _by(x, last.mean(0), last.var(0)),
            "biased_variance": _by(x, last.mean(0), last.var(0, correction=0)),
        },
    )


def start_forgotten(batches, x, out, momentum):
    """You started the running statistics at the first batch. They start at mean 0 and variance 1,
    and that fades slowly.
    """
    mean, var = batches[0].mean(0), batches[0].var(0)
    for batch in batches[1:]:
        mean, var = reference.running_step(mean, var, batch, momentum=momentum)
    return faults.closest(
        out, faults.suspects(batches, x, momentum) | {"healthy": _by(x, mean, var)}
    )


def biased_variance_expected(batches, x, out, momentum):
    """You expected the biased variance in the running statistics. A healthy layer keeps the
    unbiased: times m/(m-1).
    """
    outputs = faults.suspects(batches, x, momentum)
    outputs["healthy"], outputs["biased_variance"] = outputs["biased_variance"], outputs["healthy"]
    return faults.closest(out, outputs)


def std_expected(batches, x, out, momentum):
    """You expected the slide's average of σ. A healthy layer averages the variance; averaging σ is
    one of the faults.
    """
    outputs = faults.suspects(batches, x, momentum)
    outputs["healthy"], outputs["std_averaged"] = (
        outputs["std_averaged"],
        outputs["healthy"],
    )
    return faults.closest(out, outputs)


def train_mode_not_suspected(batches, x, out, momentum):
    """You never suspected that the test batch was normalized by itself. Forgetting eval() is the
    commonest fault of all.
    """
    outputs = faults.suspects(batches, x, momentum)
    outputs.pop("train_mode")
    return faults.closest(out, outputs)


def diagnose_by_recovered_statistics(batches, x, out, momentum):
    """Solve out = (x - mean) / root for mean and root, and see whose they are."""
    outputs = faults.suspects(batches, x, momentum)
    slopes = {name: _line(x, y) for name, y in outputs.items()}
    found = _line(x, out)
    return min(slopes, key=lambda name: (slopes[name] - found).square().sum().item())


def _line(x, y):
    """Slope and intercept of y over x."""
    design = torch.cat([x, torch.ones_like(x)], 1)
    return torch.linalg.lstsq(design, y).solution


# -- the shelf -------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="batch_norm.batch_norm",
        title="Batch norm, forwards",
        points=2,
        section="Idea",
        reference=reference.batch_norm,
        inputs=_forward_inputs(),
        misconceptions=known(
            "Idea",
            unbiased_variance,
            eps_outside_root,
            root_forgotten,
            eps_forgotten,
            over_features,
            scale_and_shift_exchanged,
            not_centred,
            shift_inside,
            variance_by_squares,
            eps_beside_torchs_std,
            one_mean_for_all_channels,
        ),
        alternatives=(forward_by_torch, forward_by_affine_map),
    ),
    Exercise(
        id="batch_norm.batch_norm_backward",
        title="Batch norm, backwards",
        points=4,
        section="Backwards",
        reference=reference.batch_norm_backward,
        inputs=_backward_inputs(),
        returns=("dx", "dgamma", "dbeta"),
        misconceptions=known(
            "Backwards",
            statistics_held_fixed,
            mean_term_missing,
            variance_term_missing,
            gamma_forgotten,
            sums_for_means,
            scale_gradient_of_x,
            parameters_averaged,
            parameters_exchanged,
            eps_left_out_backwards,
            variance_by_squares_backwards,
            unbiased_variance_backwards,
        ),
        alternatives=(backward_by_autograd, backward_by_projection),
    ),
    Exercise(
        id="batch_norm.running_step",
        title="The running statistics",
        points=2,
        section="Two modes",
        reference=reference.running_step,
        inputs=_running_inputs(),
        returns=("mean", "var"),
        misconceptions=known(
            "Two modes",
            momentum_of_the_old,
            biased_variance,
            std_averaged,
            std_kept,
            old_not_shrunk,
            batch_replaces,
            variance_first,
            about_the_running_mean,
            unbiased_by_squares,
        ),
        alternatives=(running_by_torch, running_by_lerp),
    ),
    Exercise(
        id="batch_norm.diagnose",
        title="Diagnose a layer",
        points=3,
        section="How it fails",
        reference=faults.diagnose,
        inputs=_logs(),
        misconceptions=known(
            "How it fails",
            momentum_of_the_old_expected,
            judged_by_the_mean,
            last_batch_alone,
            start_forgotten,
            biased_variance_expected,
            std_expected,
            train_mode_not_suspected,
        ),
        alternatives=(diagnose_by_recovered_statistics,),
    ),
)
