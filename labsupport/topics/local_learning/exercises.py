"""Exercises on local learning: a polynomial neuron, selection, similarity, a step, a log."""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, one_of, tensor
from labsupport.topics.local_learning import reference
from labsupport.topics.local_learning.experiments import log

_INPUTS = (0.0, 1.0, 2.0, -1.0, 0.5, -3.0, 2.0**-10, 1024.0)
_ERRORS = (1.0, 0.5, 2.0, 0.25, 3.0, 2.0**-20, 1024.0)
"""Exact in float32, so that no comparison hangs on rounding."""


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
    errors = one_of(draw, _ERRORS[:4], _ERRORS)
    return {
        "fitted": tensor(draw, (size,), dtype, errors),
        "chosen": tensor(draw, (size,), dtype, errors),
        "width": one_of(draw, 1, 2, 3),
        "below": one_of(draw, 0.5, 1.0, 0.25, 2.5, 2.0**-20),
    }


@st.composite
def _similarity_inputs(draw):
    """No row is so flat that its direction is a matter of rounding; rows may be small, or large."""
    batch, dtype = one_of(draw, 2, 1, 2), one_of(draw, *DTYPES)
    units = one_of(draw, 2, 3, 4) if batch == 1 else 2
    h = tensor(draw, (batch, units), dtype, (1.0, 0.0, 2.0, -1.0, 0.5, -3.0))
    assume((h.std(-1) > 0.1).all())
    h = h * one_of(draw, 1.0, 2.0**-10, 1024.0)
    classes = one_of(draw, 2, 3, 4, 5)
    y = torch.tensor(draw(st.lists(st.integers(0, classes - 1), min_size=batch, max_size=batch)))
    return {"h": h, "y": y, "classes": classes}


@st.composite
def _step_inputs(draw):
    """Some unit of either layer is alive, and no unit that learns sits on the kink of its ReLU.

    With large inputs the exponential of a logit overflows.
    """
    dtype, values = one_of(draw, *DTYPES), (1.0, 0.5, -1.0, 2.0, -0.5)
    given = {name: tensor(draw, (2, 2), dtype, values) for name in ("w1", "v1", "w2", "v2")}
    batch = one_of(draw, 1, 2)
    given["x"] = tensor(draw, (batch, 2), dtype, (1.0, 2.0, -1.0, 0.5))
    given["x"] = given["x"] * one_of(draw, 1.0, 0.5, 1024.0)
    given["y"] = torch.tensor(draw(st.lists(st.integers(0, 1), min_size=batch, max_size=batch)))
    z1 = given["x"] @ given["w1"].T
    z2 = z1.relu() @ given["w2"].T
    silent = (z1 <= 0).all(-1, keepdim=True)
    assume((z1 != 0).all() and ((z2 != 0) | silent).all())
    assume((z1 > 0).any() and (z2 > 0).any())
    return given | {"lr": one_of(draw, 1.0, 0.5, 0.25)}


neuron = reference.quadratic


def constant_forgotten(c, a, b):
    """You left out the constant. The first coefficient stands alone, times 1."""
    return neuron([0.0, *c[1:]], a, b)


def product_forgotten(c, a, b):
    """You left out the product ab. Without it the neuron cannot see what two inputs do together."""
    return neuron([*c[:3], 0.0, *c[4:]], a, b)


def squashed(c, a, b):
    """You put a ReLU behind the polynomial. The neurons of 1965 have none: the polynomial is the
    nonlinearity.
    """
    return neuron(c, a, b).relu()


def coefficients_reversed(c, a, b):
    """You took the coefficients from the other end. The order is 1, a, b, ab, a², b²: c[0] is the
    constant.
    """
    return neuron(c[::-1], a, b)


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


def chosen_by_both(fitted, chosen, *, width, below):
    """You added the two errors. The error of the fit is too small by what was learned by heart:
    leave it out.
    """
    return reference.survivors(fitted, fitted + chosen, width=width, below=below)


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


def mean_compared(fitted, chosen, *, width, below):
    """You compared the mean of the survivors with the layer below. The network's output is the best
    neuron: compare that.
    """
    best = reference.select(chosen, width)
    return best, bool(chosen[best].mean() < below)


def comparison_reversed(fitted, chosen, *, width, below):
    """You turned the comparison round. The layer is kept if its best error is smaller than the one
    below.
    """
    best = reference.select(chosen, width)
    return best, bool(chosen[best[0]] > below)


def only_better_ones_kept(fitted, chosen, *, width, below):
    """You let only those survive that are better than the layer below. The survivors are the best
    ``width``, whatever is below; `below` decides about the layer as a whole.
    """
    best = reference.select(chosen, width)
    return best[chosen[best] < below], bool(chosen[best[0]] < below)


def errors_returned(fitted, chosen, *, width, below):
    """You returned the errors of the survivors. Asked for are their numbers: argsort gives those,
    sort the errors.
    """
    best = reference.select(chosen, width)
    return chosen[best], bool(chosen[best[0]] < below)


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


def _centred_over_batch(h):
    return h - h.mean(0)


def centred_over_batch(h, y, classes):
    """You took off the mean of each unit over the batch. The mean of each row, over its units, is
    meant.
    """
    return _distance(
        F.normalize(_centred_over_batch(h), dim=-1),
        F.normalize(_centred_over_batch(_one_hot(h, y, classes)), dim=-1),
    )


def centred_over_batch_divided(h, y, classes):
    """You took off the mean of each unit over the batch; where all samples agree, nothing is left
    to divide by. The mean of each row, over its units, is meant: h.mean(-1, keepdim=True).
    """
    labels = _one_hot(h, y, classes)
    return _distance(_unit(_centred_over_batch(h)), _unit(_centred_over_batch(labels)))


def h_centred_over_batch(h, y, classes):
    """You took off the mean of each unit of h over the batch. The mean of each row, over its units,
    is meant, of h as of the labels.
    """
    return _distance(
        F.normalize(_centred_over_batch(h), dim=-1), _unit(_centred(_one_hot(h, y, classes)))
    )


def h_centred_over_batch_divided(h, y, classes):
    """You took off the mean of each unit of h over the batch; where all samples agree, nothing is
    left to divide by. The mean of each row, over its units, is meant: h.mean(-1, keepdim=True).
    """
    return _distance(_unit(_centred_over_batch(h)), _unit(_centred(_one_hot(h, y, classes))))


def centred_over_everything(h, y, classes):
    """You took off one mean over all rows. Each row has a mean of its own: h.mean(-1,
    keepdim=True).
    """
    labels = _one_hot(h, y, classes)
    return _distance(F.normalize(h - h.mean(), dim=-1), F.normalize(labels - labels.mean(), dim=-1))


def small_number_added(h, y, classes):
    """You added a small number to the lengths. It bends the cosines of small rows; no length is 0
    here, so divide by the length itself.
    """
    rows, labels = _centred(h), _centred(_one_hot(h, y, classes))
    return _distance(*(part / (part.norm(dim=-1, keepdim=True) + 1e-5) for part in (rows, labels)))


def opposites_wanted(h, y, classes):
    """You wanted -1 between two classes. No more than two directions can be opposite: send the
    labels through S, it gives -1/(K-1).
    """
    return (reference.similarity(h) - (2.0 * (y[:, None] == y) - 1).to(h.dtype)).square().mean()


def similarity_by_correlation(h, y, classes):
    """The correlation of the rows, as torch computes it."""
    tables = [torch.corrcoef(rows) for rows in (h, _one_hot(h, y, classes))]
    return ((tables[0] - tables[1]) ** 2).mean()


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
    logits=lambda z: z,
    relu=torch.relu,
):
    ws = [w.detach().clone().requires_grad_() for w in (w1, v1, w2, v2)]
    with torch.enable_grad():
        h1 = relu(x @ ws[0].T)
        h2 = relu(below(h1) @ ws[2].T)
        loss = total(
            F.cross_entropy(logits(read(h1) @ ws[1].T), y),
            F.cross_entropy(logits(read(h2) @ ws[3].T), y),
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
    return _by_autograd(w1, v1, w2, v2, x, y, lr, logits=lambda z: z.softmax(-1))


def slope_of_relu_forgotten(w1, v1, w2, v2, x, y, *, lr):
    """You let a gradient through units that are off. Where a ReLU puts out 0 its slope is 0:
    multiply by (h > 0).
    """
    return _by_autograd(w1, v1, w2, v2, x, y, lr, relu=lambda z: z + (z.relu() - z).detach())


def uphill(w1, v1, w2, v2, x, y, *, lr):
    """You added the gradient. A step goes downhill: subtract it."""
    return _by_autograd(w1, v1, w2, v2, x, y, -lr)


def _by_hand(w1, v1, w2, v2, x, y, lr, probabilities):
    moved, below = [], x
    for w, v in ((w1, v1), (w2, v2)):
        h = (below @ w.T).relu()
        slope = (probabilities(h @ v.T) - F.one_hot(y, len(v)).to(h.dtype)) / len(y)
        moved += [w - lr * (slope @ v * (h > 0)).T @ below, v - lr * slope.T @ h]
        below = h
    return tuple(moved)


def exponential_overflows(w1, v1, w2, v2, x, y, *, lr):
    """You took the exponential of the logits as they are. Where they are large it overflows, and
    inf/inf is NaN: use torch.softmax, which takes the largest logit off first.
    """
    return _by_hand(w1, v1, w2, v2, x, y, lr, lambda z: z.exp() / z.exp().sum(-1, keepdim=True))


def log_of_the_softmax(w1, v1, w2, v2, x, y, *, lr):
    """You took the logarithm of a softmax. Where a probability underflows to 0 its logarithm has no
    slope: F.cross_entropy and log_softmax take both at once.
    """
    ws = [w.detach().clone().requires_grad_() for w in (w1, v1, w2, v2)]
    with torch.enable_grad():
        h1 = (x @ ws[0].T).relu()
        h2 = (h1.detach() @ ws[2].T).relu()
        logs = [(h @ v.T).softmax(-1).log() for h, v in ((h1, ws[1]), (h2, ws[3]))]
        loss = sum(F.nll_loss(log, y) for log in logs)
        grads = torch.autograd.grad(loss, ws)
    return tuple((w - lr * g).detach() for w, g in zip(ws, grads, strict=True))


def two_modules_by_hand(w1, v1, w2, v2, x, y, *, lr):
    """The slopes of softmax and ReLU written out."""
    return _by_hand(w1, v1, w2, v2, x, y, lr, lambda z: z.softmax(-1))


def two_modules_by_sgd(w1, v1, w2, v2, x, y, *, lr):
    """With torch.optim, as one trains a network."""
    parameters = [torch.nn.Parameter(w.clone()) for w in (w1, v1, w2, v2)]
    optimizer = torch.optim.SGD(parameters, lr=lr)
    with torch.enable_grad():
        h1 = torch.relu(x @ parameters[0].T)
        h2 = torch.relu(h1.detach() @ parameters[2].T)
        losses = F.cross_entropy(h1 @ parameters[1].T, y), F.cross_entropy(h2 @ parameters[3].T, y)
    for loss in losses:
        loss.backward()
    optimizer.step()
    return tuple(p.detach() for p in parameters)


def two_modules_by_autograd(w1, v1, w2, v2, x, y, *, lr):
    """Autograd, with h1 detached where module 2 reads it."""
    return _by_autograd(w1, v1, w2, v2, x, y, lr)


@st.composite
def _logs(draw):
    """Faults come with smaller ones beside them, so that the order of the questions matters."""
    kind = one_of(
        draw,
        "decoupled",
        "leaking",
        "blocked",
        "end_to_end",
        "heads_frozen",
        "heads_frozen",
        "stale",
    )
    seen = log(kind, modules=2, units=one_of(draw, 3, 4, 5))
    reach, heads = (
        one_of(draw, 1.0, 0.5, 2.0, 0.125) * seen.reach.round(decimals=2),
        seen.heads.round(decimals=2),
    )
    if kind == "leaking" and one_of(draw, False, True):
        # the last loss alone, and not to all layers: that is not end to end
        reach = reach * torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=reach.dtype)
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


def blocked_called_frozen(reach, heads, ages):
    """You said that the heads are frozen where no layer is reached. Look at how far the heads
    moved: they learn.
    """
    found = reference.diagnose(reach, heads, ages)
    return "heads_frozen" if found == "blocked" else found


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
        last = int((reach[:, -1] != 0).sum())
        return "end_to_end" if last == everything == len(reach) else "leaking"
    return (
        "heads_frozen"
        if float(heads.abs().sum()) == 0
        else ("stale" if int(ages.max()) > 0 else "decoupled")
    )


# -- the exercises ---------------------------------------------------------------------------------

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
            "Idea",
            constant_forgotten,
            product_forgotten,
            squares_forgotten,
            product_last,
            coefficients_reversed,
            inputs_swapped,
            coefficients_squared,
            squashed,
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
            chosen_by_both,
            compared_by_fit,
            worst_kept,
            in_order_of_number,
            equal_is_better,
            never_stopped,
            worst_compared,
            mean_compared,
            comparison_reversed,
            only_better_ones_kept,
            errors_returned,
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
            centred_over_batch_divided,
            h_centred_over_batch,
            h_centred_over_batch_divided,
            centred_over_everything,
            small_number_added,
            opposites_wanted,
        ),
        alternatives=(similarity_by_product, similarity_by_correlation),
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
            uphill,
            exponential_overflows,
            log_of_the_softmax,
        ),
        alternatives=(two_modules_by_autograd, two_modules_by_hand, two_modules_by_sgd),
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
            blocked_called_frozen,
            heads_passed_over,
            ages_passed_over,
            lateness_asked_first,
            diagonal_called_a_leak,
        ),
        alternatives=(diagnose_by_counts,),
    ),
)
