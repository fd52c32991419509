r"""Normalize over the batch, forwards and backwards; group norm; the theorem on the gradient.

Symbols: x inputs (B, C, ...), one channel an index of the second axis; a batch of vectors is
(B, C), of images (B, C, H, W). :math:`\mu, \sigma^2` mean and variance of a channel over all other
axes, m the number of values they are taken over, :math:`\hat x` the normalized input,
:math:`\gamma, \beta` scale and shift (C,), y outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from labsupport.ops.precision import require_full


class Statistics(NamedTuple):
    """Mean and variance of each channel of a batch."""

    mean: Tensor
    """(C,)"""
    var: Tensor
    """(C,) the mean squared deviation from the mean: divided by m, not by m - 1."""
    size: int
    """m, the values a channel has in the batch."""


def statistics(x: Tensor) -> Statistics:
    r"""Compute mean and variance of every channel over the batch.

    .. math:: \mu = \frac1m \sum_i x_i, \qquad \sigma^2 = \frac1m \sum_i (x_i - \mu)^2

    The variance is taken from the deviations. The shorter form, mean of squares minus square of the
    mean, loses all its digits in float32 where the mean is large against the standard deviation.

    Args:
        x: (B, C, ...), floating, at least two values a channel.

    Returns:
        Statistics.

    Raises:
        ValueError: for integers, half precision, fewer than two axes, or fewer than two values a
            channel.

    Source: Ioffe & Szegedy (2015), Algorithm 1; the lecture, "Implementing Batch Norm".
    """
    _check_input(x)
    size = x.numel() // x.shape[1]
    if size < 2:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}: {size} value of each channel has no variance; a"
            " batch in train mode needs at least 2"
        )
    axes = _all_but_channels(x)
    return Statistics(x.mean(axes), deviations(x).square().mean(axes), size)


def deviations(x: Tensor) -> Tensor:
    r"""Subtract from each value its channel's mean, :math:`x_i - \mu`, twice.

    In float32 a mean of 10,000 is rounded to the next thousandth, and so is everything that it is
    subtracted from. The deviations are small numbers whose own mean is known far better: a second
    centring takes the error out.

    Args:
        x: (B, C, ...).

    Returns:
        Shaped like x, with a mean of zero in every channel.
    """
    axes = _all_but_channels(x)
    once = x - _along(x.mean(axes), x)
    return once - _along(once.mean(axes), x)


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float = 1e-5) -> Tensor:
    r"""Normalize as batch norm in train mode: every channel by the statistics of this batch.

    .. math::

        \hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad
        y_i = \gamma\,\hat x_i + \beta

    Args:
        x: (B, C, ...), at least two values a channel.
        gamma, beta: (C,).
        eps: :math:`\epsilon > 0`, in units of the variance.

    Returns:
        y, shaped like x.

    Raises:
        ValueError: as :func:`statistics`, for a gamma or beta that is not (C,), and for an eps that
            is not positive.

    Source: Ioffe & Szegedy (2015), Algorithm 1.
    """
    _check_channels(x, gamma=gamma, beta=beta)
    _check_eps(eps)
    hat = deviations(x) / (_along(statistics(x).var, x) + eps).sqrt()
    return _along(gamma, x) * hat + _along(beta, x)


def normalize(
    x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, *, eps: float = 1e-5
) -> Tensor:
    r"""Normalize as batch norm in eval mode: every channel by given statistics, those of training.

    .. math:: y_i = \gamma\,\frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    It is one affine map a channel, and a sample's output does not depend on the other samples.

    Args:
        x: (B, C, ...).
        mean, var, gamma, beta: (C,).
        eps: :math:`\epsilon > 0`.

    Returns:
        y, shaped like x.

    Raises:
        ValueError: for integers, a statistic or parameter that is not (C,), a negative variance, an
            eps that is not positive.

    Source: Ioffe & Szegedy (2015), Algorithm 2.
    """
    _check_input(x)
    _check_channels(x, mean=mean, var=var, gamma=gamma, beta=beta)
    _check_eps(eps)
    if bool((var < 0).any()):
        raise ValueError(
            f"var is {var.min().item():g} in one channel; a variance is never negative"
        )
    hat = (x - _along(mean, x)) / (_along(var, x) + eps).sqrt()
    return _along(gamma, x) * hat + _along(beta, x)


def batch_norm_backward(
    dy: Tensor, x: Tensor, gamma: Tensor, *, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Compute the gradients of batch norm in train mode by hand.

    .. math::
        \frac{\partial L}{\partial \beta} &= \sum_i \frac{\partial L}{\partial y_i}, \qquad
        \frac{\partial L}{\partial \gamma} = \sum_i \frac{\partial L}{\partial y_i}\,\hat x_i \\
        \frac{\partial L}{\partial x_i} &= \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}
            \left(\frac{\partial L}{\partial y_i} - \frac1m\frac{\partial L}{\partial \beta}
            - \frac{\hat x_i}{m}\frac{\partial L}{\partial \gamma}\right)

    The two terms that are subtracted are what the mean and the variance answer: push one sample up,
    and the mean goes up with it and pulls all samples down.

    Args:
        dy: the gradient in the outputs, shaped like x.
        x: the inputs of the forward pass, (B, C, ...).
        gamma: (C,).
        eps: as in the forward pass.

    Returns:
        The gradients in x, gamma and beta.

    Raises:
        ValueError: as :func:`batch_norm`, and if dy is not shaped like x.

    Source: Ioffe & Szegedy (2015), section 3, put together.
    """
    if dy.shape != x.shape:
        raise ValueError(
            f"dy has the shape {tuple(dy.shape)}, x {tuple(x.shape)}: they must be equal"
        )
    _, var, size = statistics(x)
    _check_channels(x, gamma=gamma)
    _check_eps(eps)
    axes, root = _all_but_channels(x), (_along(var, x) + eps).sqrt()
    hat = deviations(x) / root
    dbeta, dgamma = dy.sum(axes), (dy * hat).sum(axes)
    dx = _along(gamma, x) / root * (dy - _along(dbeta, x) / size - hat * _along(dgamma, x) / size)
    return dx, dgamma, dbeta


def update_running(running: Statistics, batch: Statistics, *, momentum: float = 0.1) -> Statistics:
    r"""Move the running statistics towards those of a batch, as PyTorch does.

    .. math::
        \mu_{\text{all}} \leftarrow (1-\rho)\,\mu_{\text{all}} + \rho\,\mu, \qquad
        \sigma^2_{\text{all}} \leftarrow (1-\rho)\,\sigma^2_{\text{all}}
        + \rho\,\tfrac{m}{m-1}\,\sigma^2

    Args:
        running: what eval mode uses; it starts at mean 0 and variance 1.
        batch: the statistics of this batch.
        momentum: :math:`\rho` in [0, 1], the weight of the *new* batch. The lecture's m weighs the
            old: m = 1 - rho.

    Returns:
        The new running statistics; ``size`` is the batch's.

    Raises:
        ValueError: for a momentum outside [0, 1].

    Source: the documented behaviour of ``torch.nn.BatchNorm1d``, which stores the unbiased variance
    and normalizes by the biased one. The lecture averages :math:`\sigma` itself.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(
            f"momentum is {momentum}, the weight of the new batch; it must be in [0, 1]"
        )
    # PyTorch stores the unbiased variance, though it normalizes a batch by the biased one
    unbiased = batch.var * (batch.size / (batch.size - 1))
    return Statistics(
        (1 - momentum) * running.mean + momentum * batch.mean,
        (1 - momentum) * running.var + momentum * unbiased,
        batch.size,
    )


def running_step(
    mean: Tensor, var: Tensor, x: Tensor, *, momentum: float = 0.1
) -> tuple[Tensor, Tensor]:
    r"""Move the running statistics by one training batch, with :func:`update_running`.

    Args:
        mean, var: the running statistics before the batch, (C,).
        x: the batch, (B, C, ...).
        momentum: :math:`\rho` in [0, 1], the weight of this batch.

    Returns:
        The new mean and variance, (C,).

    Raises:
        ValueError: as :func:`statistics` and :func:`update_running`, and if a statistic is not
            (C,).

    Source: the documented behaviour of ``torch.nn.BatchNorm1d``.
    """
    _check_input(x)
    _check_channels(x, mean=mean, var=var)
    return update_running(Statistics(mean, var, 0), statistics(x), momentum=momentum)[:2]


class BatchNorm(nn.Module):
    """Batch norm as a layer with two modes, with statistics for each of ``domains``.

    In train mode a batch is normalized by its own statistics, and the running ones move. In eval
    mode it is normalized by the running ones. With more than one domain each has scale, shift and
    running statistics of its own: conditional batch norm.

    Args:
        channels: C.
        domains: how many kinds of input there are.
        momentum, eps: as in :func:`update_running` and :func:`batch_norm`.

    Raises:
        ValueError: for fewer than one channel or domain.

    Source: Ioffe & Szegedy (2015); the domains as in de Vries et al. (2017), with a table in place
    of their network.
    """

    def __init__(
        self, channels: int, domains: int = 1, *, momentum: float = 0.1, eps: float = 1e-5
    ):
        super().__init__()
        if channels < 1 or domains < 1:
            raise ValueError(
                f"there are {channels} channels and {domains} domains; there must be at least one"
                " of each"
            )
        self.momentum, self.eps = momentum, eps
        self.gamma, self.beta = (
            nn.Parameter(torch.ones(domains, channels)),
            nn.Parameter(torch.zeros(domains, channels)),
        )
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(domains, channels))
        self.var: Tensor
        self.register_buffer("var", torch.ones(domains, channels))

    def forward(self, x: Tensor, domain: int = 0) -> Tensor:
        """Normalize x (B, C, ...), a batch of one domain."""
        gamma, beta = self.gamma[domain], self.beta[domain]
        if not self.training:
            return normalize(x, self.mean[domain], self.var[domain], gamma, beta, eps=self.eps)
        batch = statistics(x.detach())  # running statistics are no part of the graph
        moved = update_running(
            Statistics(self.mean[domain], self.var[domain], 0), batch, momentum=self.momentum
        )
        self.mean[domain], self.var[domain] = moved.mean, moved.var
        return batch_norm(x, gamma, beta, eps=self.eps)


def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, groups: int, eps: float = 1e-5) -> Tensor:
    r"""Normalize each sample by itself, its channels in groups; one group is layer norm.

    .. math::

        \hat x = \frac{x - \mu_{b,g}}{\sqrt{\sigma^2_{b,g} + \epsilon}}, \qquad
        y = \gamma\,\hat x + \beta

    Mean and variance are taken over the channels of a group and all places of one sample, so there
    is no batch in it and no second mode.

    Args:
        x: (B, C, ...).
        gamma, beta: (C,).
        groups: a divisor of C.
        eps: :math:`\epsilon > 0`.

    Returns:
        y, shaped like x.

    Raises:
        ValueError: for integers, a gamma or beta that is not (C,), groups that do not divide C.

    Source: Wu & He (2018); layer norm: Ba, Kiros & Hinton (2016).
    """
    _check_input(x)
    _check_channels(x, gamma=gamma, beta=beta)
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"groups is {groups}; it must divide the {x.shape[1]} channels")
    grouped = x.reshape(len(x), groups, -1)
    var, mean = torch.var_mean(grouped, 2, correction=0, keepdim=True)
    hat = ((grouped - mean) / (var + eps).sqrt()).view_as(x)
    return _along(gamma, x) * hat + _along(beta, x)


def squared_gradient(dz: Tensor, y_hat: Tensor, gamma: Tensor, sigma: Tensor) -> Tensor:
    r"""Compute the gradient's squared length under batch norm.

    This is the theorem of Santurkar et al. as an equation.

    .. math::
        \left\lVert\frac{\partial L}{\partial y_j}\right\rVert^2 = \frac{\gamma^2}{\sigma_j^2}\left(
        \left\lVert\frac{\partial L}{\partial z_j}\right\rVert^2
        - \frac1m\left\langle 1, \frac{\partial L}{\partial z_j}\right\rangle^2
        - \frac1m\left\langle\frac{\partial L}{\partial z_j}, \hat y_j\right\rangle^2\right)

    y_j are the m inputs of unit j, :math:`z_j = \gamma\hat y_j + \beta` its outputs, and eps is 0.

    Args:
        dz: the gradient in the outputs, (m, C).
        y_hat: the normalized inputs, (m, C).
        gamma, sigma: scale and the batch's standard deviation, (C,).

    Returns:
        The squared length of the gradient in the inputs, (C,).

    Source: derived from :func:`batch_norm_backward` with eps = 0; Santurkar et al. (2018), Theorem
    4.1, is the inequality.
    """
    m = len(dz)
    lost = dz.sum(0).square() / m + (dz * y_hat).sum(0).square() / m
    return (gamma / sigma).square() * (dz.square().sum(0) - lost)


def _all_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.dim()) if axis != 1]


def _along(value: Tensor, x: Tensor) -> Tensor:
    """View (C,) as (1, C, 1, ...) beside x."""
    return value.reshape(1, -1, *[1] * (x.dim() - 2))


def _check_input(x: Tensor) -> None:
    if not x.is_floating_point():
        raise ValueError(
            f"x has the dtype {x.dtype}; what is normalized is no integer: give a floating dtype"
        )
    require_full("x", x)  # in float16 the square of 300 is infinite
    if x.dim() < 2:
        raise ValueError(f"x has the shape {tuple(x.shape)}; it must be (batch, channels, ...)")


def _check_eps(eps: float) -> None:
    if not eps > 0:
        raise ValueError(
            f"eps is {eps}; it must be positive, or a channel that never changes divides by zero"
        )


def _check_channels(x: Tensor, **values: Tensor) -> None:
    for name, value in values.items():
        if value.shape != x.shape[1:2]:
            raise ValueError(
                f"{name} has the shape {tuple(value.shape)}; x has {x.shape[1]} channels, so it"
                f" must be ({x.shape[1]},)"
            )
