"""The exercises of the chapter on evolution: selection, mutation, the antithetic estimate, ranks, and a sick log to diagnose."""

import torch
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, one_of, tensor
from labsupport.reference import evolution as reference

_LOSSES = (1.0, 2.0, 3.0, 0.5, 4.0, 2.5)
_NOISE = (1.0, -1.0, 2.0, 0.5, -3.0)


# -- es_gradient -----------------------------------------------------------------------------------


@st.composite
def _pairs(draw):
    n, size, dtype = one_of(draw, 1, 2), one_of(draw, 1, 2), one_of(draw, *DTYPES)
    return {"noise": tensor(draw, (n, size), dtype, _NOISE), "plus": tensor(draw, (n,), dtype, _LOSSES),
            "minus": tensor(draw, (n,), dtype, _LOSSES), "sigma": one_of(draw, 0.5, 0.25, 2.0)}


def mirror_ignored(noise, plus, minus, *, sigma):
    """You used the losses of w + σε alone. Each mutation has a mirror image: take the difference of both losses."""
    return plus @ noise / (len(noise) * sigma)


def sigma_squared(noise, plus, minus, *, sigma):
    """You divided by σ². The losses differ by 2σ g·ε, so one σ is enough."""
    return (plus - minus) @ noise / (2 * len(noise) * sigma**2)


def sigma_forgotten(noise, plus, minus, *, sigma):
    """You did not divide by σ. The farther the two mutants are apart, the more their losses differ for one and the same slope."""
    return (plus - minus) @ noise / (2 * len(noise))


def two_forgotten(noise, plus, minus, *, sigma):
    """You divided by n σ. The mirror images are 2σ apart, so the divisor is 2 n σ."""
    return (plus - minus) @ noise / (len(noise) * sigma)


def summed(noise, plus, minus, *, sigma):
    """You summed over the pairs. Take the mean, or a larger population makes larger steps."""
    return (plus - minus) @ noise / (2 * sigma)


def maximizing(noise, plus, minus, *, sigma):
    """You turned the sign round, as for a fitness. These are losses, and the estimate points uphill as a gradient does."""
    return (minus - plus) @ noise / (2 * len(noise) * sigma)


def added(noise, plus, minus, *, sigma):
    """You added the two losses of a pair. What they have in common says nothing of the slope: take their difference."""
    return (plus + minus) @ noise / (2 * len(noise) * sigma)


def estimate_by_all(noise, plus, minus, *, sigma):
    """Over all individuals: each has its own mutation, the mirror images the negative one."""
    losses, mutations = torch.cat([plus, minus]), torch.cat([noise, -noise])
    return (losses[:, None] * mutations).mean(0) / sigma


# -- centered_ranks --------------------------------------------------------------------------------


@st.composite
def _some_losses(draw):
    return {"losses": tensor(draw, (one_of(draw, 2, 3, 4),), one_of(draw, *DTYPES), one_of(draw, (1.0, 2.0, 5.0), _LOSSES))}


def ties_by_order(losses):
    """You gave equal losses different ranks, by their order. Individuals that are as good share the mean of their ranks."""
    return losses.argsort(stable=True).argsort().to(losses.dtype) / (len(losses) - 1) - 0.5


def ties_to_the_lowest(losses):
    """You gave equal losses the lowest of their ranks. They share the mean, or the row no longer adds up to 0."""
    return (losses[None] < losses[:, None]).sum(1).to(losses.dtype) / (len(losses) - 1) - 0.5


def not_centered(losses):
    """You let the ranks run from 0 to 1. Centered ones run from -1/2 to 1/2, so that being average counts as nothing."""
    return reference.centered_ranks(losses) + 0.5


def best_on_top(losses):
    """You gave the smallest loss the largest rank. The shaped values stand in for losses, so the smallest one gets -1/2."""
    return -reference.centered_ranks(losses)


def divided_by_count(losses):
    """You divided by N. The ranks from 0 to N - 1 are divided by N - 1, so that the last one becomes 1/2."""
    return (reference.centered_ranks(losses) + 0.5) * (len(losses) - 1) / len(losses) - 0.5


def places_instead(losses):
    """You sorted once. That gives the places of the ordered losses; the rank of each loss is its place in that order."""
    return losses.argsort(stable=True).to(losses.dtype) / (len(losses) - 1) - 0.5


def scaled_losses(losses):
    """You stretched the losses themselves. One outlier then rules the rest; ranks keep the order alone."""
    width = losses.max() - losses.min()
    return (losses - losses.min()) / width - 0.5 if width > 0 else torch.zeros_like(losses)


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
    return {"remembered": torch.tensor(rows[0]), "measured": torch.tensor(rows[1]),
            "parents": draw(st.integers(1, size - 1))}


def stale(remembered, measured, *, parents):
    """You reused the losses of the last batch. The batch has changed, and with it what each loss means: go by the new ones."""
    return reference.survivors(remembered, parents=parents)


def best_ever(remembered, measured, *, parents):
    """You gave each individual the better of its two losses. So the lucky ones stay for ever: go by the new losses."""
    return reference.survivors(torch.minimum(remembered, measured), parents=parents)


def both_batches(remembered, measured, *, parents):
    """You added losses of two batches. One batch may be harder than the other; compare all on the batch of this generation."""
    return reference.survivors(remembered + measured, parents=parents)


def worst_chosen(remembered, measured, *, parents):
    """You selected the largest losses. A loss is to be small: the survivors are those with the smallest."""
    return measured.argsort(descending=True)[:parents]


def worst_first(remembered, measured, *, parents):
    """You listed the survivors from the worst to the best. The best comes first: it will be the elite."""
    return reference.survivors(measured, parents=parents).flip(0)


def one_too_many(remembered, measured, *, parents):
    """You kept one more than ``parents``. Truncation keeps exactly that many."""
    return measured.argsort()[:parents + 1]


def select_by_topk(remembered, measured, *, parents):
    """The largest of the negative losses."""
    return torch.topk(-measured, parents).indices


# -- next_generation -------------------------------------------------------------------------------


@st.composite
def _generations(draw):
    size = one_of(draw, 3, 4, 2)
    parents = draw(st.integers(1, size - 1))
    picks = draw(st.lists(st.integers(0, parents - 1), min_size=size - 1, max_size=size - 1))
    return {"population": torch.tensor(draw(st.permutations((1.0, 2.0, -1.0, 0.5)))[:size])[:, None],
            "losses": torch.tensor(draw(st.permutations(_LOSSES))[:size]), "picks": torch.tensor(picks),
            "noise": tensor(draw, (size - 1, 1), torch.float32, _NOISE), "parents": parents, "sigma": one_of(draw, 0.5, 2.0, 0.25)}


def _children(ranked, picks, noise, sigma):
    return torch.cat([ranked[:1], ranked[picks] + sigma * noise])


def worst_bred(population, losses, picks, noise, *, parents, sigma):
    """You bred from the worst. Losses are to be small: sort them from the smallest up."""
    return _children(population[losses.argsort(descending=True)], picks, noise, sigma)


def unselected(population, losses, picks, noise, *, parents, sigma):
    """You took the parents by their place in the population. ``picks`` are ranks: sort by loss first."""
    best = population[losses.argmin()][None]
    return torch.cat([best, population[picks] + sigma * noise])


def first_as_elite(population, losses, picks, noise, *, parents, sigma):
    """You kept the old elite in front without a look at its loss. The first individual is not the best one on a new batch."""
    return torch.cat([population[:1], population[losses.argsort()][picks] + sigma * noise])


def elite_mutated(population, losses, picks, noise, *, parents, sigma):
    """You mutated the elite as well. It goes on as it is, or the best that was found can be lost."""
    new = _children(population[losses.argsort()], picks, noise, sigma)
    return torch.cat([new[:1] + sigma * noise[:1], new[1:]])


def variance_for_deviation(population, losses, picks, noise, *, parents, sigma):
    """You multiplied the noise by σ². σ is the standard deviation of a mutation, so it multiplies the noise itself."""
    return _children(population[losses.argsort()], picks, noise, sigma**2)


def multiplied(population, losses, picks, noise, *, parents, sigma):
    """You multiplied the weights by 1 + σε. A mutation is added, or a weight of zero stays zero for ever."""
    ranked = population[losses.argsort()]
    return torch.cat([ranked[:1], ranked[picks] * (1 + sigma * noise)])


def best_alone(population, losses, picks, noise, *, parents, sigma):
    """You gave all children the best individual as parent. Each child has the parent that its pick names."""
    return _children(population[losses.argsort()], torch.zeros_like(picks), noise, sigma)


def generation_by_topk(population, losses, picks, noise, *, parents, sigma):
    """The best ones by topk, the children one by one."""
    top = torch.topk(losses, parents, largest=False).indices
    children = [population[top[k]] + sigma * row for k, row in zip(picks.tolist(), noise, strict=True)]
    return torch.stack([population[top[0]], *children])


# -- diagnose --------------------------------------------------------------------------------------


@st.composite
def _logs(draw):
    """Two generations of two individuals, sick in one way or healthy; a random log would hardly ever be."""
    kind = one_of(draw, "healthy", "stale_fitness", "worst_selected", "no_selection", "sigma_too_large", "sigma_too_small")
    first = sorted(draw(st.permutations((1.0, 2.0, 4.0)))[:2])
    elite = one_of(draw, 2.0, 1.0, 4.0)
    child = {"sigma_too_large": elite * one_of(draw, 2.0, 8.0),
             "sigma_too_small": elite * one_of(draw, 1.0009765625, 0.9990234375)}.get(kind, elite * one_of(draw, 0.5, 0.75))
    losses = torch.tensor([first, [elite, child]])
    if one_of(draw, False, True):
        losses[0] = losses[0].flip(0)
    used, best = losses.clone(), losses.argmin(1)
    if kind == "stale_fitness":
        used[1, 0] = one_of(draw, 0.5, 0.25, 8.0)
        best = used.argmin(1)
    if kind == "worst_selected":
        best = 1 - best
    if kind == "no_selection":
        best[draw(st.integers(0, 1))] ^= 1
    chosen = torch.nn.functional.one_hot(best, 2).to(losses.dtype)
    assume(reference.diagnose(losses, used, chosen) == kind)
    return {"losses": losses, "used": used, "chosen": chosen}


def used_believed(losses, used, chosen):
    """You went by the losses that selection used. Compare them with the measured ones first: an elite may live on old luck."""
    return reference.diagnose(used, used, chosen)


def luck_alone(losses, used, chosen):
    """You looked only for a remembered loss that is too good. A remembered loss is stale too when it is too bad."""
    return "stale_fitness" if bool((used < losses).any()) else reference.diagnose(used, used, chosen)


def worst_called_random(losses, used, chosen):
    """You called it no selection. Choosing the worst in every generation is a selection, the wrong way round."""
    found = reference.diagnose(losses, used, chosen)
    return "no_selection" if found == "worst_selected" else found


def one_bad_choice_called_worst(losses, used, chosen):
    """You said that the worst are selected, but only some generations choose badly. That is what no selection looks like."""
    found = reference.diagnose(losses, used, chosen)
    return "worst_selected" if found == "no_selection" else found


def choices_unchecked(losses, used, chosen):
    """You did not look at who was chosen. Compare the worst of the chosen with the best of the others, in each generation."""
    if bool((used != losses).any()):
        return "stale_fitness"
    return reference.diagnose(losses, losses, torch.nn.functional.one_hot(losses.argmin(1), 2).to(losses.dtype))


def worse_children_called_healthy(losses, used, chosen):
    """You passed over the children. Where not one of them is better than the elite beside it, the mutations are too large."""
    found = reference.diagnose(losses, used, chosen)
    return "healthy" if found == "sigma_too_large" else found


def sizes_reversed(losses, used, chosen):
    """You exchanged the two. Large mutations throw the children far from the elite's loss, small ones leave them at it."""
    found = reference.diagnose(losses, used, chosen)
    return {"sigma_too_large": "sigma_too_small", "sigma_too_small": "sigma_too_large"}.get(found, found)


def near_children_called_healthy(losses, used, chosen):
    """You took children for progress whose losses are within 1 % of the elite's. Mutations that small hardly search."""
    found = reference.diagnose(losses, used, chosen)
    return "healthy" if found == "sigma_too_small" else found


def diagnose_by_rows(losses, used, chosen):
    """Generation by generation, in plain Python."""
    if losses.tolist() != used.tolist():
        return "stale_fitness"
    rows = [([a for a, c in zip(*row, strict=True) if c], [a for a, c in zip(*row, strict=True) if not c])
            for row in zip(losses.tolist(), chosen.tolist(), strict=True)]
    if all(min(inside) > max(outside) for inside, outside in rows):
        return "worst_selected"
    if any(max(inside) > min(outside) for inside, outside in rows):
        return "no_selection"
    pairs = [(elite, child) for elite, *children in losses.tolist()[1:] for child in children]
    if all(abs(child - elite) <= 0.01 * elite for elite, child in pairs):
        return "sigma_too_small"
    return "sigma_too_large" if all(child >= elite for elite, child in pairs) else "healthy"


# -- the shelf -------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="evolution.es_gradient", title="A gradient from evaluations", points=2, section="Idea",
        reference=reference.es_gradient, inputs=_pairs(), returns=(),
        misconceptions=known("Idea", mirror_ignored, sigma_squared, sigma_forgotten, two_forgotten, summed, maximizing, added),
        alternatives=(estimate_by_all,)),
    Exercise(
        id="evolution.centered_ranks", title="Rank shaping", points=2, section="Idea",
        reference=reference.centered_ranks, inputs=_some_losses(), returns=(),
        misconceptions=known("Idea", ties_by_order, ties_to_the_lowest, not_centered, best_on_top, divided_by_count,
                             places_instead, scaled_losses),
        alternatives=(ranks_by_counting,)),
    Exercise(
        id="evolution.select", title="Selection after the batch has changed", points=1, section="How it fails",
        reference=reference.select, inputs=_two_batches(), returns=(),
        misconceptions=known("How it fails", stale, best_ever, both_batches, worst_chosen, worst_first, one_too_many),
        alternatives=(select_by_topk,)),
    Exercise(
        id="evolution.next_generation", title="One generation", points=2, section="Idea",
        reference=reference.next_generation, inputs=_generations(), returns=(),
        misconceptions=known("Idea", worst_bred, unselected, first_as_elite, elite_mutated, variance_for_deviation, multiplied,
                             best_alone),
        alternatives=(generation_by_topk,)),
    Exercise(
        id="evolution.diagnose", title="Diagnose an evolution", points=3, section="How it fails",
        reference=reference.diagnose, inputs=_logs(), returns=(),
        misconceptions=known("How it fails", used_believed, luck_alone, worst_called_random, one_bad_choice_called_worst,
                             choices_unchecked, worse_children_called_healthy, sizes_reversed, near_children_called_healthy),
        alternatives=(diagnose_by_rows,)),
)
