"""Local learning: a layer learns from a loss of its own, and no gradient passes from one layer to
the next.

Every source here needs a network with heads, ``models.LocalMLP``. A module is a hidden layer with
its head. The heads themselves always learn the cross-entropy of their own guess; the sources differ
in what the layers learn, and when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from labsupport import runtime
from labsupport.models.local import LocalMLP, Part
from labsupport.stacks import Stack
from labsupport.types import Batch

KINDS = ("pred", "sim", "predsim")
EPS = 1e-8


def module_gradients(net: LocalMLP, i: int, params: Stack, batch: Batch, out: Stack) -> Tensor:
    """The loss of module i (R,) on what it is shown, ``batch.x`` (R, B, D), with its gradient; no
    other one is touched.
    """
    names = net.names(i)
    return net.module(i).backprop(Part(params, names), {}, batch, Part(out, names))


def head_gradients(
    net: LocalMLP, i: int, params: Stack, batch: Batch, h: Tensor, out: Stack
) -> Tensor:
    """The loss of head i (R,) on what its layer puts out, with the head's gradient; the layer gets
    none.
    """
    names = net.head_names(i)
    return net.head(i).backprop(Part(params, names), {}, batch._replace(x=h), Part(out, names))


def unit_rows(h: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of h (R, B, H), each less its mean and of length one, and the lengths (R, B, 1):
    cosines are their products.

    A row with one value throughout has no direction: it becomes 0, its length infinite, and it gets
    no gradient.
    """
    centred = h - h.mean(-1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True)
    length.masked_fill_(length < EPS, torch.inf)
    return centred / length, length


def matching_slope(h: Tensor, labels: Tensor) -> Tensor:
    """The gradient in h of the mean squared distance between the cosines of the rows of h and those
    of the labels.

    The fast form of ``similarity_slope`` in topics/local_learning/reference.py, for R runs at once.
    The tables of cosines, (R, B, B), are never made: (S - T)u is u(uᵀu) - t(tᵀu).

    Args:
        h: what a layer puts out, (R, B, H).
        labels: the labels' unit rows t, (R, B, K).
    """
    u, length = unit_rows(h)
    slope = (u @ (u.mT @ u)).sub_(labels @ (labels.mT @ u)).mul_(4 / h.shape[-2] ** 2)
    slope = torch.addcmul(slope, u, (slope * u).sum(-1, keepdim=True), value=-1).div_(length)
    return slope - slope.mean(-1, keepdim=True)


def label_rows(net: LocalMLP, batch: Batch) -> Tensor:
    """The labels' unit rows (R, B, K): their cosines are 1 within a class and -1/(K - 1) between
    two.
    """
    labels = batch.targets
    if labels is None:
        labels = torch.nn.functional.one_hot(batch.y, net.sizes[-1]).to(batch.x.dtype)
    return unit_rows(labels)[0]


def _require_heads(net: Any) -> None:
    if not isinstance(net, LocalMLP):
        raise ValueError(
            f"the network is a {type(net).__name__}; local learning needs heads, as models.LocalMLP"
            " has them"
        )


def _inputs(batch: Batch) -> Batch:
    """The batch with its inputs as rows."""
    if batch.mix:
        raise ValueError(
            f"samples are blended inside the network, at layers {sorted(batch.mix.weights)}; a"
            " module that learns alone cannot know of that"
        )
    return batch._replace(x=batch.x.flatten(2))


@dataclass(frozen=True)
class LocalErrors:
    """Every layer learns at every step from its own error signal, all on the same batch.

    With Adam(lr=0.005) LocalMLP((40, 64, 64, 10)) learns MNIST-1D from each of them; with
    SGD(lr=0.4) not from "sim".

    Args:
        kind: "pred", the cross-entropy of the layer's head; "sim", how far the similarities of the
            layer's outputs are from those of the labels; "predsim", (1 - beta) of the one and beta
            of the other.
        beta: in [0, 1]; used by predsim alone.

    Raises:
        ValueError: for an unknown kind or a beta outside [0, 1]; in a step, for a network without
            heads.

    Source: Nøkland & Eidnes (2019). There a layer is followed by one more linear map before its
    similarities are taken; here they are those of the layer itself. There the head of predsim
    learns (1 - beta) of its cross-entropy; here it learns all of it, so that it is as good a
    read-out for every beta.
    """

    kind: str = "predsim"
    beta: float = 0.5

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; there are {', '.join(KINDS)}")
        if not 0 <= self.beta <= 1:
            raise ValueError(
                f"beta is {self.beta}, the share of similarity matching; it must be in [0, 1]"
            )

    def init(self, net: LocalMLP, params: Stack, rngs: Sequence[Generator]) -> Tensor:
        """beta as a column for each run."""
        _require_heads(net)
        return torch.as_tensor(
            self.beta, dtype=params.flat.dtype, device=params.flat.device
        ).reshape(-1, 1, 1)

    def __call__(
        self,
        net: LocalMLP,
        params: Stack,
        buffers: dict[str, Tensor],
        kept: Tensor,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """The last head's loss of each run (R,), with the local gradients written to ``out``."""
        below = _inputs(batch)
        wanted = None if self.kind == "pred" else label_rows(net, below)
        for i in range(1, net.modules + 1):
            h = net.rise(params, i, below.x)
            if self.kind == "sim":
                loss = head_gradients(net, i, params, below, h, out)
            else:
                loss = module_gradients(net, i, params, below, out)
            if self.kind != "pred":
                self._match(i, below.x, h, wanted, kept, out)
            below = below._replace(x=h)
        return loss

    def _match(
        self, i: int, x: Tensor, h: Tensor, wanted: Tensor, beta: Tensor, out: Stack
    ) -> None:
        """Put similarity matching into the gradient of layer i, or blend it with what is there."""
        dz = matching_slope(h, wanted) * (h > 0)
        for name, found, share in (
            (f"weight{i}", dz.mT @ x, beta),
            (f"bias{i}", dz.sum(1), beta[..., 0]),
        ):
            if self.kind == "sim":
                out[name].copy_(found)
            else:
                out[name].lerp_(found, share)


@dataclass(frozen=True)
class Greedy:
    """One module after another: the first ``stage`` steps train module 1, the next ones module 2,
    what is below stands still.

    Use it with an optimizer that stands still where the gradient is zero: SGD without momentum and
    without decay. With SGD(lr=0.4) LocalMLP((40, 64, 64, 10)) learns MNIST-1D.

    Args:
        stage: steps for each module; the last one goes on learning after its own.

    Raises:
        ValueError: for a stage below one; in a step, for a network without heads.

    Source: Ivakhnenko & Lapa (1965) for the idea, Belilovsky, Eickenberg & Oyallon (2019) for this
    form of it.
    """

    stage: int = 400

    def __post_init__(self):
        if self.stage < 1:
            raise ValueError(f"stage is {self.stage}; a module needs at least 1 step")

    def init(self, net: LocalMLP, params: Stack, rngs: Sequence[Generator]) -> None:
        """Nothing is kept."""
        _require_heads(net)

    def __call__(
        self,
        net: LocalMLP,
        params: Stack,
        buffers: dict[str, Tensor],
        kept: None,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """The loss of the module that learns (R,), with its gradient written to ``out`` and zeros
        elsewhere.
        """
        active = min(1 + (batch.t - 1) // self.stage, net.modules)
        below = _inputs(batch)
        for i in range(1, active):
            below = below._replace(x=net.rise(params, i, below.x))
        out.flat.zero_()
        return module_gradients(net, active, params, below, out)


@dataclass(frozen=True)
class Decoupled:
    """Decoupled greedy learning: all modules learn at every step, each from its own head, with a
    buffer between two of them.

    A module passes on what its layer put out before its step. The next one finds it in a buffer of
    the last ``buffer`` batches and trains on the oldest of them, which is buffer - 1 steps old, as
    soon as the buffer is full. With ``replay`` it trains on one of those that are there, drawn at
    random, for each run anew. With SGD(lr=0.4) LocalMLP((40, 64, 64, 10)) learns MNIST-1D.

    Args:
        buffer: batches between two modules, at least 1; 1 is no delay.
        replay: draw from the buffer instead of taking its oldest batch.

    Raises:
        ValueError: for a buffer below one; in a step, for a network without heads.

    Source: Belilovsky, Eickenberg & Oyallon (2020), Algorithm 1 for one batch, and after Algorithm
    2 for a buffer with replay.
    """

    buffer: int = 1
    replay: bool = False

    def __post_init__(self):
        if self.buffer < 1:
            raise ValueError(f"buffer is {self.buffer}; there must be room for at least 1 batch")

    def init(self, net: LocalMLP, params: Stack, rngs: Sequence[Generator]) -> dict[int, "Ring"]:
        """The buffers, by the module that reads from them."""
        _require_heads(net)
        return {i: Ring(self.buffer, self.replay) for i in range(2, net.modules + 1)}

    def __call__(
        self,
        net: LocalMLP,
        params: Stack,
        buffers: dict[str, Tensor],
        kept: dict[int, "Ring"],
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """The loss of the highest module that had something to learn from (R,); those above it get
        a gradient of zero.
        """
        out.flat.zero_()
        drawn = [None] * net.modules
        if self.replay:
            drawn = runtime.uniform(batch.rngs, net.modules, params.flat).unbind(1)
        found: Batch | None = _inputs(batch)
        for i in range(1, net.modules + 1):
            found = found if i == 1 else kept[i].exchange(found, drawn[i - 1])
            if found is None:
                break
            loss = module_gradients(net, i, params, found, out)
            if i < net.modules:
                found = found._replace(x=net.rise(params, i, found.x))
        return loss


class Ring:
    """The last batches that a module was sent, for R runs."""

    def __init__(self, size: int, replay: bool):
        self.size, self.replay, self.count = size, replay, 0
        self.held: dict[str, Tensor] = {}
        """What the batches consist of, each (size, R, B, ...)."""

    def exchange(self, new: Batch, u: Tensor | None) -> Batch | None:
        """Put a batch in and take one out: the oldest if the ring is full, or the one that u (R,)
        in [0, 1) points at.
        """
        if self.size == 1:
            return new
        parts = {
            name: getattr(new, name)
            for name in ("x", "y", "targets")
            if getattr(new, name) is not None
        }
        for name, value in parts.items():
            held = self.held.setdefault(name, value.new_empty(self.size, *value.shape))
            held[self.count % self.size] = value
        self.count += 1
        if self.replay:
            rows, runs = (
                (u * min(self.count, self.size)).long(),
                torch.arange(len(u), device=u.device),
            )
            return new._replace(**{name: held[rows, runs] for name, held in self.held.items()})
        if self.count < self.size:
            return None
        return new._replace(
            **{name: held[self.count % self.size] for name, held in self.held.items()}
        )
