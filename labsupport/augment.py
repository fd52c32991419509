"""What a batch goes through before a step: transforms of the inputs, and mixup.

A transform is a frozen record, called with a batch of R runs, their streams of random numbers, and
the fill value: what an input of zero became when the data were scaled. It acts on every sample by
itself.
Signals (R, B, L) are images of one row: they are shifted and flipped along it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport.checks import is_count, is_number
from labsupport.ops import augmentation, mixup
from labsupport.ops.precision import widened
from labsupport.stacks import hyperparameter
from labsupport.streams import Streams
from labsupport.types import Batch, Dataset, Mix, Mixing, Transform


@dataclass(frozen=True)
class RandomCrop:
    """Shift each sample by up to ``padding`` pixels each way; the border takes the fill value.

    Args:
        padding: p, a whole number of at least 0: one of (2p + 1)² windows for an image, of 2p + 1
            for a signal.

    Source: ``torchvision.transforms.v2.RandomCrop(size of the image, padding=p)``.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        if not is_count(self.padding):
            raise ValueError(
                f"padding is {self.padding!r}; it must be a whole number of at least 0"
            )

    def __call__(self, x: Tensor, streams: Streams, fill_value: Tensor) -> Tensor:
        images, p = _as_images(x), self.padding
        padding = (0 if x.dim() == 3 else p, p)
        tops, lefts = (
            (u * (2 * side + 1)).long()
            for u, side in zip(_draw(x, streams, 2), padding, strict=True)
        )
        return augmentation.crop(images, tops, lefts, padding=padding, fill=fill_value).view(
            x.shape
        )


@dataclass(frozen=True)
class RandomFlip:
    """Mirror each sample left to right with probability p.

    Args:
        p: in [0, 1].
    """

    p: float = hyperparameter(0.5)

    def __post_init__(self) -> None:
        if not is_number(self.p, least=0, most=1):
            raise ValueError(
                f"p is {self.p!r}, the probability to mirror a sample; it must be in [0, 1]"
            )

    def __call__(self, x: Tensor, streams: Streams, fill_value: Tensor) -> Tensor:
        (u,) = _draw(x, streams, 1)
        return augmentation.flip(_as_images(x), u < _per_sample(self.p, x)).view(x.shape)


@dataclass(frozen=True)
class RandomRotation:
    """Rotate each image about its centre by a uniform random angle within ± degrees.

    Args:
        degrees: the largest angle, at least 0.
    """

    degrees: float = hyperparameter(10.0)

    def __post_init__(self) -> None:
        if not is_number(self.degrees, least=0):
            raise ValueError(
                f"degrees is {self.degrees!r}, the largest angle; it must be a number of at least 0"
            )

    def __call__(self, x: Tensor, streams: Streams, fill_value: Tensor) -> Tensor:
        (u,) = _draw(x, streams, 1)
        return augmentation.rotate(
            _as_images(x), (2 * u - 1) * _per_sample(self.degrees, x), fill=fill_value
        ).view(x.shape)


@dataclass(frozen=True)
class Cutout:
    """Paint one square of each image with the fill value.

    Args:
        size: its side.
        inside: True: the square lies in the image, as in torchvision's RandomErasing. False: its
            middle does, and what hangs out over the border is lost, as DeVries and Taylor (2017)
            have it.
    """

    size: int = 8
    inside: bool = False

    def __post_init__(self) -> None:
        if not is_count(self.size, 1):
            raise ValueError(
                f"size is {self.size!r}, the side of the square; it must be a whole number of at"
                " least 1"
            )

    def __call__(self, x: Tensor, streams: Streams, fill_value: Tensor) -> Tensor:
        images = _as_images(x)
        if self.inside and self.size > min(images.shape[2:]):
            raise ValueError(
                f"size is {self.size}; a square inside an image of {tuple(images.shape[2:])} cannot"
                " be larger"
            )
        places = [side - self.size + 1 if self.inside else side for side in images.shape[2:]]
        back = 0 if self.inside else self.size // 2
        tops, lefts = (
            (u * count).long() - back for u, count in zip(_draw(x, streams, 2), places, strict=True)
        )
        return augmentation.cutout(images, tops, lefts, size=self.size, fill=fill_value).view(
            x.shape
        )


@dataclass(frozen=True)
class Mixup:
    """Blend each sample and its label with another of its batch: one coefficient a batch and run.

    Args:
        alpha: of the coefficient's distribution Beta(alpha, alpha), above 0.
        layers: where to blend: 0 the inputs, i what hidden layer i puts out. With several, each
            batch of each run takes one of them at random: manifold mixup.

    Raises:
        ValueError: for an alpha that is not above 0, or no layer, or a negative one.
    """

    alpha: float = hyperparameter(1.0)
    layers: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not is_number(self.alpha, above=0):
            raise ValueError(
                f"alpha is {self.alpha!r}; it must be a number above 0 (no mixup: mixup=None)"
            )
        if not self.layers or min(self.layers) < 0 or len(set(self.layers)) < len(self.layers):
            raise ValueError(
                f"layers are {self.layers}; name at least one, each once: 0 for the inputs, i for"
                " hidden layer i"
            )

    def __call__(self, batch: Batch, classes: int, streams: Streams) -> Batch:
        """Blend inputs and targets, or add what the network needs to blend a hidden layer."""
        runs, size = batch.y.shape
        # the coefficient, its layer, then the partners: one draw a run
        u = streams.uniform(size + 2, torch.empty(runs, dtype=torch.float64))
        lam = mixup.coefficient(u[:, 0], self.alpha).to(batch.x)
        chosen = (u[:, 1] * len(self.layers)).long().to(lam.device)
        # sorting uniform numbers permutes; offsets lead into the flattened batch, within the run
        partner = (
            u[:, 2:].argsort(1).add_(torch.arange(runs)[:, None] * size).flatten().to(lam.device)
        )
        mix = Mix(
            partner,
            {layer: torch.where(chosen == i, lam, 1.0) for i, layer in enumerate(self.layers)},
        )
        labels = batch.x.new_zeros(runs, size, classes).scatter_(2, batch.y[..., None], 1.0)
        targets = mixup.blend(labels, _others(labels, mix), lam)
        return batch._replace(
            x=blended(batch.x, mix, 0), targets=targets, mix=mix if max(self.layers) else None
        )


def blended(h: Tensor, mix: Mix | None, layer: int) -> Tensor:
    """Blend a layer's outputs (R, B, ...) if ``mix`` names this layer; layer 0 is the inputs."""
    if mix is None or layer not in mix.coefficient:
        return h
    return mixup.blend(h, _others(h, mix), mix.coefficient[layer])


def _others(h: Tensor, mix: Mix) -> Tensor:
    """Return the partner of each sample of (R, B, ...)."""
    return h.flatten(0, 1).index_select(0, mix.partner).view(h.shape)


def _as_images(x: Tensor) -> Tensor:
    """View images (R, B, C, H, W) as (R·B, C, H, W), signals (R, B, L) as (R·B, 1, 1, L).

    Raises:
        ValueError: for inputs that are neither.
    """
    if x.dim() not in (3, 5):
        raise ValueError(
            f"inputs have shape {tuple(x.shape)}; images (R, B, C, H, W) and signals (R, B, L) can"
            " be changed"
        )
    return x.flatten(0, 1) if x.dim() == 5 else x.reshape(-1, 1, 1, x.shape[2])


def _draw(x: Tensor, streams: Streams, count: int) -> Sequence[Tensor]:
    """Draw ``count`` uniform numbers a sample, each (R·B,); run r draws from its stream."""
    # in half precision a number just below 1 is 1, and the place that it stands for does not exist
    drawn = streams.uniform(count * x.shape[1], widened(x))
    return [u.flatten() for u in drawn.chunk(count, dim=1)]


def _per_sample(value: float | Tensor, x: Tensor) -> float | Tensor:
    """Repeat a hyperparameter of each run for its samples."""
    if not isinstance(value, Tensor):
        return value
    return value.to(widened(x).dtype).repeat_interleave(x.shape[1])


def prepared(
    batch: Batch,
    transforms: Sequence[Transform],
    mix: Mixing | None,
    dataset: Dataset,
    streams: tuple[Streams, Streams],
) -> Batch:
    """Transform a batch, then blend it; ``streams`` are for the one and for the other."""
    for transform in transforms:
        batch = batch._replace(x=transform(batch.x, streams[0], dataset.fill_value))
    return mix(batch, dataset.classes, streams[1]) if mix else batch


def streams_of(seeds: Sequence[int]) -> tuple[Streams, Streams]:
    """Make the runs' streams for transforms, and for mixup."""
    return Streams(seeds, "augment"), Streams(seeds, "mixup")
