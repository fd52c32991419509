r"""Initialization: how the weights of a layer are drawn before the first step.

A layer computes :math:`z = Wx + b` with W of shape (fan_out, fan_in), as in ``torch.nn.Linear``.
Every initializer
takes that shape and a generator, and draws from the generator alone: the same generator, the same
weights.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

Shape = tuple[int, int]


def zero(shape: Shape, rng: Generator) -> Tensor:
    """All weights zero: nothing is drawn.

    Args:
        shape: (fan_out, fan_in), each at least 1.
        rng: the run's generator.

    Returns:
        Weights (fan_out, fan_in), float32.

    Raises:
        ValueError: for a shape that is not two whole numbers of at least 1.

    Source: the lecture, "Example of poor initialization".
    """
    return torch.zeros(*_checked(shape))


def equal_rows(shape: Shape, rng: Generator) -> Tensor:
    """One row, drawn as ``kaiming_normal`` draws it, for every unit of the layer: the units are
    copies of each other.

    Args, Returns, Raises: as in :func:`zero`.

    Source: the lecture, "Example of poor initialization": what if a1 = b1 and a2 = b2?
    """
    fan_out, fan_in = _checked(shape)
    return kaiming_normal((1, fan_in), rng).expand(fan_out, fan_in).clone()


def normal(shape: Shape, rng: Generator) -> Tensor:
    r"""Gaussian weights of variance one, :math:`W \sim \mathcal N(0, 1)`; scale them by the gain
    you want.

    Args, Returns, Raises: as in :func:`zero`.
    """
    return torch.empty(*_checked(shape)).normal_(0.0, 1.0, generator=rng)


def xavier_uniform(shape: Shape, rng: Generator) -> Tensor:
    r"""The uniform form of Xavier's initialization.

    .. math::

        W \sim U\left[-\sqrt{\tfrac{6}{n_{in}+n_{out}}},\ \sqrt{\tfrac{6}{n_{in}+n_{out}}}\right]

    Its variance is :math:`2/(n_{in}+n_{out})`: a uniform number in ±a has the variance a²/3.

    Args, Returns, Raises: as in :func:`zero`.

    Source: Glorot & Bengio (2010), equation 16; the lecture, "Good Init can help fight Vanishing
    Gradient".
    """
    bound = math.sqrt(6 / sum(_checked(shape)))
    return torch.empty(*shape).uniform_(-bound, bound, generator=rng)


def xavier_normal(shape: Shape, rng: Generator) -> Tensor:
    r"""Gaussian weights of the same variance, :math:`2/(n_{in}+n_{out})`.

    Args, Returns, Raises: as in :func:`zero`.

    Source: as ``torch.nn.init.xavier_normal_``.
    """
    return torch.empty(*shape).normal_(0.0, math.sqrt(2 / sum(_checked(shape))), generator=rng)


def kaiming_normal(shape: Shape, rng: Generator) -> Tensor:
    r"""Kaiming's initialization by fan-in: :math:`W \sim \mathcal N(0, 2/n_{in})`, where 2/n is the
    *variance*.

    It keeps the second moment of the activations from layer to layer under ReLU.

    Args, Returns, Raises: as in :func:`zero`.

    Source: He et al. (2015), equation 10; the lecture, "Good Init can help fight Vanishing
    Gradient".
    """
    return torch.empty(*shape).normal_(0.0, math.sqrt(2 / _checked(shape)[1]), generator=rng)


def kaiming_normal_fan_out(shape: Shape, rng: Generator) -> Tensor:
    r"""Kaiming's initialization by fan-out, :math:`W \sim \mathcal N(0, 2/n_{out})`: it keeps the
    gradients' moment.

    Args, Returns, Raises: as in :func:`zero`.

    Source: He et al. (2015), equation 14.
    """
    return torch.empty(*shape).normal_(0.0, math.sqrt(2 / _checked(shape)[0]), generator=rng)


def kaiming_uniform(shape: Shape, rng: Generator) -> Tensor:
    r"""Kaiming's variance by fan-in, :math:`2/n_{in}`, from uniform numbers in
    :math:`\pm\sqrt{6/n_{in}}`.

    Args, Returns, Raises: as in :func:`zero`.

    Source: as ``torch.nn.init.kaiming_uniform_`` with ``nonlinearity="relu"``.
    """
    bound = math.sqrt(6 / _checked(shape)[1])
    return torch.empty(*shape).uniform_(-bound, bound, generator=rng)


def orthogonal(shape: Shape, rng: Generator) -> Tensor:
    r"""A random matrix with orthonormal rows or columns, whichever are fewer: it stretches no
    vector.

    The factor Q of a Gaussian matrix, each column turned so that R has a positive diagonal; without
    that, Q is not uniform over the orthogonal matrices.

    Args, Returns, Raises: as in :func:`zero`.

    Source: Saxe et al. (2014); the algorithm is that of ``torch.nn.init.orthogonal_``.
    """
    fan_out, fan_in = _checked(shape)
    drawn = torch.empty(fan_out, fan_in).normal_(0.0, 1.0, generator=rng)
    q, r = torch.linalg.qr(drawn.T if fan_out < fan_in else drawn)
    q = q * r.diagonal().sign()
    return q.T.contiguous() if fan_out < fan_in else q


def torch_default(shape: Shape, rng: Generator) -> Tensor:
    r"""What ``torch.nn.Linear`` does by itself: uniform in :math:`\pm 1/\sqrt{n_{in}}`, a variance
    of 1/(3 n_in).

    Args, Returns, Raises: as in :func:`zero`.

    Source: ``torch.nn.Linear.reset_parameters``.
    """
    bound = 1 / math.sqrt(_checked(shape)[1])
    return torch.empty(*shape).uniform_(-bound, bound, generator=rng)


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


def _checked(shape: Shape) -> Shape:
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}; it must be (fan_out, fan_in), each at least 1")
    return shape
