r"""Two-level factorials: effects, sums of squares, aliases, and adjustment for many tests.

A design has k factors, each off or on. Its :math:`2^k` cells stand in standard order: the first
factor changes fastest, so cell c has factor j on when bit j of c is set. A *word* names an effect
in the same way: bit j of s is set when factor j is in it. All functions take and give tensors;
nothing here draws.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CLEAR = 2.0
"""How many standard errors a difference needs before it counts as seen."""


def design(k: int) -> Tensor:
    """Return the signs of k factors in :math:`2^k` cells: -1 off, +1 on.

    Args:
        k: how many factors, at least 1.

    Returns:
        (2^k, k) float64, cells in standard order.

    Raises:
        ValueError: for a k below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, the number of factors; it must be at least 1")
    return 2.0 * (torch.arange(2**k)[:, None] >> torch.arange(k) & 1).double() - 1


def contrasts(k: int) -> Tensor:
    r"""Compute the sign of every cell in every effect, :math:`\prod_{j \in S} x_{cj}`.

    Column S of row c; it is a Hadamard matrix.

    Returns:
        (2^k, 2^k) float64, cells down, words across, both in standard order. Column 0 is all ones:
        the mean.
    """
    x = design(k)
    columns = [x[:, [j for j in range(k) if s >> j & 1]].prod(1) for s in range(2**k)]
    return torch.stack(columns, 1)


def effects(means: Tensor) -> Tensor:
    r"""Compute the mean and all effects of a factorial by Yates's algorithm.

    .. math:: E_S = \frac{1}{2^{k-1}} \sum_c \Bigl(\prod_{j \in S} x_{cj}\Bigr)\, \bar y_c

    k times, every pair of neighbours is replaced by its sum and its difference. That takes
    :math:`k\,2^k` additions instead of :math:`4^k`. An effect is twice the coefficient of its
    product in a regression on ±1.

    Args:
        means: (..., 2^k), cells in standard order, k at least 1.

    Returns:
        (..., 2^k), words in standard order: the grand mean first, then the effects, in units of the
        means.

    Raises:
        ValueError: if the last axis is no power of two, or is shorter than 2.

    Source: Box, Hunter and Hunter (2005), chapter 5.
    """
    k = _factors(means)
    for _ in range(k):
        off, on = means[..., 0::2], means[..., 1::2]
        means = torch.cat([on + off, on - off], -1)
    scale = means.new_full((2**k,), 2.0 ** (1 - k))
    scale[0] /= 2
    return means * scale


def words(names: Sequence[str]) -> list[str]:
    """Name every effect in standard order; the first is the mean."""
    chosen = [[name for j, name in enumerate(names) if s >> j & 1] for s in range(2 ** len(names))]
    return [" × ".join(word) or "mean" for word in chosen]


def orders(k: int) -> Tensor:
    """Count the factors in every effect, (2^k,): 0 for the mean, 1 for a main effect."""
    return (design(k) > 0).sum(1)


def sums_of_squares(y: Tensor) -> dict[str, Tensor]:
    r"""Split the sum of squares of a factorial in blocks into effects, blocks and the rest.

    .. math:: SS_S = n\, 2^{k-2} E_S^2, \qquad
        \sum_{i,c} (y_{ic} - \bar y)^2
        = \sum_{S \ne \emptyset} SS_S + SS_\text{blocks} + SS_\text{rest}

    Args:
        y: (n, 2^k), one run in each cell and block (seed); n at least 2.

    Returns:
        ``effects`` (2^k - 1,), words in standard order without the mean; ``blocks`` and ``rest``,
        each a number in a tensor.

    Raises:
        ValueError: for a shape that is not (n, 2^k).
    """
    k = _factors(y)
    if y.dim() != 2 or len(y) < 2:
        raise ValueError(
            f"y has shape {tuple(y.shape)}; it must be (n, 2^k) with at least two blocks"
        )
    n, mean, cells, blocks = len(y), y.mean(), y.mean(0), y.mean(1, keepdim=True)
    return {
        "effects": n * 2.0 ** (k - 2) * effects(cells)[1:].square(),
        "blocks": 2**k * (blocks - mean).square().sum(),
        "rest": (y - cells - blocks + mean).square().sum(),
    }


def interaction_share(by_seed: Tensor) -> Tensor:
    r"""Estimate the interactions' share of the variance between cells, without the noise's.

    A squared mean effect is too large by the variance of that mean. The mean of the products of
    *different* seeds is not:

    .. math:: \widehat{E_S^2} = \frac{(\sum_i E_{iS})^2 - \sum_i E_{iS}^2}{n(n-1)}, \qquad
        \text{share} = \frac{\sum_{|S| \ge 2} \widehat{E_S^2}}{\sum_{|S| \ge 1} \widehat{E_S^2}}

    Args:
        by_seed: (n, 2^k) the effects of every seed, as ``effects`` gives them; n at least 2.

    Returns:
        The share, a number in a tensor. Numerator and denominator are unbiased; their quotient
        nearly so.

    Raises:
        ValueError: for fewer than two seeds.
    """
    n, k = len(by_seed), _factors(by_seed)
    if n < 2:
        raise ValueError(f"there is {n} seed; products of different seeds need at least two")
    squared = (by_seed.sum(0).square() - by_seed.square().sum(0)) / (n * (n - 1))
    order = orders(k)
    return squared[order >= 2].sum() / squared[order >= 1].sum()


def pseudo_values(statistic: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    r"""Compute the jackknife's pseudo-values: one number a row, for a statistic of all rows.

    Their mean and spread stand for the statistic's.

    .. math:: \theta_i = n\,\hat\theta - (n-1)\,\hat\theta_{-i}

    Args:
        statistic: of rows (n, ...), a number in a tensor.
        rows: (n, ...), n at least 3; one is left out at a time.

    Returns:
        (n,) pseudo-values. For a mean they are the rows themselves.

    Raises:
        ValueError: for fewer than three rows.
    """
    n = len(rows)
    if n < 3:
        raise ValueError(f"there are {n} rows; leaving one out needs at least three")
    without = torch.stack([statistic(torch.cat([rows[:i], rows[i + 1 :]])) for i in range(n)])
    return n * statistic(rows) - (n - 1) * without


# -- two factors, and what noise does --------------------------------------------------------------


def main_effects(means: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the effect of factor A averaged over B, and of B averaged over A.

    Args:
        means: (2, 2) cell means; row: A off, on; column: B off, on.

    Returns:
        The two main effects, each a number in a tensor, in units of the means.

    Raises:
        ValueError: for another shape.
    """
    _two_by_two(means)
    return (means[1] - means[0]).mean(), (means[:, 1] - means[:, 0]).mean()


def interaction(means: Tensor) -> Tensor:
    r"""Compute half of what B's presence changes about the effect of A.

    :math:`\frac12[(y_{11} - y_{01}) - (y_{10} - y_{00})]`.

    Args:
        means: (2, 2), as in ``main_effects``.

    Raises:
        ValueError: for another shape.
    """
    _two_by_two(means)
    return ((means[1, 1] - means[0, 1]) - (means[1, 0] - means[0, 0])) / 2


def stacking_gap(base: Tensor, singles: Tensor, together: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute all tricks' joint gain minus the sum of single gains, with its standard error.

    The standard error is over seeds.

    .. math:: d_i = (y^\text{all}_i - y^0_i) - \sum_j (y^j_i - y^0_i)

    Args:
        base, together: (n,) accuracy of every seed with no trick, and with all of them; n at least
            2.
        singles: (k, n) with trick j alone.

    Returns:
        The mean of d over seeds, and the standard deviation of d (with n - 1) over √n.

    Raises:
        ValueError: for shapes that do not fit, or fewer than two seeds.
    """
    if (
        base.shape != together.shape
        or singles.shape[1:] != base.shape
        or base.dim() != 1
        or len(base) < 2
    ):
        raise ValueError(
            f"base {tuple(base.shape)}, singles {tuple(singles.shape)} and together"
            f" {tuple(together.shape)} must be (n,), (k, n) and (n,) with n at least 2"
        )
    gap = (together - base) - (singles - base).sum(0)
    return gap.mean(), gap.std() / len(gap) ** 0.5


def alias(word: Tensor, generator: Tensor) -> Tensor:
    """Find the effect that half of a factorial cannot tell from this one.

    A half fraction keeps the cells in which the product of the generator's factors is +1. There the
    column of a word and that of the word times the generator are the same, and a factor that is in
    both is squared away.

    Args:
        word, generator: (k,) of zeros and ones: which factors are in it.

    Returns:
        (k,) the alias, of zeros and ones.

    Raises:
        ValueError: for shapes that differ, or anything but zeros and ones.
    """
    if word.shape != generator.shape:
        raise ValueError(
            f"word and generator have shapes {tuple(word.shape)} and {tuple(generator.shape)}; they"
            " must agree"
        )
    if not all(bool(((t == 0) | (t == 1)).all()) for t in (word, generator)):
        raise ValueError(
            f"word {word.tolist()} and generator {generator.tolist()} must be of zeros and ones"
        )
    return (word + generator) % 2


def holm(p: Tensor) -> Tensor:
    r"""Compute Holm's adjusted p-values.

    Of m tests the smallest is multiplied by m, the next by m - 1, and so on.

    .. math:: \tilde p_{(i)} = \min\bigl(1, \max_{j \le i}\, (m - j + 1)\, p_{(j)}\bigr)

    Args:
        p: (m,) p-values in [0, 1], in any order.

    Returns:
        (m,) adjusted p-values in the order given. Reject those below α: a false alarm anywhere has
        at most the probability α.

    Raises:
        ValueError: for a value outside [0, 1].
    """
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise ValueError(f"p-values are {p.tolist()}; each must be in [0, 1]")
    order = p.argsort()
    factors = torch.arange(len(p), 0, -1, dtype=p.dtype, device=p.device)
    adjusted = (factors * p[order]).cummax(0).values.clamp(max=1)
    return torch.empty_like(p).index_copy(0, order, adjusted)


def diagnose(means: Tensor, error: float) -> str:
    """Name how two tricks interact, where higher is better.

    Args:
        means: (2, 2), as in ``main_effects``.
        error: the standard error of one cell mean, above 0; cells err independently, so a
            difference of two errs by √2 of it, and the interaction by 1 of it.

    Returns:
        ``"unclear"``: the interaction is at most CLEAR standard errors from 0. ``"synergy"``: it is
        above. Below 0: ``"antagonism"`` if both together are clearly worse than the better of the
        two alone, else ``"redundancy"``.

    Raises:
        ValueError: for another shape, or an error that is not above 0.
    """
    if not error > 0:
        raise ValueError(f"error is {error}, the standard error of a cell mean; it must be above 0")
    found = interaction(means).item()
    if abs(found) <= CLEAR * error:
        return "unclear"
    if found > 0:
        return "synergy"
    lost = max(means[1, 0].item(), means[0, 1].item()) - means[1, 1].item()
    return "antagonism" if lost > CLEAR * 2**0.5 * error else "redundancy"


def _factors(means: Tensor) -> int:
    size = means.shape[-1] if means.dim() else 0
    if size < 2 or size & (size - 1):
        raise ValueError(f"there are {size} cells; a two-level factorial has 2, 4, 8, ...")
    return size.bit_length() - 1


def _two_by_two(means: Tensor) -> None:
    if means.shape != (2, 2):
        raise ValueError(
            f"means have shape {tuple(means.shape)}; two factors have (2, 2): A down, B across"
        )
