"""Exercises on mixup: a blended batch, its loss and accuracy, calibration, a log to diagnose."""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, VALUES, one_of, tensor
from labsupport.topics.mixup import calibration, faults, reference
from labsupport.topics.mixup.faults import BLENDS, Pairs

_SHARES = (0.25, 0.75, 0.625, 0.375, 1.0, 0.125, 0.0)
_DISTINCT = (1.0, 2.0, 4.0, 8.0, -1.0, -3.0)
_CONFIDENCES = (0.5, 0.75, 0.25, 1.0, 0.375, 0.625, 0.875)
_ORDERS = {
    2: ([1, 0],),
    3: ([1, 2, 0], [2, 0, 1], [0, 2, 1]),
    4: ([1, 2, 3, 0], [2, 0, 3, 1], [1, 0, 3, 2]),
}


def _classes(draw, size, classes):
    return torch.tensor([one_of(draw, *range(classes)) for _ in range(size)])


@st.composite
def _batches(draw):
    size, dtype = one_of(draw, 3, 2, 4), one_of(draw, *DTYPES)
    shape = (size, 2) if size == 2 and one_of(draw, False, True) else (size, 1)
    return {
        "x": tensor(draw, shape, dtype, VALUES),
        "y": _classes(draw, size, 3),
        "order": torch.tensor(one_of(draw, *_ORDERS[size])),
        "lam": one_of(draw, *_SHARES),
        "classes": one_of(draw, 3, 4),
    }


@st.composite
def _logits_and_targets(draw):
    """Some logits are large: exp of them is infinite, or 0."""
    (batch, classes), dtype = one_of(draw, (1, 2), (2, 2), (1, 3), (1, 4)), one_of(draw, *DTYPES)
    rows = [draw(st.sampled_from((0.75, 0.25, 1.0, 0.5, 0.0))) for _ in range(batch)]
    target = torch.zeros(batch, classes, dtype=dtype)
    target[:, 0], target[:, -1] = (
        torch.tensor(rows, dtype=dtype),
        1 - torch.tensor(rows, dtype=dtype),
    )
    return {
        "logits": tensor(draw, (batch, classes), dtype, (0.0, 1.0, -1.0, 2.0, 1000.0, -1000.0)),
        "target": target,
    }


@st.composite
def _predictions(draw):
    """Two classes. An order of two samples is its own inverse; one of three need not be."""
    lam, size = one_of(draw, *_SHARES), one_of(draw, 2, 3)
    rows = [one_of(draw, [2.0, 1.0], [-1.0, 0.5]) for _ in range(size)]
    order = one_of(draw, *_ORDERS[size], *([list(range(size))] if size == 3 else []))
    y = _classes(draw, size, 2)
    assume(bool((y != y[0]).any()))
    return {
        "logits": torch.tensor(rows, dtype=one_of(draw, *DTYPES)),
        "y": y,
        "order": torch.tensor(order),
        "lam": lam,
    }


@st.composite
def _confidences(draw):
    """Draw confidences of which some lie on an edge of a bin.

    There the edges, and a confidence times the number of bins, are exact: no right answer hangs on
    rounding.
    """
    kind, size = one_of(draw, "any", "certain", "edge"), one_of(draw, 2, 3, 4, 1)
    bins = one_of(draw, 2, 4) if kind == "edge" and size > 1 else one_of(draw, 3, 5, 1)
    sure = torch.tensor(
        [one_of(draw, *_CONFIDENCES) for _ in range(size)], dtype=one_of(draw, *DTYPES)
    )
    correct = torch.tensor([one_of(draw, True, False) for _ in range(size)])
    if bins in (2, 4):  # right on the edge, and wrong above it: together their gaps would cancel
        sure[:2] = torch.tensor([0.5, one_of(draw, 0.75, 0.625)])
        correct[:2] = torch.tensor([True, False])
    elif kind == "certain":
        sure[0] = 1.0
    return {
        "confidence": sure,
        "correct": correct,
        "bins": bins,
    }


# -- mixup_batch -----------------------------------------------------------------------------------
def _rows(x, y, classes):
    return F.one_hot(y, classes).to(x.dtype)


def labels_not_mixed(x, y, order, lam, classes):
    """You blended the inputs and left the labels alone. The label gets the same coefficient and the
    same partner.
    """
    return reference.blended_classes(x, y, order, lam, classes)[0], _rows(x, y, classes)


def inputs_not_mixed(x, y, order, lam, classes):
    """You blended the labels and left the inputs alone. The network has to see the blend that its
    label describes.
    """
    return x.clone(), reference.blended_classes(x, y, order, lam, classes)[1]


def order_ignored(x, y, order, lam, classes):
    """You made pairs of your own, by turning the batch round. The partners are given: x[order] and
    y[order].
    """
    return reference.blended_classes(x, y, torch.arange(len(x)).flip(0), lam, classes)


def shares_exchanged(x, y, order, lam, classes):
    """You gave the partner the share λ. The sample itself has λ, its partner 1 - λ."""
    return reference.blended_classes(x, y, order, 1 - lam, classes)


def label_shares_exchanged(x, y, order, lam, classes):
    """You gave the sample's own label 1 - λ, while its input has λ. Both take the same
    coefficient.
    """
    return reference.blended_classes(x, y, order, lam, classes)[0], reference.blended_classes(
        x, y, order, 1 - lam, classes
    )[1]


def label_of_another(x, y, order, lam, classes):
    """You took the labels in the order of the batch turned round. The label's partner is the
    input's: y[order].
    """
    rows = _rows(x, y, classes)
    return reference.blended_classes(x, y, order, lam, classes)[0], lam * rows + (
        1 - lam
    ) * rows.flip(0)


def order_inverted(x, y, order, lam, classes):
    """You sent sample i to place order[i]. Sample i takes its partner from there: x[order], not the
    inverse.
    """
    return reference.blended_classes(x, y, order.argsort(), lam, classes)


def order_inverted_for_labels(x, y, order, lam, classes):
    """You took the label's partner by the inverse order, and the input's by the order itself. Both
    have the same partner: x[order] and y[order].
    """
    return reference.blended_classes(x, y, order, lam, classes)[0], reference.blended_classes(
        x, y, order.argsort(), lam, classes
    )[1]


def order_inverted_for_inputs(x, y, order, lam, classes):
    """You took the input's partner by the inverse order, and the label's by the order itself. Both
    have the same partner: x[order] and y[order].
    """
    return reference.blended_classes(x, y, order.argsort(), lam, classes)[
        0
    ], reference.blended_classes(x, y, order, lam, classes)[1]


def labels_hardened(x, y, order, lam, classes):
    """You made the target one-hot again, by its largest element. The smaller share belongs to the
    target, too.
    """
    mixed, target = reference.blended_classes(x, y, order, lam, classes)
    return mixed, F.one_hot(target.argmax(1), classes).to(x.dtype)


def numbers_blended(x, y, order, lam, classes):
    """You blended the numbers of the classes. Class 0 and class 2 would make class 1: blend one-hot
    rows.
    """
    between = (lam * y + (1 - lam) * y[order]).round().long()
    return reference.blended_classes(x, y, order, lam, classes)[0], _rows(x, between, classes)


def batch_by_lerp(x, y, order, lam, classes):
    """From the partner towards the sample, by λ."""
    rows = torch.eye(classes, dtype=x.dtype)[y]
    return tuple(torch.lerp(t[order], t, lam) for t in (x, rows))


# -- soft_cross_entropy ----------------------------------------------------------------------------
def target_hardened(logits, target):
    """You took the largest element of the target for its class. Every class counts, by its
    share.
    """
    return F.cross_entropy(logits, target.argmax(1))


def summed(logits, target):
    """You summed over the batch. Take the mean over its samples."""
    return reference.soft_cross_entropy(logits, target) * len(logits)


def mean_over_everything(logits, target):
    """You took the mean over all B·K numbers. Sum over the classes of a sample first; then take the
    mean over the samples.
    """
    return -(target * logits.log_softmax(1)).mean()


def sign_forgotten(logits, target):
    """You forgot the minus. A logarithm of a probability is below 0, and a loss is not."""
    return -reference.soft_cross_entropy(logits, target)


def softmax_twice(logits, target):
    """You gave probabilities to a function that takes logits: F.cross_entropy has its softmax
    inside.
    """
    return F.cross_entropy(logits.softmax(1), target)


def entropy_subtracted(logits, target):
    """You subtracted the entropy of the target: that is the KL divergence. The cross-entropy keeps
    it.
    """
    return reference.soft_cross_entropy(logits, target) - torch.special.entr(target).sum(1).mean()


def softmax_along_batch(logits, target):
    """You took the softmax along the batch. Probabilities add up to 1 over the classes of one
    sample: the last axis.
    """
    return -(target * logits.log_softmax(0)).sum(1).mean()


def loss_of_probabilities(logits, target):
    """You took the logarithm of a softmax. Where a probability is 0 in floating point that is -inf:
    log_softmax is not.
    """
    return -(target * logits.softmax(1).log()).sum(1).mean()


def small_number_in_the_logarithm(logits, target):
    """You added a small number before the logarithm. It hides the -inf and caps the loss:
    log_softmax is exact and needs none.
    """
    return -(target * (logits.softmax(1) + 1e-12).log()).sum(1).mean()


def exponentials_as_they_are(logits, target):
    """You took the exponentials of the logits as they are. That of 1,000 is infinite: subtract the
    largest logit first, or use log_softmax.
    """
    return -(target * (logits - logits.exp().sum(1, keepdim=True).log())).sum(1).mean()


def soft_by_logsumexp(logits, target):
    """ln Σ exp z less the mean logit under the target."""
    return (logits.logsumexp(1) - (target * logits).sum(1)).mean()


# -- mixed_accuracy --------------------------------------------------------------------------------
def _hits(logits, y, order):
    named = logits.argmax(1)
    return (named == y).to(logits.dtype), (named == y[order]).to(logits.dtype)


def own_label_only(logits, y, order, lam):
    """You counted the sample's own label alone. The partner's is right too, with the share 1 -
    λ.
    """
    return _hits(logits, y, order)[0].mean()


def either_counts_fully(logits, y, order, lam):
    """You gave a full point for either label. Each of them counts with its share."""
    own, other = _hits(logits, y, order)
    return torch.maximum(own, other).mean()


def points_exchanged(logits, y, order, lam):
    """You gave the partner's label λ and the own label 1 - λ. It is the other way round."""
    return reference.mixed_accuracy(logits, y, order, 1 - lam)


def partner_inverted(logits, y, order, lam):
    """You looked for the partner by the inverse order. Sample i is blended with sample order[i]:
    its label is y[order].
    """
    return reference.mixed_accuracy(logits, y, order.argsort(), lam)


def points_summed(logits, y, order, lam):
    """You summed over the batch. An accuracy is a share: take the mean over its samples."""
    return reference.mixed_accuracy(logits, y, order, lam) * len(y)


def agreement_left_out(logits, y, order, lam):
    """You gave λ where the own label was named and stopped there. If both labels are the same
    class, it is worth 1.
    """
    own, other = _hits(logits, y, order)
    return (lam * own + (1 - lam) * other * (1 - own)).mean()


def accuracy_by_target(logits, y, order, lam):
    """The target's share of the class that is named."""
    target = reference.blended_classes(logits, y, order, lam, logits.shape[1])[1]
    return target.gather(1, logits.argmax(1, keepdim=True)).mean()


# -- calibration_error -----------------------------------------------------------------------------
def _bins(confidence, correct, bins):
    count, sure, right = calibration.reliability(confidence, correct, bins)
    return count / len(confidence), right - sure


def bins_weigh_alike(confidence, correct, bins):
    """You gave every bin that is not empty the same weight. A bin counts by its share of the
    predictions.
    """
    share, gap = _bins(confidence, correct, bins)
    return gap[share > 0].abs().mean()


def empty_bins_counted(confidence, correct, bins):
    """You divided by the number of bins. The weights are the shares n_b/N, which add up to 1."""
    return _bins(confidence, correct, bins)[1].abs().mean()


def gaps_cancel(confidence, correct, bins):
    """You added the gaps with their signs. A bin that is too sure and one that is not sure enough
    would cancel out.
    """
    share, gap = _bins(confidence, correct, bins)
    return (share * gap).sum().abs()


def each_sample_alone(confidence, correct, bins):
    """You compared every confidence with 0 or 1. Average over a bin first: 0.7 is calibrated if 7
    of 10 are right.
    """
    return (confidence - correct.to(confidence.dtype)).abs().mean()


def middle_of_the_bin(confidence, correct, bins):
    """You took the middle of the bin for its confidence. Take the mean of the confidences in it."""
    count, _, right = calibration.reliability(confidence, correct, bins)
    middle = (torch.arange(bins, dtype=confidence.dtype) + 0.5) / bins
    return (count / len(confidence) * (right - middle).abs()).sum()


def certain_ones_lost(confidence, correct, bins):
    """You lost the confidence of exactly 1: it belongs to the last bin."""
    kept = confidence < 1
    share, gap = (
        _bins(confidence[kept], correct[kept], bins)
        if kept.any()
        else (confidence.new_zeros(1),) * 2
    )
    return (share * kept.to(confidence.dtype).mean() * gap.abs()).sum()


def edges_counted_above(confidence, correct, bins):
    """You counted a confidence on an edge to the bin above it. A bin is open below and closed
    above: it holds what is above (b-1)/M and up to b/M.
    """
    which = (confidence * bins).floor().clamp(max=bins - 1)
    gap = correct.to(confidence.dtype) - confidence
    return sum(gap[which == b].sum().abs() for b in range(bins)) / len(confidence)


def largest_gap(confidence, correct, bins):
    """You took the largest gap: that is the maximum calibration error. The expected one is the mean
    of the gaps, each bin by its share of the predictions.
    """
    return _bins(confidence, correct, bins)[1].abs().max()


def error_by_loop(confidence, correct, bins):
    """Bin by bin."""
    total = confidence.new_zeros(())
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        total = total + (
            correct[inside].to(confidence.dtype) - confidence[inside]
        ).sum().abs() / len(confidence)
    return total


# -- diagnose --------------------------------------------------------------------------------------
@st.composite
def _logs(draw):
    """A log that tells: no other blend of the same batch puts out the same numbers."""
    name, lam = one_of(draw, *BLENDS, "other_partner"), one_of(draw, 0.25, 0.375, 0.125)
    size = one_of(draw, 4, 3)
    y = torch.tensor(
        [0.0, one_of(draw, 1.0, 0.0), 1.0, one_of(draw, 0.0, 1.0)][:size], dtype=torch.float64
    )
    order, other = (
        torch.tensor(one_of(draw, *_ORDERS[size])),
        torch.tensor(one_of(draw, *_ORDERS[size][::-1])),
    )
    x, own = (
        torch.tensor(
            draw(st.lists(st.sampled_from(values), min_size=size, max_size=size, unique=True)),
            dtype=torch.float64,
        )
        for values in (_DISTINCT, (0.25, 0.5, 0.125, 0.875, 0.375))
    )
    pairs = Pairs(x, y, x[order], y[order], y[other], torch.tensor(lam, dtype=torch.float64), own)
    made = {kind: BLENDS[kind](pairs) for kind in BLENDS}
    mixed, target = made[name]
    assume(all(faults.diagnose(x, y, order, lam, *out) == kind for kind, out in made.items()))
    return {
        "x": x,
        "y": y,
        "order": order,
        "lam": lam,
        "mixed": mixed.clone(),
        "target": target.clone(),
    }


def mean_of_targets(x, y, order, lam, mixed, target):
    """You compared the mean of the targets. No order and no share changes it: look at them sample
    by sample.
    """
    found, fine = (
        faults.diagnose(x, y, order, lam, mixed, target),
        torch.allclose(target.mean(), y.mean(), atol=1e-5),
    )
    return (
        "healthy"
        if fine and found in ("other_partner", "lam_swapped", "labels_not_mixed")
        else found
    )


def inputs_trusted(x, y, order, lam, mixed, target):
    """You looked at the targets alone. Check the blended inputs as well, each against λ x + (1 - λ)
    x[order].
    """
    return faults.diagnose(x, y, order, lam, lam * x + (1 - lam) * x[order], target)


def targets_trusted(x, y, order, lam, mixed, target):
    """You looked at the inputs alone. The targets have to be λ y + (1 - λ) y[order]."""
    return faults.diagnose(x, y, order, lam, mixed, lam * y + (1 - lam) * y[order])


def shares_thought_symmetric(x, y, order, lam, mixed, target):
    """You took λ and 1 - λ for the same, because Beta(α, α) is symmetric. Input and label need the
    same one of the two.
    """
    found = faults.diagnose(x, y, order, lam, mixed, target)
    return "healthy" if found == "lam_swapped" else found


def zeros_and_ones_taken_for_labels(x, y, order, lam, mixed, target):
    """You saw zeros and ones and said labels_not_mixed. Compare them with y: a rounded target can
    be the partner's label.
    """
    found = faults.diagnose(x, y, order, lam, mixed, target)
    return "labels_not_mixed" if found == "hardened" else found


def inputs_taken_for_other_partners(x, y, order, lam, mixed, target):
    """You saw inputs that do not fit and said other_partner. There it is the labels that do not fit
    the order.
    """
    found = faults.diagnose(x, y, order, lam, mixed, target)
    return "other_partner" if found == "lam_per_sample" else found


def unmixed_taken_for_own_share(x, y, order, lam, mixed, target):
    """You gave every input that does not fit a share of its own. If all are as they were, none was
    blended.
    """
    found = faults.diagnose(x, y, order, lam, mixed, target)
    return "lam_per_sample" if found == "inputs_not_mixed" else found


def diagnose_by_shares(x, y, order, lam, mixed, target):
    """Read off the share of each input; then compare the target with each suspect's."""
    share = (mixed - x[order]) / (x - x[order])
    share = share[order != torch.arange(len(x))]
    if not torch.allclose(share, torch.full_like(share, lam), atol=1e-5):
        return (
            "inputs_not_mixed"
            if torch.allclose(share, torch.ones_like(share), atol=1e-5)
            else "lam_per_sample"
        )
    right, swapped = lam * y + (1 - lam) * y[order], (1 - lam) * y + lam * y[order]
    suspects = (
        ("healthy", right),
        ("labels_not_mixed", y),
        ("lam_swapped", swapped),
        ("hardened", (right > 0.5).double()),
    )
    return (
        [name for name, made in suspects if (target - made).abs().max() < 1e-5] or ["other_partner"]
    )[0]


# -- the shelf -------------------------------------------------------------------------------------
EXERCISES = (
    Exercise(
        id="mixup.mixup_batch",
        keeps_dtype=True,
        title="Blend a batch",
        points=2,
        section="Idea",
        reference=reference.blended_classes,
        inputs=_batches(),
        returns=("inputs", "targets"),
        misconceptions=known(
            "Idea",
            labels_not_mixed,
            inputs_not_mixed,
            order_ignored,
            shares_exchanged,
            label_shares_exchanged,
            label_of_another,
            order_inverted,
            order_inverted_for_labels,
            order_inverted_for_inputs,
            labels_hardened,
            numbers_blended,
        ),
        alternatives=(batch_by_lerp,),
    ),
    Exercise(
        id="mixup.soft_cross_entropy",
        title="The loss against a soft label",
        points=2,
        section="Idea",
        reference=reference.soft_cross_entropy,
        inputs=_logits_and_targets(),
        returns=(),
        misconceptions=known(
            "Idea",
            target_hardened,
            summed,
            mean_over_everything,
            sign_forgotten,
            softmax_twice,
            entropy_subtracted,
            softmax_along_batch,
            loss_of_probabilities,
            small_number_in_the_logarithm,
            exponentials_as_they_are,
        ),
        alternatives=(soft_by_logsumexp,),
    ),
    Exercise(
        id="mixup.mixed_accuracy",
        title="The accuracy of a blended batch",
        points=1,
        section="How it fails",
        reference=reference.mixed_accuracy,
        inputs=_predictions(),
        returns=(),
        misconceptions=known(
            "How it fails",
            own_label_only,
            either_counts_fully,
            points_exchanged,
            partner_inverted,
            points_summed,
            agreement_left_out,
        ),
        alternatives=(accuracy_by_target,),
    ),
    Exercise(
        id="mixup.calibration_error",
        title="The expected calibration error",
        points=3,
        section="Idea",
        reference=calibration.calibration_error,
        inputs=_confidences(),
        returns=(),
        misconceptions=known(
            "Idea",
            bins_weigh_alike,
            empty_bins_counted,
            gaps_cancel,
            each_sample_alone,
            middle_of_the_bin,
            certain_ones_lost,
            edges_counted_above,
            largest_gap,
        ),
        alternatives=(error_by_loop,),
    ),
    Exercise(
        id="mixup.diagnose",
        title="Diagnose a mixup",
        points=3,
        section="How it fails",
        reference=faults.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "How it fails",
            mean_of_targets,
            inputs_trusted,
            targets_trusted,
            shares_thought_symmetric,
            zeros_and_ones_taken_for_labels,
            inputs_taken_for_other_partners,
            unmixed_taken_for_own_share,
        ),
        alternatives=(diagnose_by_shares,),
    ),
)
