r"""Mixup: train on blends of samples, with labels blended alike.

Nothing here draws: the uniform number that makes a coefficient, and the order that makes the pairs,
are arguments.
"""

import torch
from scipy.special import betaincinv
from torch import Tensor


def coefficient(u: Tensor, alpha: float | Tensor) -> Tensor:
    r"""Compute the share of the first sample, :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`.

    The quantile function of the distribution at uniform numbers. Small :math:`\alpha` puts
    :math:`\lambda` near 0 or 1, :math:`\alpha = 1` makes every value alike likely, large
    :math:`\alpha` puts it near one half.

    Args:
        u: uniform numbers in [0, 1), any shape.
        alpha: above 0; a number, or a tensor that broadcasts with u.

    Returns:
        Coefficients in [0, 1], of the shape of u.

    Raises:
        ValueError: for an alpha that is not above 0.

    Source: Zhang and others (2018), section 2.
    """
    alpha = torch.as_tensor(alpha, dtype=torch.float64)
    if not (alpha > 0).all() or not torch.isfinite(alpha).all():
        raise ValueError(
            f"alpha is {alpha.min().item():g}; it must be a number above 0 (no mixup is a recipe"
            " without it)"
        )
    found = betaincinv(alpha.cpu().numpy(), alpha.cpu().numpy(), u.double().cpu().numpy())
    return torch.as_tensor(found, dtype=u.dtype, device=u.device)


def blend(a: Tensor, b: Tensor, lam: Tensor) -> Tensor:
    r"""Blend two samples, or their labels: :math:`\lambda a + (1 - \lambda) b`.

    Args:
        a, b: tensors of one shape (N, ...).
        lam: the coefficient; a number in a tensor, or any shape that broadcasts from the left:
            (N,).

    Raises:
        ValueError: for shapes that differ.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"what is blended has shapes {tuple(a.shape)} and {tuple(b.shape)}; they must be the"
            " same"
        )
    lam = lam.reshape(*lam.shape, *[1] * (a.dim() - lam.dim()))
    return lam * a + (1 - lam) * b
