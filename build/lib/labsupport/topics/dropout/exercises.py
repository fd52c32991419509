"""The exercises of the chapter on dropout: both conventions, masks, Monte Carlo, and a sick layer
to diagnose.
"""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, NONZERO, form, one_of, tensor
from labsupport.topics.dropout import reference
from labsupport.topics.dropout.figures import LAYERS

_UNIFORM = (0.875, 0.125, 0.4375, 0.6875, 0.3125)  # exact in float32, so that an example is short
_RATES = (0.2, 0.25, 0.8, 0.75)
_KEEPS = (0.5, 0.8, 0.25, 1.0)


@st.composite
def _layer_inputs(draw):
    """No uniform number equals a rate, so it does not matter on which side equality falls."""
    size = form(draw)
    return {
        "h": tensor(draw, *size),
        "u": tensor(draw, *size, _UNIFORM),
        "drop": one_of(draw, 0.5, 0.2, 0.75, 0.25, 0.0),
        "training": one_of(draw, True, False),
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
    """Some passes are certain, and agree: then the mean is 0 and 0 ln 0 has to be dealt with."""
    size, dtype = one_of(draw, 1, 2, 3), one_of(draw, *DTYPES)
    certain = one_of(draw, False, True, False, False)
    return {
        "mean": tensor(draw, (size,), dtype, (0.0,) if certain else (0.5, 0.25, 0.875, 0.0)),
        "logit": tensor(
            draw, (size,), dtype, (-1000.0,) if certain else (0.0, 1.0, -1.0, 3.0, -1000.0)
        ),
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
    """You took the entropy of this pass alone. The doubt is in the mean: take the entropy of the
    new mean.
    """
    return reference.mc_update(mean, logit, t)[0], _entropy(logit.sigmoid())


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


def update_by_shares(mean, logit, t):
    """The mean as a weighted sum, the entropy as a cross-entropy with itself."""
    new = ((t - 1) * mean + logit.sigmoid()) / t
    return new, F.binary_cross_entropy(new, new, reduction="none")


# -- diagnose --------------------------------------------------------------------------------------


@st.composite
def _logs(draw):
    """A log that tells: some unit is let through in training, and no other implementation leaves
    the same one.

    The first unit of the first sample is kept by every layer in training, and dropped by one that
    drops in evaluation.
    """
    drop, name = one_of(draw, *_RATES), one_of(draw, *LAYERS, "one_mask", "swapped", "lecture")
    shape = (
        one_of(draw, (1, 1), (1, 2), (2, 2), (3, 2))
        if name != "one_mask"
        else one_of(draw, (2, 2), (3, 2))
    )
    pairs = st.tuples(st.sampled_from((*NONZERO, 0.0)), st.sampled_from(_UNIFORM))
    drawn = torch.tensor(
        draw(st.lists(pairs, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    )
    h, u = drawn.double().reshape(*shape, 2).unbind(-1)
    h[0, 0], u[0, 0] = h[0, 0] or 1.0, max(_UNIFORM)
    if name == "one_mask":
        h[:2, 1], u[0, 1] = h[0, 0], min(_UNIFORM)
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


def diagnose_by_trial(h, trained, evaluated, drop):
    """Rebuild what each suspect would have put out from the zeros in the log, and see which one
    fits.
    """
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
            mask_reversed,
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
            bias_forgotten,
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
            "Idea", all_masks_alike, mask_swapped, dropped_ignored, logarithm_returned
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
            entropy_of_the_pass,
            one_class_only,
            entropy_in_bits,
            entropy_negative,
            nought_times_infinity,
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
        ),
        alternatives=(diagnose_by_trial,),
    ),
)
