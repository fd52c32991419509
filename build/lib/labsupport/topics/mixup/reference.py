r"""Mixup of one batch, outside the loop: blended inputs and labels, two forms of the loss, a log to
be diagnosed.

Symbols: x inputs, y labels (as one-hot rows: numbers that are all 0 but one), :math:`\pi` the order
of the partners,
:math:`\lambda` the coefficient, z logits, t targets. ``labsupport.augment.Mixup`` does the same for
many runs at once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.ops.mixup import blend


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
    """``mixup_batch`` for labels that are whole numbers (B,): the one-hot rows, of ``classes``
    columns, are made on the way.
    """
    return mixup_batch(x, F.one_hot(y, classes).to(x.dtype), order, lam)


def require_one_hot(y: Tensor) -> None:
    """Nothing, if every row of y is zeros and a single one.

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
    r"""The cross-entropy against a distribution over the classes, mean over the batch.

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
    r"""The same loss with no soft label at all: two ordinary ones, weighted.

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
    r"""What a training log may call the accuracy of a blended batch: each of the two labels counts
    with its share.

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


def diagnose(x: Tensor, y: Tensor, order: Tensor, lam: float, mixed: Tensor, target: Tensor) -> str:
    r"""Name what a mixup did to a batch of two classes, from a log of what went in and what came
    out.

    ``healthy``: :math:`\tilde x` and :math:`\tilde y` as in ``mixup_batch``. ``inputs_not_mixed``
    puts out x, ``labels_not_mixed`` y. ``lam_swapped`` gives the labels :math:`1 - \lambda`.
    ``hardened`` rounds the healthy target to 0 or 1. ``lam_per_sample`` blends every input by a
    coefficient of its own, the labels by the batch's. ``other_partner`` blends the labels in
    another order than the inputs.

    Args:
        x: one number a sample, (B,).
        y: the class of each, 0.0 or 1.0, (B,).
        order: the partners of the inputs, (B,).
        lam: the coefficient that was drawn for the batch, above 0 and below 1/2: above it, a
            rounded target is the own label.
        mixed, target: what came out, (B,).

    Returns:
        One of the seven names.
    """
    other, right = x[order], lam * y + (1 - lam) * y[order]
    if _same(mixed, x):
        return "inputs_not_mixed"
    if not _same(mixed, lam * x + (1 - lam) * other):
        return "lam_per_sample"
    fits = {
        "healthy": right,
        "labels_not_mixed": y,
        "lam_swapped": (1 - lam) * y + lam * y[order],
        "hardened": right.round(),
    }
    return next((name for name, made in fits.items() if _same(target, made)), "other_partner")


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)
