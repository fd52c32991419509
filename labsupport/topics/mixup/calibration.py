r"""Calibration: how far a network's confidence is from its accuracy."""

import torch
from torch import Tensor


def reliability(confidence: Tensor, correct: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Sort predictions into bins by confidence; return sizes, mean confidences and accuracies.

    The bins have equal width.

    Bin :math:`b` of M holds the confidences in :math:`(\tfrac{b-1}{M}, \tfrac bM]`; the first one 0
    as well.

    Args:
        confidence: the probability of the class that was named, in [0, 1], (..., N).
        correct: whether it was right, True or 1, (..., N).
        bins: M, at least 1.

    Returns:
        Count, mean confidence and accuracy, each (..., M); the means of an empty bin are 0.

    Raises:
        ValueError: for fewer than one bin, or a confidence outside [0, 1].
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; there must be at least one")
    if confidence.numel() and not bool(((confidence >= 0) & (confidence <= 1 + 1e-6)).all()):
        raise ValueError(
            f"confidence reaches from {confidence.min():g} to {confidence.max():g}; it must be in"
            " [0, 1]"
        )
    which = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    member = torch.nn.functional.one_hot(which, bins).to(confidence.dtype)
    count = member.sum(-2)
    sums = (
        (member * values.to(confidence.dtype)[..., None]).sum(-2)
        for values in (confidence, correct)
    )
    sure, right = (total / count.clamp(min=1) for total in sums)
    return count, sure, right


def calibration_error(confidence: Tensor, correct: Tensor, bins: int = 15) -> Tensor:
    r"""Compute the expected calibration error.

    .. math::

        \mathrm{ECE} = \sum_{b=1}^M \frac{n_b}{N}\,\bigl|\mathrm{acc}_b - \mathrm{conf}_b\bigr|

    Args:
        confidence, correct, bins: as in ``reliability``; N predictions, :math:`n_b` of them in bin
            b.

    Returns:
        A number in [0, 1] for each row, (...).

    Raises:
        ValueError: as ``reliability``.

    Source: Guo and others (2017), equation 3.
    """
    count, sure, right = reliability(confidence, correct, bins)
    return (count / confidence.shape[-1] * (right - sure).abs()).sum(-1)
