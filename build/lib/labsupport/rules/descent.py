"""Descent along a gradient, wherever it comes from: SGD with momentum and Adam, for R runs in one
block of memory.

These are the fast forms of the steps in topics/weight_decay/reference.py; a test holds them equal
in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from labsupport.rules.backprop import Backprop
from labsupport.stacks import Stack, column, hyperparameters
from labsupport.types import Batch, GradientEstimator, Net

DECAYED = ("all", "weights", "hidden")


def _check(rule: Any, **allowed: tuple[float, float]) -> None:
    for name, (low, high) in allowed.items():
        value = getattr(rule, name)
        if not low <= value < high:
            raise ValueError(
                f"{name} is {value}; it must be >= {low:g}"
                + (f" and < {high:g}" if high < 1e9 else "")
            )
    if rule.decay_on not in DECAYED:
        raise ValueError(f"decay_on is {rule.decay_on!r}; it may be {', '.join(DECAYED)}")


def _columns(rule: Any, params: Stack) -> dict[str, Tensor]:
    """The hyperparameters of each run, as columns (R, 1) that multiply ``flat``."""
    return {name: column(getattr(rule, name), params.flat) for name in hyperparameters(rule)}


def _used(value: float | Tensor) -> bool:
    """Whether a hyperparameter is more than zero in some run."""
    return isinstance(value, Tensor) or value > 0


def _decay_mask(rule: Any, params: Stack) -> Tensor | float:
    """1 for the columns of ``flat`` that decay, 0 for the others."""
    if rule.decay_on == "all":
        return 1.0
    mask = params.flat.new_zeros(params.flat.shape[1])
    for name in hidden_weights(params) if rule.decay_on == "hidden" else weights(params):
        mask[params.spans[name]] = 1.0
    return mask


def weights(params: Stack) -> list[str]:
    """The names of the weight matrices and filters, from input to output."""
    return [name for name, shape in params.shapes.items() if len(shape) > 1]


def hidden_weights(params: Stack) -> list[str]:
    """All of them but the last."""
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
            decay_on.
    """

    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    decoupled: bool = False
    dampening: bool = False
    decay_on: str = "all"
    gradient: GradientEstimator = Backprop()

    def __post_init__(self):
        _check(self, lr=(0, torch.inf), momentum=(0, 1), weight_decay=(0, torch.inf))

    def init(self, net: Net, params: Stack, rngs: Sequence[Generator] = ()) -> dict[str, Any]:
        """GradientEstimator, velocity, and the hyperparameters as columns (R, 1)."""
        columns = _columns(self, params)
        return {
            "grads": params.like(),
            "kept": self.gradient.init(net, params, rngs),
            "v": torch.zeros_like(params.flat),
            **columns,
            "decays": _used(self.weight_decay),
            "moves": _used(self.momentum),
            "decay": columns["weight_decay"] * _decay_mask(self, params),
        }

    def gradients(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: dict[str, Any],
        batch: Batch,
    ) -> Tensor:
        """The loss of each run (R,), with what the step is taken along written to the state's
        ``grads``.
        """
        return self.gradient(net, params, buffers, state["kept"], batch, state["grads"])

    def step(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: dict[str, Any],
        batch: Batch,
    ):
        """One step of every run; parameters and velocity are updated in place."""
        loss = self.gradients(net, params, buffers, state, batch)
        w, g, v = params.flat, state["grads"].flat, state["v"]
        rate = state["lr"] * batch.lr_scale
        if state["decays"] and not self.decoupled:
            g.addcmul_(state["decay"], w)
        if state["decays"] and self.decoupled:
            w.mul_(1 - rate * state["decay"])
        if not state["moves"]:
            v = g
        elif self.dampening:
            v.lerp_(g, 1 - state["momentum"])
        else:
            v.mul_(state["momentum"]).add_(g)
        w.addcmul_(v, rate, value=-1)
        return params, state, {"loss": loss}


@dataclass(frozen=True)
class EffectiveLRReplay(SGD):
    """SGD whose effective learning rate follows a course recorded elsewhere, layer by layer.

    A layer under batch norm computes the same function whatever the length of its weights, and a
    step turns its weights by about lr/‖W‖². This rule multiplies the gradient of hidden layer l by
    ‖W_l‖²/course[t][l], so that the turning is what it was in the run whose squared norms are
    ``course``.

    Args:
        course: T rows, one a step, of the squared norm of each hidden weight matrix before that
            step.
    """

    course: tuple[tuple[float, ...], ...] = ()

    def gradients(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: dict[str, Any],
        batch: Batch,
    ) -> Tensor:
        """The loss of each run (R,), with the gradient written to the state's ``grads``, hidden
        layers rescaled.
        """
        loss = super().gradients(net, params, buffers, state, batch)
        for name, norm2 in zip(hidden_weights(params), self.course[batch.t - 1], strict=True):
            state["grads"][name].mul_(params[name].square().sum((1, 2), keepdim=True) / norm2)
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
            decay_on.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decoupled: bool = True
    decay_on: str = "all"
    gradient: GradientEstimator = Backprop()

    def __post_init__(self):
        _check(
            self,
            lr=(0, torch.inf),
            weight_decay=(0, torch.inf),
            beta1=(0, 1),
            beta2=(0, 1),
            eps=(0, torch.inf),
        )

    def init(self, net: Net, params: Stack, rngs: Sequence[Generator] = ()) -> dict[str, Any]:
        """GradientEstimator, both moments, and the hyperparameters as columns (R, 1)."""
        columns = _columns(self, params)
        return {
            "grads": params.like(),
            "kept": self.gradient.init(net, params, rngs),
            "m": torch.zeros_like(params.flat),
            "v": torch.zeros_like(params.flat),
            **columns,
            "decays": _used(self.weight_decay),
            "decay": columns["weight_decay"] * _decay_mask(self, params),
        }

    def step(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: dict[str, Any],
        batch: Batch,
    ):
        """One step of every run; parameters and moments are updated in place."""
        loss = self.gradient(net, params, buffers, state["kept"], batch, state["grads"])
        w, g, m, v = params.flat, state["grads"].flat, state["m"], state["v"]
        beta1, beta2, rate = state["beta1"], state["beta2"], state["lr"] * batch.lr_scale
        if state["decays"] and not self.decoupled:
            g.addcmul_(state["decay"], w)
        if state["decays"] and self.decoupled:
            w.mul_(1 - rate * state["decay"])
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g * (1 - beta2), g)
        scale = (1 - beta2**batch.t).sqrt()
        denominator = v.sqrt().div_(scale).add_(state["eps"])
        w.addcdiv_(m * (rate / (beta1**batch.t - 1)), denominator)
        return params, state, {"loss": loss}
