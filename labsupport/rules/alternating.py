"""Online alternating minimization: codes for a batch, then weights, and no backward pass.

The steps are those of ops/alternating_minimization.py, for R runs at once.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.checks import is_count, is_number
from labsupport.models import MLP
from labsupport.ops import alternating_minimization as am
from labsupport.ops.precision import require_full
from labsupport.stacks import Stack, hyperparameter, in_use
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Batch, Net


class Moments(NamedTuple):
    """The moments of past batches, of every layer; updated in place."""

    A: list[Tensor]
    """(R, I + 1, I + 1) mean of a aᵀ, with a last row and column for the bias."""
    B: list[Tensor]
    """(R, O, I + 1) mean of c aᵀ, of all layers but the last."""


def _check(item: "AlternatingMinimization | CodeGradient") -> None:
    am.check_positive("mu", item.mu)
    if not is_count(item.code_steps):
        raise ValueError(
            f"code_steps is {item.code_steps!r}; it must be a whole number of at least 0"
        )


def _mlp(net: Net) -> MLP:
    """Refuse networks that alternating minimization is not written for."""
    if (
        not isinstance(net, MLP)
        or net.norm is not None
        or net.activation not in am.ACTIVATIONS
        or in_use(net.dropout)
    ):
        described = {name: getattr(net, name, None) for name in ("norm", "activation", "dropout")}
        raise ValueError(
            f"{type(net).__name__} has {described}; alternating minimization has steps for an MLP"
            f" without norm and dropout, with activation {', '.join(am.ACTIVATIONS)}"
        )
    return net


def _layers(net: MLP, params: Stack) -> tuple[list[Tensor], list[Tensor]]:
    return (
        [params[f"weight{i}"] for i in range(1, net.depth + 1)],
        [params[f"bias{i}"] for i in range(1, net.depth + 1)],
    )


def _in_type_of(value: float | Tensor, like: Tensor) -> Tensor | float:
    return value.to(like.dtype) if isinstance(value, Tensor) else value


@dataclass
class _Solved:
    """A batch with its codes updated."""

    loss: Tensor
    """(R,) of the network as it was."""
    activations: list[Tensor]
    """Inputs of every layer, (R, B, I)."""
    codes: list[Tensor]
    """Of the hidden layers."""
    slope: Tensor
    """(R, B, K) in the logits at the new codes."""


def _solve_codes(
    rule: "AlternatingMinimization | CodeGradient", net: MLP, params: Stack, batch: Batch
) -> _Solved:
    if batch.targets is not None:
        raise ValueError(
            "alternating minimization has no step for blended labels; mixup must be None"
        )
    weights, biases = _layers(net, params)
    x, rho = batch.x.flatten(2), am.ACTIVATIONS[net.activation]
    # The forward pass makes the codes that cost nothing below; the loss is read off on the way,
    # before any code moves.
    codes = am.encode(weights, biases, x, net.activation)
    logits = am.layer(weights[-1], biases[-1], rho(codes[-1]) if codes else x)
    loss = -logits.log_softmax(-1).gather(-1, batch.y[..., None])[..., 0].mean(-1)
    codes = am.update_codes(
        weights, biases, codes, x, batch.y, _in_type_of(rule.mu, x), net.activation, rule.code_steps
    )
    activations = [x, *map(rho, codes)]
    # the last layer learns from the new codes, so its slope is taken again
    slope = am.output_slope(am.layer(weights[-1], biases[-1], activations[-1]), batch.y)
    return _Solved(loss, activations, codes, slope)


@dataclass(frozen=True)
class AlternatingMinimization:
    """Codes by majorized steps, weights in closed form from past moments (AM-mem).

    Hidden layers: ridge regression of the codes on the activations below, with moments A_t and B_t
    averaged over the last ``memory`` batches. Last layer: one step of multinomial regression with
    the curvature bound taken from the same memory.

    Args:
        mu: what a squared residual costs; small lets codes move far from what the layer below
            predicts.
        memory: batches that the moments remember, at least 1: a plain mean over the first ones,
            forgetting after that.
        ridge: how strongly weights are held where they are, in units of the mean square of a
            layer's inputs; above 0.
        code_steps: majorized steps on each layer's codes, from the last hidden layer down.

    Raises:
        ValueError: for mu <= 0, memory < 1, ridge <= 0, negative code_steps; for a network with a
            norm, dropout or another activation than relu, linear, sign; for blended labels.

    Source: Choromanska and others (2019). Departures: exact minimizers of a majorizer in the place
    of gradient steps on the codes, ridge regression in the place of a pass of block coordinate
    descent, forgetting, biases.
    """

    mu: float = hyperparameter(4.0)
    memory: float = hyperparameter(1.0)
    ridge: float = hyperparameter(0.3)
    code_steps: int = 1

    def __post_init__(self) -> None:
        _check(self)
        am.check_positive("ridge", self.ridge)
        if not is_number(self.memory, least=1):
            raise ValueError(
                f"memory is {self.memory!r} batches; it must be a number of at least 1"
            )

    def init(self, net: Net, params: Stack, streams: Streams = NO_STREAMS) -> Moments:
        """Make the moments of every layer, all zero."""
        require_full("parameters", params.flat)
        sizes, flat = _mlp(net).sizes, params.flat
        return Moments(
            A=[flat.new_zeros(len(flat), i + 1, i + 1) for i in sizes[:-1]],
            B=[
                flat.new_zeros(len(flat), o, i + 1)
                for i, o in zip(sizes[:-2], sizes[1:-1], strict=True)
            ],
        )

    def step(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], state: Moments, batch: Batch
    ) -> tuple[Stack, Moments, dict[str, Tensor]]:
        """Solve for codes, then for weights; parameters and moments are updated in place."""
        solved = _solve_codes(self, _mlp(net), params, batch)
        share = _share(self.memory, batch.t, params.flat)
        for i, a in enumerate(solved.activations):
            weight, bias = params[f"weight{i + 1}"], params[f"bias{i + 1}"]
            # the bias is the weight of an input that is always one
            old = torch.cat([weight, bias[..., None]], -1)
            last = i == len(solved.codes)
            A, B = am.moments(am.with_one(a), solved.slope if last else solved.codes[i])
            A = state.A[i].copy_(am.remember(state.A[i], A, share))
            # the ridge is relative to the inputs' mean square; a layer that puts out nothing has 0
            size = A.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-12)
            ridge = size * _in_type_of(self.ridge, A)
            if last:
                new = am.output_weights(A, B, old, ridge)
            else:
                B = state.B[i].copy_(am.remember(state.B[i], B, share))
                new = am.ridge_weights(A, B, old, ridge)
            weight.copy_(new[..., :-1])
            bias.copy_(new[..., -1])
        return params, state, {"loss": solved.loss}


def _share(memory: float | Tensor, t: int, like: Tensor) -> Tensor:
    """Weigh the new batch in the memory, (R,): 1/t until the memory is full, then 1/memory."""
    full = (
        1 / memory.to(like.dtype)
        if isinstance(memory, Tensor)
        else like.new_full((len(like),), 1 / memory)
    )
    return full.clamp_min(1 / t)


@dataclass(frozen=True)
class CodeGradient:
    """The objective's gradient in the weights at new codes; with Adam, the paper's AM-Adam.

    Every layer's gradient is that of its own regression, on the activations below it and the code
    above it.

    Args:
        mu, code_steps: as in AlternatingMinimization.

    Raises:
        ValueError: as there.

    Source: Choromanska and others (2019), one step of the optimizer a batch.
    """

    mu: float = hyperparameter(1.0)
    code_steps: int = 1

    def __post_init__(self) -> None:
        _check(self)

    def init(self, net: Net, params: Stack, streams: Streams = NO_STREAMS) -> None:
        """Return an empty state, and refuse a network that there are no steps for."""
        _mlp(net)

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: None,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the gradient of f(W, C) in W to ``out`` and return the loss of each run (R,)."""
        solved = _solve_codes(self, _mlp(net), params, batch)
        mu = _in_type_of(self.mu, params.flat)
        mu = mu[:, None, None] if isinstance(mu, Tensor) else mu
        for i, a in enumerate(solved.activations, start=1):
            if i <= len(solved.codes):
                slope = (
                    2
                    * mu
                    * (am.layer(params[f"weight{i}"], params[f"bias{i}"], a) - solved.codes[i - 1])
                )
            else:
                slope = solved.slope
            torch.bmm(slope.mT / a.shape[1], a, out=out[f"weight{i}"])
            torch.mean(slope, 1, out=out[f"bias{i}"])
        return solved.loss
