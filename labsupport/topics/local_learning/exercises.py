"""The exercises of the chapter on local learning: a neuron of 1965, who survives, similarity, a
decoupled step, a leak.
"""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, one_of, tensor
from labsupport.topics.local_learning import reference
from labsupport.topics.local_learning.figures import log

_INPUTS = (0.0, 1.0, 2.0, -1.0, 0.5, -3.0)
_ERRORS = (1.0, 0.5, 2.0, 0.25, 3.0)


@st.composite
def _neuron_inputs(draw):
    size, dtype = one_of(draw, 1, 2, 3), one_of(draw, *DTYPES)
    return {
        "c": draw(st.lists(st.sampled_from((1.0, 0.0, 2.0, -1.0, 0.5)), min_size=6, max_size=6)),
        "a": tensor(draw, (size,), dtype, _INPUTS),
        "b": tensor(draw, (size,), dtype, _INPUTS),
    }


@st.composite
def _survivor_inputs(draw):
    size, dtype = one_of(draw, 2, 3, 4), one_of(draw, *DTYPES)
    return {
        "fitted": tensor(draw, (size,), dtype, _ERRORS),
        "chosen": tensor(draw, (size,), dtype, _ERRORS),
        "width": one_of(draw, 1, 2, 3),
        "below": one_of(draw, 0.5, 1.0, 0.25, 2.5),
    }


@st.composite
def _similarity_inputs(draw):
    """No row is so flat that its direction is a matter of rounding."""
    batch, dtype = one_of(draw, 2, 1), one_of(draw, *DTYPES)
    units = one_of(draw, 2, 3, 4) if batch == 1 else 2
    h = tensor(draw, (batch, units), dtype, (1.0, 0.0, 2.0, -1.0, 0.5, -3.0))
    assume((h.std(-1) > 0.1).all())
    classes = one_of(draw, 2, 3, 4)
    y = torch.tensor(draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch)))
    return {"h": h, "y": y, "classes": classes}


@st.composite
def _step_inputs(draw):
    """Some unit of either layer is alive; no unit sits on the kink of its ReLU."""
    dtype, values = one_of(draw, *DTYPES), (1.0, 0.5, -1.0, 2.0, -0.5)
    given = {name: tensor(draw, (2, 2), dtype, values) for name in ("w1", "v1", "w2", "v2")}
    batch = one_of(draw, 1, 2)
    given["x"] = tensor(draw, (batch, 2), dtype, (1.0, 2.0, -1.0, 0.5))
    given["y"] = torch.tensor(draw(st.lists(st.integers(0, 1), min_size=batch, max_size=batch)))
    z1 = given["x"] @ given["w1"].T
    z2 = z1.relu() @ given["w2"].T
    assume((z1 != 0).all() and (z1 > 0).any() and (z2 > 0).any())
    return given | {"lr": one_of(draw, 1.0, 0.5, 0.25)}


neuron = reference.quadratic


def squares_forgotten(c, a, b):
    """You left out the squares. The neuron is quadratic: a² and b² have coefficients of their
    own.
    """
    return neuron([*c[:4], 0.0, 0.0], a, b)


def product_last(c, a, b):
    """You took the squares before the product. The order here is 1, a, b, ab, a², b²."""
    return neuron([*c[:3], c[5], c[3], c[4]], a, b)


def inputs_swapped(c, a, b):
    """You exchanged the two inputs. The second and the fifth coefficient belong to a."""
    return neuron(c, b, a)


def coefficients_squared(c, a, b):
    """You squared the coefficient with its input. Only a and b are squared: c₄a², not (c₄a)²."""
    return neuron([*c[:4], c[4] ** 2, c[5] ** 2], a, b)


def neuron_by_horner(c, a, b):
    """The polynomial written out, nested."""
    return c[0] + a * (c[1] + c[4] * a) + b * (c[2] + c[3] * a + c[5] * b)


def chosen_by_fit(fitted, chosen, *, width, below):
    """You let those survive that fit best. What was fitted cannot judge itself: take the error on
    the other part.
    """
    return reference.survivors(chosen, fitted, width=width, below=below)


def compared_by_fit(fitted, chosen, *, width, below):
    """You compared the error of the fit with the layer below. `below` is a selection error: compare
    it with one.
    """
    best = reference.select(chosen, width)
    return best, bool(fitted[best[0]] < below)


def worst_kept(fitted, chosen, *, width, below):
    """You kept the neurons with the largest error. A small error is a good neuron."""
    return chosen.sort(descending=True, stable=True).indices[:width], bool(chosen.min() < below)


def in_order_of_number(fitted, chosen, *, width, below):
    """You returned the survivors by their number. The best stands first: it is the network's
    output.
    """
    best, go_on = reference.survivors(fitted, chosen, width=width, below=below)
    return best.sort().values, go_on


def equal_is_better(fitted, chosen, *, width, below):
    """You kept a layer that is only as good as the one below. It has to be better, or growing never
    ends.
    """
    return reference.select(chosen, width), bool(chosen.min() <= below)


def never_stopped(fitted, chosen, *, width, below):
    """You always go on. A layer whose best neuron is no better than the layer below is not kept."""
    return reference.select(chosen, width), True


def worst_compared(fitted, chosen, *, width, below):
    """You asked that all survivors be better than the layer below. The output is the best neuron:
    that one is enough.
    """
    best = reference.select(chosen, width)
    return best, bool(chosen[best[-1]] < below)


def survivors_by_argsort(fitted, chosen, *, width, below):
    """Python's own sort, which is stable."""
    ranked = sorted(range(len(chosen)), key=lambda i: float(chosen[i]))[:width]
    return torch.tensor(ranked), float(chosen[ranked[0]]) < below


def _unit(h):
    return h / h.norm(dim=-1, keepdim=True)


def _centred(h):
    return h - h.mean(-1, keepdim=True)


def _one_hot(h, y, classes):
    return F.one_hot(y, classes).to(h.dtype)


def _distance(h, t):
    return (h @ h.T - t @ t.T).square().mean()


def not_centred(h, y, classes):
    """You took the cosines of the rows as they are. Take off each row's own mean first, of h and of
    the labels.
    """
    return _distance(_unit(h), _one_hot(h, y, classes))


def labels_not_centred(h, y, classes):
    """You centred h and not the one-hot labels. Both go through the same S: two classes are then
    below 0, not at 0.
    """
    return _distance(_unit(_centred(h)), _one_hot(h, y, classes))


def not_normalized(h, y, classes):
    """You compared products, not cosines. Divide each row, of h and of the labels, by its length:
    scale must not matter.
    """
    return _distance(_centred(h), _centred(_one_hot(h, y, classes)))


def summed(h, y, classes):
    """You summed over all pairs. The mean over the B² pairs is asked for, so that the batch size
    does not matter.
    """
    return reference.similarity_loss(h, y, classes) * len(h) ** 2


def root_taken(h, y, classes):
    """You took the norm, not its square. The loss is the mean squared difference."""
    return reference.similarity_loss(h, y, classes).sqrt()


def centred_over_batch(h, y, classes):
    """You took off the mean of each unit over the batch. The mean of each row, over its units, is
    meant.
    """
    centred = h - h.mean(0)
    norm = centred.norm(dim=-1, keepdim=True)
    return _distance(
        centred / norm.masked_fill(norm == 0, 1.0), _unit(_centred(_one_hot(h, y, classes)))
    )


def opposites_wanted(h, y, classes):
    """You wanted -1 between two classes. No more than two directions can be opposite: send the
    labels through S, it gives -1/(K-1).
    """
    return (reference.similarity(h) - (2.0 * (y[:, None] == y) - 1).to(h.dtype)).square().mean()


def similarity_by_product(h, y, classes):
    """The similarities of the labels in closed form."""
    same = (y[:, None] == y).to(h.dtype)
    wanted = same - (1 - same) / (classes - 1)
    rows = F.normalize(h - h.mean(-1, keepdim=True), dim=-1)
    return (rows @ rows.T - wanted).pow(2).sum() / len(h) ** 2


def _by_autograd(
    w1,
    v1,
    w2,
    v2,
    x,
    y,
    lr,
    *,
    total=lambda a, b: a + b,
    below=torch.Tensor.detach,
    read=lambda h: h,
    said=lambda z: z,
    relu=torch.relu,
):
    ws = [w.detach().clone().requires_grad_() for w in (w1, v1, w2, v2)]
    with torch.enable_grad():
        h1 = relu(x @ ws[0].T)
        h2 = relu(below(h1) @ ws[2].T)
        loss = total(
            F.cross_entropy(said(read(h1) @ ws[1].T), y),
            F.cross_entropy(said(read(h2) @ ws[3].T), y),
        )
        grads = torch.autograd.grad(loss, ws, allow_unused=True)
    return tuple((w if g is None else w - lr * g).detach() for w, g in zip(ws, grads, strict=True))


def detach_forgotten(w1, v1, w2, v2, x, y, *, lr):
    """You let the second loss reach the first layer. Detach h1 where module 2 reads it."""
    return _by_autograd(w1, v1, w2, v2, x, y, lr, below=lambda h: h)


def end_to_end(w1, v1, w2, v2, x, y, *, lr):
    """You trained end to end: only the last head's loss was used. Each module learns from its own
    head.
    """
    return _by_autograd(w1, v1, w2, v2, x, y, lr, total=lambda a, b: b, below=lambda h: h)


def detached_before_the_head(w1, v1, w2, v2, x, y, *, lr):
    """You detached h between a layer and its own head. So no layer learns: detach it on its way to
    the next layer.
    """
    return _by_autograd(w1, v1, w2, v2, x, y, lr, read=torch.Tensor.detach)


def heads_left_alone(w1, v1, w2, v2, x, y, *, lr):
    """You moved the layers and left the heads. The heads learn too, each from its own loss."""
    new_w1, _, new_w2, _ = _by_autograd(w1, v1, w2, v2, x, y, lr)
    return new_w1, v1, new_w2, v2


def one_after_the_other(w1, v1, w2, v2, x, y, *, lr):
    """You gave module 2 what module 1 puts out after its step. It passes on what it put out before,
    so nobody waits.
    """
    new_w1, new_v1, _, _ = _by_autograd(w1, v1, w2, v2, x, y, lr)
    _, _, new_w2, new_v2 = _by_autograd(new_w1, new_v1, w2, v2, x, y, lr)
    return new_w1, new_v1, new_w2, new_v2


def losses_averaged(w1, v1, w2, v2, x, y, *, lr):
    """You averaged the losses of the modules. Each module takes a whole step on its own loss."""
    return _by_autograd(w1, v1, w2, v2, x, y, lr, total=lambda a, b: (a + b) / 2)


def summed_over_batch(w1, v1, w2, v2, x, y, *, lr):
    """You summed over the batch. Each loss is the mean cross-entropy: divide its slope by the
    number of samples.
    """
    return _by_autograd(w1, v1, w2, v2, x, y, lr * len(x))


def softmax_twice(w1, v1, w2, v2, x, y, *, lr):
    """You took the softmax before F.cross_entropy, which takes it once more. Give it the logits as
    the heads put them out.
    """
    return _by_autograd(w1, v1, w2, v2, x, y, lr, said=lambda z: z.softmax(-1))


def slope_of_relu_forgotten(w1, v1, w2, v2, x, y, *, lr):
    """You let a gradient through units that are off. Where a ReLU puts out 0 its slope is 0:
    multiply by (h > 0).
    """
    return _by_autograd(w1, v1, w2, v2, x, y, lr, relu=lambda z: z + (z.relu() - z).detach())


def two_modules_by_autograd(w1, v1, w2, v2, x, y, *, lr):
    """Autograd, with h1 detached where module 2 reads it."""
    return _by_autograd(w1, v1, w2, v2, x, y, lr)


@st.composite
def _logs(draw):
    """Faults come with smaller ones beside them, so that the order of the questions matters."""
    kind = one_of(draw, "decoupled", "leaking", "blocked", "end_to_end", "heads_frozen", "stale")
    seen = log(kind, modules=2, units=one_of(draw, 3, 4, 5))
    reach, heads = (
        one_of(draw, 1.0, 0.5, 2.0, 0.125) * seen.reach.round(decimals=2),
        seen.heads.round(decimals=2),
    )
    frozen, late = (
        kind not in healthy and one_of(draw, False, True)
        for healthy in (("decoupled", "stale"), ("decoupled",))
    )
    given = {
        "reach": reach,
        "heads": 0 * heads if frozen else heads,
        "ages": log("stale", modules=2).ages if late else seen.ages.clone(),
    }
    assume(reference.diagnose(**given) == kind)
    return given


def rows_taken_for_columns(reach, heads, ages):
    """You read the table the other way round. Rows are layers, columns are losses: a leak is above
    the diagonal.
    """
    return reference.diagnose(reach.T, heads, ages)


def leak_not_seen(reach, heads, ages):
    """You looked at the diagonal alone. What a loss sends into a layer below its own is the
    leak.
    """
    found = reference.diagnose(reach, heads, ages)
    return (
        reference.diagnose(reach * torch.eye(len(reach)).to(reach), heads, ages)
        if found == "leaking"
        else found
    )


def end_to_end_called_a_leak(reach, heads, ages):
    """You called it a leak wherever a loss reaches down. If only the last loss reaches any layer,
    it is end to end.
    """
    found = reference.diagnose(reach, heads, ages)
    return "leaking" if found == "end_to_end" else found


def heads_passed_over(reach, heads, ages):
    """You did not look at the heads. A head that does not move leaves its layer to learn for a
    random read-out.
    """
    found = reference.diagnose(reach, heads, ages)
    return "decoupled" if found == "heads_frozen" else found


def ages_passed_over(reach, heads, ages):
    """You did not look at the ages. A module that trains on what was made some steps ago is
    stale.
    """
    return reference.diagnose(reach, heads, torch.zeros_like(ages))


def lateness_asked_first(reach, heads, ages):
    """You asked whether a module is late before you asked whether the heads move. Ask for the
    larger fault first.
    """
    found = reference.diagnose(reach, heads, ages)
    return "stale" if found == "heads_frozen" and ages.any() else found


def diagonal_called_a_leak(reach, heads, ages):
    """You counted the diagonal as a leak. There a loss reaches its own layer, as it should; the
    leak is above the diagonal.
    """
    found = reference.diagnose(reach, heads, ages)
    return "leaking" if found in ("heads_frozen", "stale", "decoupled") else found


def diagnose_by_counts(reach, heads, ages):
    """Count what is not zero."""
    diagonal, everything = int((reach.diagonal() != 0).sum()), int((reach != 0).sum())
    if everything == 0:
        return "blocked"
    if everything > diagonal:
        return "end_to_end" if int((reach[:, -1] != 0).sum()) == everything else "leaking"
    return (
        "heads_frozen"
        if float(heads.abs().sum()) == 0
        else ("stale" if int(ages.max()) > 0 else "decoupled")
    )


# -- the shelf -------------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        id="local_learning.quadratic",
        title="A neuron of 1965",
        points=1,
        section="Idea",
        reference=reference.quadratic,
        inputs=_neuron_inputs(),
        returns=(),
        misconceptions=known(
            "Idea", squares_forgotten, product_last, inputs_swapped, coefficients_squared
        ),
        alternatives=(neuron_by_horner,),
    ),
    Exercise(
        id="local_learning.survivors",
        keeps_dtype=True,
        title="Who survives, and when to stop",
        points=2,
        section="Idea",
        reference=reference.survivors,
        inputs=_survivor_inputs(),
        returns=("numbers", "kept"),
        misconceptions=known(
            "Idea",
            chosen_by_fit,
            compared_by_fit,
            worst_kept,
            in_order_of_number,
            equal_is_better,
            never_stopped,
            worst_compared,
        ),
        alternatives=(survivors_by_argsort,),
    ),
    Exercise(
        id="local_learning.similarity_loss",
        title="Similarity matching",
        points=2,
        section="Idea",
        reference=reference.similarity_loss,
        inputs=_similarity_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            not_centred,
            labels_not_centred,
            not_normalized,
            summed,
            root_taken,
            centred_over_batch,
            opposites_wanted,
        ),
        alternatives=(similarity_by_product,),
    ),
    Exercise(
        id="local_learning.two_modules",
        title="A decoupled step",
        points=3,
        section="Idea",
        reference=reference.two_modules,
        inputs=_step_inputs(),
        returns=("w1", "v1", "w2", "v2"),
        misconceptions=known(
            "Idea",
            detach_forgotten,
            end_to_end,
            detached_before_the_head,
            heads_left_alone,
            one_after_the_other,
            losses_averaged,
            summed_over_batch,
            softmax_twice,
            slope_of_relu_forgotten,
        ),
        alternatives=(two_modules_by_autograd,),
    ),
    Exercise(
        id="local_learning.diagnose",
        title="Diagnose a decoupled program",
        points=3,
        section="How it fails",
        reference=reference.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "How it fails",
            rows_taken_for_columns,
            leak_not_seen,
            end_to_end_called_a_leak,
            heads_passed_over,
            ages_passed_over,
            lateness_asked_first,
            diagonal_called_a_leak,
        ),
        alternatives=(diagnose_by_counts,),
    ),
)
