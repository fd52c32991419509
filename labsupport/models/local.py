"""A fully connected network with a classifier head on every hidden layer."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor

from labsupport import runtime
from labsupport.models.layers import Tensors
from labsupport.models.mlp import MLP, check_sizes
from labsupport.stacks import Stack
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Batch


class Part(Mapping[str, Tensor]):
    """Some parameters of a stack, renamed as those of a network of their own."""

    def __init__(self, stack: Tensors, names: Sequence[str]):
        """Take the weights ``names`` of ``stack``, first layer first, with their biases."""
        self._views: dict[str, Tensor] = {}
        self.transposed: dict[str, Tensor] = {}
        for i, name in enumerate(names, start=1):
            self._views[f"weight{i}"], self._views[f"bias{i}"] = (
                stack[name],
                stack[name.replace("weight", "bias")],
            )
            self.transposed[f"weight{i}"] = self._views[f"weight{i}"].mT

    def __getitem__(self, name: str) -> Tensor:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


_mlp = functools.cache(MLP)  # asked for at every step


@dataclass(frozen=True)
class LocalMLP:
    """ReLU layers, each with a head of k layers that computes logits from its output.

    A layer and its head are a *module*.

    Weights are drawn as torch.nn.Linear draws them, those of the hidden layers first: they are the
    same for every k. Parameters are named ``weight2``, ``bias2`` (hidden layer 2) and
    ``head2_weight1``, ``head2_bias1`` (its head's first layer).

    Args:
        sizes: widths from input to output: (40, 64, 64, 10) has two hidden layers. Inputs (R, B,
            ...) are flattened.
        heads: k, the layers of each head; all but its last have ReLUs. 1 is a linear read-out.
        width: units of the heads' own hidden layers.

    Raises:
        ValueError: for fewer than three sizes, a size or width below one, and a k below one or
            above the depth.
    """

    sizes: tuple[int, ...] = (40, 64, 64, 10)
    heads: int = 1
    width: int = 64

    def __post_init__(self) -> None:
        if len(self.sizes) < 3 or min(self.sizes) < 1:
            raise ValueError(
                f"sizes are {self.sizes}; there must be input, at least one hidden layer and"
                " output, each at least 1"
            )
        if not 1 <= self.heads <= self.depth:
            raise ValueError(
                f"heads have {self.heads} layers (k); it must be at least 1 and at most the"
                f" network's depth, {self.depth}"
            )
        if self.width < 1:
            raise ValueError(f"width is {self.width}; a head's hidden layer needs at least 1 unit")

    @property
    def depth(self) -> int:
        """Count the layers of weights without the heads: the hidden layers and a read-out."""
        return len(self.sizes) - 1

    @property
    def modules(self) -> int:
        """Count the hidden layers, each with its head."""
        return len(self.sizes) - 2

    def head(self, i: int) -> MLP:
        """Return the head of hidden layer i, counted from 1, as a network of its own."""
        return _mlp((self.sizes[i], *[self.width] * (self.heads - 1), self.sizes[-1]))

    def module(self, i: int) -> MLP:
        """Return hidden layer i with its head as a network of its own."""
        return _mlp((self.sizes[i - 1], *self.head(i).sizes))

    def head_names(self, i: int) -> list[str]:
        """Name the weights of head i, first layer first."""
        return [f"head{i}_weight{j}" for j in range(1, self.heads + 1)]

    def names(self, i: int) -> list[str]:
        """Name the weights of module i: the layer's and its head's."""
        return [f"weight{i}", *self.head_names(i)]

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw parameters, each (R, ...), and no buffers."""
        layers = {
            (f"weight{i}",): MLP((a, b))
            for i, (a, b) in enumerate(pairwise(self.sizes[:-1]), start=1)
        }
        heads = {tuple(self.head_names(i)): self.head(i) for i in range(1, self.modules + 1)}
        params: dict[str, Tensor] = {}
        for names, net in (layers | heads).items():
            drawn, _ = net.init(rngs)
            for j, name in enumerate(names, start=1):
                params[name], params[name.replace("weight", "bias")] = (
                    drawn[f"weight{j}"],
                    drawn[f"bias{j}"],
                )
        return {name: p.to(runtime.device()) for name, p in params.items()}, {}

    def check_data(self, shape: tuple[int, ...], classes: int) -> None:
        """Refuse inputs that do not flatten to the first size, or more classes than the last."""
        check_sizes(self, self.sizes, shape, classes)

    def layer(self, params: Tensors, i: int, x: Tensor) -> Tensor:
        """Compute the outputs of hidden layer i, (R, B, H), from those of the layer below."""
        return torch.baddbmm(params[f"bias{i}"][:, None], x, params[f"weight{i}"].mT).relu_()

    def readouts(self, params: Tensors, x: Tensor) -> list[Tensor]:
        """Compute the logits of every head, (R, B, K), lowest layer first."""
        h, found = x.flatten(2), []
        for i in range(1, self.modules + 1):
            h = self.layer(params, i, h)
            found.append(self.head(i).forward(Part(params, self.head_names(i)), {}, h))
        return found

    def forward(
        self,
        params: Tensors,
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        streams: Streams = NO_STREAMS,
    ) -> Tensor:
        """Compute the logits of the last head, (R, B, K); the other heads serve learning alone."""
        h = x.flatten(2)
        for i in range(1, self.modules + 1):
            h = self.layer(params, i, h)
        return self.head(self.modules).forward(Part(params, self.head_names(self.modules)), {}, h)

    def backprop(
        self, params: Stack, buffers: dict[str, Tensor], batch: Batch, grads: Stack
    ) -> Tensor | None:
        """Write the gradient of the last head's cross-entropy in all layers below it.

        The other heads stand still.
        """
        if batch.mix:
            return None
        grads.flat.zero_()
        whole = MLP((*self.sizes[:-1], *self.head(self.modules).sizes[1:]))
        names = [*(f"weight{i}" for i in range(1, self.modules)), *self.names(self.modules)]
        return whole.backward(Part(params, names), buffers, batch, Part(grads, names))
