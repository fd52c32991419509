r"""Dropout: masks, both conventions, the ensemble of sub-networks, Monte Carlo dropout.

Symbols: h activations of a layer, u numbers drawn uniformly from [0, 1), m a mask of zeros and
ones, p the probability that a unit is *kept* (the lecture's p), r = 1 - p the probability that it
is *dropped* (PyTorch's p), q probabilities of classes.
Randomness is an argument: nothing here draws a number but the two modules, from a generator that
they are given.
"""

import torch
from torch import Generator, Tensor, nn

from labsupport.ops.precision import widened


def keep_mask(u: Tensor, drop: float) -> Tensor:
    r"""Make the mask of units that stay from uniform numbers.

    .. math:: m_i = \mathbb 1[u_i \ge r]

    Args:
        u: uniform numbers in [0, 1), shape (...), one a unit and sample.
        drop: :math:`r` in [0, 1), the probability that a unit is dropped.

    Returns:
        Ones where a unit is kept, zeros where it is dropped, shape and dtype of u.

    Raises:
        ValueError: if ``drop`` is outside [0, 1) or a number of u is.

    Source: the lecture, "Dropout".
    """
    _require_rate(drop)
    if u.numel() and not bool(((u >= 0) & (u < 1)).all()):
        raise ValueError(
            f"u reaches from {u.min():g} to {u.max():g}; uniform numbers are in [0, 1)"
        )
    return (u >= drop).to(u.dtype)


def lecture_dropout(h: Tensor, u: Tensor, *, keep: float) -> Tensor:
    r"""Train in the lecture's convention: zero some units, leave the others as they are.

    .. math:: \tilde h_i = m_i h_i, \qquad P(m_i = 1) = p

    Args:
        h: activations, shape (...).
        u: uniform numbers in [0, 1), shape of h.
        keep: :math:`p` in (0, 1], the probability that a unit is kept.

    Returns:
        The thinned activations, shape (...). At inference they are replaced by p h:
            :func:`lecture_linear`.

    Raises:
        ValueError: if ``keep`` is outside (0, 1], or h and u differ in shape.

    Source: the lecture, "Dropout"; Srivastava et al. (2014), section 4.
    """
    _require_keep(keep)
    _require_same_shape(h, u)
    return h * keep_mask(u, 1 - keep)


def lecture_linear(weight: Tensor, bias: Tensor, h: Tensor, *, keep: float) -> Tensor:
    r"""Compute the next layer at inference by the lecture: all units, each scaled by p.

    .. math:: z = W (p\,h) + b

    Args:
        weight: :math:`W`, shape (H, D).
        bias: :math:`b`, shape (H).
        h: activations of the layer that had dropout in training, shape (B, D).
        keep: :math:`p` in (0, 1].

    Returns:
        Pre-activations, shape (B, H).

    Raises:
        ValueError: if ``keep`` is outside (0, 1].

    Source: the lecture, "Dropout Inference". The bias was never dropped, so it is not scaled.
    """
    _require_keep(keep)
    return keep * h @ weight.mT + bias


def inverted_dropout(h: Tensor, u: Tensor, *, drop: float, training: bool = True) -> Tensor:
    r"""Apply PyTorch's convention: scale in training, do nothing at inference.

    .. math::

        \tilde h_i = \frac{m_i h_i}{1 - r} \text{ in training}, \qquad
        \tilde h_i = h_i \text{ at inference}

    Args:
        h: activations, shape (...).
        u: uniform numbers in [0, 1), shape of h; a unit is dropped where u < r.
        drop: :math:`r` in [0, 1), the probability that a unit is dropped.
        training: False is inference.

    Returns:
        Shape of h.

    Raises:
        ValueError: if ``drop`` is outside [0, 1), or h and u differ in shape.

    Source: ``torch.nn.Dropout``. It takes r = 1 as well and returns zeros; here 1 is refused, for
    nothing is left.
    """
    _require_rate(drop)
    _require_same_shape(h, u)
    return h * keep_mask(u, drop) / (1 - drop) if training else h


class InvertedDropout(nn.Module):
    r""":func:`inverted_dropout` as a module: the identity in eval mode.

    Args:
        drop: :math:`r` in [0, 1), the probability that a unit is dropped.
        rng: where the masks are drawn from; None is torch's global generator.
    """

    def __init__(self, drop: float, rng: Generator | None = None):
        super().__init__()
        _require_rate(drop)
        self.drop, self.rng = drop, rng

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return h
        # bfloat16 would draw multiples of 1/256, of which 0.4 % are below a rate of 0.001
        u = torch.rand(h.shape, dtype=widened(h).dtype, generator=self.rng).to(h.device)
        return inverted_dropout(h, u, drop=self.drop).to(h.dtype)


class LectureDropout(nn.Module):
    r""":func:`lecture_dropout` as a module: times p in eval mode.

    Args:
        keep: :math:`p` in (0, 1], the probability that a unit is kept.
        rng: where the masks are drawn from; None is torch's global generator.
    """

    def __init__(self, keep: float, rng: Generator | None = None):
        super().__init__()
        _require_keep(keep)
        self.keep, self.rng = keep, rng

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return self.keep * h
        u = torch.rand(h.shape, dtype=widened(h).dtype, generator=self.rng).to(h.device)
        return lecture_dropout(h, u, keep=self.keep).to(h.dtype)


def all_masks(n: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """List every mask of n units, (2^n, n), in the order of binary counting.

    Raises:
        ValueError: if n is not in 1 to 16: there are 2^n of them.
    """
    if not 1 <= n <= 16:
        raise ValueError(f"n is {n}; masks are enumerated for 1 to 16 units")
    return (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).to(dtype)


def mask_probability(mask: Tensor, *, keep: float) -> Tensor:
    r"""Compute the probability of a mask whose units are kept independently.

    .. math:: P(m) = \prod_i p^{m_i} (1-p)^{1-m_i}

    Args:
        mask: zeros and ones, shape (..., n).
        keep: :math:`p` in (0, 1].

    Returns:
        Probabilities, shape (...); over all 2^n masks they add up to one.

    Raises:
        ValueError: if ``keep`` is outside (0, 1].
    """
    _require_keep(keep)
    return (mask * keep + (1 - mask) * (1 - keep)).prod(
        -1
    )  # torch.where of two numbers would be float32


def geometric_mean(log_probabilities: Tensor, weights: Tensor) -> Tensor:
    r"""Compute the normalized geometric mean of distributions.

    .. math:: \bar q_k = \frac{\prod_m (q_k^{(m)})^{P(m)}}{\sum_j \prod_m (q_j^{(m)})^{P(m)}}

    Args:
        log_probabilities: of M distributions over K classes, shape (M, ..., K). In logarithms,
            because a product of thousands of probabilities is 0 in floating point.
        weights: :math:`P(m) \ge 0`, shape (M), adding up to one.

    Returns:
        Probabilities, shape (..., K).

    Raises:
        ValueError: if the weights are negative or do not add up to one.

    Source: Baldi & Sadowski (2013), whose NWGM this is.
    """
    if bool((weights < 0).any()) or abs(float(weights.sum()) - 1) > 1e-6:
        raise ValueError(
            f"weights add up to {float(weights.sum()):g} and the least is {float(weights.min()):g};"
            " they must be >= 0 and add up to 1"
        )
    return torch.tensordot(weights, log_probabilities, dims=1).softmax(-1)


def sub_networks(weight: Tensor, bias: Tensor, x: Tensor, *, keep: float) -> tuple[Tensor, Tensor]:
    r"""Compute all 2^n sub-networks of a softmax layer with dropped inputs.

    The convention is the lecture's.

    .. math:: q^{(m)} = \operatorname{softmax}\bigl(W (m \circ x) + b\bigr)

    Args:
        weight, bias: of the layer, shapes (K, n) and (K).
        x: inputs, shape (B, n).
        keep: :math:`p` in (0, 1].

    Returns:
        Their log-probabilities, shape (2^n, B, K), and the probability of each mask, shape (2^n).

    Raises:
        ValueError: if ``keep`` is outside (0, 1], or n is above 16.
    """
    masks = all_masks(x.shape[-1], x.dtype).to(x.device)
    logits = (masks[:, None] * x) @ weight.mT + bias
    return logits.log_softmax(-1), mask_probability(masks, keep=keep)


def mc_dropout(logits: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute the mean prediction of T passes with dropout left on, and its uncertainty.

    .. math:: \bar q = \frac1T \sum_{t=1}^T \operatorname{softmax}(z^{(t)}), \qquad
        H(\bar q) = -\sum_k \bar q_k \ln \bar q_k

    Args:
        logits: :math:`z^{(t)}`, shape (T, ..., K).

    Returns:
        Mean probabilities (..., K), and their entropy in nats, shape (...): from 0 (sure) to ln K
        (no idea).

    Raises:
        ValueError: if there is no pass.

    Source: Gal & Ghahramani (2016). The entropy of the mean is taken, not the mean of the
    entropies.
    """
    if len(logits) == 0:
        raise ValueError("logits hold no pass; there must be at least one")
    mean = logits.softmax(-1).mean(0)
    return mean, torch.special.entr(mean).sum(-1)


def mc_update(mean: Tensor, logit: Tensor, t: int) -> tuple[Tensor, Tensor]:
    r"""Update the running mean by pass t, for two classes and one logit.

    No pass has to stay in memory.

    .. math:: \bar q_t = \bar q_{t-1} + \frac{\sigma(z_t) - \bar q_{t-1}}{t}, \qquad
        H_t = -\bar q_t \ln \bar q_t - (1 - \bar q_t) \ln(1 - \bar q_t)

    Args:
        mean: :math:`\bar q_{t-1}`, the mean probability of class 1 over the passes before, shape
            (B).
        logit: :math:`z_t`, shape (B); :math:`\sigma` is the logistic function.
        t: number of this pass, counted from 1.

    Returns:
        The new mean and its entropy in nats, both (B). An entropy of 0 ln 0 is 0.

    Raises:
        ValueError: if t < 1.
    """
    if t < 1:
        raise ValueError(f"t is {t}; passes are counted from 1")
    mean = (mean + (logit.sigmoid() - mean) / t).clamp(
        0, 1
    )  # rounding may leave 1 + 1e-7, whose entropy is -inf
    return mean, torch.special.entr(mean) + torch.special.entr(1 - mean)


def diagnose(h: Tensor, trained: Tensor, evaluated: Tensor, drop: float) -> str:
    r"""Name what a dropout layer does, from a log of its inputs and outputs in either mode.

    The kept units tell the factor s of training, the evaluation its factor e, the zeros the rest.
    With :math:`r` dropped, the healthy pairs (s, e) are :math:`(1/(1-r),\,1)`, ``inverted``, and
    :math:`(1,\,1-r)`, ``lecture``; ``scale_missing`` is (1, 1), ``scaled_twice``
    :math:`(1/(1-r),\,1-r)` and ``swapped`` :math:`(1/r,\,1)`. ``eval_drops`` has zeros in
    evaluation, ``one_mask`` the same zeros for all samples.

    Args:
        h: activations that went in, shape (B, D); a unit that puts out 0 tells nothing and is left
            out.
        trained, evaluated: what came out in train and in eval mode, shape (B, D).
        drop: :math:`r`, in (0, 1) and not 1/2, where kept and dropped cannot be told apart by their
            factor.

    Returns:
        One of the seven names.
    """
    alive = h != 0
    if bool((evaluated[alive] == 0).any()):
        return "eval_drops"
    name = nearest(factor(h, trained), factor(h, evaluated), factors(drop))
    return "one_mask" if name == "inverted" and one_mask(h, trained) else name


def factors(drop: float) -> dict[str, tuple[float, float]]:
    """Tabulate by what each implementation multiplies a kept unit, in training and evaluation."""
    keep = 1 - drop
    return {
        "inverted": (1 / keep, 1.0),
        "lecture": (1.0, keep),
        "scale_missing": (1.0, 1.0),
        "scaled_twice": (1 / keep, keep),
        "swapped": (1 / drop, 1.0),
    }


def factor(h: Tensor, out: Tensor) -> float:
    """Find the factor on the units that a layer lets through; 1 if it lets none through."""
    through = (h != 0) & (out != 0)  # a unit that put out 0 has no ratio
    return float((out[through] / h[through]).median()) if bool(through.any()) else 1.0


def nearest(s: float, e: float, candidates: dict[str, tuple[float, float]]) -> str:
    """Name the implementation whose pair of factors is closest."""
    return min(
        candidates, key=lambda name: abs(candidates[name][0] - s) + abs(candidates[name][1] - e)
    )


def one_mask(h: Tensor, out: Tensor) -> bool:
    """Tell whether all samples share one mask: a unit is lost for all of them or for none.

    Only samples in which it is alive count, and one unit at least is lost for two of them.
    """
    alive = h != 0
    gone = alive & (out == 0)
    lost = (gone == alive).all(0)
    mixed = gone.any(0) & ~lost
    return not bool(mixed.any()) and bool((lost & (alive.sum(0) > 1)).any())


def _require_rate(drop: float) -> None:
    if not 0 <= drop < 1:
        raise ValueError(f"drop is {drop}, the probability to drop a unit; it must be in [0, 1)")


def _require_keep(keep: float) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"keep is {keep}, the probability to keep a unit; it must be in (0, 1]")


def _require_same_shape(h: Tensor, u: Tensor) -> None:
    if h.shape != u.shape:
        raise ValueError(
            f"h has shape {tuple(h.shape)} and u {tuple(u.shape)}; each unit of each sample needs a"
            " number"
        )
    if not h.is_floating_point():
        raise ValueError(f"h has dtype {h.dtype}; activations are floating-point numbers")
