"""Exercises on interactions: effects, stacking, aliases, many tests, two tricks to diagnose."""

import torch
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, one_of, tensor
from labsupport.topics.interactions import reference

_HEIGHTS = (40.0, 42.0, 45.0, 48.0, 51.0)
_P = (0.01, 0.03, 0.02, 0.04, 0.2, 0.5, 0.0, 1.0)
_CLEAR = reference.CLEAR


@st.composite
def _cell_means(draw):
    return {"means": tensor(draw, (2, 2), one_of(draw, *DTYPES), _HEIGHTS)}


@st.composite
def _gains(draw):
    """In float32: torch.sqrt(torch.tensor(n)) is a float32 number, and right."""
    k, n = one_of(draw, (2, 2), (1, 2), (1, 3), (1, 4))
    return {
        name: tensor(draw, shape, torch.float32, _HEIGHTS)
        for name, shape in (("base", (n,)), ("singles", (k, n)), ("together", (n,)))
    }


@st.composite
def _effect_words(draw):
    k = one_of(draw, 4, 3, 2)
    return {
        "word": tensor(draw, (k,), torch.int64, (1, 0)),
        "generator": tensor(draw, (k,), torch.int64, (1, 0)),
    }


@st.composite
def _p_values(draw):
    return {"p": tensor(draw, (one_of(draw, 2, 3, 4, 1),), one_of(draw, *DTYPES), _P)}


_CASES = (
    (5.0, 5.0, 2.75),
    (5.0, 8.0, 3.0),
    (-1.0, 5.0, 4.75),
    (5.0, 6.0, -12.5),
    (8.0, 8.0, 4.75),
    (5.0, 5.0, 1.25),
    (-1.0, -3.0, -3.25),
    (5.0, 6.0, -7.5),
    (8.0, 5.0, 12.5),
    (5.0, 8.0, -3.25),
    (8.0, 6.0, 1.25),
)
"""The gains of A and of B, and what both lose to the better one, in standard errors: on both sides
of each threshold, near it but off it.
"""


def _two_tricks():
    """Means of two tricks: every case, with A and B exchanged as well, at two standard errors."""
    cases = [
        (error, *gains, loss)
        for a, b, loss in _CASES
        for gains in dict.fromkeys(((a, b), (b, a)))
        for error in (1.0, 2.0)
    ]
    return st.sampled_from([_means(k, *case) for k, case in enumerate(cases)])


def _means(k, error, a, b, loss):
    base = (40.0, 50.0)[k // 2 % 2]
    means = [[base, base + b], [base + a, base + max(a, b) - error * loss]]
    return {"means": torch.tensor(means, dtype=DTYPES[k // 3 % 2]), "error": error}


def one_at_a_time(means):
    """You compared each factor with the cell where both are off. A main effect averages over the
    other factor, off and on.
    """
    return means[1, 0] - means[0, 0], means[0, 1] - means[0, 0]


def other_factor_on(means):
    """You looked at each factor only where the other is on. A main effect averages over both levels
    of the other.
    """
    return means[1, 1] - means[0, 1], means[1, 1] - means[1, 0]


def off_minus_on(means):
    """You subtracted on from off. An effect is on minus off, so that a gain is positive."""
    return tuple(-effect for effect in reference.main_effects(means))


def second_sign_swapped(means):
    """You subtracted the second effect the other way round. Both are on minus off: the column of B
    on minus that of B off.
    """
    a, b = reference.main_effects(means)
    return a, -b


def one_after_the_other(means):
    """You switched A on first, and B on top of it. A main effect averages over the other factor,
    off and on.
    """
    return means[1, 0] - means[0, 0], means[1, 1] - means[1, 0]


def summed(means):
    """You added a factor's two differences, with the other off and with it on. The main effect is
    their mean.
    """
    return tuple(2 * effect for effect in reference.main_effects(means))


def coefficients(means):
    """You returned half of each effect: the coefficient of a ±1 regression, or how far "on" is from
    the mean of all. Take on minus off.
    """
    return tuple(effect / 2 for effect in reference.main_effects(means))


def factors_exchanged(means):
    """You exchanged the factors. A's levels are the rows, B's the columns, and A comes first."""
    return reference.main_effects(means)[::-1]


def effects_by_means(means):
    """Differences of row means and of column means."""
    rows, columns = means.mean(1), means.mean(0)
    return rows[1] - rows[0], columns[1] - columns[0]


def whole_difference(means):
    """You returned the whole difference of the differences. By the convention of this book the
    interaction is half of it.
    """
    return 2 * reference.interaction(means)


def coefficient_of_the_product(means):
    """You returned the coefficient, a quarter of the contrast. The effect is twice that, as for a
    main effect.
    """
    return reference.interaction(means) / 2


def whole_gain(means):
    """You took what both gain together. Subtract what each gains alone, and halve what is left."""
    return (means[1, 1] - means[0, 0]) / 2


def main_effects_multiplied(means):
    """You multiplied the main effects. The product is of the codes ±1; their effect comes from the
    four cells, and may be zero.
    """
    a, b = reference.main_effects(means)
    return a * b


def main_effects_subtracted(means):
    """You subtracted the main effects from what both gain. They add up to that whatever the cells
    are; subtract the gains alone.
    """
    return means[1, 1] - means[0, 0] - sum(reference.main_effects(means))


def without_minus_with(means):
    """You subtracted in the wrong order: A's effect with B minus A's effect without B is positive
    when they help each other.
    """
    return -reference.interaction(means)


def against_better_single(means):
    """You compared both together with the better one alone. That is a choice to make, but no
    interaction: expect the sum of gains.
    """
    return means[1, 1] - torch.maximum(means[0, 1], means[1, 0])


def averaged_over_b(means):
    """You averaged A's two effects: that is its main effect. The interaction is in their
    difference.
    """
    return reference.main_effects(means)[0]


def interaction_by_diagonals(means):
    """The mean of one diagonal minus that of the other."""
    return means.diagonal().mean() - means.flip(1).diagonal().mean()


def _over_seeds(gap):
    return gap.mean(), gap.std() / len(gap) ** 0.5


def accuracies_added(base, singles, together):
    """You subtracted accuracies, not gains. Take the base off each single trick, and off all
    together.
    """
    return _over_seeds(together - singles.sum(0))


def against_best_single_trick(base, singles, together):
    """You compared with the best single trick. The question is whether gains add: subtract the sum
    of all of them.
    """
    return _over_seeds(together - singles.max(0).values)


def gains_averaged(base, singles, together):
    """You averaged the single gains. If tricks add up, all together gain their sum."""
    return _over_seeds((together - base) - (singles - base).mean(0))


def sum_minus_together(base, singles, together):
    """You subtracted in the wrong order. What all gain together comes first: less than the sum is
    negative.
    """
    gap, error = reference.stacking_gap(base, singles, together)
    return -gap, error


def seeds_added(base, singles, together):
    """You added the gains along the seeds. Axis 0 of singles is the tricks: add along that, one sum
    a seed.
    """
    return _over_seeds((together - base) - (singles - base).sum(1))


def spread_not_error(base, singles, together):
    """You returned the standard deviation over seeds. The error of their mean is smaller, by √n."""
    gap, error = reference.stacking_gap(base, singles, together)
    return gap, error * len(base) ** 0.5


def divided_twice(base, singles, together):
    """You divided the standard deviation over seeds by n. The error of a mean is the standard
    deviation over √n.
    """
    gap, error = reference.stacking_gap(base, singles, together)
    return gap, error / len(base) ** 0.5


def divided_by_n(base, singles, together):
    """You divided the squares by n. The mean was taken from the same seeds, so a standard deviation
    here divides by n - 1.
    """
    gap, error = reference.stacking_gap(base, singles, together)
    return gap, error * (1 - 1 / len(base)) ** 0.5


def unpaired(base, singles, together):
    """You added variances as if arms were independent. They share seeds: take the gap seed by seed,
    then its standard error.
    """
    spread = together.var() + singles.var(1).sum() + (len(singles) - 1) ** 2 * base.var()
    return reference.stacking_gap(base, singles, together)[0], (spread / len(base)).sqrt()


def unpaired_base_once(base, singles, together):
    """You added the variances of all arms. They share seeds, and the base is in the gap k - 1
    times: take the gap seed by seed, then its standard error.
    """
    spread = together.var() + singles.var(1).sum() + base.var()
    return reference.stacking_gap(base, singles, together)[0], (spread / len(base)).sqrt()


def gains_taken_as_independent(base, singles, together):
    """You added the variances of the gains as if they were independent. All have the same base and
    the
    same seeds: take the gap seed by seed, then its standard error.
    """
    spread = (together - base).var() + (singles - base).var(1).sum()
    return reference.stacking_gap(base, singles, together)[0], (spread / len(base)).sqrt()


def gap_in_one_line(base, singles, together):
    """All minus the singles, with the base put back k - 1 times."""
    gap = together - singles.sum(0) + (len(singles) - 1) * base
    return gap.mean(), (gap.var() / len(gap)).sqrt()


def united(word, generator):
    """You kept every factor that is in either. A factor in both is squared, and (±1)² = 1 takes it
    out.
    """
    return word | generator


def intersected(word, generator):
    """You kept what both have in common. Just that goes: a squared sign is 1. What is in one of
    them alone stays.
    """
    return word & generator


def squares_left(word, generator):
    """You left a 2 where a factor is in both. A squared sign is 1, so count modulo 2."""
    return word + generator


def subtracted(word, generator):
    """You subtracted, which leaves a -1 or loses it. In one of the two, not in both: add, and count
    modulo 2.
    """
    return word - generator


def complement_taken(word, generator):
    """You took all the factors that are not in the word. That is right for a generator with every
    factor in it, and no other.
    """
    return 1 - word


def outside_dropped(word, generator):
    """You dropped the word's own factors that the generator lacks. Nothing cancels them: they
    stay.
    """
    return generator * (1 - word)


def alias_by_inequality(word, generator):
    """In one of the two, not in both."""
    return (word != generator).to(word.dtype)


def _stepped(p, factors, *, running=True, most=1.0):
    order = p.argsort()
    steps = torch.as_tensor(factors, dtype=p.dtype) * p[order]
    steps = steps.cummax(0).values if running else steps
    return torch.empty_like(p).index_copy(0, order, steps.clamp(max=most))


def bonferroni(p):
    """You multiplied every p-value by m. That is Bonferroni: safe, but only the smallest has to
    stand m tests; the next, m - 1.
    """
    return (len(p) * p).clamp(max=1)


def sidak(p):
    """You corrected every p-value by Šidák, 1 - (1 - p)^m, which needs independent tests. Holm
    multiplies, and the next smallest only by m - 1.
    """
    return 1 - (1 - p) ** len(p)


def sidak_steps(p):
    """You took Šidák's 1 - (1 - p)^k in the place of Holm's k p. It needs independent tests; Holm's
    product needs nothing.
    """
    order = p.argsort()
    steps = 1 - (1 - p[order]) ** torch.arange(len(p), 0, -1, dtype=p.dtype)
    return torch.empty_like(p).index_copy(0, order, steps.cummax(0).values)


def factors_from_below(p):
    """You gave the largest p-value the factor m. The smallest has to stand all m tests, so the
    smallest gets it.
    """
    return _stepped(p, range(1, len(p) + 1))


def one_too_few(p):
    """You began with m - 1. The smallest of m p-values is multiplied by m itself."""
    return _stepped(p, range(len(p) - 1, -1, -1))


def may_fall(p):
    """You let a larger p-value end below a smaller one. Take the running maximum, from the smallest
    up.
    """
    return _stepped(p, range(len(p), 0, -1), running=False)


def above_one(p):
    """You returned something above 1. An adjusted p-value is a probability: cut it off at 1."""
    return _stepped(p, range(len(p), 0, -1), most=float("inf"))


def left_sorted(p):
    """You returned the values in sorted order. Put each back where its p-value stood."""
    return reference.holm(p).sort().values


def read_for_written(p):
    """You sorted the sorted values once more: values[order] reads. Write them back with
    adjusted[order] = values.
    """
    return reference.holm(p).sort().values[p.argsort()]


def never_sorted(p):
    """You gave out the factors in the order of the list. The smallest p-value gets m wherever it
    stands: sort first.
    """
    return (torch.arange(len(p), 0, -1, dtype=p.dtype) * p).cummax(0).values.clamp(max=1)


def false_discoveries(p):
    """You corrected by Benjamini and Hochberg: that bounds the share of false alarms among those
    found, not the chance of any.
    """
    down, m = p.argsort(descending=True), len(p)
    steps = m / torch.arange(m, 0, -1, dtype=p.dtype) * p[down]
    return torch.empty_like(p).index_copy(0, down, steps.cummin(0).values.clamp(max=1))


def from_the_top(p):
    """You took a running minimum from the largest down. That is Hochberg's procedure, which needs
    more than Holm's promises.
    """
    steps = torch.arange(1, len(p) + 1, dtype=p.dtype) * p.sort(descending=True).values
    return torch.empty_like(p).index_copy(
        0, p.argsort(descending=True), steps.cummin(0).values.clamp(max=1)
    )


def holm_by_loop(p):
    """One p-value after the other, with the largest so far."""
    answer, highest = torch.zeros_like(p), 0.0
    for done, i in enumerate(p.argsort().tolist()):
        highest = max(highest, (len(p) - done) * p[i].item())
        answer[i] = min(1.0, highest)
    return answer


def _named(found, lost, clear, clear_loss):
    if abs(found) <= clear:
        return "unclear"
    return "synergy" if found > 0 else "antagonism" if lost > clear_loss else "redundancy"


def _lost(means):
    return max(means[1, 0].item(), means[0, 1].item()) - means[1, 1].item()


def noise_ignored(means, error):
    """You took every difference at its word. Within two standard errors of 0 the cells cannot tell:
    say "unclear".
    """
    return _named(reference.interaction(means).item(), _lost(means), 0.0, 0.0)


def whole_difference_judged(means, error):
    """You called it clear too early. The whole difference of differences errs by twice the error of
    a cell, and half of it by one.
    """
    return _named(
        2 * reference.interaction(means).item(),
        _lost(means),
        _CLEAR * error,
        _CLEAR * 2**0.5 * error,
    )


def better_called_synergy(means, error):
    """You called it synergy when both together beat each alone. Tricks that simply add do that too:
    look at the interaction.
    """
    return (
        "synergy" if _lost(means) < -_CLEAR * 2**0.5 * error else reference.diagnose(means, error)
    )


def loss_at_two_errors(means, error):
    """You held the loss against two errors of a cell. It is a difference of two cells, and errs by
    √2 of that.
    """
    return _named(reference.interaction(means).item(), _lost(means), _CLEAR * error, _CLEAR * error)


def below_base(means, error):
    """You called it antagonism only when both are worse than none. Worse than the better one alone
    is enough.
    """
    lost = means[0, 0].item() - means[1, 1].item()
    return _named(
        reference.interaction(means).item(), lost, _CLEAR * error, _CLEAR * 2**0.5 * error
    )


def compared_with_a_alone(means, error):
    """You compared both together with A alone. Either may be the better one: compare with the
    larger.
    """
    lost = (means[1, 0] - means[1, 1]).item()
    return _named(
        reference.interaction(means).item(), lost, _CLEAR * error, _CLEAR * 2**0.5 * error
    )


def every_minus_antagonism(means, error):
    """You called every negative interaction antagonism. Gains may overlap and both still be as good
    as one: redundancy.
    """
    found = reference.diagnose(means, error)
    return "antagonism" if found == "redundancy" else found


def every_minus_redundancy(means, error):
    """You called every negative interaction redundancy. Look whether the second trick costs
    something: both against the better one.
    """
    found = reference.diagnose(means, error)
    return "redundancy" if found == "antagonism" else found


def diagnose_by_effects(means, error):
    """The same, from the simple effects."""
    with_b, without = means[1, 1] - means[0, 1], means[1, 0] - means[0, 0]
    if abs(bent := (with_b - without).item()) <= 4 * error:
        return "unclear"
    worse = min(with_b.item(), (means[1, 1] - means[1, 0]).item()) < -(8**0.5) * error
    return "synergy" if bent > 0 else "antagonism" if worse else "redundancy"


EXERCISES = (
    Exercise(
        id="interactions.main_effects",
        title="Two main effects",
        points=1,
        section="Idea",
        reference=reference.main_effects,
        inputs=_cell_means(),
        returns=("A", "B"),
        alternatives=(effects_by_means,),
        misconceptions=known(
            "Idea",
            one_at_a_time,
            other_factor_on,
            one_after_the_other,
            summed,
            coefficients,
            off_minus_on,
            second_sign_swapped,
            factors_exchanged,
        ),
    ),
    Exercise(
        id="interactions.interaction",
        title="An interaction from four cells",
        points=2,
        section="Idea",
        reference=reference.interaction,
        inputs=_cell_means(),
        alternatives=(interaction_by_diagonals,),
        misconceptions=known(
            "Idea",
            whole_difference,
            coefficient_of_the_product,
            whole_gain,
            main_effects_multiplied,
            main_effects_subtracted,
            without_minus_with,
            against_better_single,
            averaged_over_b,
        ),
    ),
    Exercise(
        id="interactions.stacking_gap",
        title="Do gains add?",
        points=3,
        section="Idea",
        reference=reference.stacking_gap,
        inputs=_gains(),
        returns=("gap", "error"),
        alternatives=(gap_in_one_line,),
        misconceptions=known(
            "Idea",
            accuracies_added,
            gains_averaged,
            sum_minus_together,
            against_best_single_trick,
            seeds_added,
            spread_not_error,
            divided_twice,
            divided_by_n,
            unpaired,
            unpaired_base_once,
            gains_taken_as_independent,
        ),
    ),
    Exercise(
        id="interactions.alias",
        title="What half a factorial confounds",
        points=2,
        section="Idea",
        reference=reference.alias,
        inputs=_effect_words(),
        alternatives=(alias_by_inequality,),
        misconceptions=known(
            "Idea",
            united,
            intersected,
            squares_left,
            subtracted,
            complement_taken,
            outside_dropped,
        ),
    ),
    Exercise(
        id="interactions.holm",
        title="Many tests at once",
        points=3,
        section="How it fails",
        reference=reference.holm,
        inputs=_p_values(),
        alternatives=(holm_by_loop,),
        misconceptions=known(
            "How it fails",
            bonferroni,
            sidak,
            sidak_steps,
            factors_from_below,
            one_too_few,
            may_fall,
            above_one,
            left_sorted,
            read_for_written,
            never_sorted,
            false_discoveries,
            from_the_top,
        ),
    ),
    Exercise(
        id="interactions.diagnose",
        title="Diagnose two tricks",
        points=3,
        section="How it fails",
        reference=reference.diagnose,
        inputs=_two_tricks(),
        alternatives=(diagnose_by_effects,),
        misconceptions=known(
            "How it fails",
            noise_ignored,
            whole_difference_judged,
            loss_at_two_errors,
            better_called_synergy,
            below_base,
            compared_with_a_alone,
            every_minus_antagonism,
            every_minus_redundancy,
        ),
    ),
)
