r"""Activations and their derivatives, and the thresholds by which a log is diagnosed.

Symbols: z is what goes into an activation, :math:`\rho(z)` what comes out, :math:`\rho'(z)` its
derivative, here called the *slope*. Every function works element by element, on any shape, in the
dtype of its input, which must be a
floating one. Nothing overflows: each is finite for every finite z.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LEAK = 0.01
"""The slope that leaky ReLU has on the negative side, PyTorch's default."""


def sigmoid(z: Tensor) -> Tensor:
    r"""Compute the logistic function.

    .. math:: \sigma(z) = \frac{1}{1+e^{-z}}

    Args:
        z: any shape, floating.

    Returns:
        Numbers in [0, 1], shape and dtype of z.

    Raises:
        ValueError: if z is not floating.

    Source: the lecture, "Activation Functions and Small Gradients". For z < 0 it is computed as
    :math:`e^z/(1+e^z)`, the same number without a huge :math:`e^{-z}`.
    """
    small = torch.exp(-_floating(z).abs())  # at most 1, so that it never overflows
    return torch.where(z >= 0, 1 / (1 + small), small / (1 + small))


def sigmoid_slope(z: Tensor) -> Tensor:
    r"""Compute the derivative of the sigmoid, at most 1/4, which it reaches at 0.

    .. math:: \sigma'(z) = \sigma(z)\,(1-\sigma(z)) = \sigma(z)\,\sigma(-z)

    Args, Returns, Raises: as in :func:`sigmoid`.

    Source: the lecture, same slide, which writes the first form. The second one keeps its digits
    where :math:`\sigma(z)` rounds to 1.
    """
    return sigmoid(z) * sigmoid(-z)


def tanh(z: Tensor) -> Tensor:
    r"""Compute :math:`\tanh z = 2\sigma(2z) - 1`, a sigmoid stretched to (-1, 1).

    Args, Returns, Raises: as in :func:`sigmoid`.
    """
    return torch.tanh(_floating(z))


def tanh_slope(z: Tensor) -> Tensor:
    r"""Compute the derivative of tanh, at most 1, which it reaches at 0.

    .. math:: \tanh'(z) = 1 - \tanh^2 z = 4\,\sigma'(2z)

    Args, Returns, Raises: as in :func:`sigmoid`. The last form is computed: it keeps its digits in
        the tails.
    """
    return 4 * sigmoid_slope(2 * z)


def relu(z: Tensor) -> Tensor:
    r"""Compute the rectified linear unit, :math:`\max(z, 0)`.

    Args, Returns, Raises: as in :func:`sigmoid`.

    Source: the lecture, "Activation Functions and Vanishing Gradients".
    """
    return _floating(z).clamp(min=0)


def relu_slope(z: Tensor) -> Tensor:
    r"""Compute the derivative of ReLU: 1 for z > 0, 0 for z < 0.

    At 0 there is none: the function has a corner. We take 0 there, as PyTorch does; any number in
    [0, 1] would be a subgradient.

    Args, Returns, Raises: as in :func:`sigmoid`.
    """
    return (_floating(z) > 0).to(z.dtype)


def leaky_relu(z: Tensor, leak: float = LEAK) -> Tensor:
    r"""Compute leaky ReLU: z for z > 0, ``leak`` times z otherwise.

    Args:
        z: any shape, floating.
        leak: the slope for z < 0, in [0, 1).

    Returns, Raises: as in :func:`sigmoid`; ValueError also for a leak outside [0, 1).
    """
    return torch.where(z > 0, z, _leak(leak) * _floating(z))


def leaky_relu_slope(z: Tensor, leak: float = LEAK) -> Tensor:
    r"""Compute leaky ReLU's derivative: 1 for z > 0, ``leak`` for z < 0 and at 0, as PyTorch.

    Args, Returns, Raises: as in :func:`leaky_relu`.
    """
    return torch.where(z > 0, torch.ones_like(_floating(z)), _leak(leak))


def elu(z: Tensor, alpha: float = 1.0) -> Tensor:
    r"""Compute the exponential linear unit: z for z > 0, :math:`\alpha\,(e^z-1)` otherwise.

    Args:
        z: any shape, floating.
        alpha: :math:`\alpha > 0`; the unit saturates at :math:`-\alpha`.

    Returns, Raises: as in :func:`sigmoid`; ValueError also for an alpha that is not positive.

    Source: Clevert et al. (2016).
    """
    # expm1 keeps its digits near 0; without the clamp a large z would overflow
    negative = torch.expm1(_floating(z).clamp(max=0))
    return torch.where(z > 0, z, _positive(alpha) * negative)


def elu_slope(z: Tensor, alpha: float = 1.0) -> Tensor:
    r"""Compute the derivative of ELU: 1 for z > 0, :math:`\alpha e^z` otherwise.

    The latter is ELU's own output plus :math:`\alpha`.

    At 0 it is :math:`\alpha`, as in PyTorch; only for :math:`\alpha = 1` is there no corner.

    Args, Returns, Raises: as in :func:`elu`.
    """
    negative = torch.exp(_floating(z).clamp(max=0))  # a large z would overflow
    return torch.where(z > 0, torch.ones_like(z), _positive(alpha) * negative)


def gelu(z: Tensor) -> Tensor:
    r"""Compute the exact Gaussian error linear unit: z times the normal distribution function.

    .. math::

        \operatorname{GELU}(z) = z\,\Phi(z), \qquad \Phi(z) = \tfrac12\operatorname{erfc}(-z/\sqrt2)

    Args, Returns, Raises: as in :func:`sigmoid`.

    Source: Hendrycks & Gimpel (2016). Not their approximation by a tanh.
    """
    return z * _normal_cdf(z)


def gelu_slope(z: Tensor) -> Tensor:
    r"""Compute the derivative of GELU, :math:`\Phi(z) + z\,\varphi(z)`.

    :math:`\varphi` is the normal density.

    It exceeds 1 a little to the right of 1, and is negative left of about -0.75.

    Args, Returns, Raises: as in :func:`sigmoid`.
    """
    return _normal_cdf(z) + z * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def silu(z: Tensor) -> Tensor:
    r"""Compute the sigmoid-weighted linear unit, also called swish: :math:`z\,\sigma(z)`.

    Args, Returns, Raises: as in :func:`sigmoid`.
    """
    return z * sigmoid(z)


def silu_slope(z: Tensor) -> Tensor:
    r"""Compute the derivative of SiLU, :math:`\sigma(z) + z\,\sigma'(z)`.

    Args, Returns, Raises: as in :func:`sigmoid`.
    """
    return sigmoid(z) + z * sigmoid_slope(z)


class Activation(NamedTuple):
    """A function and its derivative."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    steepest: float
    """No slope is larger: by so much, at most, a gradient grows on its way through."""


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(sigmoid, sigmoid_slope, 0.25),
    "tanh": Activation(tanh, tanh_slope, 1.0),
    "relu": Activation(relu, relu_slope, 1.0),
    "leaky_relu": Activation(leaky_relu, leaky_relu_slope, 1.0),
    "elu": Activation(elu, elu_slope, 1.0),
    "gelu": Activation(gelu, gelu_slope, 1.129),
    "silu": Activation(silu, silu_slope, 1.1),
    "linear": Activation(lambda z: z, torch.ones_like, 1.0),
}
"""By the names of ``models.MLP(activation=...)``, with ELU's alpha at 1 and leaky ReLU's leak at
0.01.
"""


def slope(z: Tensor, activation: str, alpha: float) -> Tensor:
    """Compute the derivative of an activation by its name.

    Args:
        z: any shape, floating.
        activation: "sigmoid", "tanh", "relu", "leaky_relu" or "elu".
        alpha: leaky ReLU's slope on the negative side, or ELU's constant; the others do not use it.

    Returns:
        Slopes, shape and dtype of z; at 0 as in PyTorch.

    Raises:
        ValueError: for another name, and as the functions above.
    """
    if activation in ("leaky_relu", "elu"):
        return (leaky_relu_slope if activation == "leaky_relu" else elu_slope)(z, alpha)
    if activation not in ("sigmoid", "tanh", "relu"):
        raise ValueError(
            f"activation is {activation!r}; there are sigmoid, tanh, relu, leaky_relu, elu"
        )
    return ACTIVATIONS[activation].slope(z)


def _normal_cdf(z: Tensor) -> Tensor:
    return torch.erfc(-_floating(z) / math.sqrt(2)) / 2


def _floating(z: Tensor) -> Tensor:
    if not z.is_floating_point():
        raise ValueError(f"z is of {z.dtype}; an activation takes floating numbers")
    return z


def _leak(leak: float) -> float:
    if not 0 <= leak < 1:
        raise ValueError(f"leak is {leak}; it must be in [0, 1)")
    return leak


def _positive(alpha: float) -> float:
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}; it must be a positive number")
    return alpha
