"""Residual networks for images, R of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from labsupport import runtime
from labsupport.augment import blended
from labsupport.models import initialization, layers
from labsupport.models.cnn import CheckedByShape, convolve
from labsupport.models.layered import Layered
from labsupport.models.layers import Tensors
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Mix


class Block(NamedTuple):
    """A residual block: the layer of its first convolution, its channels, and its stride."""

    layer: int
    inputs: int
    outputs: int
    stride: int

    @property
    def is_projected(self) -> bool:
        """Tell whether the shortcut is a convolution, because the block changes the shape."""
        return self.inputs != self.outputs or self.stride > 1


@dataclass(frozen=True)
class ResNet(CheckedByShape, Layered):
    """Convolutions of three by three with a shortcut around every two of them.

    A convolution; residual blocks in stages, each stage after the first with half the side; the
    mean over all places; one linear layer. In a block norm and activation come before each
    convolution, and the sum goes on as it is ("pre-activation"). Where a block changes the shape,
    its shortcut is a convolution of one by one. Dropout acts between the convolutions of a block.

    Args:
        shape: of one image, (channels, height, width).
        channels: of the stages, from first to last.
        blocks: residual blocks in each stage.
        classes: K.
        and the fields of Layered.

    Raises:
        ValueError: for a size below one, a shape of other than three, and as Layered.

    Source: He et al. (2016), "Identity mappings in deep residual networks".
    """

    shape: tuple[int, ...] = (3, 32, 32)
    channels: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    classes: int = 10

    def __post_init__(self) -> None:
        sizes = (*self.shape, *self.channels, self.blocks, self.classes)
        if len(self.shape) != 3 or not self.channels or min(sizes) < 1:
            raise ValueError(
                f"shape is {self.shape}, channels {self.channels}, blocks {self.blocks} and classes"
                f" {self.classes}; images are (channels, height, width), and every size is at"
                " least 1"
            )
        super().__post_init__()

    @property
    def residual(self) -> list[Block]:
        """List the residual blocks, from first to last."""
        found: list[Block] = []
        inputs = self.channels[0]
        for stage, outputs in enumerate(self.channels):
            for block in range(self.blocks):
                stride = 2 if stage and not block else 1
                found.append(Block(2 * len(found) + 2, inputs, outputs, stride))
                inputs = outputs
        return found

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the filters, (out, in, 3, 3), and of the last layer."""
        pairs = [(self.channels[0], self.shape[0])]
        for block in self.residual:
            pairs += [(block.outputs, block.inputs), (block.outputs, block.outputs)]
        return [*((*pair, 3, 3) for pair in pairs), (self.classes, self.channels[-1])]

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw weights as Layered does, then those of the shortcuts."""
        params, buffers = super().init(rngs)
        draw = initialization.SCHEMES[self.initializer]
        for block in self.residual:
            if block.is_projected:
                shape = (block.outputs, block.inputs, 1, 1)
                drawn = torch.stack([draw(shape, rng) for rng in rngs])
                params[f"shortcut{block.layer}"] = drawn.to(runtime.device())
        return params, buffers

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
        """Compute what each layer puts out, (R, B, C, H, W) behind its norm and activation, the
        logits (R, B, K) last.
        """

        def convolved(h: Tensor, layer: int, stride: int = 1) -> Tensor:
            return convolve(h, self.weight(params, layer), params[f"bias{layer}"], stride)

        def activated(z: Tensor, layer: int) -> Tensor:
            # without a norm the activation works in place, and the sum is still needed
            z = z.clone() if self.norm in (None, "weight") else z
            h = self.hidden(z, params, buffers, layer, training, streams, axis=2)
            return blended(h, mix, layer)

        masks = layers.masks(self.dropout, streams, x, self._dropped) if training else None
        outputs, total = [], convolved(x, 1)
        for k, block in enumerate(self.residual):
            h = activated(total, block.layer - 1)
            inside = activated(convolved(h, block.layer, block.stride), block.layer)
            outputs += [h, inside]
            if masks:
                inside = inside * masks[k].view(inside.shape)
            if block.is_projected:
                total = convolve(h, params[f"shortcut{block.layer}"], None, block.stride)
            total = total + convolved(inside, block.layer + 1)
        outputs.append(activated(total, self.depth - 1))
        return [*outputs, self.logits(params, outputs[-1].mean((3, 4)))]

    @property
    def _dropped(self) -> list[int]:
        """Count the units between the convolutions of each block."""
        found, (high, wide) = [], self.shape[1:]
        for block in self.residual:
            high, wide = -(-high // block.stride), -(-wide // block.stride)
            found.append(block.outputs * high * wide)
        return found
