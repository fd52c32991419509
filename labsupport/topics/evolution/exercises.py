"""Exercises on evolution: selection, mutation, the antithetic estimate, ranks, a log."""

import torch
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, one_of, tensor
from labsupport.topics.evolution import reference

_LOSSES = (1.0, 2.0, 3.0, 0.5, 4.0, 2.5, 0.0, 2.0**-10, 1024.0)
_CLOSE = (1.0, 1.0 + 2.0**-20, 2.0)
"""A loss that float32 tells from 1, and a comparison with a tolerance does not."""
_NOISE = (1.0, -1.0, 2.0, 0.5, -3.0)


def _wrong(name, hint, answer):
    """Give a short wrong answer its name and its hint, as a function of its own has them."""
    answer.__name__, answer.__doc__ = name, hint
    return answer


# -- es_gradient -----------------------------------------------------------------------------------


@st.composite
def _pairs(draw):
    n, size, dtype = one_of(draw, 1, 2), one_of(draw, 1, 2), one_of(draw, *DTYPES)
    return {
        "noise": tensor(draw, (n, size), dtype, _NOISE),
        "plus": tensor(draw, (n,), dtype, _LOSSES),
        "minus": tensor(draw, (n,), dtype, _LOSSES),
        "sigma": one_of(draw, 0.5, 0.25, 2.0, 2.0**-10),
    }


GRADIENTS = (
    _wrong(
        "mirror_ignored",
        "You used the losses of w + σε alone. Each mutation has a mirror image: take the difference"
        " of both losses.",
        lambda noise, plus, minus, *, sigma: plus @ noise / (len(noise) * sigma),
    ),
    _wrong(
        "sigma_squared",
        "You divided by σ². The losses differ by 2σ g·ε, so one σ is enough.",
        lambda noise, plus, minus, *, sigma: (plus - minus) @ noise / (2 * len(noise) * sigma**2),
    ),
    _wrong(
        "sigma_forgotten",
        "You did not divide by σ. The farther the two mutants are apart, the more their losses"
        " differ for one and the same slope.",
        lambda noise, plus, minus, *, sigma: (plus - minus) @ noise / (2 * len(noise)),
    ),
    _wrong(
        "sigma_multiplied",
        "You multiplied by σ where the equation divides. A slope is a difference of losses over the"
        " distance, and that grows with σ.",
        lambda noise, plus, minus, *, sigma: (plus - minus) @ noise * sigma / (2 * len(noise)),
    ),
    _wrong(
        "two_forgotten",
        "You divided by n σ. The mirror images are 2σ apart, so the divisor is 2 n σ.",
        lambda noise, plus, minus, *, sigma: (plus - minus) @ noise / (len(noise) * sigma),
    ),
    _wrong(
        "two_doubled",
        "You divided by 4 n σ. There are n pairs, and n rows of noise: the 2 stands for the"
        " distance of the mirror images, not for their number.",
        lambda noise, plus, minus, *, sigma: (plus - minus) @ noise / (4 * len(noise) * sigma),
    ),
    _wrong(
        "summed",
        "You summed over the pairs. Take the mean, or a larger population makes larger steps.",
        lambda noise, plus, minus, *, sigma: (plus - minus) @ noise / (2 * sigma),
    ),
    _wrong(
        "weights_counted",
        "You divided by the number of weights. The mean is over the pairs, n of them, the rows of"
        " noise.",
        lambda noise, plus, minus, *, sigma: (plus - minus) @ noise / (2 * noise.shape[1] * sigma),
    ),
    _wrong(
        "maximizing",
        "You turned the sign round, as for a fitness. These are losses, and the estimate points"
        " uphill as a gradient does.",
        lambda noise, plus, minus, *, sigma: (minus - plus) @ noise / (2 * len(noise) * sigma),
    ),
    _wrong(
        "added",
        "You added the two losses of a pair. What they have in common says nothing of the slope:"
        " take their difference.",
        lambda noise, plus, minus, *, sigma: (plus + minus) @ noise / (2 * len(noise) * sigma),
    ),
)


def estimate_by_all(noise, plus, minus, *, sigma):
    """Over all individuals: each has its own mutation, the mirror images the negative one."""
    losses, mutations = torch.cat([plus, minus]), torch.cat([noise, -noise])
    return (losses[:, None] * mutations).mean(0) / sigma


# -- centered_ranks --------------------------------------------------------------------------------


@st.composite
def _some_losses(draw):
    return {
        "losses": tensor(
            draw,
            (one_of(draw, 2, 3, 4),),
            one_of(draw, *DTYPES),
            one_of(draw, (1.0, 2.0, 5.0), _LOSSES, _CLOSE),
        )
    }


RANKS = (
    _wrong(
        "ties_by_order",
        "You gave equal losses different ranks, by their order. Individuals that are as good share"
        " the mean of their ranks.",
        lambda losses: (
            losses.argsort(stable=True).argsort().to(losses.dtype) / (len(losses) - 1) - 0.5
        ),
    ),
    _wrong(
        "ties_to_the_lowest",
        "You gave equal losses the lowest of their ranks. They share the mean, or the row no longer"
        " adds up to 0.",
        lambda losses: (
            (losses[None] < losses[:, None]).sum(1).to(losses.dtype) / (len(losses) - 1) - 0.5
        ),
    ),
    _wrong(
        "ties_to_the_highest",
        "You gave equal losses the highest of their ranks. They share the mean, or the row no"
        " longer adds up to 0.",
        lambda losses: (
            ((losses[None] <= losses[:, None]).sum(1) - 1).to(losses.dtype) / (len(losses) - 1)
            - 0.5
        ),
    ),
    _wrong(
        "ties_as_one",
        "You counted equal losses as one. Each of them takes a place in the order, and those that"
        " are equal share the mean.",
        lambda losses: (
            torch.unique(losses, return_inverse=True)[1].to(losses.dtype) / (len(losses) - 1) - 0.5
        ),
    ),
    _wrong(
        "nearly_equal_taken_for_equal",
        "You let losses share a rank that are nearly equal. However close two losses are, the"
        " smaller one has the smaller rank: compare with ==.",
        lambda losses: reference.centered_ranks(losses.round(decimals=5)),
    ),
    _wrong(
        "counted_from_one",
        "You counted the ranks from 1. The smallest loss has rank 0, or the row does not begin at"
        " -1/2.",
        lambda losses: reference.centered_ranks(losses) + 1 / (len(losses) - 1),
    ),
    _wrong(
        "not_centered",
        "You let the ranks run from 0 to 1. Centered ones run from -1/2 to 1/2, so that being"
        " average counts as nothing.",
        lambda losses: reference.centered_ranks(losses) + 0.5,
    ),
    _wrong(
        "stretched_too_far",
        "You let the ranks run from -1 to 1. Centered ones run from -1/2 to 1/2.",
        lambda losses: 2 * reference.centered_ranks(losses),
    ),
    _wrong(
        "best_on_top",
        "You gave the smallest loss the largest rank. The shaped values stand in for losses, so the"
        " smallest one gets -1/2.",
        lambda losses: -reference.centered_ranks(losses),
    ),
    _wrong(
        "divided_by_count",
        "You divided by N. The ranks from 0 to N - 1 are divided by N - 1, so that the last one"
        " becomes 1/2.",
        lambda losses: (
            (reference.centered_ranks(losses) + 0.5) * (len(losses) - 1) / len(losses) - 0.5
        ),
    ),
    _wrong(
        "places_instead",
        "You sorted once. That gives the places of the ordered losses; the rank of each loss is its"
        " place in that order.",
        lambda losses: losses.argsort(stable=True).to(losses.dtype) / (len(losses) - 1) - 0.5,
    ),
    _wrong(
        "scaled_losses",
        "You stretched the losses themselves. One outlier then rules the rest; ranks keep the order"
        " alone.",
        lambda losses: (
            (losses - losses.min()) / (losses.max() - losses.min()).clamp(min=1e-8)
            - 0.5 * bool(losses.max() > losses.min())
        ),
    ),
    _wrong(
        "standardized",
        "You took off the mean and divided by the standard deviation. One outlier still rules;"
        " ranks keep the order alone.",
        lambda losses: (losses - losses.mean()) / losses.std(correction=0).clamp(min=1e-8),
    ),
)


def ranks_by_counting(losses):
    """How many are below minus how many are above, for each."""
    above = (losses[:, None] < losses).sum(1)
    below = (losses[:, None] > losses).sum(1)
    return (below - above).to(losses.dtype) / (2 * (len(losses) - 1))


# -- select ----------------------------------------------------------------------------------------


@st.composite
def _two_batches(draw):
    """No two losses are equal, so there is one right order."""
    size = one_of(draw, 2, 3, 4)
    rows = [draw(st.permutations(_LOSSES))[:size] for _ in range(2)]
    return {
        "remembered": torch.tensor(rows[0]),
        "measured": torch.tensor(rows[1]),
        "parents": draw(st.integers(1, size - 1)),
    }


SELECTIONS = (
    _wrong(
        "stale",
        "You reused the losses of the last batch. The batch has changed, and with it what each loss"
        " means: go by the new ones.",
        lambda remembered, measured, *, parents: remembered.argsort()[:parents],
    ),
    _wrong(
        "best_ever",
        "You gave each individual the better of its two losses. So the lucky ones stay for ever: go"
        " by the new losses.",
        lambda remembered, measured, *, parents: torch.minimum(remembered, measured).argsort(
            stable=True
        )[:parents],
    ),
    _wrong(
        "worst_ever",
        "You gave each individual the worse of its two losses. Then bad luck is never forgiven: go"
        " by the new losses.",
        lambda remembered, measured, *, parents: torch.maximum(remembered, measured).argsort(
            stable=True
        )[:parents],
    ),
    _wrong(
        "both_batches",
        "You added losses of two batches. One batch may be harder than the other; compare all on"
        " the batch of this generation.",
        lambda remembered, measured, *, parents: (remembered + measured).argsort(stable=True)[
            :parents
        ],
    ),
    _wrong(
        "most_improved",
        "You went by the change from one batch to the other. It tells how the batches differ, not"
        " who is good now: go by the new losses.",
        lambda remembered, measured, *, parents: (measured - remembered).argsort(stable=True)[
            :parents
        ],
    ),
    _wrong(
        "worst_chosen",
        "You selected the largest losses. A loss is to be small: the survivors are those with the"
        " smallest.",
        lambda remembered, measured, *, parents: measured.argsort(descending=True)[:parents],
    ),
    _wrong(
        "worst_first",
        "You listed the survivors from the worst to the best. The best comes first: it will be the"
        " elite.",
        lambda remembered, measured, *, parents: measured.argsort()[:parents].flip(0),
    ),
    _wrong(
        "by_place",
        "You listed the survivors by their place in the population. The best comes first: it will"
        " be the elite.",
        lambda remembered, measured, *, parents: measured.argsort()[:parents].sort().values,
    ),
    _wrong(
        "losses_returned",
        "You returned the losses of the survivors. Asked for are their places in the population:"
        " argsort gives those, sort the values.",
        lambda remembered, measured, *, parents: measured.sort().values[:parents],
    ),
    _wrong(
        "ranks_for_places",
        "You sorted twice. That gives each individual's rank; asked for are the places of the best"
        " ones.",
        lambda remembered, measured, *, parents: measured.argsort().argsort()[:parents],
    ),
    _wrong(
        "one_too_many",
        "You kept one more than the number of parents. Truncation keeps exactly that many.",
        lambda remembered, measured, *, parents: measured.argsort()[: parents + 1],
    ),
)


def select_by_topk(remembered, measured, *, parents):
    """The largest of the negative losses."""
    return torch.topk(-measured, parents).indices


# -- next_generation -------------------------------------------------------------------------------


@st.composite
def _generations(draw):
    size = one_of(draw, 3, 4, 2)
    parents = draw(st.integers(1, size - 1))
    picks = draw(st.lists(st.integers(0, parents - 1), min_size=size - 1, max_size=size - 1))
    return {
        "population": torch.tensor(draw(st.permutations((1.0, 2.0, -1.0, 0.5)))[:size])[:, None],
        "losses": torch.tensor(draw(st.permutations(_LOSSES))[:size]),
        "picks": torch.tensor(picks),
        "noise": tensor(draw, (size - 1, 1), torch.float32, _NOISE),
        "parents": parents,
        "sigma": one_of(draw, 0.5, 2.0, 0.25),
    }


def _bred(ranked, picks, pushes):
    return torch.cat([ranked[:1], ranked[picks] + pushes])


GENERATIONS = (
    _wrong(
        "worst_bred",
        "You bred from the worst. Losses are to be small: sort them from the smallest up.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort(descending=True)], picks, sigma * noise
        ),
    ),
    _wrong(
        "unselected",
        "You took the parents by their place in the population. The picks are ranks: sort by loss"
        " first.",
        lambda population, losses, picks, noise, *, parents, sigma: torch.cat(
            [population[losses.argmin()][None], population[picks] + sigma * noise]
        ),
    ),
    _wrong(
        "first_as_elite",
        "You kept the old elite in front without a look at its loss. The first individual is not"
        " the best one on a new batch.",
        lambda population, losses, picks, noise, *, parents, sigma: torch.cat(
            [population[:1], population[losses.argsort()][picks] + sigma * noise]
        ),
    ),
    _wrong(
        "elite_mutated",
        "You mutated the elite as well. It goes on as it is, or the best that was found can be"
        " lost.",
        lambda population, losses, picks, noise, *, parents, sigma: (
            _bred(population[losses.argsort()], picks, sigma * noise)
            + torch.cat([sigma * noise[:1], 0 * noise])
        ),
    ),
    _wrong(
        "elite_last",
        "You put the elite behind its children. It comes first: whoever reads the next generation"
        " looks for it there.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks, sigma * noise
        ).roll(-1, 0),
    ),
    _wrong(
        "picks_from_one",
        "You subtracted 1 from the picks. They count from 0 already: 0 is the best, and -1 would be"
        " the worst of all.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks - 1, sigma * noise
        ),
    ),
    _wrong(
        "elite_without_children",
        "You left the elite out as a parent. Picks count from 0, and 0 is the best individual"
        " itself.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks + 1, sigma * noise
        ),
    ),
    _wrong(
        "sorted_twice",
        "You sorted twice. That gives each individual's rank; to put the individuals in order takes"
        " the places, from sorting once.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort().argsort()], picks, sigma * noise
        ),
    ),
    _wrong(
        "best_alone",
        "You gave all children the best individual as parent. Each child has the parent that its"
        " pick names.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], 0 * picks, sigma * noise
        ),
    ),
    _wrong(
        "parents_averaged",
        "You gave all children the mean of the parents. Each child has one parent, the one that its"
        " pick names.",
        lambda population, losses, picks, noise, *, parents, sigma: (
            _bred(population[losses.argsort()], picks, sigma * noise)
            + torch.cat(
                [
                    0 * noise[:1],
                    population[losses.argsort()[:parents]].mean(0)
                    - population[losses.argsort()][picks],
                ]
            )
        ),
    ),
    _wrong(
        "sigma_left_out",
        "You added the noise as it is. A mutation is σ times the noise: σ says how hard the pushes"
        " are.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks, noise
        ),
    ),
    _wrong(
        "variance_for_std",
        "You multiplied the noise by σ². σ is the standard deviation of a mutation, so it "
        "multiplies the noise itself.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks, sigma**2 * noise
        ),
    ),
    _wrong(
        "std_of_variance",
        "You multiplied the noise by the root of σ. σ is the standard deviation of a mutation"
        " already.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks, sigma**0.5 * noise
        ),
    ),
    _wrong(
        "one_push_for_all",
        "You gave all children the same push. Each child has a row of the noise of its own.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks, sigma * noise[:1]
        ),
    ),
    _wrong(
        "multiplied",
        "You multiplied the weights by 1 + σε. A mutation is added, or a weight of zero stays zero"
        " for ever.",
        lambda population, losses, picks, noise, *, parents, sigma: _bred(
            population[losses.argsort()], picks, sigma * noise * population[losses.argsort()][picks]
        ),
    ),
)


def generation_by_topk(population, losses, picks, noise, *, parents, sigma):
    """The best ones by topk, the children one by one."""
    top = torch.topk(losses, parents, largest=False).indices
    children = [
        population[top[k]] + sigma * row for k, row in zip(picks.tolist(), noise, strict=True)
    ]
    return torch.stack([population[top[0]], *children])


# -- diagnose --------------------------------------------------------------------------------------


LOGGED = (
    ([[2, 1]], [[0, 1]]),
    ([[2, 1.9375]], [[0, 1]]),
    ([[4, 3.875]], [[0, 1]]),
    ([[1, 2], [4, 2]], [[1, 0], [0, 1]]),
    ([[2, 1], [1, 4]], [[0, 1], [1, 0]]),
    ([[1, 8, 0.75]], [[0, 0, 1]]),
    ([[2, 1, 3]], [[0, 1, 0]]),
    ([[4, 1, 5]], [[1, 1, 0]]),
    ([[2, 2.001953125, 1]], [[0, 0, 1]]),
    ([[1, 0.5, 1.0009765625]], [[1, 1, 0]]),  # healthy
    ([[2, 2.125]], [[1, 0]]),
    ([[4, 4.125], [8, 16]], [[1, 0], [1, 0]]),
    ([[2, 2.001953125, 2.5]], [[1, 0, 0]]),  # sigma too large
    ([[2, 2.001953125]], [[1, 0]]),
    ([[2, 1.998046875]], [[0, 1]]),
    ([[4, 4.03125]], [[1, 0]]),
    ([[4, 4.03125], [2, 2]], [[1, 0], [1, 0]]),
    ([[1, 2]], [[0, 1]]),
    ([[2, 1], [2, 4]], [[1, 0], [0, 1]]),
    ([[4, 2, 8]], [[1, 0, 1]]),  # worst selected
    ([[1, 2], [1, 2]], [[1, 0], [0, 1]]),
    ([[2, 1, 2.5]], [[0, 1, 1]]),
    ([[4, 2, 7]], [[0, 1, 1]]),
    ([[4, 2, 3.5]], [[1, 1, 0]]),  # no selection
    ([[2, 1], [2, 4]], [[1, 0], [1, 0]]),
    ([[1, 2], [4, 2]], [[0, 1], [1, 0]]),
    ([[2, 2]], [[0, 1]]),  # equal losses: nobody is worse, nobody better
    ([[2, 2, 3]], [[1, 0, 0]]),
    ([[0, 0]], [[1, 0]]),  # a 0-1 loss can be 0
    ([[0, 0.5]], [[1, 0]]),
    ([[4, 4.046875]], [[1, 0]]),  # 1.2 % is not within 1 %
    ([[2, 2.015625, 2.03125]], [[1, 0, 0]]),
)
REMEMBERED = (
    ([[2, 1]], [[0.5, 1]]),
    ([[2, 1]], [[2, 4]]),
    ([[2, 1, 4]], [[2, 1, 0.5]]),
    ([[1, 2]], [[8, 2]]),
    ([[4, 8]], [[4, 1]]),
    ([[1, 2], [2, 1]], [[1, 2], [0.5, 1]]),
    ([[2, 1, 0.5]], [[2, 1, 8]]),
    ([[2, 1], [2, 1]], [[2, 1], [2, 0.5]]),
)
"""Losses and who was chosen by them, or the losses that the choice went by. A random log would
hardly ever be healthy, or have one fault alone.
"""


@st.composite
def _logs(draw):
    """One of the logs above; so few that a check tries them all."""
    logs = [(*map(torch.tensor, (rows, rows, chosen)),) for rows, chosen in LOGGED]
    logs += [
        (
            torch.tensor(rows),
            (used := torch.tensor(last)),
            torch.nn.functional.one_hot(used.argmin(1), used.shape[1]),
        )
        for rows, last in REMEMBERED
    ]
    return {
        name: column.float()
        for name, column in zip(("losses", "used", "chosen"), one_of(draw, *logs), strict=True)
    }


def used_believed(losses, used, chosen):
    """You went by the losses that selection used. Compare them with the measured ones first: an
    elite may live on old luck.
    """
    return reference.diagnose(used, used, chosen)


def luck_alone(losses, used, chosen):
    """You looked only for a remembered loss that is too good. A remembered loss is stale too when
    it is too bad.
    """
    return (
        "stale_fitness" if bool((used < losses).any()) else reference.diagnose(used, used, chosen)
    )


def elite_alone(losses, used, chosen):
    """You compared the elite's losses alone. Any individual may be selected by a loss that is not
    its own: compare them all.
    """
    return (
        "stale_fitness"
        if bool((used != losses)[:, 0].any())
        else reference.diagnose(losses, losses, chosen)
    )


def choices_unchecked(losses, used, chosen):
    """You did not look at who was chosen. Compare the worst of the chosen with the best of the
    others, in each generation.
    """
    best = torch.nn.functional.one_hot(losses.argmin(1), losses.shape[1]).to(losses.dtype)
    return reference.diagnose(losses, used, best)


def means_compared(losses, used, chosen):
    """You compared means of the chosen and the others. A bad choice hides in a mean: hold the worst
    chosen against the best other.
    """
    found = reference.diagnose(losses, used, chosen)
    inside, outside = ((losses * some).sum(1) / some.sum(1) for some in (chosen, 1 - chosen))
    return (
        choices_unchecked(losses, used, chosen)
        if found == "no_selection" and bool((inside < outside).all())
        else found
    )


def _renamed(**names):
    """The reference with some of its names changed."""
    return lambda losses, used, chosen: names.get(
        found := reference.diagnose(losses, used, chosen), found
    )


def _by_children(
    near=lambda child, elite: bool(((child - elite).abs() <= 0.01 * elite).all()),
    worse=lambda child, elite: bool((child >= elite).all()),
):
    """Run the reference with another test of children against elites.

    The losses are (T, N - 1) and (T, 1).
    """

    def answer(losses, used, chosen):
        found, pair = reference.diagnose(losses, used, chosen), (losses[:, 1:], losses[:, :1])
        if found in ("stale_fitness", "worst_selected", "no_selection"):
            return found
        return (
            "sigma_too_small" if near(*pair) else "sigma_too_large" if worse(*pair) else "healthy"
        )

    return answer


LOGS = (
    used_believed,
    luck_alone,
    elite_alone,
    choices_unchecked,
    means_compared,
    _wrong(
        "worst_called_random",
        "You called it no selection. Choosing the worst in every generation is a selection, the"
        " wrong way round.",
        _renamed(worst_selected="no_selection"),
    ),
    _wrong(
        "one_bad_choice_called_worst",
        "You said that the worst are selected, but not all the chosen are worse, or not in every "
        "generation. That is what no selection looks like.",
        _renamed(no_selection="worst_selected"),
    ),
    _wrong(
        "worse_children_called_healthy",
        "You passed over the children. Where not one of them is better than the elite beside it,"
        " the mutations are too large.",
        _renamed(sigma_too_large="healthy"),
    ),
    _wrong(
        "near_children_called_healthy",
        "You took children for progress whose losses are within 1 % of the elite's. Mutations that"
        " small hardly search.",
        _renamed(sigma_too_small="healthy"),
    ),
    _wrong(
        "sizes_reversed",
        "You exchanged the two. Large mutations throw the children far from the elite's loss, small"
        " ones leave them at it.",
        _renamed(sigma_too_large="sigma_too_small", sigma_too_small="sigma_too_large"),
    ),
    _wrong(
        "one_worse_child",
        "You let one worse child decide. Most mutants are worse, that is as it should be; the"
        " mutations are too large where none is better.",
        _by_children(worse=lambda child, elite: bool((child >= elite).any())),
    ),
    _wrong(
        "one_poor_generation",
        "You let one generation without a better child decide. Luck makes some; the mutations are"
        " too large where every generation is one.",
        _by_children(worse=lambda child, elite: bool((child >= elite).all(1).any())),
    ),
    _wrong(
        "children_averaged",
        "You compared the children's mean with the elite. One good child is all that evolution"
        " needs: look at each.",
        _by_children(worse=lambda child, elite: bool((child.mean(1) >= elite[:, 0]).all())),
    ),
    _wrong(
        "one_near_child",
        "You let one child near the elite decide. The mutations are too small where every child is"
        " that near.",
        _by_children(near=lambda child, elite: bool(((child - elite).abs() <= 0.01 * elite).any())),
    ),
    _wrong(
        "a_hundredth_of_loss",
        "You took 0.01 for the distance. It is 1 % of the elite's loss: multiply it by that.",
        _by_children(near=lambda child, elite: bool(((child - elite).abs() <= 0.01).all())),
    ),
    _wrong(
        "ten_percent",
        "You drew the line at 10 %. A child is near where its loss is within 1 % of the elite's.",
        _by_children(near=lambda child, elite: bool(((child - elite).abs() <= 0.1 * elite).all())),
    ),
)


def diagnose_by_rows(losses, used, chosen):
    """Generation by generation, in plain Python."""
    if losses.tolist() != used.tolist():
        return "stale_fitness"
    rows = [
        (
            [a for a, c in zip(*row, strict=True) if c],
            [a for a, c in zip(*row, strict=True) if not c],
        )
        for row in zip(losses.tolist(), chosen.tolist(), strict=True)
    ]
    if all(min(inside) > max(outside) for inside, outside in rows):
        return "worst_selected"
    if any(max(inside) > min(outside) for inside, outside in rows):
        return "no_selection"
    pairs = [(elite, child) for elite, *children in losses.tolist() for child in children]
    if all(abs(child - elite) <= 0.01 * elite for elite, child in pairs):
        return "sigma_too_small"
    return "sigma_too_large" if all(child >= elite for elite, child in pairs) else "healthy"


# -- the exercises ---------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="evolution.es_gradient",
        title="A gradient from evaluations",
        points=2,
        section="Idea",
        reference=reference.es_gradient,
        inputs=_pairs(),
        returns=(),
        misconceptions=known("Idea", *GRADIENTS),
        alternatives=(estimate_by_all,),
    ),
    Exercise(
        id="evolution.centered_ranks",
        title="Rank shaping",
        points=2,
        section="Idea",
        reference=reference.centered_ranks,
        inputs=_some_losses(),
        returns=(),
        misconceptions=known("Idea", *RANKS),
        alternatives=(ranks_by_counting,),
    ),
    Exercise(
        id="evolution.select",
        keeps_dtype=True,
        title="Selection after the batch has changed",
        points=1,
        section="How it fails",
        reference=reference.select,
        inputs=_two_batches(),
        returns=(),
        misconceptions=known("How it fails", *SELECTIONS),
        alternatives=(select_by_topk,),
    ),
    Exercise(
        id="evolution.next_generation",
        title="One generation",
        points=2,
        section="Idea",
        reference=reference.next_generation,
        inputs=_generations(),
        returns=(),
        misconceptions=known("Idea", *GENERATIONS),
        alternatives=(generation_by_topk,),
    ),
    Exercise(
        id="evolution.diagnose",
        title="Diagnose an evolution",
        points=3,
        section="How it fails",
        reference=reference.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known("How it fails", *LOGS),
        alternatives=(diagnose_by_rows,),
    ),
)
