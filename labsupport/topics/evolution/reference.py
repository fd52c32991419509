r"""Learning by mutation and selection: a genetic algorithm and evolution strategies.

Networks are rows: a population is (N, P), N individuals with P parameters each. Losses are
minimized; a fitness is a loss with its sign changed. Nothing here draws random numbers: the
standard normal ones are arguments, called ``noise``. The same for R runs at once are the rules
``EvolutionStrategy`` and ``GeneticAlgorithm`` in rules/evolution.py.
"""

import math

import torch
from torch import Tensor

# -- the genetic algorithm -------------------------------------------------------------------------


def mutate(w: Tensor, noise: Tensor, *, sigma: float) -> Tensor:
    r"""Add a random step to every parameter.

    .. math:: w_2 = w_1 + \sigma\,\epsilon, \qquad \epsilon \sim \mathcal N(0, I)

    Args:
        w: parameters (..., P).
        noise: standard normal numbers of the same shape.
        sigma: how far a mutation goes in each parameter, in units of w.

    Returns:
        The mutant (..., P).

    Raises:
        ValueError: if sigma is not positive.

    Source: the lecture, "Evolutionary Algorithms".
    """
    _check_sigma(sigma)
    return w + sigma * noise


def survivors(losses: Tensor, *, parents: int) -> Tensor:
    r"""Find the individuals with the smallest losses, the best one first.

    Args:
        losses: (N,) of the population, all measured on one and the same batch. Of equal ones the
            first is taken first.
        parents: how many may have children, from 1 to N.

    Returns:
        Their indices (parents,), int64.

    Raises:
        ValueError: for fewer than two individuals, or parents outside 1 to N.
    """
    _check_population(len(losses))
    if not 1 <= parents <= len(losses):
        raise ValueError(
            f"parents is {parents}; it must be from 1 to the {len(losses)} individuals of the"
            " population"
        )
    return losses.argsort(dim=0, stable=True)[:parents]


def select(remembered: Tensor, measured: Tensor, *, parents: int) -> Tensor:
    """Select by the losses on the new batch alone, after the batch has changed.

    Args:
        remembered: (N,) the losses on the batch before. They are of no use.
        measured: (N,) the losses of the same individuals on the batch of this generation.
        parents: as in :func:`survivors`.

    Returns:
        The indices of the survivors (parents,), the best one first.

    Raises:
        ValueError: as :func:`survivors`, or if the two are not of one shape.
    """
    if remembered.shape != measured.shape:
        raise ValueError(
            f"{tuple(remembered.shape)} remembered and {tuple(measured.shape)} measured losses;"
            " there must be as many"
        )
    return survivors(measured, parents=parents)


def next_generation(
    population: Tensor, losses: Tensor, picks: Tensor, noise: Tensor, *, parents: int, sigma: float
) -> Tensor:
    r"""Breed one generation: the best individual as it is, then N - 1 mutants of the ``parents``.

    .. math:: w_1' = w_{(1)}, \qquad w_i' = w_{(p_i)} + \sigma\,\epsilon_i \quad (i = 2, \dots, N)

    with :math:`w_{(k)}` the individual of rank k, the best being rank 1.

    Args:
        population: (N, P).
        losses: (N,) of these individuals on this generation's batch.
        picks: (N - 1,) whole numbers from 0 to ``parents`` - 1: the rank of each child's parent,
            counted from 0.
        noise: (N - 1, P) standard normal numbers.
        parents, sigma: as in :func:`survivors` and :func:`mutate`.

    Returns:
        The next population (N, P), the elite in front.

    Raises:
        ValueError: as :func:`survivors` and :func:`mutate`.

    Source: Such et al. (2017), Algorithm 1, with the elite chosen by these losses alone.
    """
    ranked = population[survivors(losses, parents=parents)]
    return torch.cat([ranked[:1], mutate(ranked[picks], noise, sigma=sigma)])


# -- evolution strategies --------------------------------------------------------------------------


def es_gradient(noise: Tensor, plus: Tensor, minus: Tensor, *, sigma: float) -> Tensor:
    r"""Estimate a gradient from evaluations alone, by antithetic pairs.

    .. math::

        \hat g = \frac{1}{2 n \sigma} \sum_{i=1}^{n} \bigl(u_i^+ - u_i^-\bigr)\,\epsilon_i, \qquad
        u_i^\pm = L(w \pm \sigma\epsilon_i)

    Args:
        noise: (n, P) standard normal numbers, one row a pair.
        plus, minus: (n,) the losses of :math:`w + \sigma\epsilon_i` and of
            :math:`w - \sigma\epsilon_i`, or what was made of them by :func:`centered_ranks`.
        sigma: the size of the mutations.

    Returns:
        (P,). Its mean is the gradient of the loss smoothed by the mutations,
        :math:`\mathbb E\,L(w + \sigma\epsilon)`.

    Raises:
        ValueError: if sigma is not positive, or there is no pair.

    Source: Salimans et al. (2017), section 2.1.
    """
    _check_sigma(sigma)
    if not len(noise) == len(plus) == len(minus) > 0:
        raise ValueError(
            f"{len(noise)} mutations with {len(plus)} and {len(minus)} losses; there must be as"
            " many, and at least one"
        )
    return (plus - minus) @ noise / (2 * len(noise) * sigma)


def centered_ranks(losses: Tensor) -> Tensor:
    r"""Replace each loss by its rank, evenly from -1/2 for the smallest to 1/2 for the largest.

    Equal losses share the mean of their ranks, so that no order is made up among them. With all
    losses equal every one gets 0.

    Args:
        losses: (..., N), N at least 2.

    Returns:
        (..., N), each row adding up to 0.

    Raises:
        ValueError: for fewer than two losses.

    Source: Salimans et al. (2017), section 2.1; the sharing of ranks is ours, for the 0-1 loss has
    many ties.
    """
    _check_population(losses.shape[-1])
    others = losses.unsqueeze(-2)
    # counted, not sorted: sorting would give equal losses an order
    below = (others < losses.unsqueeze(-1)).sum(-1)
    equal = (others == losses.unsqueeze(-1)).sum(-1)
    return (2 * below + equal - 1).to(losses.dtype) / (2 * (losses.shape[-1] - 1)) - 0.5


# -- what is known of the estimate -----------------------------------------------------------------


def squared_cosine(pairs: float, parameters: int) -> float:
    r"""Compute the mean squared cosine between the antithetic estimate and the gradient.

    The loss is linear or quadratic.

    .. math:: \mathbb E \cos^2(\hat g, g) = \frac{n}{n + P - 1}

    There :math:`(u_i^+ - u_i^-)/2\sigma = g^\top\epsilon_i`, whatever sigma is. Split the noise
    into its part along g, a column a of n numbers, and the rest. The estimate has the length
    :math:`\lVert a\rVert^2/n` along g, and across it P - 1 independent normal numbers of standard
    deviation :math:`\lVert a\rVert/n`. So :math:`\cos^2` is :math:`A/(A + B)` with A and B
    chi-squared with n and P - 1 degrees of freedom, a Beta(n/2, (P-1)/2) variable.

    Args:
        pairs: n, half of the population, at least 1.
        parameters: P, at least 1.

    Returns:
        The mean of the squared cosine.

    Raises:
        ValueError: for fewer than one pair or parameter.
    """
    if pairs < 1 or parameters < 1:
        raise ValueError(
            f"{pairs} pairs and {parameters} parameters; there must be at least one of each"
        )
    return pairs / (pairs + parameters - 1)


def quadratic_rate(lr: float, pairs: int, parameters: int) -> float:
    r"""Compute by what a step multiplies the expected squared distance to the minimum.

    The loss is :math:`\tfrac12\lVert w\rVert^2`.

    .. math:: \frac{\mathbb E\lVert w_{t+1}\rVert^2}{\lVert w_t\rVert^2}
        = 1 - 2\eta + \eta^2\,\frac{n + P + 1}{n}, \qquad w_{t+1} = w_t - \eta\,\hat g

    It is smallest at :math:`\eta = n/(n + P + 1)`, where it is :math:`(P + 1)/(n + P + 1)`.

    Args:
        lr: :math:`\eta`.
        pairs: n, at least 1.
        parameters: P, at least 1.

    Returns:
        The factor; below 1 the strategy converges, above 1 it diverges.

    Raises:
        ValueError: for fewer than one pair or parameter.
    """
    squared_cosine(pairs, parameters)
    return 1 - 2 * lr + lr**2 * (pairs + parameters + 1) / pairs


def exponent(sizes: Tensor, costs: Tensor) -> Tensor:
    r"""Fit the exponent b of a power law, cost = a · size^b, through the logarithms.

    Args:
        sizes: (S,) positive, at least two different ones.
        costs: (..., S) positive.

    Returns:
        b, (...).

    Raises:
        ValueError: if all sizes are equal, or a size or cost is not positive and finite.
    """
    x, y = sizes.log(), costs.log()
    if not bool(x.isfinite().all() and y.isfinite().all()) or bool((x == x[0]).all()):
        raise ValueError(
            f"sizes {sizes.tolist()} and costs {costs.tolist()} must be positive and finite, the"
            " sizes not all equal"
        )
    x = x - x.mean()
    return (y * x).sum(-1) / x.square().sum()


# -- an evolution with a fault ---------------------------------------------------------------------

CLOSE = 0.01
"""Children whose losses are all within this share of the elite's hardly differ from it."""


def diagnose(losses: Tensor, used: Tensor, chosen: Tensor) -> str:
    r"""Name what is wrong with a genetic algorithm, from T generations with N individuals each.

    The first of these that holds is the answer:

    - ``stale_fitness``: some ``used`` is not the loss that was measured on the generation's batch;
    - ``worst_selected``: in every generation the chosen are those with the *largest* losses;
    - ``no_selection``: in some generation one that was not chosen has a smaller loss than one that
      was;
    - ``sigma_too_small``: in every generation, every child's loss is within 1 % of the elite's;
    - ``sigma_too_large``: in every generation, no child is better than the elite it stands beside;
    - ``healthy``: none of them.

    Args:
        losses: (T, N) of every individual, measured on its generation's batch. The first column is
            the elite of the generation before, the others are the children; so the log begins with
            the second generation.
        used: (T, N) the losses that selection went by.
        chosen: (T, N) 1 where an individual became a parent, else 0; in each generation some are
            chosen and some are not.

    Returns:
        One of the six names.

    Raises:
        ValueError: if the three do not have one shape (T, N) with T at least 1 and N at least 2.
    """
    if (
        not losses.shape == used.shape == chosen.shape
        or losses.dim() != 2
        or len(losses) < 1
        or losses.shape[1] < 2
    ):
        raise ValueError(
            f"losses, used and chosen have shapes {tuple(losses.shape)}, {tuple(used.shape)} and "
            f"{tuple(chosen.shape)}; all must be (T, N) with T at least 1 and N at least 2"
        )
    if bool((used != losses).any()):
        return "stale_fitness"
    if bool((_worst_of(-losses, chosen) < _best_of(-losses, 1 - chosen)).all()):
        return "worst_selected"
    if bool((_worst_of(losses, chosen) > _best_of(losses, 1 - chosen)).any()):
        return "no_selection"
    elite, children = losses[:, :1], losses[:, 1:]
    if bool(((children - elite).abs() <= CLOSE * elite.abs()).all()):
        return "sigma_too_small"
    return "sigma_too_large" if bool((children >= elite).all()) else "healthy"


def _worst_of(losses: Tensor, members: Tensor) -> Tensor:
    """Find the largest loss among the members of each generation, (T,)."""
    return losses.masked_fill(members == 0, -torch.inf).amax(1)


def _best_of(losses: Tensor, members: Tensor) -> Tensor:
    """Find the smallest loss among the members of each generation, (T,)."""
    return losses.masked_fill(members == 0, torch.inf).amin(1)


def _check_sigma(sigma: float) -> None:
    if not (sigma > 0 and math.isfinite(sigma)):
        raise ValueError(f"sigma is {sigma}, the size of a mutation; it must be a number above 0")


def _check_population(count: int) -> None:
    if count < 2:
        raise ValueError(f"a population of {count}; selection needs at least 2")
