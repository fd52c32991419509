"""Convolutional networks, for signals and for images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport import runtime
from labsupport.augment import blended
from labsupport.models import layers
from labsupport.models.layered import Layered
from labsupport.models.layers import Tensors
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Mix


class CheckedByShape:
    """A network whose ``shape`` and ``classes`` say what it can be trained on."""

    shape: tuple[int, ...]
    classes: int

    def check_data(self, shape: tuple[int, ...], classes: int) -> None:
        """Refuse inputs of another shape, or more classes than there are logits.

        Raises:
            ValueError: it says what the network takes and what the data have.
        """
        if self.shape != shape or self.classes < classes:
            raise ValueError(
                f"shape of {type(self).__name__} is {self.shape} and classes {self.classes}; the"
                f" data have inputs {shape} of {classes} classes"
            )


@dataclass(frozen=True)
class CNN(CheckedByShape, Layered):
    """Convolutions of stride 2, each with norm and activation, then one linear layer.

    Each convolution halves every side, rounded up; its padding is kernel // 2. Dropout acts on the
    last hidden layer.

    Args:
        shape: of one input: (40,) for signals, (1, 28, 28) for images of one channel.
        channels: of the convolutions, from first to last.
        classes: K.
        kernel: side of the filters, odd.
        and the fields of Layered.

    Raises:
        ValueError: for a shape that is neither (length,) nor (channels, height, width), no
            convolution, a size below one, an even kernel, and as Layered.
    """

    shape: tuple[int, ...] = (40,)
    channels: tuple[int, ...] = (25, 25, 25)
    classes: int = 10
    kernel: int = 3

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise ValueError(
                f"shape is {self.shape}; it must be (length,) or (channels, height, width)"
            )
        if not self.channels or min(*self.channels, self.classes) < 1:
            raise ValueError(
                f"channels are {self.channels} and classes {self.classes}; there must be at least"
                " one of each"
            )
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(
                f"kernel is {self.kernel}; it must be odd, so that padding keeps the middle in the"
                " middle"
            )
        super().__post_init__()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the filters, (out, in, kernel, ...), and of the last layer."""
        inputs, sides = (1, self.shape) if len(self.shape) == 1 else (self.shape[0], self.shape[1:])
        filters = [
            (o, i, *[self.kernel] * len(sides)) for i, o in pairwise((inputs, *self.channels))
        ]
        left = [-(-side // 2 ** len(self.channels)) for side in sides]
        return [*filters, (self.classes, self.channels[-1] * torch.Size(left).numel())]

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
        """Compute what each layer puts out: (R, B, L, C) for signals, (R, B, C, H, W) for images,
        the logits (R, B, K) last.
        """
        masks = layers.masks(self.dropout, streams, x, self.shapes[-1][1:]) if training else None
        weights = [self.weight(params, i) for i in range(1, self.depth + 1)]
        hidden = self._signals if len(self.shape) == 1 else self._images
        outputs = hidden(params, weights, buffers, x, training, streams, mix)
        last = outputs[-1].flatten(2)
        last = last * masks[0] if masks else last
        return [*outputs, torch.baddbmm(params[f"bias{self.depth}"][:, None], last, weights[-1].mT)]

    def _signals(
        self,
        params: Tensors,
        weights: Sequence[Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        training: bool,
        streams: Streams,
        mix: Mix | None,
    ) -> list[Tensor]:
        """Convolve signals over all runs by one matrix product a layer.

        The windows of a signal are laid side by side and multiplied with the filters.
        """
        # channels last: the windows side by side are then rows of a matrix without a copy more
        outputs = [x.unsqueeze(-1)]
        for i, w in enumerate(weights[:-1], start=1):
            runs, batch, length = outputs[-1].shape[:3]
            places, half = -(-length // 2), self.kernel // 2
            padded = F.pad(outputs[-1], (0, 0, half, half + 1))
            taps = [padded[:, :, k : k + 2 * places - 1 : 2] for k in range(self.kernel)]
            z = torch.baddbmm(
                params[f"bias{i}"][:, None],
                torch.cat(taps, -1).flatten(1, 2),
                w.permute(0, 3, 2, 1).flatten(1, 2),
            )
            outputs.append(
                blended(
                    self.hidden(
                        z.view(runs, batch, places, -1), params, buffers, i, training, streams
                    ),
                    mix,
                    i,
                )
            )
        return outputs[1:]

    def _images(
        self,
        params: Tensors,
        weights: Sequence[Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        training: bool,
        streams: Streams,
        mix: Mix | None,
    ) -> list[Tensor]:
        outputs = [x]
        for i, w in enumerate(weights[:-1], start=1):
            z = convolve(outputs[-1], w, params[f"bias{i}"], 2)
            outputs.append(
                blended(self.hidden(z, params, buffers, i, training, streams, axis=2), mix, i)
            )
        return outputs[1:]


def convolve(x: Tensor, w: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve images (R, B, C, H, W) with filters (R, O, C, k, k), run by run.

    One product over all runs is slower than torch's own convolution.

    Args:
        x, w: images and filters, k odd.
        bias: (R, O) or None.
        stride: a side becomes side / stride, rounded up.
    """
    # where products are taken in bfloat16, a GPU's convolutions want channels last in memory
    last = runtime.mixed()
    layout = torch.channels_last if last else torch.contiguous_format
    biases = [None] * len(w) if bias is None else bias.unbind()
    z = [
        F.conv2d(
            images.contiguous(memory_format=layout),
            filters.contiguous(memory_format=layout),
            b,
            stride,
            w.shape[-1] // 2,
        )
        for images, filters, b in zip(x.unbind(), w.unbind(), biases, strict=True)
    ]
    return (
        torch.stack([part.permute(0, 2, 3, 1) for part in z]).permute(0, 1, 4, 2, 3)
        if last
        else torch.stack(z)
    )
