"""Feedback alignment: the error goes down through matrices of its own, not through the transposed
weights.

Both are gradient sources; ``SGD(lr=0.1, gradient=FeedbackAlignment())`` trains with one. They are
the fast forms, for R runs at once, of topics/feedback_alignment/reference.py; a test holds them
equal in float64. Feedback matrices are drawn as PyTorch draws the weights in whose place they
stand, uniform in ±scale/√fan_in.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from labsupport.models import patches
from labsupport.models.layered import Layered
from labsupport.models.layers import per_run
from labsupport.stacks import Stack
from labsupport.types import Batch

Kept = dict[int, Tensor]
"""A feedback matrix for each layer that has one."""
SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda v, h: torch.ops.aten.threshold_backward(v, h, 0),
    "tanh": torch.ops.aten.tanh_backward,
    "sigmoid": torch.ops.aten.sigmoid_backward,
    "linear": lambda v, h: v,
}
"""What reaches a unit's output (v), times the slope of its activation, told by what it put out
(h).
"""


@dataclass(frozen=True)
class _Feedback:
    """What the two have in common: a forward pass that leaves everything behind, and gradients from
    the errors.
    """

    feedback: str = "fixed"
    scale: float = 1.0
    frozen: tuple[int, ...] = ()

    kinds: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        if self.feedback not in self.kinds:
            raise ValueError(f"feedback is {self.feedback!r}; there are {', '.join(self.kinds)}")
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"scale is {self.scale}; it must be a number of at least 0")

    def shapes(self, net: Layered) -> dict[int, tuple[int, int]]:
        """Of the feedback matrices (what they send to, what they send), by layer."""
        raise NotImplementedError

    def init(self, net: Layered, params: Stack, rngs: Sequence[Generator]) -> Kept:
        """The feedback matrices, {layer: (R, ., .)}, float type and device of the parameters."""
        _check_net(net)
        if not all(1 <= layer <= net.depth for layer in self.frozen):
            raise ValueError(f"frozen is {self.frozen}; the layers are 1 to {net.depth}")
        return self.draw(net, params.flat, rngs)

    def draw(self, net: Layered, like: Tensor, rngs: Sequence[Generator]) -> Kept:
        """One matrix a layer and run, run r's from rngs[r]; the sender's row of a matrix has the
        fan-in of the weights it replaces.
        """
        drawn: list[list[Tensor]] = [
            [torch.empty(shape).uniform_(-1, 1, generator=rng) for rng in rngs]
            for shape in self.shapes(net).values()
        ]
        return {
            layer: (
                torch.stack(runs).to(like)
                * (per_run(self.scale, like) / math.sqrt(runs[0].shape[0]))
            )
            for layer, runs in zip(self.shapes(net), drawn, strict=True)
        }

    def __call__(
        self,
        net: Layered,
        params: Stack,
        buffers: dict[str, Tensor],
        kept: Kept,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """The loss of each run (R,), with what is stepped along written to ``out``."""
        _check_shapes(kept, self.shapes(net))
        if batch.mix:
            raise ValueError(
                "feedback alignment is not written for samples that are blended inside the network"
            )
        if self.feedback == "redrawn":
            kept = self.draw(net, params.flat, batch.rngs)
        hs, loss, error = rise(net, params, batch)
        self.descend(net, params, kept, hs, error, out)
        return loss

    def descend(
        self, net: Layered, params: Stack, kept: Kept, hs: list[Tensor], error: Tensor, out: Stack
    ) -> None:
        """Write to ``out`` what each layer makes of the error (R, B, K); hs[l] is what layer l put
        out, hs[0] the input.
        """
        raise NotImplementedError

    def write(self, net: Layered, layer: int, v: Tensor, h: Tensor, out: Stack) -> None:
        """The step of one layer, from the error v (R, N, out) at its products and from its input h;
        zero if it is frozen.
        """
        weight, bias = out[f"weight{layer}"], out[f"bias{layer}"]
        if layer in self.frozen:
            weight.zero_(), bias.zero_()
            return
        torch.sum(v, 1, out=bias)
        x = patches.rows(net, layer, h)
        if weight.dim() == 3:
            torch.bmm(v.mT, x, out=weight)
        else:
            weight.copy_(patches.unmatrix(v.mT @ x, weight))


@dataclass(frozen=True)
class FeedbackAlignment(_Feedback):
    r"""Backpropagation with a matrix :math:`B_l` in the place of :math:`W_l^\top`, for MLP and CNN
    without norm and dropout.

    .. math::

        v_{l-1} = (B_l\,v_l) \circ \rho'(z_{l-1}), \qquad
        \text{step of } W_l \propto v_l\,x_{l-1}^\top

    Args:
        feedback: "fixed", drawn once; "redrawn", drawn anew in every step; "weights", the weights
            themselves: backpropagation; "signs", the sizes of fixed matrices with the signs that
                the weights have now.
        scale: the matrices are multiplied by it; may differ between runs.
        frozen: layers, counted from 1, that do not learn.

    On MNIST-1D with MLP((40, 64, 64, 10)) SGD(lr=0.2, momentum=0.9) learned well.

    Raises:
        ValueError: for an unknown feedback, a negative scale; at init for a network or a layer that
            it cannot do; in a step for a matrix of the wrong shape.

    Source: Lillicrap and others (2016); Liao and others (2016) for "signs". Both draw B otherwise.
    """

    kinds: ClassVar[tuple[str, ...]] = ("fixed", "redrawn", "weights", "signs")

    def shapes(self, net: Layered) -> dict[int, tuple[int, int]]:
        """Of each layer but the first that of its transposed weights, (in, out)."""
        return {
            layer: (math.prod(shape[1:]), shape[0])
            for layer, shape in enumerate(net.shapes, start=1)
            if layer > 1
        }

    def descend(
        self, net: Layered, params: Stack, kept: Kept, hs: list[Tensor], error: Tensor, out: Stack
    ) -> None:
        """From the last layer to the first."""
        v = error
        for layer in range(net.depth, 0, -1):
            self.write(net, layer, v, hs[layer - 1], out)
            if layer > 1 and not all(below in self.frozen for below in range(1, layer)):
                weight = patches.matrix(net, params[f"weight{layer}"])
                arrived = patches.spread(
                    net, layer, torch.bmm(v, self._back(kept[layer], weight)), hs[layer - 1]
                )
                v = patches.products(net, layer - 1, SLOPES[net.activation](arrived, hs[layer - 1]))

    def _back(self, feedback: Tensor, weight: Tensor) -> Tensor:
        """What multiplies the error's rows from the right, (R, out, in)."""
        if self.feedback == "weights":
            return weight
        return feedback.mT.abs() * weight.sign() if self.feedback == "signs" else feedback.mT


@dataclass(frozen=True)
class DirectFeedbackAlignment(_Feedback):
    r"""The error of the output, sent to every hidden layer by a matrix :math:`B_l` of its own;
    networks as in FeedbackAlignment.

    .. math::

        v_l = (B_l\,v_L) \circ \rho'(z_l), \qquad \text{step of } W_l \propto v_l\,x_{l-1}^\top

    Args:
        feedback: "fixed"; "redrawn"; "weights": the transposed product of the weights above,
            backpropagation in a linear MLP.
        scale, frozen: as in FeedbackAlignment.

    On MNIST-1D with MLP((40, 64, 64, 10)) SGD(lr=0.2, momentum=0.9) learned well.

    Raises:
        ValueError: as FeedbackAlignment.

    Source: Nøkland (2016).
    """

    kinds: ClassVar[tuple[str, ...]] = ("fixed", "redrawn", "weights")

    def shapes(self, net: Layered) -> dict[int, tuple[int, int]]:
        """(units of a hidden layer, classes)."""
        return {
            layer: (units, net.shapes[-1][0]) for layer, units in enumerate(_units(net), start=1)
        }

    def init(self, net: Layered, params: Stack, rngs: Sequence[Generator]) -> Kept:
        """As FeedbackAlignment; "weights" needs an MLP."""
        if self.feedback == "weights" and any(
            len(shape) > 2 for shape in getattr(net, "shapes", ())
        ):
            raise ValueError(
                "feedback is 'weights': the product of the weights above is written for an MLP, not"
                " for filters"
            )
        return super().init(net, params, rngs)

    def descend(
        self, net: Layered, params: Stack, kept: Kept, hs: list[Tensor], error: Tensor, out: Stack
    ) -> None:
        """Each layer from the same error: their order does not matter."""
        above = params[f"weight{net.depth}"]
        self.write(net, net.depth, error, hs[-1], out)
        for layer in range(net.depth - 1, 0, -1):
            back = above if self.feedback == "weights" else kept[layer].mT
            arrived = torch.bmm(error, back).view(hs[layer].shape)
            v = patches.products(net, layer, SLOPES[net.activation](arrived, hs[layer]))
            self.write(net, layer, v, hs[layer - 1], out)
            above = above @ params[f"weight{layer}"] if self.feedback == "weights" else above


def rise(net: Layered, params: Stack, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor]:
    """The forward pass: what every layer takes in [input, hidden ...], the loss (R,), and its slope
    in the logits (R, B, K).
    """
    h = batch.x.unsqueeze(-1) if hasattr(net, "kernel") and len(net.shape) == 1 else batch.x
    hs = [h]
    for layer in range(1, net.depth + 1):
        weight = patches.matrix(net, params[f"weight{layer}"])
        z = torch.baddbmm(
            params[f"bias{layer}"][:, None], patches.rows(net, layer, hs[-1]), weight.mT
        )
        if layer < net.depth:
            hs.append(
                patches.outputs(
                    net, layer, net.hidden(z, params, {}, layer, True, ()), batch.x.shape[1]
                )
            )
    logs = torch.log_softmax(z, -1)
    targets = batch.targets
    if targets is None:
        targets = torch.zeros_like(logs).scatter_(2, batch.y[..., None], 1.0)
    return hs, -(logs * targets).sum(2).mean(1), (logs.exp() - targets).div_(z.shape[1])


def _units(net: Layered) -> list[int]:
    """Units that each hidden layer puts out, over all places."""
    if not hasattr(net, "kernel"):
        return [shape[0] for shape in net.shapes[:-1]]
    sides = net.shape if len(net.shape) == 1 else net.shape[1:]
    return [
        shape[0] * math.prod(-(-side // 2**layer) for side in sides)
        for layer, shape in enumerate(net.shapes[:-1], start=1)
    ]


def _check_net(net: Layered) -> None:
    if (
        not isinstance(net, Layered)
        or not hasattr(net, "kernel")
        and any(len(shape) != 2 for shape in net.shapes)
    ):
        raise ValueError(
            f"feedback alignment is written for MLP and CNN, not for {type(net).__name__}"
        )
    if net.norm is not None or isinstance(net.dropout, Tensor) or net.dropout > 0:
        raise ValueError(
            f"norm is {net.norm!r} and dropout {net.dropout}; feedback alignment is written for"
            " networks without"
        )
    if net.activation not in SLOPES:
        raise ValueError(
            f"activation is {net.activation!r}; feedback alignment knows the slopes of"
            f" {', '.join(SLOPES)}"
        )


def _check_shapes(kept: Kept, shapes: dict[int, tuple[int, int]]) -> None:
    for layer, shape in shapes.items():
        if layer not in kept or tuple(kept[layer].shape[1:]) != shape:
            found = tuple(kept[layer].shape[1:]) if layer in kept else "no matrix"
            raise ValueError(
                f"feedback of layer {layer} has shape {found}; it must be {shape}: what it sends"
                " to, what it sends"
            )
