"""Exercises on dropout: both conventions, masks, Monte Carlo, and a layer to diagnose."""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, NONZERO, evenly, form, one_of, tensor
from labsupport.topics.dropout import reference
from labsupport.topics.dropout.experiments import LAYERS

_UNIFORM = (0.875, 0.125, 0.4375, 0.6875, 0.3125)  # exact in float32, so that an example is short
_RATES = (0.2, 0.25, 0.8, 0.75)
_KEEPS = (0.5, 0.8, 0.25, 1.0)


@st.composite
def _layer_inputs(draw):
    """Some uniform numbers are 0 or equal the rate: a unit is dropped below it, so these stay."""
    size, drop = form(draw), one_of(draw, 0.5, 0.2, 0.75, 0.25, 0.0)
    exact = (drop,) if drop != 0.2 else ()  # 0.2 is another number in float32 than in float64
    return {
        "h": tensor(draw, *size),
        "u": tensor(draw, *size, (*_UNIFORM, *exact, 0.0)),
        "drop": drop,
        "training": one_of(draw, True, True, False),
    }


@st.composite
def _linear_inputs(draw):
    batch, into, out, dtype = (
        one_of(draw, 1, 2),
        one_of(draw, 1, 2, 3),
        one_of(draw, 1, 2),
        one_of(draw, *DTYPES),
    )
    return {
        "weight": tensor(draw, (out, into), dtype),
        "bias": tensor(draw, (out,), dtype),
        "h": tensor(draw, (batch, into), dtype),
        "keep": one_of(draw, *_KEEPS),
    }


@st.composite
def _mask_inputs(draw):
    return {
        "mask": tensor(draw, *form(draw), (0.0, 1.0)),
        "keep": one_of(draw, 0.8, 0.5, 0.25, 1.0),
    }


@st.composite
def _pass_inputs(draw):
    """Draw passes, some of them certain and in agreement.

    Then the mean is 0 or 1, and 0 ln 0 has to be dealt with.
    """
    size, dtype = one_of(draw, 1, 2, 3), one_of(draw, *DTYPES)
    means, logits = one_of(
        draw,
        ((0.5, 0.25, 0.875, 0.0), (0.0, 1.0, -1.0, 3.0, -1000.0)),
        ((0.5, 0.25, 0.875, 1.0), (0.0, 1.0, -1.0, 3.0, 1000.0)),
        ((0.0,), (-1000.0,)),
        ((1.0,), (1000.0,)),
    )
    return {
        "mean": tensor(draw, (size,), dtype, means),
        "logit": tensor(draw, (size,), dtype, logits),
        "t": one_of(draw, 2, 3, 1, 10),
    }


# -- inverted_dropout ------------------------------------------------------------------------------


def scale_forgotten(h, u, *, drop, training):
    """You zeroed units and left the others as they are. Divide them by 1 - r, or the next layer
    gets too little.
    """
    return h * (u >= drop) if training else h


def scaled_down(h, u, *, drop, training):
    """You multiplied by 1 - r in training. What is left has to make up for what is gone: divide by
    1 - r.
    """
    return h * (u >= drop) * (1 - drop) if training else h


def divided_by_drop(h, u, *, drop, training):
    """You divided by r. The factor is one over the share of units that stay, 1/(1 - r)."""
    return h * (u >= drop) / drop if training else h


def drop_taken_for_keep(h, u, *, drop, training):
    """You took drop for the probability to keep a unit, as the lecture's p is. Here it is the
    probability to drop it.
    """
    return h * (u >= 1 - drop) / drop if training else h


def dropped_in_eval(h, u, *, drop, training):
    """You drop units at inference too. When training is False, the layer returns h as it is."""
    return h * (u >= drop) / (1 - drop)


def scaled_again_in_eval(h, u, *, drop, training):
    """You scaled twice: training already divides by 1 - r, so at inference nothing is left to
    do.
    """
    return h * (u >= drop) / (1 - drop) if training else (1 - drop) * h


def kept_from_below(h, u, *, drop, training):
    """You kept a unit where u < 1 - r. That is as likely, but other units go: here one is dropped
    where u < r.
    """
    return h * (u < 1 - drop) / (1 - drop) if training else h


def mask_reversed(h, u, *, drop, training):
    """You kept the units that should go. A unit is dropped where u < r and kept where u >= r."""
    return h * (u < drop) / (1 - drop) if training else h


def kept_strictly_above(h, u, *, drop, training):
    """You kept a unit where u > r. It is dropped where u < r, so one with u = r stays; at r = 0
    even u = 0 does.
    """
    return h * (u > drop) / (1 - drop) if training else h


def modes_exchanged(h, u, *, drop, training):
    """You exchanged the modes: units are dropped when training is True, and never when it is
    False.
    """
    return reference.inverted_dropout(h, u, drop=drop, training=not training)


def scaled_up_in_eval(h, u, *, drop, training):
    """You divided by 1 - r at inference as well. There all units are present: return h as it is."""
    return h * (u >= drop) / (1 - drop) if training else h / (1 - drop)


def scaled_by_the_share_kept(h, u, *, drop, training):
    """You divided by the share of units that this mask kept. Divide by 1 - r, the probability to
    keep one: it does not depend on the draw.
    """
    kept = (u >= drop).to(h.dtype)
    return h * kept / kept.mean() if training else h


def inverted_by_where(h, u, *, drop, training=True):
    """A choice between zero and the scaled activation."""
    return torch.where(u < drop, torch.zeros_like(h), h / (1 - drop)) if training else h.clone()


# -- lecture_linear --------------------------------------------------------------------------------


def unscaled(weight, bias, h, *, keep):
    """You used all units at full strength. In training only a share p of them was there: scale h by
    p.
    """
    return h @ weight.T + bias


def bias_scaled_too(weight, bias, h, *, keep):
    """You scaled the whole pre-activation. The bias was never dropped: scale h, or W, and leave b
    alone.
    """
    return keep * (h @ weight.T + bias)


def scaled_by_drop(weight, bias, h, *, keep):
    """You scaled by 1 - p. On the slide p is the probability to keep a unit, so the factor is p."""
    return (1 - keep) * h @ weight.T + bias


def scaled_up(weight, bias, h, *, keep):
    """You divided by p. That belongs to training in inverted dropout; at inference here you
    multiply by p.
    """
    return h / keep @ weight.T + bias


def scaled_by_root(weight, bias, h, *, keep):
    """You scaled by √p, which would suit a mean square. It is the mean that has to match: scale by
    p.
    """
    return keep**0.5 * h @ weight.T + bias


def bias_forgotten(weight, bias, h, *, keep):
    """You left out the bias. The layer is W(p h) + b."""
    return keep * h @ weight.T


def scaled_twice(weight, bias, h, *, keep):
    """You scaled both h and W by p. Once is enough: p²Wh is too little."""
    return keep**2 * h @ weight.T + bias


def bias_scaled_alone(weight, bias, h, *, keep):
    """You scaled the bias and left the sum as it is. It is the other way round: scale h, or W."""
    return h @ weight.T + keep * bias


def linear_by_weights(weight, bias, h, *, keep):
    """The scale on the weights, as the paper has it."""
    return F.linear(h, keep * weight, bias)


# -- mask_probability ------------------------------------------------------------------------------


def all_masks_alike(mask, *, keep):
    """You gave every mask the probability 1/2ⁿ. That is right for p = 1/2 alone."""
    return mask.new_full(mask.shape[:-1], 0.5 ** mask.shape[-1])


def mask_swapped(mask, *, keep):
    """You exchanged p and 1 - p. A kept unit (1 in the mask) has the probability p."""
    return (mask * (1 - keep) + (1 - mask) * keep).prod(-1)


def dropped_ignored(mask, *, keep):
    """You counted only the units that stay. Each dropped one is an event as well, with the factor 1
    - p.
    """
    return torch.as_tensor(keep, dtype=mask.dtype) ** mask.sum(-1)


def logarithm_returned(mask, *, keep):
    """You returned the logarithm of the probability. The probability itself is asked for."""
    return reference.mask_probability(mask, keep=keep).log()


def kept_ignored(mask, *, keep):
    """You counted only the units that go. Each kept one is an event as well, with the factor p."""
    return torch.as_tensor(1 - keep, dtype=mask.dtype) ** (1 - mask).sum(-1)


def factors_added(mask, *, keep):
    """You added the probabilities of the units. All of it has to happen at once: multiply them."""
    return (mask * keep + (1 - mask) * (1 - keep)).sum(-1)


def factors_averaged(mask, *, keep):
    """You averaged the probabilities of the units. All of it has to happen at once: multiply
    them.
    """
    return (mask * keep + (1 - mask) * (1 - keep)).mean(-1)


def logarithms_added(mask, *, keep):
    """You added m ln p and (1 - m) ln(1 - p). At p = 1 that has 0 · ln 0, which is NaN: multiply
    the probabilities.
    """
    p = torch.as_tensor(keep, dtype=mask.dtype)
    return (mask * p.log() + (1 - mask) * (1 - p).log()).sum(-1).exp()


def probability_by_powers(mask, *, keep):
    """Powers of p and 1 - p."""
    kept = mask.sum(-1)
    one = torch.ones((), dtype=mask.dtype)
    return (keep * one) ** kept * ((1 - keep) * one) ** (mask.shape[-1] - kept)


# -- mc_update -------------------------------------------------------------------------------------


def _entropy(mean):
    return torch.special.entr(mean) + torch.special.entr(1 - mean)


def logits_averaged(mean, logit, t):
    """You averaged logits and then took the logistic function. Average the probabilities
    themselves.
    """
    old = mean.logit()
    new = (old + (logit - old) / t).sigmoid()
    return new, _entropy(new)


def logit_left_raw(mean, logit, t):
    """You averaged the logit with the probabilities. Turn it into a probability first."""
    new = mean + (logit - mean) / t
    return new, -new * new.log() - (1 - new) * (1 - new).log()


def halves(mean, logit, t):
    """You took half of the old mean and half of the new pass. Pass t weighs 1/t, all before it (t -
    1)/t.
    """
    new = (mean + logit.sigmoid()) / 2
    return new, _entropy(new)


def passes_counted_from_zero(mean, logit, t):
    """You divided by t + 1. Passes are counted from 1: the first one replaces the mean."""
    new = mean + (logit.sigmoid() - mean) / (t + 1)
    return new, _entropy(new)


def entropy_of_the_pass(mean, logit, t):
    """You took the entropy of this pass alone. How uncertain the passes are together is in the
    mean: take the entropy of the new mean.
    """
    return reference.mc_update(mean, logit, t)[0], _entropy(logit.sigmoid())


def entropy_of_the_old_mean(mean, logit, t):
    """You took the entropy of the mean before this pass. Update first, then take the entropy of the
    new mean.
    """
    return reference.mc_update(mean, logit, t)[0], _entropy(mean)


def never_divided(mean, logit, t):
    """You added the whole difference, so the mean is just this pass. Divide the difference by t."""
    new = mean + (logit.sigmoid() - mean)
    return new, _entropy(new)


def sum_kept(mean, logit, t):
    """You added this pass to the mean and divided by t. The mean stands for t - 1 passes: weigh it
    by t - 1 first.
    """
    new = (mean + logit.sigmoid()) / t
    return new, _entropy(new)


def one_class_only(mean, logit, t):
    """You summed over one class. There are two: the other has the probability 1 minus the mean."""
    new, _ = reference.mc_update(mean, logit, t)
    return new, torch.special.entr(new)


def entropy_in_bits(mean, logit, t):
    """You took logarithms to base 2. The entropy is asked for in nats, with natural logarithms."""
    new, entropy = reference.mc_update(mean, logit, t)
    return new, entropy / torch.log(torch.tensor(2.0, dtype=mean.dtype))


def entropy_negative(mean, logit, t):
    """You left out the minus sign. An entropy is never negative."""
    new, entropy = reference.mc_update(mean, logit, t)
    return new, -entropy


def nought_times_infinity(mean, logit, t):
    """You computed 0 · ln 0, which is NaN in floating point. Its limit is 0: torch.special.entr
    knows that.
    """
    new, _ = reference.mc_update(mean, logit, t)
    return new, -new * new.log() - (1 - new) * (1 - new).log()


def probability_clamped(mean, logit, t):
    """You kept the mean away from 0 and 1 before the logarithm. Then a certain answer has an
    entropy above 0: use torch.special.entr.
    """
    new, _ = reference.mc_update(mean, logit, t)
    return new, _entropy(new.clamp(1e-6, 1 - 1e-6))


def exponential_overflows(mean, logit, t):
    """You wrote exp(z)/(1 + exp(z)). At z = 1000 that is ∞/∞, which is NaN: torch.sigmoid takes
    care of it.
    """
    new = mean + (logit.exp() / (1 + logit.exp()) - mean) / t
    return new, _entropy(new)


def update_by_shares(mean, logit, t):
    """The mean as a weighted sum, the entropy as a cross-entropy with itself."""
    new = ((t - 1) * mean + logit.sigmoid()) / t
    return new, F.binary_cross_entropy(new, new, reduction="none")


# -- diagnose --------------------------------------------------------------------------------------


_CASES = (
    ("one_mask", ""),
    ("inverted", "lost in part"),
    ("one_mask", ""),
    ("inverted", "lost once"),
    ("eval_drops", ""),
    ("scaled_twice", ""),
    ("inverted", ""),
    ("swapped", ""),
    ("lecture", ""),
    ("scale_missing", ""),
)
"""A layer of LAYERS, and what is special about its log."""


@st.composite
def _logs(draw):
    """Draw a log that only one implementation leaves, with some unit let through in training.

    The first unit of the first sample is kept by every layer in training, and dropped by one that
    drops in evaluation.
    """
    name, special = evenly(draw, *_CASES)
    drop = one_of(draw, *_RATES)
    shapes = ((1, 1), (1, 2), (2, 2), (3, 2))
    if name == "one_mask" or special == "lost in part":
        shapes = shapes[2:]
    shape = one_of(draw, *shapes) if special != "lost once" else (1, 2)
    pairs = st.tuples(st.sampled_from((*NONZERO, 0.0)), st.sampled_from(_UNIFORM))
    drawn = torch.tensor(
        draw(st.lists(pairs, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    )
    h, u = drawn.double().reshape(*shape, 2).unbind(-1)
    h[0, 0], u[0, 0] = h[0, 0] or 1.0, max(_UNIFORM)
    if name == "one_mask":
        h[:2, 1], u[0, 1] = h[0, 0], min(_UNIFORM)
    if special:  # what looks like one mask for all: a unit that is lost wherever it is alive ...
        h[:, 1], u[:, 1] = h[0, 0], min(_UNIFORM)
    if special == "lost in part":  # ... while another is lost for one sample alone
        h[:, 0], u[1, 0] = h[0, 0], min(_UNIFORM)
    other = u.flip(0, 1)
    other[0, 0] = min(_UNIFORM)
    trained, evaluated = LAYERS[name](h, u, drop, True), LAYERS[name](h, other, drop, False)
    assume(reference.diagnose(h, trained, evaluated, drop) == name)
    return {"h": h.contiguous(), "trained": trained, "evaluated": evaluated.clone(), "drop": drop}


def evaluation_alone(h, trained, evaluated, drop):
    """You looked at evaluation alone. Training has a factor of its own: compare the kept units with
    h.
    """
    if bool((evaluated[h != 0] == 0).any()):
        return "eval_drops"
    return "inverted" if abs(reference.factor(h, evaluated) - 1) < 1e-6 else "lecture"


def training_alone(h, trained, evaluated, drop):
    """You looked at training alone. What evaluation does with h decides between a convention and a
    fault.
    """
    name = reference.nearest(reference.factor(h, trained), 1.0, reference.factors(drop))
    return "one_mask" if name == "inverted" and reference.one_mask(h, trained) else name


def lecture_called_a_fault(h, trained, evaluated, drop):
    """You called the lecture's form a fault. Unscaled training is right if evaluation multiplies by
    1 - r.
    """
    found = reference.diagnose(h, trained, evaluated, drop)
    return "scale_missing" if found == "lecture" else found


def scaled_twice_called_lecture(h, trained, evaluated, drop):
    """You saw that evaluation scales and said lecture. There training does not scale; here both
    do.
    """
    found = reference.diagnose(h, trained, evaluated, drop)
    return "lecture" if found == "scaled_twice" else found


def rate_taken_for_keep(h, trained, evaluated, drop):
    """You took drop for the probability to keep. A healthy layer scales by 1/(1 - r), a swapped one
    by 1/r.
    """
    found = reference.diagnose(h, trained, evaluated, drop)
    return {"inverted": "swapped", "swapped": "inverted", "one_mask": "swapped"}.get(found, found)


def zeros_counted(h, trained, evaluated, drop):
    """You judged by how many units were zero. In a small log chance decides that; the factor of the
    others tells.
    """
    found = reference.diagnose(h, trained, evaluated, drop)
    share = float((trained == 0).double().mean())
    if found in ("inverted", "swapped"):
        return "swapped" if abs(share - drop) > abs(share - (1 - drop)) else "inverted"
    return found


def zeros_of_evaluation_passed_over(h, trained, evaluated, drop):
    """You did not look for zeros in evaluation. A unit that went in alive must not come out as 0
    there.
    """
    name = reference.nearest(
        reference.factor(h, trained), reference.factor(h, evaluated), reference.factors(drop)
    )
    return "one_mask" if name == "inverted" and reference.one_mask(h, trained) else name


def any_shared_loss_called_one_mask(h, trained, evaluated, drop):
    """You called it one mask because some unit is lost for every sample. In a small log chance does
    that: no unit may be lost for one sample and kept for another.
    """
    found, alive = reference.diagnose(h, trained, evaluated, drop), h != 0
    lost = ((trained == 0) == alive).all(0) & (alive.sum(0) > 1)
    return "one_mask" if found == "inverted" and bool(lost.any()) else found


def single_loss_called_one_mask(h, trained, evaluated, drop):
    """You called it one mask although no unit is lost for two samples. One sample cannot show that
    a mask is shared.
    """
    found, alive = reference.diagnose(h, trained, evaluated, drop), h != 0
    gone = alive & (trained == 0)
    lost = (gone == alive).all(0) & alive.any(0)
    mixed = bool((gone.any(0) & ~lost).any())
    return "one_mask" if found == "inverted" and bool(lost.any()) and not mixed else found


def diagnose_by_trial(h, trained, evaluated, drop):
    """Rebuild each suspect's outputs from the zeros in the log and see which one fits."""
    alive, kept = h != 0, (trained != 0).to(h.dtype)
    if ((evaluated == 0) & alive).any():
        return "eval_drops"
    fates = [set(column[ok].tolist()) for column, ok in zip(kept.T, alive.T, strict=True)]
    shared = all(len(fate) < 2 for fate in fates) and any(
        fate == {0.0} and ok.sum() > 1 for fate, ok in zip(fates, alive.T, strict=True)
    )
    for name, (s, e) in reference.factors(drop).items():
        if torch.allclose(s * kept * h, trained) and torch.allclose(e * h, evaluated):
            return "one_mask" if name == "inverted" and shared else name


# -- the shelf -------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="dropout.inverted_dropout",
        title="Inverted dropout",
        points=2,
        section="Idea",
        reference=reference.inverted_dropout,
        inputs=_layer_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            scale_forgotten,
            scaled_down,
            divided_by_drop,
            drop_taken_for_keep,
            dropped_in_eval,
            scaled_again_in_eval,
            kept_from_below,
            kept_strictly_above,
            mask_reversed,
            modes_exchanged,
            scaled_up_in_eval,
            scaled_by_the_share_kept,
        ),
        alternatives=(inverted_by_where,),
    ),
    Exercise(
        id="dropout.lecture_linear",
        title="Inference in the lecture's convention",
        points=2,
        section="Idea",
        reference=reference.lecture_linear,
        inputs=_linear_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            unscaled,
            bias_scaled_too,
            scaled_by_drop,
            scaled_up,
            scaled_by_root,
            scaled_twice,
            bias_forgotten,
            bias_scaled_alone,
        ),
        alternatives=(linear_by_weights,),
    ),
    Exercise(
        id="dropout.mask_probability",
        title="How likely is a mask?",
        points=1,
        section="Idea",
        reference=reference.mask_probability,
        inputs=_mask_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            all_masks_alike,
            mask_swapped,
            dropped_ignored,
            kept_ignored,
            factors_added,
            factors_averaged,
            logarithm_returned,
            logarithms_added,
        ),
        alternatives=(probability_by_powers,),
    ),
    Exercise(
        id="dropout.mc_update",
        title="Monte-Carlo dropout, pass by pass",
        points=3,
        section="Idea",
        reference=reference.mc_update,
        inputs=_pass_inputs(),
        returns=("mean", "entropy"),
        misconceptions=known(
            "Idea",
            logits_averaged,
            logit_left_raw,
            halves,
            passes_counted_from_zero,
            never_divided,
            sum_kept,
            entropy_of_the_pass,
            entropy_of_the_old_mean,
            one_class_only,
            entropy_in_bits,
            entropy_negative,
            nought_times_infinity,
            probability_clamped,
            exponential_overflows,
        ),
        alternatives=(update_by_shares,),
    ),
    Exercise(
        id="dropout.diagnose",
        title="Diagnose a dropout layer",
        points=3,
        section="How it fails",
        reference=reference.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "How it fails",
            evaluation_alone,
            training_alone,
            lecture_called_a_fault,
            scaled_twice_called_lecture,
            rate_taken_for_keep,
            zeros_counted,
            zeros_of_evaluation_passed_over,
            any_shared_loss_called_one_mask,
            single_loss_called_one_mask,
        ),
        alternatives=(diagnose_by_trial,),
    ),
)
