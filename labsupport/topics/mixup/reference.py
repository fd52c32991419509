r"""Mixup of one batch outside the loop: inputs, labels, two forms of the loss, accuracy.

Symbols: x inputs, y labels (as one-hot rows: numbers that are all 0 but one), :math:`\pi` the order
of the partners, :math:`\lambda` the coefficient, z logits, t targets. ``labsupport.augment.Mixup``
does the same for many runs at once. ``coefficient`` and ``blend`` are the equations that the
training loop uses, so they are defined in ``labsupport.ops.mixup`` and can be had from here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.ops.mixup import blend, coefficient

__all__ = [
    "blend",
    "blended_classes",
    "coefficient",
    "mixed_accuracy",
    "mixed_cross_entropy",
    "mixup_batch",
    "require_one_hot",
    "soft_cross_entropy",
]


def mixup_batch(x: Tensor, y: Tensor, order: Tensor, lam: float | Tensor) -> tuple[Tensor, Tensor]:
    r"""Blend every sample of a batch with its partner, and its label alike.

    .. math:: \tilde x_i = \lambda x_i + (1 - \lambda)\, x_{\pi(i)}, \qquad
        \tilde y_i = \lambda y_i + (1 - \lambda)\, y_{\pi(i)}

    Args:
        x: inputs (B, ...).
        y: one-hot labels (B, K).
        order: :math:`\pi`, each of 0 ... B-1 once, (B,).
        lam: :math:`\lambda` in [0, 1], one number for the batch.

    Returns:
        Blended inputs (B, ...) and targets (B, K), each row of which adds up to 1.

    Raises:
        ValueError: for labels that are not one-hot, an order that is no permutation, a coefficient
            outside [0, 1].

    Source: Zhang and others (2018), equation 1, with the partners drawn from the batch itself.
    """
    require_one_hot(y)
    if sorted(order.tolist()) != list(range(len(x))):
        raise ValueError(
            f"order is {order.tolist()}; it must name each of the {len(x)} samples once"
        )
    if not 0 <= float(lam) <= 1:
        raise ValueError(f"lam is {float(lam):g}; it must be in [0, 1]")
    lam = torch.as_tensor(lam, dtype=x.dtype, device=x.device)
    return blend(x, x[order], lam), blend(y, y[order], lam.to(y.dtype))


def blended_classes(
    x: Tensor, y: Tensor, order: Tensor, lam: float, classes: int
) -> tuple[Tensor, Tensor]:
    """Blend a batch as ``mixup_batch`` does, for labels that are whole numbers (B,).

    One-hot rows of ``classes`` columns are made on the way.
    """
    return mixup_batch(x, F.one_hot(y, classes).to(x.dtype), order, lam)


def require_one_hot(y: Tensor) -> None:
    """Refuse y unless every row is zeros and a single one.

    Raises:
        ValueError: if y is not a matrix of floating-point numbers, or a row is not one-hot; it
            shows the first such row.
    """
    if y.dim() != 2 or not y.is_floating_point():
        raise ValueError(
            f"labels have shape {tuple(y.shape)} and dtype {y.dtype}; "
            "they must be one-hot rows (B, K) of floating-point numbers, "
            "as torch.nn.functional.one_hot(y, K).float() makes them"
        )
    wrong = ((y != 0) & (y != 1)).any(1) | (y.sum(1) != 1)
    if bool(wrong.any()):
        raise ValueError(
            f"label {y[wrong][0].tolist()} is not one-hot; a row must be zeros and a single 1"
        )


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Compute the mean cross-entropy against distributions over the classes.

    .. math:: L = -\frac1B \sum_i \sum_k t_{ik} \ln \operatorname{softmax}(z_i)_k

    Args:
        logits: z, (B, K).
        target: t, (B, K); each row at least 0 and adding up to 1.

    Returns:
        A number.

    Raises:
        ValueError: for a target of another shape, below 0, or with a row that does not add up to 1.

    Source: ``torch.nn.functional.cross_entropy`` with class probabilities.
    """
    if logits.shape != target.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and targets "
            f"{tuple(target.shape)}; they must be the same"
        )
    if bool((target < 0).any()) or bool(((target.sum(1) - 1).abs() > 1e-4).any()):
        raise ValueError(
            f"a target has the least element {target.min():g} and its rows "
            f"add up to {target.sum(1).tolist()}; "
            "a distribution is at least 0 and adds up to 1"
        )
    return -(target * logits.log_softmax(1)).sum(1).mean()


def mixed_cross_entropy(logits: Tensor, y: Tensor, order: Tensor, lam: float | Tensor) -> Tensor:
    r"""Compute the same loss as a weighted sum of two ordinary ones, without soft labels.

    .. math:: L = \lambda\, \mathrm{CE}(z, y) + (1 - \lambda)\, \mathrm{CE}(z, y_\pi)

    Args:
        logits: z of the blended inputs, (B, K).
        y: whole numbers (B,), the classes.
        order: :math:`\pi`, (B,).
        lam: :math:`\lambda` in [0, 1].

    Returns:
        A number, equal to ``soft_cross_entropy`` of the blended labels: the cross-entropy is linear
        in its target.
    """
    return lam * F.cross_entropy(logits, y) + (1 - lam) * F.cross_entropy(logits, y[order])


def mixed_accuracy(logits: Tensor, y: Tensor, order: Tensor, lam: float) -> Tensor:
    r"""Compute the accuracy of a blended batch: each of the two labels counts with its share.

    .. math::

        A = \frac1B \sum_i \bigl(\lambda\,\mathbb 1[\hat y_i
        = y_i] + (1 - \lambda)\,\mathbb 1[\hat y_i = y_{\pi(i)}]\bigr),
        \qquad \hat y_i = \operatorname{argmax}_k z_{ik}

    Args:
        logits: z of the blended inputs, (B, K).
        y: whole numbers (B,), the classes.
        order: :math:`\pi`, (B,).
        lam: :math:`\lambda` in [0, 1].

    Returns:
        A number in [0, 1]. A network without a fault does not reach 1: where the two classes
        differ, the most a sample can give is the larger of the two shares.
    """
    named = logits.argmax(1)
    own, other = ((named == labels).to(logits.dtype).mean() for labels in (y, y[order]))
    return lam * own + (1 - lam) * other
