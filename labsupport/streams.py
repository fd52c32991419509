"""Random numbers for R runs at once, the same alone or among fifty, on a CPU and on CUDA.

A counter-based generator is a function from a key and a position to random bits. Each run has a key
of its own, and all runs are at the same position, so one call draws for all of them, and no run
notices its neighbours. What is drawn at the start alone, weights and orders, comes from
``runtime.generator``.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

BLOCK = 8
"""Numbers from one position: four words of 64 bits, two numbers of 24 bits from each."""
_FIRST_MIDDLE = torch.tensor(2.0**-24 - 1)
"""The middle of the first of 2^24 steps from -1 to 1."""


def _quantiles(drawn: Tensor) -> None:
    """Turn uniform numbers into normal ones, by the inverse of the distribution function."""
    # taken in the middle of each step; that is exact, up to erfinv
    torch.add(_FIRST_MIDDLE, drawn, alpha=2, out=drawn)
    drawn.erfinv_().mul_(math.sqrt(2))


class Streams:
    """A stream of random numbers for each of R runs, by Philox 4x64-10.

    Args:
        seeds: R seeds, whole numbers.
        name: what the numbers are for, "noise" or "augment": streams of different names have
            nothing to do with each other.

    Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3", with the order of
    words of ``numpy.random.Philox``.
    """

    def __init__(self, seeds: Sequence[int], name: str) -> None:
        digests = [hashlib.blake2b(f"{s}/{name}".encode(), digest_size=16).digest() for s in seeds]
        self._keys = [int.from_bytes(digest, "little") for digest in digests]
        self._position = 0
        self._on_cpu: tuple[int, list[np.random.Generator]] = (-1, [])
        self._on_cuda: Tensor | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def clone(self) -> Self:
        """Make streams that go on from here on their own."""
        copy = object.__new__(type(self))
        copy._keys, copy._position = self._keys, self._position
        copy._on_cpu, copy._on_cuda = (-1, []), self._on_cuda
        return copy

    def uniform(self, count: int, like: Tensor) -> Tensor:
        """Draw numbers in [0, 1), multiples of 2^-24: (R, count), on the device of ``like``.

        Args:
            count: numbers for each run.
            like: a tensor of the R runs, (R, ...); the numbers have its dtype.

        Raises:
            ValueError: if there are not as many streams as runs.
        """
        return self._draw(count, like)[:, :count].to(like.dtype)

    def normal(self, count: int, like: Tensor) -> Tensor:
        """Draw standard normal numbers, (R, count), at most 5.5 in size; otherwise as ``uniform``.

        On a CPU and on CUDA they agree up to rounding.
        """
        return self._draw(count, like, _quantiles)[:, :count].to(like.dtype)

    def _draw(
        self, count: int, like: Tensor, become: Callable[[Tensor], object] = lambda drawn: None
    ) -> Tensor:
        """Draw whole blocks of uniform numbers, (R, count or a few more), and change them in place.

        On a CPU run by run: the numbers of one are in its cache.
        """
        if len(self) != len(like):
            raise ValueError(
                f"each run draws from a stream of its own: there are {len(like)} runs and"
                f" {len(self)} streams"
            )
        blocks = -(-count // BLOCK)
        drawn_on = like.device if like.device.type == "cuda" else "cpu"
        out = torch.empty(len(self), blocks * BLOCK, device=drawn_on)
        if drawn_on != "cpu":
            from labsupport import philox  # its compiler is not needed elsewhere

            if self._on_cuda is None or self._on_cuda.device != like.device:
                self._on_cuda = philox.keys(self._keys, like.device)
            philox.fill(out, self._on_cuda, self._position)
            become(out)
        else:
            generators = self._generators()
            for row, generator in zip(out, generators, strict=True):
                generator.random(out=row.numpy(), dtype=np.float32)
                become(row)
            self._on_cpu = self._position + blocks, generators
        self._position += blocks
        return out.to(like.device)

    def _generators(self) -> list[np.random.Generator]:
        """Return NumPy's generators at this position; they move on by themselves."""
        position, generators = self._on_cpu
        if position != self._position:
            generators = [
                np.random.Generator(np.random.Philox(key=key, counter=self._position))
                for key in self._keys
            ]
        return generators


NO_STREAMS = Streams((), "none")
"""For calls in which nothing is drawn."""
