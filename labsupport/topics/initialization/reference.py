r"""Mean squares of a network's signals, forward and backward, layer by layer.

The initializers themselves, from ``zero`` to ``torch_default``, are in
``labsupport.models.initialization``, because the book's networks draw their weights with them; they
are imported here as well.

Symbols: W (fan_out, fan_in) weights, b biases, x inputs, z = Wh + b what a layer adds up, h = ρ(z)
what it puts out. A moment is a mean square, E[h²]; the mean is over the random weights, the units
and the samples.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from labsupport.models.initialization import (
    SCHEMES,
    equal_rows,
    kaiming_normal,
    kaiming_normal_fan_out,
    kaiming_uniform,
    normal,
    orthogonal,
    torch_default,
    xavier_normal,
    xavier_uniform,
    zero,
)

__all__ = [
    "ACTIVATIONS",
    "SCHEMES",
    "VARIANCES",
    "diagnose",
    "equal_rows",
    "gaussian_mean",
    "growths",
    "kaiming_normal",
    "kaiming_normal_fan_out",
    "kaiming_uniform",
    "kaiming_weights",
    "normal",
    "orthogonal",
    "predicted",
    "relu_moments",
    "torch_default",
    "weight_gradient",
    "xavier_normal",
    "xavier_uniform",
    "xavier_weights",
    "zero",
]

Function = Callable[[Tensor], Tensor]
Number = float | Tensor

ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "linear": (lambda z: z, torch.ones_like),
    "relu": (torch.relu, lambda z: (z > 0).to(z.dtype)),
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
}
"""Name -> (ρ, ρ')."""
VARIANCES: dict[str, Callable[[int, int], float]] = {
    "zero": lambda fan_out, fan_in: 0.0,
    "normal": lambda fan_out, fan_in: 1.0,
    "xavier_uniform": lambda fan_out, fan_in: 2 / (fan_in + fan_out),
    "xavier_normal": lambda fan_out, fan_in: 2 / (fan_in + fan_out),
    "kaiming_normal": lambda fan_out, fan_in: 2 / fan_in,
    "kaiming_uniform": lambda fan_out, fan_in: 2 / fan_in,
    "kaiming_normal_fan_out": lambda fan_out, fan_in: 2 / fan_out,
    "orthogonal": lambda fan_out, fan_in: 1 / max(fan_in, fan_out),
    "torch_default": lambda fan_out, fan_in: 1 / (3 * fan_in),
}
"""Name of an initializer -> the variance of one weight that it draws, by (fan_out, fan_in)."""


def weight_gradient(
    w1: Tensor, w2: Tensor, b: Tensor, x: Tensor, *, activation: str = "tanh"
) -> Tensor:
    r"""Compute the slides' example: the gradient of :math:`w_2^T \rho(W_1 x + b)` in W_1.

    .. math:: \frac{\partial y}{\partial W_1} = \bigl(w_2 \circ \rho'(W_1 x + b)\bigr)\, x^T

    Args:
        w1: first weights, shape (H, D).
        w2, b: second weights and first biases, shape (H,).
        x: one input, shape (D,).
        activation: tanh, relu or linear.

    Returns:
        The gradient, shape (H, D).

    Raises:
        ValueError: if shapes do not fit, or the activation is unknown.

    Source: the lecture, "Example of poor initialization". The slope of ReLU at 0 is 0, as in
    PyTorch.
    """
    _, slope = _activation(activation)
    if w1.dim() != 2 or w2.shape != b.shape or (*b.shape, *x.shape) != tuple(w1.shape):
        raise ValueError(
            f"w1 is {tuple(w1.shape)}, w2 {tuple(w2.shape)}, b {tuple(b.shape)}, x"
            f" {tuple(x.shape)}; they must be (H, D), (H,), (H,), (D,)"
        )
    return torch.outer(w2 * slope(w1 @ x + b), x)


def kaiming_weights(z: Tensor) -> Tensor:
    r"""Make Kaiming's weights by fan-in of standard normal numbers.

    .. math:: W = \sqrt{2/n_{in}}\; Z, \qquad Z_{ij} \sim \mathcal N(0, 1)

    Args:
        z: standard normal numbers, shape (fan_out, fan_in).

    Returns:
        Weights of that shape, with variance 2/fan_in.

    Raises:
        ValueError: if z is not a matrix of floating-point numbers.

    Source: He et al. (2015), equation 10. :func:`kaiming_normal` draws its own numbers.
    """
    _require_matrix(z=z)
    return z * math.sqrt(2 / z.shape[1])


def xavier_weights(u: Tensor) -> Tensor:
    r"""Make Xavier's weights of uniform numbers between 0 and 1.

    .. math:: W = (2U - 1)\,\sqrt{\frac{6}{n_{in} + n_{out}}}, \qquad U_{ij} \sim U[0, 1)

    Args:
        u: uniform numbers in [0, 1), shape (fan_out, fan_in).

    Returns:
        Weights of that shape, with mean 0 and variance 2/(fan_in + fan_out).

    Raises:
        ValueError: if u is not a matrix of floating-point numbers, or one lies outside [0, 1].

    Source: Glorot & Bengio (2010), equation 16.
    """
    _require_matrix(u=u)
    if bool(((u < 0) | (u > 1)).any()):
        raise ValueError(f"u is between {u.min():g} and {u.max():g}; uniform numbers lie in [0, 1)")
    return (2 * u - 1) * math.sqrt(6 / sum(u.shape))


def relu_moments(
    forward: Tensor, backward: Tensor, fan_in: int, fan_out: int, weight_std: float
) -> tuple[Tensor, Tensor]:
    r"""Compute how the mean squares change across one ReLU layer, forward and backward.

    .. math::
        \mathbb E[h_l^2] = \tfrac12\, n_{in}\sigma^2\; \mathbb E[h_{l-1}^2], \qquad
        \mathbb E[\delta_{l-1}^2] = \tfrac12\, n_{out}\sigma^2\; \mathbb E[\delta_l^2]

    Args:
        forward: mean square of what enters the layer, shape (...).
        backward: mean square of the loss's gradient in what leaves it, shape (...).
        fan_in, fan_out: inputs and units of the layer.
        weight_std: σ, the standard deviation of its weights, whose mean is 0; biases are 0.

    Returns:
        The mean square of what leaves the layer, and of the gradient in what enters it.

    Raises:
        ValueError: for a fan below 1 or a negative standard deviation.

    Source: He et al. (2015), equations 9 and 13. There the equations speak of variances of z; with
    mean 0 they are mean squares.
    """
    if min(fan_in, fan_out) < 1 or weight_std < 0:
        raise ValueError(
            f"fan_in {fan_in} and fan_out {fan_out} must be at least 1, weight_std {weight_std} at"
            " least 0"
        )
    return fan_in * weight_std**2 / 2 * forward, fan_out * weight_std**2 / 2 * backward


def gaussian_mean(function: Function, second_moment: float) -> float:
    r"""Compute the mean of f(z) over :math:`z \sim \mathcal N(0, q)`.

    It is computed by the midpoint rule on ±10 standard deviations.

    Args:
        function: f, taken at float64 tensors.
        second_moment: q >= 0.

    Raises:
        ValueError: if q is negative or not finite.
    """
    if not 0 <= second_moment < math.inf:
        raise ValueError(
            f"second_moment is {second_moment}; it must be a finite number of at least 0"
        )
    nodes = (torch.arange(4000, dtype=torch.float64) + 0.5) / 200 - 10
    weights = torch.exp(-(nodes**2) / 2)
    return ((weights * function(nodes * math.sqrt(second_moment))).sum() / weights.sum()).item()


def predicted(
    sizes: Sequence[int],
    scheme: str,
    activation: str,
    *,
    gain: float = 1.0,
    start: float = 1.0,
    end: float = 1.0,
    uniform_bias: bool = False,
) -> tuple[list[float], list[float]]:
    r"""Predict the mean squares of a wide random network at each layer's output.

    .. math::
        q_l = n_{in}\sigma_l^2\, m_{l-1} + \operatorname{Var} b_l, \qquad
        m_l = \mathbb E_{z\sim\mathcal N(0, q_l)}[\rho(z)^2], \qquad
        g_{l-1} = n_{out}\sigma_l^2\; \mathbb E_{z\sim\mathcal N(0, q_l)}[\rho'(z)^2]\; g_l

    Args:
        sizes: widths from input to output; the last layer has no activation.
        scheme: an initializer by name; its weights are multiplied by ``gain``.
        activation: linear, relu or tanh.
        start: mean square of the inputs, m_0.
        end: mean square of the loss's gradient in the outputs, g_L.
        uniform_bias: biases in ±1/√n_in, a variance of 1/(3 n_in), instead of zero.

    Returns:
        Forwards m_1 ... m_L and backwards g_1 ... g_L.

    Raises:
        ValueError: for an unknown scheme or activation, or fewer than two sizes.

    Source: He et al. (2015) for ReLU; for any ρ the mean-field recursion of Schoenholz et al.
    (2017). It takes z for Gaussian and the backward signal for independent of the forward one,
    which holds for wide layers.
    """
    if scheme not in VARIANCES or len(sizes) < 2:
        raise ValueError(
            f"scheme is {scheme!r} and sizes {tuple(sizes)}; there are {', '.join(VARIANCES)}, and"
            " at least two sizes"
        )
    rho, slope = _activation(activation)
    m, forward, factors = start, [], []
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        variance = gain**2 * VARIANCES[scheme](fan_out, fan_in)
        q = fan_in * variance * m + (1 / (3 * fan_in) if uniform_bias else 0.0)
        last = layer == len(sizes) - 1
        m = q if last else gaussian_mean(lambda z: rho(z) ** 2, q)
        forward.append(m)
        factors.append(
            fan_out * variance * (1.0 if last else gaussian_mean(lambda z: slope(z) ** 2, q))
        )
    backward = [end]
    for factor in reversed(factors[1:]):  # the first layer's factor leads into the inputs
        backward.append(factor * backward[-1])
    return forward, backward[::-1]


def growths(fan_in: int, fan_out: int) -> dict[str, float]:
    """Compute a ReLU layer's growth of E[h²] for each initialization met in broken code.

    Args:
        fan_in, fan_out: inputs and units of the layer.

    Returns:
        Name -> ratio: ½ · fan_in · the variance of a weight.
    """
    variances = {
        "healthy": 2 / fan_in,
        "std_is_variance": (2 / fan_in) ** 2,
        "fan_out_for_fan_in": 2 / fan_out,
        "relu_factor_missing": 1 / fan_in,
        "bound_is_std": 2 / (3 * fan_in),
    }
    return {name: fan_in * variance / 2 for name, variance in variances.items()} | {"zero": 0.0}


def diagnose(before: Tensor, after: Tensor, fan_in: Sequence[int], fan_out: Sequence[int]) -> str:
    r"""Name the initialization of a ReLU network from the mean squares at its start.

    The layers' ratios :math:`r_l = \mathbb E[h_l^2] / \mathbb E[h_{l-1}^2]` are held against what
    each initialization should give, :func:`growths`; the nearest one has the smallest
    :math:`\sum_l |\ln r_l - \ln \hat r_l|`.

    Args:
        before, after: mean square of what enters and of what leaves each hidden layer, shape (L,);
            ``before`` positive.
        fan_in, fan_out: inputs and units of each layer, L numbers.

    Returns:
        healthy | std_is_variance | fan_out_for_fan_in | relu_factor_missing | bound_is_std | zero.
    """
    if bool((after == 0).all()):
        return "zero"
    ratio = (after / before).log()
    suspects = [growths(n, k) for n, k in zip(fan_in, fan_out, strict=True)]
    misses = {
        name: sum(
            abs(r.item() - math.log(layer[name])) for r, layer in zip(ratio, suspects, strict=True)
        )
        for name in suspects[0]
        if name != "zero"
    }
    return min(misses, key=misses.__getitem__)


def _activation(name: str) -> tuple[Function, Function]:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is {name!r}; there are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _require_matrix(**tensors: Tensor) -> None:
    for name, t in tensors.items():
        if t.dim() != 2 or not t.is_floating_point() or t.numel() == 0:
            raise ValueError(
                f"{name} is {tuple(t.shape)} of {t.dtype}; it must be a matrix (fan_out, fan_in) of"
                " floating-point numbers, not empty"
            )
