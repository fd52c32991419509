"""Alternating minimization: pre-activations are variables, and no step raises the cost.

Weights are lists from the first layer to the last, (..., H_l, H_{l-1}), biases (..., H_l); codes
are the pre-activations of the L hidden layers, (..., B, H_l). Leading axes, a run axis for one, go
through. The last layer gives logits.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport.checks import is_number
from labsupport.ops.precision import require_full

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "linear": lambda c: c,
    "sign": lambda c: torch.where(c >= 0, 1.0, -1.0).to(c.dtype),
}
POWERS = 4
"""The bound on a squared norm takes the matrix to the power 2^4."""
MARGIN = 1e-6
"""How far below its threshold a unit is put that is switched off."""


def encode(
    weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, activation: str = "relu"
) -> list[Tensor]:
    r"""Run the forward pass: codes that the layers below predict exactly.

    .. math:: c^l = W^l\,\rho(c^{l-1}) + b^l, \qquad \rho(c^0) := x

    Args:
        weights, biases: of L + 1 layers.
        x: (..., B, D) inputs.
        activation: relu | linear | sign.

    Returns:
        The L codes of the hidden layers.
    """
    codes, a = [], x
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        codes.append(layer(w, b, a))
        a = _rho(activation)(codes[-1])
    return codes


def layer(weight: Tensor, bias: Tensor, a: Tensor) -> Tensor:
    """Apply a layer to activations a (..., B, I): W a + b, (..., B, O)."""
    return a @ weight.mT + bias[..., None, :]


def residuals(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    codes: Sequence[Tensor],
    x: Tensor,
    activation: str = "relu",
) -> list[Tensor]:
    """Compute how far each code is from its prediction, c^l - W^l ρ(c^{l-1}) - b^l.

    Each is (..., B, H_l).
    """
    check_codes(weights, codes, x)
    below = [x, *map(_rho(activation), codes[:-1])]
    return [c - layer(w, b, a) for w, b, c, a in zip(weights, biases, codes, below, strict=False)]


def objective(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    codes: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    mu: float | Tensor,
    activation: str = "relu",
) -> Tensor:
    r"""Compute the cost of weights and codes, with a penalty in place of the constraints.

    .. math::
        f(W, C) = \frac1n \sum_{t=1}^n \Bigl[ \mathcal L\bigl(y_t, W^{L+1}\rho(c_t^L) +
        b^{L+1}\bigr)
                  + \mu \sum_{l=1}^L \bigl\lVert c_t^l - W^l\rho(c_t^{l-1}) - b^l \bigr\rVert^2
                  \Bigr]

    Args:
        weights, biases, codes, x, activation: as in ``encode``.
        y: (..., B) labels.
        mu: what a squared residual costs, above 0; one number, or one a run (...,).

    Returns:
        (...,) the mean over samples.

    Raises:
        ValueError: for mu <= 0, or codes of another shape than the weights ask for.

    Source: Choromanska and others (2019), with the slide's sum over samples as a mean, and with
    biases.
    """
    check_positive("mu", mu)
    require_full("inputs", x)
    left = residuals(weights, biases, codes, x, activation)
    penalty = sum(r.square().sum(-1).mean(-1) for r in left)
    logits = layer(weights[-1], biases[-1], _rho(activation)(codes[-1]))
    chosen = logits.log_softmax(-1).gather(-1, y[..., None])[..., 0]
    return mu * penalty - chosen.mean(-1)


def norm_bound(weight: Tensor) -> Tensor:
    r"""Bound the largest eigenvalue of WᵀW from above, (...,).

    .. math::

        \lambda_{\max} \le \operatorname{tr}\bigl(G^{k}\bigr)^{1/k}, \qquad G = W W^\top,\ k = 2^4

    A power iteration would come from below, and a step that trusts it may go too far. This comes
    from above, and is too large by a factor of rank^{1/k} at most.
    """
    require_full("weights", weight)
    wide = weight.shape[-2] <= weight.shape[-1]
    gram = weight @ weight.mT if wide else weight.mT @ weight
    # by its trace, so that no power overflows; squaring POWERS times gives the power 2^POWERS
    scale = _trace(gram).clamp_min(torch.finfo(weight.dtype).tiny)
    gram = gram / scale[..., None, None]
    for _ in range(POWERS):
        gram = gram @ gram
    return scale * _trace(gram) ** (1 / 2**POWERS) * (1 + 1e-6)


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


def best_code(
    wanted: Tensor,
    predicted: Tensor,
    stiffness: Tensor | float,
    mu: Tensor | float,
    activation: str = "relu",
) -> Tensor:
    r"""Compute one unit's code that balances the target above and the prediction below.

    .. math:: \arg\min_c\ \tfrac{K}{2}\,(\rho(c) - u)^2 + \mu\,(c - m)^2

    The cost is a parabola on each side of 0, so there are two candidates; for a ReLU they are

    .. math:: c_- = \min(m, 0), \qquad c_+ = \max\Bigl(\frac{K u + 2\mu m}{K + 2\mu},\ 0\Bigr).

    Args:
        wanted: u, the activation that the layer above asks for.
        predicted: m, of the same shape.
        stiffness: K >= 0, how much it costs not to be as wanted.
        mu: what it costs not to be as predicted.
        activation: relu | linear | sign.

    Returns:
        The cheaper candidate; the negative one where both cost the same.
    """
    between = (stiffness * wanted + 2 * mu * predicted) / (stiffness + 2 * mu)
    if activation == "linear":
        return between
    if activation == "sign":
        low, high = predicted.clamp_max(-MARGIN), predicted.clamp_min(0)
    else:
        low, high = predicted.clamp_max(0), between.clamp_min(0)
    settings = wanted, predicted, stiffness, mu, activation
    return torch.where(_cost(high, *settings) < _cost(low, *settings), high, low)


def _cost(
    c: Tensor,
    wanted: Tensor,
    predicted: Tensor,
    stiffness: Tensor | float,
    mu: Tensor | float,
    activation: str,
) -> Tensor:
    """Compute what ``best_code`` minimizes, at c."""
    return stiffness / 2 * (_rho(activation)(c) - wanted).square() + mu * (c - predicted).square()


def update_code(
    code: Tensor,
    predicted: Tensor,
    above: tuple[Tensor, Tensor],
    target: Tensor,
    mu: Tensor | float,
    *,
    last: bool,
    activation: str = "relu",
    steps: int = 1,
) -> Tensor:
    r"""Move one layer's codes so that the objective does not rise, by ``steps`` majorized steps.

    As a function of the activations a, the cost of the layer above is convex, with a curvature of
    at most K. So it lies below a parabola that touches it at the present :math:`a_0`, with slope g,

    .. math:: \ell(a) \le \ell(a_0) + g\cdot(a - a_0) + \tfrac K2 \lVert a - a_0\rVert^2,
       \qquad K = \begin{cases}
           2\mu\,\lVert W^{l+1}\rVert^2 & l < L \\ \tfrac12 \lVert W^{L+1}\rVert^2 & l = L
       \end{cases}

    and the parabola parts into one problem a unit, ``best_code`` with :math:`u = a_0 - g/K`. Its
    minimum costs no more than the present code does, and the true cost is no higher.

    Args:
        code: (..., B, H) present codes of layer l.
        predicted: (..., B, H), what the layer below predicts.
        above: weight and bias of layer l + 1.
        target: codes of layer l + 1, (..., B, H'), or labels (..., B) if l is the ``last`` hidden
            layer.
        mu: penalty, a number or one a run (...,).
        last: whether the layer above gives the logits.
        activation: relu | linear | sign.
        steps: how often.

    Returns:
        New codes (..., B, H).
    """
    weight, bias = above
    mu = mu[..., None, None] if isinstance(mu, Tensor) and mu.dim() else mu
    stiffness = norm_bound(weight)[..., None, None] * (0.5 if last else 2 * mu)
    stiffness = stiffness.clamp_min(torch.finfo(code.dtype).tiny)
    for _ in range(steps):
        a = _rho(activation)(code)
        out = layer(weight, bias, a)
        slope = output_slope(out, target) if last else 2 * mu * (out - target)
        settings = a - slope @ weight / stiffness, predicted, stiffness, mu, activation
        new = best_code(*settings)
        if activation == "sign":  # a code within the margin may be cheaper
            better = _cost(new, *settings) < _cost(code, *settings)
            new = torch.where(better, new, code)
        code = new
    return code


def output_slope(logits: Tensor, y: Tensor) -> Tensor:
    """Compute each sample's gradient of the cross-entropy in its logits (..., B, K)."""
    return logits.softmax(-1) - F.one_hot(y, logits.shape[-1]).to(logits.dtype)


def update_codes(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    codes: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    mu: Tensor | float,
    activation: str = "relu",
    steps: int = 1,
) -> list[Tensor]:
    """Update all codes once, from the last hidden layer down to the first.

    Each sees the new code above and the old one below.

    Args: as in ``objective`` and ``update_code``.
    """
    codes = list(codes)
    if not steps:
        return codes
    for i in reversed(range(len(codes))):
        last = i == len(codes) - 1
        predicted = layer(weights[i], biases[i], _rho(activation)(codes[i - 1]) if i else x)
        codes[i] = update_code(
            codes[i],
            predicted,
            (weights[i + 1], biases[i + 1]),
            y if last else codes[i + 1],
            mu,
            last=last,
            activation=activation,
            steps=steps,
        )
    return codes


def with_one(a: Tensor) -> Tensor:
    """Append a one to activations (..., B, I): (..., B, I + 1); it carries the bias."""
    return torch.cat([a, torch.ones_like(a[..., :1])], -1)


def moments(a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the moments for least squares: A, the mean of a aᵀ, and B, the mean of c aᵀ.

    Their shapes are (..., I, I) and (..., O, I).
    """
    return a.mT @ a / a.shape[-2], c.mT @ a / a.shape[-2]


def remember(old: Tensor, new: Tensor, share: Tensor | float) -> Tensor:
    r"""Average moments over batches: :math:`A_t = (1-s)\,A_{t-1} + s\,A`.

    s is the ``share`` of the new batch, a number or (...,).
    """
    share = share[..., None, None] if isinstance(share, Tensor) else share
    return old.lerp(new, share)


def ridge_weights(A: Tensor, B: Tensor, old: Tensor, ridge: Tensor | float) -> Tensor:
    r"""Compute the weights that fit the codes best and stay near the old ones.

    .. math::

        \arg\min_W\ \operatorname{mean}\lVert c - W a\rVert^2
        + \lambda \lVert W - W_{\text{old}}\rVert^2
       = (B + \lambda W_{\text{old}})\,(A + \lambda I)^{-1}

    Args:
        A, B: ``moments`` of a batch or of a memory, (..., I, I) and (..., O, I).
        old: (..., O, I).
        ridge: λ > 0, a number or (...,).

    Returns:
        (..., O, I).

    Raises:
        ValueError: for a ridge that is not above 0, or moments whose shapes do not fit the weights.
    """
    check_positive("ridge", ridge)
    if A.shape[-2:] != (old.shape[-1],) * 2 or B.shape[-2:] != old.shape[-2:]:
        square, shape = (old.shape[-1],) * 2, tuple(old.shape[-2:])
        raise ValueError(
            f"A is {tuple(A.shape)} and B {tuple(B.shape)}; "
            f"weights {tuple(old.shape)} ask for {square} and {shape}"
        )
    return _solve(A, B - old @ A, ridge) + old


def output_weights(A: Tensor, slope: Tensor, old: Tensor, ridge: Tensor | float) -> Tensor:
    r"""Take one step of multinomial regression that does not raise its loss.

    The cross-entropy's second derivative in the weights is at most :math:`\tfrac12 I \otimes A`.
    The parabola with that curvature lies above the loss, and its minimum is

    .. math:: W = W_{\text{old}} - G\,\bigl(\tfrac12 A + \lambda I\bigr)^{-1} .

    Args:
        A: (..., I, I) mean of a aᵀ.
        slope: G, (..., K, I) the gradient of the mean cross-entropy.
        old: (..., K, I).
        ridge: λ > 0.

    Source: Böhning (1992) has the bound; the paper takes gradient steps here.
    """
    check_positive("ridge", ridge)
    return old - _solve(A / 2, slope, ridge)


def _solve(A: Tensor, right: Tensor, ridge: Tensor | float) -> Tensor:
    """Solve for right (A + λI)⁻¹; A is symmetric, so the transposed system has the same matrix."""
    require_full("moments", A)
    eye = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    ridge = ridge[..., None, None] if isinstance(ridge, Tensor) and ridge.dim() else ridge
    return torch.linalg.solve(A + ridge * eye, right.mT).mT


def check_positive(name: str, value: float | Tensor) -> None:
    """Refuse anything but a finite number above 0; tensors (R,) were checked one by one."""
    if not isinstance(value, Tensor) and not is_number(value, above=0):
        raise ValueError(f"{name} is {value!r}; it must be a finite number above 0")


def check_codes(weights: Sequence[Tensor], codes: Sequence[Tensor], x: Tensor) -> None:
    """Refuse codes that do not fit the layers or the batch."""
    if len(codes) != len(weights) - 1:
        raise ValueError(
            f"{len(codes)} codes for {len(weights)} layers; every layer but the last has one"
        )
    for i, (c, w) in enumerate(zip(codes, weights, strict=False), start=1):
        if c.shape[-2:] != (x.shape[-2], w.shape[-2]):
            raise ValueError(
                f"code {i} has shape {tuple(c.shape)}; {x.shape[-2]} samples and {w.shape[-2]}"
                f" units ask for {(x.shape[-2], w.shape[-2])}"
            )


def _rho(activation: str) -> Callable[[Tensor], Tensor]:
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation is {activation!r}; alternating minimization has {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation]
