"""SGD with momentum and Adam, for R runs in one block of memory, with any gradient estimator.

These are the fast forms of the steps in topics/weight_decay/reference.py; a test holds them equal
in float64. A step of a small network is mostly the overhead of its operations, so each is one
operation on all parameters of all runs, in place where nothing reads the old value again.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labsupport.checks import is_number
from labsupport.ops.precision import require_full
from labsupport.rules.backprop import Backprop
from labsupport.stacks import Stack, column, hyperparameter, in_use
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Batch, GradientEstimator, Net

DECAYED = ("all", "weights", "hidden")


class SGDState(NamedTuple):
    """The state of SGD; ``gradient`` and ``velocity`` are updated in place."""

    gradient: Stack
    """What the next step is taken along."""
    estimator: Any
    """The state of the gradient estimator."""
    velocity: Tensor
    """(R, P)"""
    lr: Tensor
    """(R, 1), as ``momentum``: hyperparameters are laid out once, not at every step."""
    momentum: Tensor | None
    """None where no run has any."""
    decay: Tensor | None
    """λ, (R, 1), or (R, P) with zeros where nothing decays; None where no run decays."""


class AdamState(NamedTuple):
    """The state of Adam; ``gradient``, ``m`` and ``v`` are updated in place."""

    gradient: Stack
    """What the next step is taken along."""
    estimator: Any
    """The state of the gradient estimator."""
    m: Tensor
    """(R, P) running mean of the gradient."""
    v: Tensor
    """(R, P) running mean of its square."""
    lr: Tensor
    """(R, 1), as ``beta1``, ``beta2`` and ``eps``: laid out once, not at every step."""
    beta1: Tensor
    beta2: Tensor
    eps: Tensor
    decay: Tensor | None
    """As in SGDState."""


def _check(rule: "SGD | Adam", **allowed: tuple[float, float]) -> None:
    for name, (low, high) in allowed.items():
        value = getattr(rule, name)
        if not is_number(value, least=low, below=high):
            raise ValueError(
                f"{name} is {value!r}; it must be a number >= {low:g}"
                + (f" and < {high:g}" if high < 1e9 else "")
            )
    if rule.decay_on not in DECAYED:
        raise ValueError(f"decay_on is {rule.decay_on!r}; it may be {', '.join(DECAYED)}")


def _decay(rule: "SGD | Adam", params: Stack) -> Tensor | None:
    """Lay out λ for every run, and for every parameter if some do not decay."""
    if not in_use(rule.weight_decay):
        return None
    decay = column(rule.weight_decay, params.flat)
    if rule.decay_on == "all":
        return decay
    mask = params.flat.new_zeros(params.flat.shape[1])
    for name in hidden_weights(params) if rule.decay_on == "hidden" else weights(params):
        mask[params.spans[name]] = 1.0
    return decay * mask


def _apply_decay(rule: "SGD | Adam", state: SGDState | AdamState, w: Tensor, lr: Tensor) -> None:
    """Decay the weights by lr·λ, or add λw to their gradient.

    Before the step either way: the gradient of L2 is that of the weights as they were, and AdamW's
    decay takes its share of them, as PyTorch does it.
    """
    if state.decay is None:
        return
    if rule.decoupled:
        w.mul_(1 - lr * state.decay)
    else:
        state.gradient.flat.addcmul_(state.decay, w)


def weights(params: Stack) -> list[str]:
    """Name the weight matrices and filters, from input to output."""
    return [name for name, shape in params.shapes.items() if len(shape) > 1]


def hidden_weights(params: Stack) -> list[str]:
    """Name all weight matrices and filters but the last."""
    return weights(params)[:-1]


@dataclass(frozen=True)
class SGD:
    """SGD, with momentum, with L2 or decoupled decay.

    Args:
        lr: learning rate.
        momentum: in [0, 1).
        weight_decay: the coefficient λ.
        decoupled: decay the weights by lr·λ (True), or add λw to the gradient (False, as
            torch.optim.SGD).
        dampening: the lecture's velocity, with the gradient times (1 - momentum), PyTorch's
            dampening=momentum; False is PyTorch's default, no dampening.
        decay_on: "all" parameters, "weights" (matrices, not biases and scales), "hidden" (all
            matrices but the last).
        gradient: where the gradient comes from.

    Raises:
        ValueError: for a negative lr or weight_decay, a momentum outside [0, 1), an unknown
            decay_on; at init for parameters in half precision.
    """

    lr: float = hyperparameter(0.1)
    momentum: float = hyperparameter(0.0)
    weight_decay: float = hyperparameter(0.0)
    decoupled: bool = False
    dampening: bool = False
    decay_on: str = "all"
    gradient: GradientEstimator = Backprop()

    def __post_init__(self) -> None:
        _check(self, lr=(0, torch.inf), momentum=(0, 1), weight_decay=(0, torch.inf))

    def init(self, net: Net, params: Stack, streams: Streams = NO_STREAMS) -> SGDState:
        """Make a state with zero velocity."""
        require_full("parameters", params.flat)
        return SGDState(
            gradient=params.like(),
            estimator=self.gradient.init(net, params, streams),
            velocity=torch.zeros_like(params.flat),
            lr=column(self.lr, params.flat),
            momentum=column(self.momentum, params.flat) if in_use(self.momentum) else None,
            decay=_decay(self, params),
        )

    def estimate(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], state: SGDState, batch: Batch
    ) -> Tensor:
        """Write the direction of the step to the state's ``gradient``; return losses (R,)."""
        return self.gradient(net, params, buffers, state.estimator, batch, state.gradient)

    def step(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], state: SGDState, batch: Batch
    ) -> tuple[Stack, SGDState, dict[str, Tensor]]:
        """Take one step in every run; parameters and velocity are updated in place."""
        loss = self.estimate(net, params, buffers, state, batch)
        w, g, v = params.flat, state.gradient.flat, state.velocity
        lr = state.lr * batch.lr_scale
        _apply_decay(self, state, w, lr)
        if state.momentum is None:
            v = g  # the velocity is the gradient itself: nothing to remember
        elif self.dampening:
            v.lerp_(g, 1 - state.momentum)
        else:
            v.mul_(state.momentum).add_(g)
        w.addcmul_(v, lr, value=-1)
        return params, state, {"loss": loss}


@dataclass(frozen=True)
class EffectiveLRReplay(SGD):
    """SGD whose effective learning rate follows a recorded course, layer by layer.

    A layer under batch norm computes the same function whatever the length of its weights, and a
    step turns its weights by about lr/‖W‖². This rule multiplies the gradient of hidden layer l by
    ‖W_l‖²/course[t][l], so that the turning is what it was in the run whose squared norms are
    ``course``.

    Args:
        course: T rows, one a step, of the squared norm of each hidden weight matrix before that
            step.
    """

    course: tuple[tuple[float, ...], ...] = ()

    def estimate(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], state: SGDState, batch: Batch
    ) -> Tensor:
        """Estimate as SGD does, then rescale the gradients of the hidden layers."""
        loss = super().estimate(net, params, buffers, state, batch)
        for name, norm2 in zip(hidden_weights(params), self.course[batch.t - 1], strict=True):
            state.gradient[name].mul_(params[name].square().sum((1, 2), keepdim=True) / norm2)
        return loss


@dataclass(frozen=True)
class Adam:
    """Adam with L2 in the gradient, or with decoupled decay: AdamW.

    Args:
        lr: learning rate.
        weight_decay: the coefficient λ.
        decoupled: decay the weights by lr·λ (True: torch.optim.AdamW) or add λw to the gradient
            (torch.optim.Adam).
        beta1, beta2: memory of the two moments, in [0, 1).
        eps: floor of the denominator.
        decay_on, gradient: as in SGD.

    Raises:
        ValueError: for a negative lr, weight_decay or eps, a beta outside [0, 1), an unknown
            decay_on; at init for parameters in half precision.
    """

    lr: float = hyperparameter(1e-3)
    weight_decay: float = hyperparameter(0.0)
    beta1: float = hyperparameter(0.9)
    beta2: float = hyperparameter(0.999)
    eps: float = hyperparameter(1e-8)
    decoupled: bool = True
    decay_on: str = "all"
    gradient: GradientEstimator = Backprop()

    def __post_init__(self) -> None:
        _check(
            self,
            lr=(0, torch.inf),
            weight_decay=(0, torch.inf),
            beta1=(0, 1),
            beta2=(0, 1),
            eps=(0, torch.inf),
        )

    def init(self, net: Net, params: Stack, streams: Streams = NO_STREAMS) -> AdamState:
        """Make a state with both moments zero."""
        require_full("parameters", params.flat)
        return AdamState(
            gradient=params.like(),
            estimator=self.gradient.init(net, params, streams),
            m=torch.zeros_like(params.flat),
            v=torch.zeros_like(params.flat),
            lr=column(self.lr, params.flat),
            beta1=column(self.beta1, params.flat),
            beta2=column(self.beta2, params.flat),
            eps=column(self.eps, params.flat),
            decay=_decay(self, params),
        )

    def step(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], state: AdamState, batch: Batch
    ) -> tuple[Stack, AdamState, dict[str, Tensor]]:
        """Take one step in every run; parameters and moments are updated in place."""
        loss = self.gradient(net, params, buffers, state.estimator, batch, state.gradient)
        w, g, m, v = params.flat, state.gradient.flat, state.m, state.v
        beta1, beta2, lr = state.beta1, state.beta2, state.lr * batch.lr_scale
        _apply_decay(self, state, w, lr)
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g * (1 - beta2), g)
        # The bias corrections are numbers of a run: dividing by them costs nothing there. The
        # minus of the step sits in beta1^t - 1, so that one addcdiv does the rest.
        scale = (1 - beta2**batch.t).sqrt()
        denominator = v.sqrt().div_(scale).add_(state.eps)
        w.addcdiv_(m * (lr / (beta1**batch.t - 1)), denominator)
        return params, state, {"loss": loss}
