r"""Initialization: how the weights of a layer are drawn before the first step.

A layer computes :math:`z = Wx + b` with W of shape (out, in), as in ``torch.nn.Linear``; a
convolution has filters (out, in, kernel, ...). Fans count the products of a unit: fan_in is
in times the places of the kernel, fan_out is out times the places. Every initializer takes the
shape and a generator, and draws from the generator alone: the same generator, the same weights.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from labsupport.checks import is_count

Shape = tuple[int, ...]


def fans(shape: Shape) -> tuple[int, int]:
    """Count (fan_in, fan_out) of weights (out, in, kernel, ...), as ``torch.nn.init`` does.

    Raises:
        ValueError: for fewer than two axes, or one that is not a whole number of at least 1.
    """
    if len(shape) < 2 or not all(is_count(side, 1) for side in shape):
        raise ValueError(
            f"shape is {tuple(shape)}; it must be (fan_out, fan_in), or (out, in, kernel, ...) of a"
            " convolution, each at least 1"
        )
    places = math.prod(shape[2:])
    return shape[1] * places, shape[0] * places


def zero(shape: Shape, rng: Generator) -> Tensor:
    """Return weights of zero; nothing is drawn.

    Args:
        shape: (out, in), or (out, in, kernel, ...), each at least 1.
        rng: the run's generator.

    Returns:
        Weights of that shape, float32.

    Raises:
        ValueError: for a shape of fewer than two axes, or one that is not a whole number of at
            least 1.

    Source: the lecture, "Example of poor initialization".
    """
    fans(shape)
    return torch.zeros(shape)


def equal_rows(shape: Shape, rng: Generator) -> Tensor:
    """Draw one row by ``kaiming_normal`` and copy it to every unit.

    Args, Returns, Raises: as in :func:`zero`.

    Source: the lecture, "Example of poor initialization": what if a1 = b1 and a2 = b2?
    """
    fans(shape)
    return kaiming_normal((1, *shape[1:]), rng).expand(shape).clone()


def normal(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw standard normal weights; scale them by the gain you want.

    Args, Returns, Raises: as in :func:`zero`.
    """
    fans(shape)
    return torch.empty(shape).normal_(0.0, 1.0, generator=rng)


def xavier_uniform(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw Xavier's initialization from uniform numbers.

    .. math::

        W \sim U\left[-\sqrt{\tfrac{6}{n_{in}+n_{out}}},\ \sqrt{\tfrac{6}{n_{in}+n_{out}}}\right]

    Its variance is :math:`2/(n_{in}+n_{out})`: a uniform number in ±a has the variance a²/3.

    Args, Returns, Raises: as in :func:`zero`.

    Source: Glorot & Bengio (2010), equation 16; the lecture, "Good Init can help fight Vanishing
    Gradient".
    """
    bound = math.sqrt(6 / sum(fans(shape)))
    return torch.empty(shape).uniform_(-bound, bound, generator=rng)


def xavier_normal(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw Gaussian weights of Xavier's variance, :math:`2/(n_{in}+n_{out})`.

    Args, Returns, Raises: as in :func:`zero`.

    Source: as ``torch.nn.init.xavier_normal_``.
    """
    std = math.sqrt(2 / sum(fans(shape)))
    return torch.empty(shape).normal_(0.0, std, generator=rng)


def kaiming_normal(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw Kaiming's weights by fan-in, :math:`W \sim \mathcal N(0, 2/n_{in})`.

    2/n is the *variance*.

    It keeps the second moment of the activations from layer to layer under ReLU.

    Args, Returns, Raises: as in :func:`zero`.

    Source: He et al. (2015), equation 10; the lecture, "Good Init can help fight Vanishing
    Gradient".
    """
    fan_in, _ = fans(shape)
    return torch.empty(shape).normal_(0.0, math.sqrt(2 / fan_in), generator=rng)


def kaiming_normal_fan_out(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw Kaiming's weights by fan-out, :math:`W \sim \mathcal N(0, 2/n_{out})`.

    It preserves the gradients' moment.

    Args, Returns, Raises: as in :func:`zero`.

    Source: He et al. (2015), equation 14.
    """
    _, fan_out = fans(shape)
    return torch.empty(shape).normal_(0.0, math.sqrt(2 / fan_out), generator=rng)


def kaiming_uniform(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw weights of Kaiming's variance uniformly in :math:`\pm\sqrt{6/n_{in}}`.

    Args, Returns, Raises: as in :func:`zero`.

    Source: as ``torch.nn.init.kaiming_uniform_`` with ``nonlinearity="relu"``.
    """
    fan_in, _ = fans(shape)
    bound = math.sqrt(6 / fan_in)
    return torch.empty(shape).uniform_(-bound, bound, generator=rng)


def orthogonal(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw a random matrix with orthonormal rows or columns, whichever are fewer.

    It stretches no vector. Filters are rows (out, fan_in).

    The factor Q of a Gaussian matrix, each column turned so that R has a positive diagonal; without
    that, Q is not uniform over the orthogonal matrices.

    Args, Returns, Raises: as in :func:`zero`.

    Source: Saxe et al. (2014); the algorithm is that of ``torch.nn.init.orthogonal_``.
    """
    fan_in, _ = fans(shape)
    drawn = torch.empty(shape[0], fan_in).normal_(0.0, 1.0, generator=rng)
    wide = shape[0] < fan_in
    q, r = torch.linalg.qr(drawn.T if wide else drawn)
    q = q * r.diagonal().sign()
    return (q.T.contiguous() if wide else q).view(shape)


def torch_default(shape: Shape, rng: Generator) -> Tensor:
    r"""Draw torch's default weights, uniform in :math:`\pm 1/\sqrt{n_{in}}`.

    Their variance is 1/(3 n_in).

    Args, Returns, Raises: as in :func:`zero`.

    Source: ``torch.nn.Linear.reset_parameters`` and that of the convolutions.
    """
    fan_in, _ = fans(shape)
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound, generator=rng)


SCHEMES: dict[str, Callable[[Shape, Generator], Tensor]] = {
    f.__name__: f
    for f in (
        torch_default,
        zero,
        equal_rows,
        normal,
        xavier_uniform,
        xavier_normal,
        kaiming_normal,
        kaiming_normal_fan_out,
        kaiming_uniform,
        orthogonal,
    )
}
"""Every initializer by name: what ``models.MLP(initializer=...)`` takes."""
