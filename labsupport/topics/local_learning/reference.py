r"""Local learning: polynomial neurons (GMDH), and two local error signals of a hidden layer.

A *module* is a hidden layer with a head on it, :math:`h_j = \rho(W_j\,h_{j-1} + b_j)` and
:math:`\hat y_j = \mathrm{head}_j(h_j)`. It learns from :math:`h_{j-1}` and the label alone. The
same for R runs at once are the gradient estimators in rules/local.py; ``module_gradients``, the
gradient of one module, is taken from there.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.rules.local import module_gradients

__all__ = [
    "Layer",
    "decoupled_step",
    "diagnose",
    "features",
    "fit_neuron",
    "grow",
    "module_gradients",
    "neuron",
    "predict",
    "quadratic",
    "select",
    "similarity",
    "similarity_loss",
    "similarity_slope",
    "survivors",
    "two_modules",
]

# -- the group method of data handling -------------------------------------------------------------


def features(a: Tensor, b: Tensor) -> Tensor:
    r"""Compute a polynomial neuron's features: :math:`(1,\ a,\ b,\ ab,\ a^2,\ b^2)`.

    Args:
        a, b: two inputs, both (..., N).

    Returns:
        (..., N, 6).
    """
    return torch.stack([torch.ones_like(a), a, b, a * b, a * a, b * b], -1)


def fit_neuron(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    r"""Fit the quadratic polynomial of two inputs that is closest to the target.

    .. math:: c = \arg\min_c \sum_n \bigl(y_n - c^\top (1, a_n, b_n, a_n b_n, a_n^2, b_n^2)\bigr)^2

    Args:
        a, b: two inputs of N samples, (..., N): leading axes are neurons fitted at once.
        y: targets, (N) or (..., N).

    Returns:
        The coefficients c, (..., 6). Where several are equally close, as for fewer than six
        samples, the shortest c.

    Raises:
        ValueError: for no sample.

    Source: Ivakhnenko & Lapa (1965), after Schmidhuber (2015), section 5.3; least squares by
    singular values.
    """
    if a.shape[-1] < 1:
        raise ValueError("a neuron was given 0 samples; it needs at least 1")
    return (torch.linalg.pinv(features(a, b)) @ y.expand_as(a).unsqueeze(-1)).squeeze(-1)


def neuron(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Evaluate neurons with coefficients c (..., 6) on two inputs, (..., N)."""
    return (features(a, b) @ c.unsqueeze(-1)).squeeze(-1)


def select(errors: Tensor, width: int) -> Tensor:
    r"""Select the ``width`` neurons with the smallest selection error, best first.

    Args:
        errors: mean squared error of each neuron on the *selection* part, (M).
        width: how many may stay; all do if there are no more.

    Returns:
        Their numbers, (min(width, M)); of equals the lower number first.

    Raises:
        ValueError: for a width below one.
    """
    if width < 1:
        raise ValueError(f"width is {width}; at least 1 neuron must survive")
    return errors.sort(stable=True).indices[:width]


class Layer(NamedTuple):
    """The survivors of one layer, best first."""

    pairs: Tensor
    """(m, 2) which two outputs of the layer below each of them reads."""
    coefficients: Tensor
    """(m, 6)."""
    error: float
    """Selection error of the best."""


def grow(
    x: Tensor,
    y: Tensor,
    chosen_x: Tensor,
    chosen_y: Tensor,
    *,
    width: int = 10,
    most: int = 10,
    least: float = 0.0,
    carry: bool = False,
) -> list[Layer]:
    r"""Grow a network by the group method of data handling.

    Layers of polynomial neurons are fitted, selected, and then left alone.

    A layer tries every pair of the outputs below it. Each neuron is fitted on one part of the data;
    the neurons with the smallest error on the *other* part survive. The network grows until the
    best of those errors no longer falls.

    Args:
        x, y: the fitting part, (N, D) and (N).
        chosen_x, chosen_y: the selection part, (M, D) and (M).
        width: survivors of a layer.
        most: layers at most.
        least: the share by which a layer has to bring the best error down to be kept; 0 takes any
            fall.
        carry: let the inputs themselves stay beside the survivors of every layer, so that later
            neurons can read them again.

    Returns:
        The layers; the first neuron of the last one is the output.

    Raises:
        ValueError: for fewer than two inputs, an empty part, a width below two, fewer layers than
            one, a least outside [0, 1).

    Source: Ivakhnenko & Lapa (1965), Ivakhnenko (1971), as described by Schmidhuber (2015), section
    5.3. ``least`` and ``carry`` are later additions.
    """
    _require_growable(x, chosen_x, width, most, least)
    layers: list[Layer] = []
    fitting, choosing = x.T, chosen_x.T
    while len(layers) < most:
        layer, outputs, choices = _grown(fitting, y, choosing, chosen_y, width)
        if layers and not layer.error < (1 - least) * layers[-1].error:
            break
        layers.append(layer)
        fitting, choosing = outputs, choices
        if carry:
            fitting, choosing = torch.cat([outputs, x.T]), torch.cat([choices, chosen_x.T])
        if len(fitting) < 2:
            break
    return layers


def _require_growable(x: Tensor, chosen_x: Tensor, width: int, most: int, least: float) -> None:
    if x.shape[1] < 2 or min(len(x), len(chosen_x)) < 1:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and chosen_x {tuple(chosen_x.shape)}; there must be at"
            " least 2 inputs to pair, and at least 1 sample in either part"
        )
    if width < 2 or most < 1:
        raise ValueError(
            f"width is {width} and most {most}; a layer needs at least 2 survivors to pair, a"
            " network 1 layer"
        )
    if not 0 <= least < 1:
        raise ValueError(
            f"least is {least}, the share by which the error has to fall; it must be in [0, 1)"
        )


def _grown(
    fitting: Tensor, y: Tensor, choosing: Tensor, chosen_y: Tensor, width: int
) -> tuple[Layer, Tensor, Tensor]:
    """Grow one layer on outputs (m, N); return it with the survivors' outputs on both parts."""
    pairs = torch.tensor(
        list(itertools.combinations(range(len(fitting)), 2)), device=fitting.device
    )
    first, second = pairs.T
    c = fit_neuron(fitting[first], fitting[second], y)
    outputs = neuron(c, choosing[first], choosing[second])
    errors = (outputs - chosen_y).square().mean(-1)
    best = select(errors, width)
    survivors = Layer(pairs[best], c[best], errors[best[0]].item())
    return survivors, neuron(c[best], *fitting[pairs[best].T]), outputs[best]


def predict(layers: Sequence[Layer], x: Tensor, *, carry: bool = False) -> Tensor:
    """Predict for inputs x (N, D) by the last layer's best neuron, (N)."""
    below = x.T
    for layer in layers:
        outputs = neuron(layer.coefficients, *below[layer.pairs.T])
        below = torch.cat([outputs, x.T]) if carry else outputs
    return outputs[0]


# -- local error signals ---------------------------------------------------------------------------


def similarity(h: Tensor) -> Tensor:
    r"""Compute the cosines between a batch's rows, each less its mean.

    .. math::

        S_{nm} = \frac{\tilde h_n^\top \tilde h_m}{\lVert\tilde h_n\rVert\,\lVert\tilde h_m\rVert},
        \qquad
        \tilde h_n = h_n - \tfrac1H \textstyle\sum_i h_{ni}

    Args:
        h: what a layer puts out, or one-hot labels, (B, H).

    Returns:
        (B, B), between -1 and 1; a row with one value throughout is like nothing, not even itself:
        0.

    Source: Nøkland & Eidnes (2019), section 2.
    """
    unit, _ = _unit_rows(h)
    return unit @ unit.mT


def _unit_rows(h: Tensor) -> tuple[Tensor, Tensor]:
    """Centre rows and scale them to length one; return them and the lengths.

    A row with one value throughout has no direction: it becomes 0, its length infinite.
    """
    centred = h - h.mean(-1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True)
    length = length.masked_fill(length < 1e-8, torch.inf)
    return centred / length, length


def similarity_loss(h: Tensor, y: Tensor, classes: int) -> Tensor:
    r"""Compute the loss of similarity matching: alike within a class, unlike between two.

    .. math:: L_\text{sim} = \frac1{B^2} \bigl\lVert S(h) - S(Y) \bigr\rVert_F^2

    Args:
        h: what a layer puts out, (B, H).
        y: labels, (B); Y are they as one-hot rows (B, K).
        classes: K, at least 2.

    Returns:
        A number.

    Raises:
        ValueError: for fewer than two classes, or not as many labels as rows.

    Source: Nøkland & Eidnes (2019), who pass h through one more linear map first, and sum over the
    batch where we average.
    """
    if classes < 2:
        raise ValueError(f"classes is {classes}; there must be at least 2 to tell apart")
    if len(h) != len(y):
        raise ValueError(f"there are {len(h)} rows and {len(y)} labels; there must be as many")
    wanted = similarity(F.one_hot(y, classes).to(h.dtype))
    return (similarity(h) - wanted).square().mean()


def similarity_slope(h: Tensor, y: Tensor, classes: int) -> Tensor:
    r"""Compute the gradient of :func:`similarity_loss` in h, by hand.

    With unit rows :math:`u_n = \tilde h_n / \lVert\tilde h_n\rVert` and :math:`E = S(h) - S(Y)`:

    .. math:: \frac{\partial L}{\partial u} = \frac{4}{B^2} E u, \qquad
        \frac{\partial L}{\partial \tilde h_n}
        = \frac{(I - u_n u_n^\top)\, \partial L/\partial u_n}{\lVert\tilde h_n\rVert}

    and the mean of each row is taken off once more. A row with one value throughout gets no
    gradient.

    Args, Raises: as in :func:`similarity_loss`.

    Returns:
        (B, H).
    """
    unit, length = _unit_rows(h)
    error = similarity(h) - similarity(F.one_hot(y, classes).to(h.dtype))
    slope = 4 / len(h) ** 2 * error @ unit
    slope = (slope - unit * (slope * unit).sum(-1, keepdim=True)) / length
    return slope - slope.mean(-1, keepdim=True)


def decoupled_step(
    weights: Sequence[Tensor], heads: Sequence[Tensor], x: Tensor, y: Tensor, *, lr: float
) -> tuple[list[Tensor], list[Tensor]]:
    r"""Take one step of decoupled greedy learning, for ReLU layers with linear heads and no biases.

    .. math:: h_j = \max(0,\, W_j\,h_{j-1}), \qquad
        (W_j, V_j) \leftarrow (W_j, V_j) - \eta\, \nabla_{W_j, V_j}\, \mathrm{CE}\bigl(V_j\,h_j,\,
        y\bigr)
        \quad\text{with } h_{j-1} \text{ held fixed}

    Args:
        weights: :math:`W_j` of each layer, (H_j, H_{j-1}), lowest first.
        heads: :math:`V_j` of each head, (K, H_j).
        x: inputs, (B, H_0).
        y: labels, (B).
        lr: :math:`\eta`.

    Returns:
        New weights and new heads; the h that a module passes on is that of its old weights.

    Raises:
        ValueError: if there are not as many heads as layers, and at least one.

    Source: Belilovsky, Eickenberg & Oyallon (2020), Algorithm 1.
    """
    if len(weights) != len(heads) or not weights:
        raise ValueError(
            f"there are {len(weights)} layers and {len(heads)} heads; "
            "each layer needs one of its own"
        )
    new_weights, new_heads, below = [], [], x
    for w, v in zip(weights, heads, strict=True):
        h = (below @ w.mT).relu()
        slope = ((h @ v.mT).softmax(-1) - F.one_hot(y, len(v)).to(h.dtype)) / len(y)
        dz = slope @ v * (h > 0)
        new_weights.append(w - lr * dz.mT @ below)
        new_heads.append(v - lr * slope.mT @ h)
        below = h  # of the old weights, so that no module waits for another's step
    return new_weights, new_heads


# -- for the exercises -----------------------------------------------------------------------------


def quadratic(c: Sequence[float], a: Tensor, b: Tensor) -> Tensor:
    r"""Evaluate one polynomial neuron: :math:`c_0 + c_1 a + c_2 b + c_3 ab + c_4 a^2 + c_5 b^2`.

    Args:
        c: six numbers.
        a, b: the two inputs, (N).

    Returns:
        (N).

    Raises:
        ValueError: for other than six coefficients.
    """
    if len(c) != 6:
        raise ValueError(f"c has {len(c)} coefficients; a neuron has 6")
    return neuron(a.new_tensor(c), a, b)


def survivors(fitted: Tensor, chosen: Tensor, *, width: int, below: float) -> tuple[Tensor, bool]:
    """Select a layer's surviving neurons, and say whether the layer improves on the one below.

    Args:
        fitted: mean squared error of each neuron on the part that it was fitted on, (M); it plays
            no part.
        chosen: the same on the selection part, (M).
        width: how many may stay.
        below: the best selection error of the layer below.

    Returns:
        The numbers of those that stay, best first, of equals the lower number first; True if the
        best of them is better than anything in the layer below.

    Raises:
        ValueError: for a width below one.
    """
    best = select(chosen, width)
    return best, bool(chosen[best[0]] < below)


def two_modules(
    w1: Tensor, v1: Tensor, w2: Tensor, v2: Tensor, x: Tensor, y: Tensor, *, lr: float
) -> tuple[Tensor, ...]:
    """Take one :func:`decoupled_step` of two modules: the new (w1, v1, w2, v2)."""
    (w1, w2), (v1, v2) = decoupled_step([w1, w2], [v1, v2], x, y, lr=lr)
    return w1, v1, w2, v2


def diagnose(reach: Tensor, heads: Tensor, ages: Tensor) -> str:
    """Name a program of decoupled learning from which loss reaches which layer.

    Args:
        reach: (J, J) norm of the gradient that the loss of head j (column) sends into layer i
            (row).
        heads: (J) how far each head moved in the step.
        ages: (J) how many steps ago the layer below made what each module trained on.

    Returns:
        ``end_to_end`` if only the last head's loss reaches any layer, and reaches them all;
        ``blocked`` if no loss reaches any layer; ``leaking`` if some loss reaches a layer below its
        own; otherwise ``heads_frozen`` if no head moved, ``stale`` if some module trained on what
        was made in an earlier step, and ``decoupled`` if nothing is wrong.

    Raises:
        ValueError: for fewer than two modules.
    """
    if len(reach) < 2:
        raise ValueError(
            f"reach is of {len(reach)} modules; with fewer than 2 there is nothing to decouple"
        )
    reached = reach != 0
    if not reached.any():
        return "blocked"
    if reached[:, -1].all() and not reached[:, :-1].any():
        return "end_to_end"
    if reached.triu(1).any():
        return "leaking"
    if not heads.any():
        return "heads_frozen"
    return "stale" if ages.any() else "decoupled"
