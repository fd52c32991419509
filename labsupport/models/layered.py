"""Networks made of layers one after another: their parameters, norms, activations and masks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from labsupport import runtime
from labsupport.checks import is_count, is_number
from labsupport.models import initialization, layers
from labsupport.models.layers import ACTIVATIONS, BIASES, NORMS, Tensors
from labsupport.stacks import hyperparameter
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Mix


@dataclass(frozen=True, kw_only=True)
class Layered:
    """Layers of weights, each but the last with norm and activation.

    A subclass gives the shapes of the layers and how they multiply.

    Args:
        activation: relu | tanh | sigmoid | leaky_relu | elu | gelu | silu | sign (a hard threshold,
            slope 0) | linear.
        norm: before each activation: None; "batch" and "layer" norm with PyTorch's defaults;
            "group" norm with eight groups of channels, or as many as divide them;
            "noisy_batch", batch norm with random stretches and moves behind it (see ``noise``).
            "weight" writes every weight as g v/‖v‖; it starts from the very function that the
            network without a norm starts from.
        initializer: how weights are drawn, by its name in models/initialization.py.
        bias: "uniform" in ±1/√fan_in as torch.nn.Linear draws them, or "zero".
        gain: every weight matrix is multiplied by it at the start.
        dropout: the probability, in [0, 1), that a hidden unit is set to zero in training; the
            others are divided by 1 - dropout (inverted dropout).
        noise: how far noisy batch norm moves a unit, in standard deviations of that unit.
        ghost: batch norm's statistics are taken over groups of so many samples of the batch, in
            training; 0 takes the whole batch. The gradient is the whole batch's either way.

    Raises:
        ValueError: for an unknown name, a negative gain, noise or ghost, a dropout outside [0, 1);
            it names the value.
    """

    activation: str = "relu"
    norm: str | None = None
    initializer: str = "torch_default"
    bias: str = "uniform"
    gain: float = hyperparameter(1.0)
    dropout: float = hyperparameter(0.0)
    noise: float = hyperparameter(0.0)
    ghost: int = 0

    def __post_init__(self) -> None:
        for field, allowed in (
            ("activation", ACTIVATIONS),
            ("norm", NORMS),
            ("bias", BIASES),
            ("initializer", initialization.SCHEMES),
        ):
            if getattr(self, field) not in tuple(allowed):
                raise ValueError(
                    f"{field} is {getattr(self, field)!r}; there are {', '.join(map(str, allowed))}"
                )
        for field in ("gain", "noise"):
            if not is_number(getattr(self, field), least=0):
                raise ValueError(
                    f"{field} is {getattr(self, field)!r}; it must be a number of at least 0"
                )
        if not is_count(self.ghost):
            raise ValueError(f"ghost is {self.ghost!r}; it must be a whole number of at least 0")
        if not is_number(self.dropout, least=0, below=1):
            raise ValueError(
                f"dropout is {self.dropout!r}, the probability to drop a unit; it must be in [0, 1)"
            )

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the layers' weights, (out, in, ...), as in torch.nn."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """Count the layers of weights."""
        return len(self.shapes)

    @property
    def mixable_layers(self) -> int:
        """Count the hidden layers: all of them can be blended."""
        return self.depth - 1

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw weights by the initializer, times the gain.

        Scales are one, shifts zero, running statistics 0 and 1.
        """
        drawn = [self._draw(rng) for rng in rngs]
        device = runtime.device()
        params: dict[str, Tensor] = {}
        buffers: dict[str, Tensor] = {}
        for i, shape in enumerate(self.shapes, start=1):
            weight, bias = (
                torch.stack([run[i - 1][k] for run in drawn]).to(device) for k in (0, 1)
            )
            weight *= layers.per_run(self.gain, weight).reshape(-1, *[1] * len(shape))
            params |= {f"weight{i}": weight, f"bias{i}": bias}
            if self.norm == "weight":
                # g = ‖v‖ at first: the function that the network without a norm starts from
                params[f"length{i}"] = weight.flatten(2).norm(dim=2)
            elif self.norm and i < self.depth:
                params[f"scale{i}"] = torch.ones(len(rngs), shape[0], device=device)
                params[f"shift{i}"] = torch.zeros(len(rngs), shape[0], device=device)
                if self.norm in ("batch", "noisy_batch"):
                    buffers[f"mean{i}"] = torch.zeros(len(rngs), shape[0], device=device)
                    buffers[f"var{i}"] = torch.ones(len(rngs), shape[0], device=device)
        return params, buffers

    def _draw(self, rng: Generator) -> list[tuple[Tensor, Tensor]]:
        drawn = []
        for shape in self.shapes:
            weight = initialization.SCHEMES[self.initializer](shape, rng)
            fan_in, _ = initialization.fans(shape)
            bound = 1 / math.sqrt(fan_in) if self.bias == "uniform" else 0.0
            # drawn even where it is zero, so that the weights of the next layer are the same
            drawn.append((weight, torch.empty(shape[0]).uniform_(-bound, bound, generator=rng)))
        return drawn

    def forward(
        self,
        params: Tensors,
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        streams: Streams = NO_STREAMS,
        mix: Mix | None = None,
    ) -> Tensor:
        """Compute logits (R, B, K) of inputs (R, B, ...); training draws from the streams."""
        return self.layers(params, buffers, x, training=training, streams=streams, mix=mix)[-1]

    def layers(
        self,
        params: Tensors,
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        streams: Streams = NO_STREAMS,
        mix: Mix | None = None,
    ) -> list[Tensor]:
        """Compute the outputs of each layer, blended where ``mix`` says so.

        The hidden ones are taken after their activation; the last one is the logits (R, B, K).
        """
        raise NotImplementedError

    def weight(self, params: Tensors, layer: int) -> Tensor:
        """Return the weights that a layer multiplies with, (R, out, in, ...)."""
        return (
            layers.normed_weight(params, layer)
            if self.norm == "weight"
            else params[f"weight{layer}"]
        )

    def logits(self, params: Tensors, h: Tensor) -> Tensor:
        """Compute the last layer, which is linear alone: (R, B, K) of features (R, B, D)."""
        bias, weight = params[f"bias{self.depth}"], self.weight(params, self.depth)
        return torch.baddbmm(bias[:, None], h, weight.mT)

    def hidden(
        self,
        z: Tensor,
        params: Tensors,
        buffers: dict[str, Tensor],
        layer: int,
        training: bool,
        streams: Streams,
        axis: int = -1,
    ) -> Tensor:
        """Apply norm and activation to products (R, B, ..., C), or with another channel axis.

        Norms are taken in the weights' precision: a mean of numbers in bfloat16 has three digits.
        """
        if self.norm not in (None, "weight"):
            z = z.to(params[f"scale{layer}"].dtype)
        if self.norm in ("batch", "noisy_batch"):
            z = layers.batch_norm(z, params, buffers, layer, training, axis, self.ghost)
        if self.norm == "noisy_batch" and training:
            z = layers.jitter(z, self.noise, streams, axis)
        if self.norm == "layer":
            z = layers.layer_norm(z, params, layer, axis)
        if self.norm == "group":
            z = layers.group_norm(z, params, layer, axis)
        return ACTIVATIONS[self.activation](z)
