"""Feedback alignment: the error is sent down by matrices other than the transposed weights.

Both are gradient estimators; ``SGD(lr=0.1, gradient=FeedbackAlignment())`` trains with one. They
are the fast forms, for R runs at once, of topics/feedback_alignment/reference.py; a test holds them
equal in float64. Feedback matrices are drawn as PyTorch draws the weights in whose place they
stand, uniform in ±scale/√fan_in.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from labsupport.checks import is_number
from labsupport.models import CNN, MLP, patches
from labsupport.models.layered import Layered
from labsupport.models.layers import per_run
from labsupport.stacks import Stack, hyperparameter, in_use
from labsupport.streams import Streams
from labsupport.types import Batch, Net

Matrices = dict[int, Tensor]
"""The state of both: a feedback matrix (R, to, from) for each layer that has one."""
SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda v, h: torch.ops.aten.threshold_backward(v, h, 0),
    "tanh": torch.ops.aten.tanh_backward,
    "sigmoid": torch.ops.aten.sigmoid_backward,
    "linear": lambda v, h: v,
}
"""What reaches a unit's output (v), times the slope of its activation, read off its output (h)."""


@dataclass(frozen=True)
class _Feedback:
    """The common part of both forms: forward pass, drawn matrices, gradients from the errors."""

    feedback: str = "fixed"
    scale: float = hyperparameter(1.0)
    frozen: tuple[int, ...] = ()

    kinds: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.feedback not in self.kinds:
            raise ValueError(f"feedback is {self.feedback!r}; there are {', '.join(self.kinds)}")
        if not is_number(self.scale, least=0):
            raise ValueError(f"scale is {self.scale!r}; it must be a number of at least 0")

    def shapes(self, net: Layered) -> dict[int, tuple[int, int]]:
        """Return the shapes of the feedback matrices, (receiver, sender), by layer."""
        raise NotImplementedError

    def init(self, net: Net, params: Stack, streams: Streams) -> Matrices:
        """Draw the feedback matrices, {layer: (R, ., .)}, dtype and device of the parameters."""
        net = _layered(net)
        if not all(1 <= layer <= net.depth for layer in self.frozen):
            raise ValueError(f"frozen is {self.frozen}; the layers are 1 to {net.depth}")
        return self.draw(net, params.flat, streams)

    def draw(self, net: Layered, like: Tensor, streams: Streams) -> Matrices:
        """Draw one matrix a layer and run, run r's from its stream.

        A sender's row of a matrix has the fan-in of the weights it replaces.
        """
        shapes = self.shapes(net)
        drawn = streams.uniform(sum(math.prod(shape) for shape in shapes.values()), like)
        parts = (2 * drawn - 1).split([math.prod(shape) for shape in shapes.values()], dim=1)
        return {
            layer: part.unflatten(1, shape) * (per_run(self.scale, like) / math.sqrt(shape[0]))
            for (layer, shape), part in zip(shapes.items(), parts, strict=True)
        }

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: Matrices,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the direction of the step to ``out``; return the loss of each run (R,)."""
        net = _layered(net)
        _check_shapes(state, self.shapes(net))
        if batch.mix:
            raise ValueError(
                "feedback alignment is not written for samples that are blended inside the network"
            )
        if self.feedback == "redrawn":
            state = self.draw(net, params.flat, batch.streams)
        hs, loss, error = forward(net, params, batch)
        self.backward(net, params, state, hs, error, out)
        return loss

    def backward(
        self,
        net: Layered,
        params: Stack,
        matrices: Matrices,
        hs: list[Tensor],
        error: Tensor,
        out: Stack,
    ) -> None:
        """Write to ``out`` each layer's gradient for the output error (R, B, K).

        hs[l] is what layer l put out, hs[0] the input.
        """
        raise NotImplementedError

    def write(self, net: Layered, layer: int, v: Tensor, h: Tensor, out: Stack) -> None:
        """Write one layer's gradient from its error v (R, N, out) and input h; 0 if frozen."""
        weight, bias = out[f"weight{layer}"], out[f"bias{layer}"]
        if layer in self.frozen:
            weight.zero_()
            bias.zero_()
            return
        torch.sum(v, 1, out=bias)
        x = patches.im2col(net, layer, h)
        if weight.dim() == 3:  # a matrix: the product goes straight to its place
            torch.bmm(v.mT, x, out=weight)
        else:
            weight.copy_(patches.unmatrix(v.mT @ x, weight))


@dataclass(frozen=True)
class FeedbackAlignment(_Feedback):
    r"""Backpropagation with a matrix :math:`B_l` in the place of :math:`W_l^\top`.

    For MLP and CNN without norm and dropout.

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
        """Return for each layer but the first its weights' shape transposed, (in, out)."""
        return {
            layer: (math.prod(shape[1:]), shape[0])
            for layer, shape in enumerate(net.shapes, start=1)
            if layer > 1
        }

    def backward(
        self,
        net: Layered,
        params: Stack,
        matrices: Matrices,
        hs: list[Tensor],
        error: Tensor,
        out: Stack,
    ) -> None:
        """Send the error from the last layer to the first."""
        v = error
        for layer in range(net.depth, 0, -1):
            self.write(net, layer, v, hs[layer - 1], out)
            # where everything below is frozen, nobody needs the error
            if layer > 1 and not all(below in self.frozen for below in range(1, layer)):
                weight = patches.matrix(params[f"weight{layer}"])
                arrived = patches.col2im(
                    net, layer, torch.bmm(v, self._back(matrices[layer], weight)), hs[layer - 1]
                )
                v = patches.products(net, layer - 1, SLOPES[net.activation](arrived, hs[layer - 1]))

    def _back(self, feedback: Tensor, weight: Tensor) -> Tensor:
        """Return the matrix that multiplies the error's rows from the right, (R, out, in)."""
        if self.feedback == "weights":
            return weight
        return feedback.mT.abs() * weight.sign() if self.feedback == "signs" else feedback.mT


@dataclass(frozen=True)
class DirectFeedbackAlignment(_Feedback):
    r"""The output's error sent to each hidden layer by a matrix :math:`B_l` of its own.

    For the same networks as FeedbackAlignment.

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
        """Return for each hidden layer the shape (its units, classes)."""
        return {
            layer: (units, net.shapes[-1][0]) for layer, units in enumerate(_units(net), start=1)
        }

    def init(self, net: Net, params: Stack, streams: Streams) -> Matrices:
        """Draw the matrices as FeedbackAlignment does; "weights" needs an MLP."""
        if self.feedback == "weights" and any(
            len(shape) > 2 for shape in getattr(net, "shapes", ())
        ):
            raise ValueError(
                "feedback is 'weights': the product of the weights above is written for an MLP, not"
                " for filters"
            )
        return super().init(net, params, streams)

    def backward(
        self,
        net: Layered,
        params: Stack,
        matrices: Matrices,
        hs: list[Tensor],
        error: Tensor,
        out: Stack,
    ) -> None:
        """Send every layer the same error, from the top: "weights" multiplies on the way."""
        above = params[f"weight{net.depth}"]
        self.write(net, net.depth, error, hs[-1], out)
        for layer in range(net.depth - 1, 0, -1):
            back = above if self.feedback == "weights" else matrices[layer].mT
            arrived = torch.bmm(error, back).view(hs[layer].shape)
            v = patches.products(net, layer, SLOPES[net.activation](arrived, hs[layer]))
            self.write(net, layer, v, hs[layer - 1], out)
            above = above @ params[f"weight{layer}"] if self.feedback == "weights" else above


def forward(net: Layered, params: Stack, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor]:
    """Compute each layer's input, the loss (R,), and its slope in the logits (R, B, K)."""
    # signals have one channel, and it comes last
    h = batch.x.unsqueeze(-1) if isinstance(net, CNN) and len(net.shape) == 1 else batch.x
    hs = [h]
    for layer in range(1, net.depth + 1):
        weight = patches.matrix(params[f"weight{layer}"])
        z = torch.baddbmm(
            params[f"bias{layer}"][:, None], patches.im2col(net, layer, hs[-1]), weight.mT
        )
        if layer < net.depth:
            hs.append(
                patches.outputs(
                    net,
                    layer,
                    net.hidden(z, params, {}, layer, True, batch.streams),
                    batch.x.shape[1],
                )
            )
    logs = torch.log_softmax(z, -1)
    targets = batch.targets
    if targets is None:
        targets = torch.zeros_like(logs).scatter_(2, batch.y[..., None], 1.0)
    return hs, -(logs * targets).sum(2).mean(1), (logs.exp() - targets).div_(z.shape[1])


def _units(net: Layered) -> list[int]:
    """Count the units that each hidden layer puts out, over all places."""
    if not isinstance(net, CNN):
        return [shape[0] for shape in net.shapes[:-1]]
    sides = net.shape if len(net.shape) == 1 else net.shape[1:]
    return [
        shape[0] * math.prod(-(-side // 2**layer) for side in sides)
        for layer, shape in enumerate(net.shapes[:-1], start=1)
    ]


def _layered(net: Net) -> Layered:
    """Refuse networks that feedback alignment is not written for."""
    if not isinstance(net, MLP | CNN):
        raise ValueError(
            f"feedback alignment is written for MLP and CNN, not for {type(net).__name__}"
        )
    if net.norm is not None or in_use(net.dropout):
        raise ValueError(
            f"norm is {net.norm!r} and dropout {net.dropout}; feedback alignment is written for"
            " networks without"
        )
    if net.activation not in SLOPES:
        raise ValueError(
            f"activation is {net.activation!r}; feedback alignment knows the slopes of"
            f" {', '.join(SLOPES)}"
        )
    return net


def _check_shapes(matrices: Matrices, shapes: dict[int, tuple[int, int]]) -> None:
    for layer, shape in shapes.items():
        if layer not in matrices or tuple(matrices[layer].shape[1:]) != shape:
            found = tuple(matrices[layer].shape[1:]) if layer in matrices else "no matrix"
            raise ValueError(
                f"feedback of layer {layer} has shape {found}; it must be {shape}: what it sends"
                " to, what it sends"
            )
