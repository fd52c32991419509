"""The network of the speed records on CIFAR-10, R of them at once."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from labsupport.augment import blended
from labsupport.models import layers
from labsupport.models.cnn import CheckedByShape, convolve
from labsupport.models.layered import Layered
from labsupport.models.layers import Tensors
from labsupport.streams import NO_STREAMS, Streams
from labsupport.types import Mix


@dataclass(frozen=True)
class ResNet9(CheckedByShape, Layered):
    """The nine layers of the speed records on CIFAR-10: wide, shallow, two residual blocks.

    Convolutions of three by three, each with norm and activation behind it; at every new width the
    largest of four places is kept. At the second and the fourth width follow two convolutions with
    a shortcut around them. Then the largest of all places and one linear layer, whose logits are
    divided by eight. Dropout acts before the linear layer.

    Args:
        shape: of one image, (channels, height, width); sides of at least 8.
        channels: of the four widths.
        classes: K.
        and the fields of Layered.

    Raises:
        ValueError: for other than four widths, a size below one, a side below 8, and as Layered.

    Source: Page's entry to DAWNBench, github.com/davidcpage/cifar10-fast, ``net`` in dawn.py; its
    layers have no biases.
    """

    shape: tuple[int, ...] = (3, 32, 32)
    channels: tuple[int, ...] = (64, 128, 256, 512)
    classes: int = 10

    def __post_init__(self) -> None:
        sizes = (*self.shape[:1], *self.channels, self.classes)
        if len(self.shape) != 3 or len(self.channels) != 4 or min(sizes) < 1:
            raise ValueError(
                f"shape is {self.shape}, channels {self.channels} and classes {self.classes};"
                " images are (channels, height, width), there are four widths, and every size is at"
                " least 1"
            )
        if min(self.shape[1:]) < 8:
            raise ValueError(f"shape is {self.shape}; the sides are halved three times: at least 8")
        super().__post_init__()

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the filters, (out, in, 3, 3), and of the last layer."""
        a, b, c, d = self.channels
        pairs = [(a, self.shape[0]), (b, a), (b, b), (b, b), (c, b), (d, c), (d, d), (d, d)]
        return [*((*pair, 3, 3) for pair in pairs), (self.classes, d)]

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
        """Compute what each layer puts out, (R, B, C, H, W), the logits (R, B, K) last."""
        outputs: list[Tensor] = []

        def convolved(h: Tensor, pools: bool = False) -> Tensor:
            layer = len(outputs) + 1
            z = convolve(h, self.weight(params, layer), params[f"bias{layer}"], 1)
            h = self.hidden(z, params, buffers, layer, training, streams, axis=2)
            if pools:
                h = F.max_pool2d(h.flatten(0, 1), 2).unflatten(0, h.shape[:2])
            outputs.append(blended(h, mix, layer))
            return outputs[-1]

        masks = layers.masks(self.dropout, streams, x, self.channels[-1:]) if training else None
        h = convolved(convolved(x), pools=True)
        h = h + convolved(convolved(h))
        h = convolved(convolved(h, pools=True), pools=True)
        h = h + convolved(convolved(h))
        last = h.amax((3, 4))
        last = last * masks[0] if masks else last
        return [*outputs, self.logits(params, last) / 8]
