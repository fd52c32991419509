"""Exercises on initialization: the slides' gradient, two initializers, moments, and a diagnosis."""

import math

import torch
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import NONZERO, POSITIVE, one_of, tensor
from labsupport.topics.initialization import reference

_MATRICES = ((1, 1), (2, 1), (1, 2), (3, 1), (4, 2))
_FANS = (2, 1, 8, 3, 100)


# -- weight_gradient -------------------------------------------------------------------------------


_SMALL = (1.0, 0.5, 2.0, -1.0, 0.0)


@st.composite
def _nets(draw):
    """Some biases are so large that the exponentials in tanh are infinite."""
    hidden, inputs = one_of(draw, (1, 1), (2, 1), (1, 2), (2, 3))

    def real(*shape):
        return tensor(draw, shape, torch.float64, _SMALL)

    b = tensor(draw, (hidden,), torch.float64, one_of(draw, _SMALL, (1000.0, -1000.0, 0.0), _SMALL))
    return {"w1": real(hidden, inputs), "w2": real(hidden), "b": b, "x": real(inputs)}


def slope_forgotten(w1, w2, b, x):
    """You left out the slope of tanh. The gradient of y in z is w₂ times 1 - tanh²(z)."""
    return torch.outer(w2, x)


def slope_unsquared(w1, w2, b, x):
    """You wrote 1 - tanh(z). The slope of tanh is one minus its square."""
    return torch.outer(w2 * (1 - torch.tanh(w1 @ x + b)), x)


def slope_of_z(w1, w2, b, x):
    """You squared z itself. The square is of the output: 1 - tanh²(z), not 1 - z²."""
    return torch.outer(w2 * (1 - (w1 @ x + b) ** 2), x)


def tanh_for_its_slope(w1, w2, b, x):
    """You multiplied with tanh(z). A gradient takes its slope, 1 - tanh²(z)."""
    return torch.outer(w2 * torch.tanh(w1 @ x + b), x)


def bias_forgotten(w1, w2, b, x):
    """You left the bias out of z. The slope is taken at W₁x + b."""
    return torch.outer(w2 * (1 - torch.tanh(w1 @ x) ** 2), x)


def input_forgotten(w1, w2, b, x):
    """You left out x: that is the gradient in the biases. Each weight's gradient is multiplied by
    its own input.
    """
    return torch.outer(w2 * (1 - torch.tanh(w1 @ x + b) ** 2), torch.ones_like(x))


def output_weights_forgotten(w1, w2, b, x):
    """You left out w₂: what a hidden unit's change does to y is multiplied by the weight that it
    leaves through.
    """
    return torch.outer(1 - torch.tanh(w1 @ x + b) ** 2, x)


def gradient_transposed(w1, w2, b, x):
    """You returned the transpose. A gradient has the shape of its weights, (H, D): the rows belong
    to the hidden units.
    """
    return reference.weight_gradient(w1, w2, b, x).T


def tanh_applied_twice(w1, w2, b, x):
    """You took the tanh of tanh(z). If h = tanh(z) is known already, the slope is 1 - h²."""
    return torch.outer(w2 * (1 - torch.tanh(torch.tanh(w1 @ x + b)) ** 2), x)


def sigmoid_for_tanh(w1, w2, b, x):
    """You used the sigmoid's slope, h (1 - h). That of tanh is 1 - tanh²(z)."""
    h = torch.tanh(w1 @ x + b)
    return torch.outer(w2 * h * (1 - h), x)


def tanh_by_exponentials(w1, w2, b, x):
    """You built tanh from exp(z) and exp(-z). For large z that is ∞/∞, which is NaN: torch.tanh
    takes care of it.
    """
    z = w1 @ x + b
    h = (z.exp() - (-z).exp()) / (z.exp() + (-z).exp())
    return torch.outer(w2 * (1 - h**2), x)


def gradient_by_autograd(w1, w2, b, x):
    """From autograd."""
    leaf = w1.detach().requires_grad_()
    return torch.autograd.grad(w2 @ torch.tanh(leaf @ x + b), leaf)[0]


def gradient_by_broadcasting(w1, w2, b, x):
    """The outer product by broadcasting, the slope by cosh."""
    return (w2 / torch.cosh(w1 @ x + b) ** 2)[:, None] * x[None]


# -- kaiming_weights -------------------------------------------------------------------------------


@st.composite
def _normal_numbers(draw):
    return {"z": tensor(draw, one_of(draw, *_MATRICES), torch.float64, NONZERO)}


def variance_as_std(z):
    """You multiplied by 2/n. That is the variance; normal numbers are multiplied by the standard
    deviation, its root.
    """
    return z * 2 / z.shape[1]


def kaiming_by_fan_out(z):
    """You counted the rows: that is fan-out. A unit adds up fan-in terms, one for each column."""
    return z * math.sqrt(2 / z.shape[0])


def factor_two_forgotten(z):
    """You gave the weights the variance 1/n. ReLU halves the mean square; the 2 in 2/n makes up for
    it.
    """
    return z * math.sqrt(1 / z.shape[1])


def xavier_for_kaiming(z):
    """You divided by the sum of the two fans: that is Xavier's variance. Kaiming's is 2 over
    fan-in.
    """
    return z * math.sqrt(2 / sum(z.shape))


def bound_as_std(z):
    """You multiplied by √(6/n), the bound of the uniform form. Its standard deviation is √3 times
    smaller.
    """
    return z * math.sqrt(6 / z.shape[1])


def all_weights_counted(z):
    """You divided by the number of weights in the matrix. What counts is how many terms one unit
    adds up.
    """
    return z * math.sqrt(2 / z.numel())


def root_of_two_forgotten(z):
    """You took the root of n but not of 2. The standard deviation is √(2/n), one root over both."""
    return z * 2 / math.sqrt(z.shape[1])


def multiplied_by_the_inverse(z):
    """You multiplied by √(n/2). The more terms a unit adds up, the smaller its weights: √(2/n)."""
    return z * math.sqrt(z.shape[1] / 2)


def torch_default_for_kaiming(z):
    """You took the variance 1/(3n), what torch.nn.Linear starts with. Kaiming's is 2/n."""
    return z * math.sqrt(1 / (3 * z.shape[1]))


def kaiming_by_dividing(z):
    """Divided by what is multiplied elsewhere."""
    return z / (z.shape[1] / 2) ** 0.5


# -- xavier_weights --------------------------------------------------------------------------------


@st.composite
def _uniform_numbers(draw):
    return {
        "u": tensor(draw, one_of(draw, *_MATRICES), torch.float64, (0.0, 0.25, 0.75, 0.5, 0.875))
    }


def std_as_bound(u):
    """You took the standard deviation √(2/(n+m)) for the bound. A uniform number in ±a has the
    standard deviation a/√3.
    """
    return (2 * u - 1) * math.sqrt(2 / sum(u.shape))


def not_centred(u):
    """You stretched [0, 1) to [0, a): all weights are positive. Move it first, so that the mean is
    0.
    """
    return u * math.sqrt(6 / sum(u.shape))


def half_the_width(u):
    """You centred the numbers but they reach only ±a/2. The interval from -a to a is 2a wide."""
    return (u - 0.5) * math.sqrt(6 / sum(u.shape))


def mean_of_fans(u):
    """You divided 6 by the mean of the two fans. It is divided by their sum; the mean goes with a
    3.
    """
    return (2 * u - 1) * math.sqrt(6 / (sum(u.shape) / 2))


def fan_in_alone(u):
    """You used fan-in alone: that is Kaiming's uniform form. Xavier's makes a compromise of both
    fans.
    """
    return (2 * u - 1) * math.sqrt(6 / u.shape[1])


def root_forgotten(u):
    """You forgot the root: 6/(n+m) is the square of the bound."""
    return (2 * u - 1) * 6 / sum(u.shape)


def sign_flipped(u):
    """You turned the interval around: u = 0 is to give -a, and larger u larger weights."""
    return (1 - 2 * u) * math.sqrt(6 / sum(u.shape))


def fan_out_alone(u):
    """You used fan-out alone. Xavier's bound makes a compromise of both fans: their sum."""
    return (2 * u - 1) * math.sqrt(6 / u.shape[0])


def three_over_the_sum(u):
    """You divided 3 by the sum of the fans. With the sum it is 6; the 3 goes with their mean."""
    return (2 * u - 1) * math.sqrt(3 / sum(u.shape))


def stretched_twice(u):
    """You made the numbers reach ±2a: u from 0 to 1, moved by a half, has to be stretched by 2a,
    not 4a.
    """
    return 4 * (u - 0.5) * math.sqrt(6 / sum(u.shape))


def xavier_by_interpolation(u):
    """From -a a share u of the way to a."""
    a = (6 / (u.shape[0] + u.shape[1])) ** 0.5
    return torch.lerp(torch.full_like(u, -a), torch.full_like(u, a), u)


# -- relu_moments ----------------------------------------------------------------------------------


@st.composite
def _layers(draw):
    size = one_of(draw, (1,), (2,), (3,))
    return {
        "forward": tensor(draw, size, torch.float64, POSITIVE),
        "backward": tensor(draw, size, torch.float64, POSITIVE),
        "fan_in": one_of(draw, *_FANS),
        "fan_out": one_of(draw, 3, 1, 2, 10, 50),
        "weight_std": one_of(draw, 1.0, 0.5, 0.1, 2.0, 0.0),
    }


def half_forgotten(forward, backward, fan_in, fan_out, weight_std):
    """You forgot the half. ReLU passes the positive half of z, with half of its mean square, and
    half of the gradients.
    """
    return fan_in * weight_std**2 * forward, fan_out * weight_std**2 * backward


def half_forgotten_backwards(forward, backward, fan_in, fan_out, weight_std):
    """You halved the signal and not the gradient. ReLU's slope is 0 for half of the z: half of it
    is lost there too.
    """
    return fan_in * weight_std**2 / 2 * forward, fan_out * weight_std**2 * backward


def fans_exchanged(forward, backward, fan_in, fan_out, weight_std):
    """You exchanged the fans. Forwards a unit adds up fan-in inputs; backwards an input gets its
    gradient from fan-out units.
    """
    return fan_out * weight_std**2 / 2 * forward, fan_in * weight_std**2 / 2 * backward


def fan_in_both_ways(forward, backward, fan_in, fan_out, weight_std):
    """You used fan-in in both directions. The gradient of an input is a sum over the units it
    feeds: fan-out.
    """
    return fan_in * weight_std**2 / 2 * forward, fan_in * weight_std**2 / 2 * backward


def std_not_squared(forward, backward, fan_in, fan_out, weight_std):
    """You multiplied by the standard deviation. Mean squares are multiplied by the variance, its
    square.
    """
    return fan_in * weight_std / 2 * forward, fan_out * weight_std / 2 * backward


def variance_squared(forward, backward, fan_in, fan_out, weight_std):
    """You squared once too often: weight_std is the standard deviation σ, and σ² is what a mean
    square is multiplied by.
    """
    return fan_in * weight_std**4 / 2 * forward, fan_out * weight_std**4 / 2 * backward


def fans_forgotten(forward, backward, fan_in, fan_out, weight_std):
    """You forgot that sums grow: n independent terms have n times the mean square of one."""
    return weight_std**2 / 2 * forward, weight_std**2 / 2 * backward


def rms_returned(forward, backward, fan_in, fan_out, weight_std):
    """You returned root mean squares. The moments asked for are mean squares, without a root."""
    return (fan_in * weight_std**2 / 2 * forward).sqrt(), (
        fan_out * weight_std**2 / 2 * backward
    ).sqrt()


def kaiming_assumed(forward, backward, fan_in, fan_out, weight_std):
    """You returned what came in. That is right for σ² = 2/n alone; here σ is given."""
    return forward, backward


def gradient_of_the_signal(forward, backward, fan_in, fan_out, weight_std):
    """You multiplied the signal in both directions. The second value starts from the gradient's
    mean square, backward.
    """
    return fan_in * weight_std**2 / 2 * forward, fan_out * weight_std**2 / 2 * forward


def slope_squared_too(forward, backward, fan_in, fan_out, weight_std):
    """You took a quarter for the gradient. ReLU's slope is 0 or 1, so its square is 1 for half of
    the z: a half.
    """
    return fan_in * weight_std**2 / 2 * forward, fan_out * weight_std**2 / 4 * backward


def backward_first(forward, backward, fan_in, fan_out, weight_std):
    """You returned the gradient first. The order asked for is (forward, backward)."""
    return reference.relu_moments(forward, backward, fan_in, fan_out, weight_std)[::-1]


def moments_by_factors(forward, backward, fan_in, fan_out, weight_std):
    """One factor for both, and the fans."""
    factor = weight_std * weight_std * 0.5
    return forward * (factor * fan_in), backward * (factor * fan_out)


# -- diagnose --------------------------------------------------------------------------------------


@st.composite
def _signals(draw):
    """Draw signals of a ReLU network's first layers, with ratios that are a little off.

    It has one of six initializations.
    """
    layers = one_of(draw, 1, 2, 3)
    widths = one_of(draw, (64, 256), (256, 64), (400, 100), (64, 512))
    fans = [(widths[i % 2], widths[(i + 1) % 2]) for i in range(layers)]
    name = one_of(
        draw,
        "healthy",
        "std_is_variance",
        "fan_out_for_fan_in",
        "relu_factor_missing",
        "bound_is_std",
        "zero",
    )
    after, moments = one_of(draw, 1.0, 0.5, 4.0), []
    for n, k in fans:
        before = after
        after = before * reference.growths(n, k)[name] * one_of(draw, 1.0, 1.05, 0.96)
        moments.append((before if before > 0 else 1.0, after))
    before, after = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*moments, strict=True)
    )
    return {
        "before": before,
        "after": after,
        "fan_in": [n for n, _ in fans],
        "fan_out": [k for _, k in fans],
    }


def _nearest(ratio, fan_in, fan_out, growths=reference.growths):
    """The reference's comparison, on another ratio or with other beliefs."""
    if bool((ratio == 0).all()):
        return "zero"
    layers = [growths(n, k) for n, k in zip(fan_in, fan_out, strict=True)]
    names = [name for name in layers[0] if name != "zero"]
    return min(
        names,
        key=lambda name: sum(
            abs(math.log(r) - math.log(layer[name]))
            for r, layer in zip(ratio.tolist(), layers, strict=True)
        ),
    )


def judged_by_the_signal(before, after, fan_in, fan_out):
    """You judged by how large the signal is. The input may be large or small; look at what a layer
    does to it.
    """
    return _nearest(after, fan_in, fan_out)


def ratio_inverted(before, after, fan_in, fan_out):
    """You divided before by after. A layer's factor is what comes out over what went in."""
    return "zero" if bool((after == 0).all()) else _nearest(before / after, fan_in, fan_out)


def ratio_of_roots(before, after, fan_in, fan_out):
    """You took the root of the ratio. The logs hold mean squares already, and these follow the
    weights' variance.
    """
    return _nearest((after / before).sqrt(), fan_in, fan_out)


def relu_not_counted(before, after, fan_in, fan_out):
    """You expected fan-in times the variance. ReLU keeps half of the mean square: a healthy layer's
    factor is 1, not 2.
    """
    return _nearest(
        after / before,
        fan_in,
        fan_out,
        lambda n, k: {name: 2 * ratio for name, ratio in reference.growths(n, k).items()},
    )


def fans_taken_for_each_other(before, after, fan_in, fan_out):
    """You exchanged fan-in and fan-out. fan_in is how many values enter a layer, fan_out how many
    units it has.
    """
    return _nearest(after / before, fan_out, fan_in)


def healthy_or_dead(before, after, fan_in, fan_out):
    """You only separated dead signals from living ones. Compare the factor with what each
    initialization should give.
    """
    return "zero" if bool((after == 0).all()) else "healthy"


def widths_forgotten(before, after, fan_in, fan_out):
    """You compared with fixed numbers. A standard deviation of 2/n, and fan-out for fan-in, give
    factors that depend on the widths.
    """
    return _nearest(after / before, [64] * len(fan_in), [256] * len(fan_in))


def diagnose_by_variance(before, after, fan_in, fan_out):
    """Work out the variance of the weights, layer by layer, and compare logarithms of that."""
    if float(after.sum()) == 0:
        return "zero"
    n, k = (torch.tensor(fans, dtype=torch.float64) for fans in (fan_in, fan_out))
    found = (2 * after / before / n).log()
    believed = {
        "healthy": 2 / n,
        "std_is_variance": 4 / n**2,
        "fan_out_for_fan_in": 2 / k,
        "relu_factor_missing": 1 / n,
        "bound_is_std": 2 / (3 * n),
    }
    return min(believed, key=lambda name: (believed[name].log() - found).abs().sum().item())


# -- the shelf -------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="initialization.weight_gradient",
        title="The gradient of the slides' network",
        points=2,
        section="Idea",
        reference=reference.weight_gradient,
        inputs=_nets(),
        returns=(),
        misconceptions=known(
            "Idea",
            slope_forgotten,
            slope_unsquared,
            slope_of_z,
            tanh_for_its_slope,
            bias_forgotten,
            input_forgotten,
            output_weights_forgotten,
            gradient_transposed,
            tanh_applied_twice,
            sigmoid_for_tanh,
            tanh_by_exponentials,
        ),
        alternatives=(gradient_by_autograd, gradient_by_broadcasting),
    ),
    Exercise(
        id="initialization.kaiming_weights",
        title="Kaiming's weights from normal numbers",
        points=2,
        section="Idea",
        reference=reference.kaiming_weights,
        inputs=_normal_numbers(),
        returns=(),
        misconceptions=known(
            "Idea",
            variance_as_std,
            kaiming_by_fan_out,
            factor_two_forgotten,
            xavier_for_kaiming,
            bound_as_std,
            all_weights_counted,
            root_of_two_forgotten,
            multiplied_by_the_inverse,
            torch_default_for_kaiming,
        ),
        alternatives=(kaiming_by_dividing,),
    ),
    Exercise(
        id="initialization.xavier_weights",
        title="Xavier's weights from uniform numbers",
        points=2,
        section="Idea",
        reference=reference.xavier_weights,
        inputs=_uniform_numbers(),
        returns=(),
        misconceptions=known(
            "Idea",
            std_as_bound,
            not_centred,
            half_the_width,
            mean_of_fans,
            fan_in_alone,
            fan_out_alone,
            three_over_the_sum,
            root_forgotten,
            sign_flipped,
            stretched_twice,
        ),
        alternatives=(xavier_by_interpolation,),
    ),
    Exercise(
        id="initialization.relu_moments",
        title="The moments across a ReLU layer",
        points=3,
        section="Idea",
        reference=reference.relu_moments,
        inputs=_layers(),
        returns=("forward", "backward"),
        misconceptions=known(
            "Idea",
            half_forgotten,
            half_forgotten_backwards,
            fans_exchanged,
            fan_in_both_ways,
            std_not_squared,
            variance_squared,
            fans_forgotten,
            rms_returned,
            kaiming_assumed,
            gradient_of_the_signal,
            slope_squared_too,
            backward_first,
        ),
        alternatives=(moments_by_factors,),
    ),
    Exercise(
        id="initialization.diagnose",
        title="Diagnose an initialization",
        points=2,
        section="How it fails",
        reference=reference.diagnose,
        inputs=_signals(),
        returns=(),
        misconceptions=known(
            "How it fails",
            judged_by_the_signal,
            ratio_inverted,
            ratio_of_roots,
            relu_not_counted,
            fans_taken_for_each_other,
            healthy_or_dead,
            widths_forgotten,
        ),
        alternatives=(diagnose_by_variance,),
    ),
)
