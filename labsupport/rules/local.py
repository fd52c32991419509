"""Local learning: each layer has a loss of its own, and no gradient passes between layers.

Every gradient estimator here needs a network with heads, ``models.LocalMLP``. A module is a hidden
layer with its head. The heads themselves always learn the cross-entropy of their own guess; the
estimators differ in what the layers learn, and when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labsupport.checks import is_count, is_number
from labsupport.models.local import LocalMLP, Part
from labsupport.stacks import Stack, hyperparameter
from labsupport.streams import Streams
from labsupport.types import Batch, Net

KINDS = ("pred", "sim", "predsim")
EPS = 1e-8
"""A row that is shorter holds one value throughout, up to rounding."""


def module_gradients(net: LocalMLP, i: int, params: Stack, batch: Batch, out: Stack) -> Tensor:
    """Write only the gradient of module i on its inputs (R, B, D); return its loss (R,)."""
    names = net.names(i)
    return net.module(i).backward(Part(params, names), {}, batch, Part(out, names))


def head_gradients(
    net: LocalMLP, i: int, params: Stack, batch: Batch, h: Tensor, out: Stack
) -> Tensor:
    """Write only the gradient of head i on its layer's outputs h; return its loss (R,)."""
    names = net.head_names(i)
    return net.head(i).backward(Part(params, names), {}, batch._replace(x=h), Part(out, names))


def unit_rows(h: Tensor) -> tuple[Tensor, Tensor]:
    """Centre the rows of h (R, B, H) and scale them to length one; also return the lengths.

    Cosines are products of such rows; the lengths are (R, B, 1).

    A row with one value throughout has no direction: it becomes 0, its length infinite, and it gets
    no gradient.
    """
    centred = h - h.mean(-1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True)
    length.masked_fill_(length < EPS, torch.inf)  # x / inf is 0, in the backward pass too
    return centred / length, length


def matching_slope(h: Tensor, labels: Tensor) -> Tensor:
    """Compute the gradient in h of the similarity-matching loss.

    It is the mean squared distance between the cosines of the rows of h and those of the labels.

    The fast form of ``similarity_slope`` in topics/local_learning/reference.py, for R runs at once.
    The tables of cosines, (R, B, B), are never made: (S - T)u is u(uᵀu) - t(tᵀu).

    Args:
        h: what a layer puts out, (R, B, H).
        labels: the labels' unit rows t, (R, B, K).
    """
    u, length = unit_rows(h)
    # u @ (uᵀ u) is (B, H)(H, H); (u uᵀ) @ u would make the (B, B) tables first
    slope = (u @ (u.mT @ u)).sub_(labels @ (labels.mT @ u)).mul_(4 / h.shape[-2] ** 2)
    # back through the division by the length: what lies along u goes out; then through the centring
    slope = torch.addcmul(slope, u, (slope * u).sum(-1, keepdim=True), value=-1).div_(length)
    return slope - slope.mean(-1, keepdim=True)


def label_rows(net: LocalMLP, batch: Batch) -> Tensor:
    """Make the labels' unit rows (R, B, K): cosine 1 within a class, -1/(K - 1) between two."""
    labels = batch.targets
    if labels is None:
        labels = torch.nn.functional.one_hot(batch.y, net.sizes[-1]).to(batch.x.dtype)
    return unit_rows(labels)[0]


def _local(net: Net) -> LocalMLP:
    """Refuse a network without heads."""
    if not isinstance(net, LocalMLP):
        raise ValueError(
            f"the network is a {type(net).__name__}; local learning needs heads, as models.LocalMLP"
            " has them"
        )
    return net


def _inputs(batch: Batch) -> Batch:
    """Flatten the batch's inputs to rows."""
    if batch.mix:
        raise ValueError(
            f"samples are blended inside the network, at layers {sorted(batch.mix.coefficient)}; a"
            " module that learns alone cannot know of that"
        )
    return batch._replace(x=batch.x.flatten(2))


@dataclass(frozen=True)
class LocalErrors:
    """A local error signal for each layer; all layers learn at every step on the same batch.

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
    beta: float = hyperparameter(0.5)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; there are {', '.join(KINDS)}")
        if not is_number(self.beta, least=0, most=1):
            raise ValueError(
                f"beta is {self.beta!r}, the share of similarity matching; it must be in [0, 1]"
            )

    def init(self, net: Net, params: Stack, streams: Streams) -> Tensor:
        """Reshape beta once, to (R, 1, 1) or (1, 1, 1)."""
        _local(net)
        return torch.as_tensor(
            self.beta, dtype=params.flat.dtype, device=params.flat.device
        ).reshape(-1, 1, 1)

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: Tensor,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the local gradients to ``out``; return the last head's loss (R,)."""
        net, below = _local(net), _inputs(batch)
        wanted = None if self.kind == "pred" else label_rows(net, below)
        for i in range(1, net.modules + 1):
            # what the layer puts out with the weights that it has now, before any of them moves
            h = net.layer(params, i, below.x)
            if self.kind == "sim":
                loss = head_gradients(net, i, params, below, h, out)
            else:
                loss = module_gradients(net, i, params, below, out)
            if wanted is not None:
                self._match(i, below.x, h, wanted, state, out)
            below = below._replace(x=h)
        return loss

    def _match(
        self, i: int, x: Tensor, h: Tensor, wanted: Tensor, beta: Tensor, out: Stack
    ) -> None:
        """Write or blend the similarity-matching gradient into layer i."""
        dz = matching_slope(h, wanted) * (h > 0)  # back through the ReLU
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
    """Greedy learning: one module after another, each for ``stage`` steps.

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

    def __post_init__(self) -> None:
        if not is_count(self.stage, 1):
            raise ValueError(
                f"stage is {self.stage!r}; it must be a whole number of steps, at least 1"
            )

    def init(self, net: Net, params: Stack, streams: Streams) -> None:
        """Return an empty state, and refuse a network without heads."""
        _local(net)

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: None,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the learning module's gradient to ``out``, else zeros; return its loss (R,)."""
        net, below = _local(net), _inputs(batch)
        active = min(1 + (batch.t - 1) // self.stage, net.modules)
        for i in range(1, active):
            below = below._replace(x=net.layer(params, i, below.x))
        out.flat.zero_()
        return module_gradients(net, active, params, below, out)


@dataclass(frozen=True)
class Decoupled:
    """Decoupled greedy learning: all modules learn at every step, with buffers in between.

    Each learns from its own head.

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

    def __post_init__(self) -> None:
        if not is_count(self.buffer, 1):
            raise ValueError(
                f"buffer is {self.buffer!r}; it must be a whole number of batches, at least 1"
            )

    def init(self, net: Net, params: Stack, streams: Streams) -> dict[int, "Ring"]:
        """Make the buffers, empty, by the module that reads from them."""
        return {i: Ring(self.buffer) for i in range(2, _local(net).modules + 1)}

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: dict[int, "Ring"],
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the gradients of all modules that have a batch; return the highest's loss (R,).

        Modules above them get zeros.
        """
        net, found = _local(net), _inputs(batch)
        out.flat.zero_()
        drawn: Sequence[Tensor | None] = [None] * net.modules
        if self.replay:
            # one number for every module and run, used or not: what a run draws does not depend on
            # how full its buffers are
            drawn = batch.streams.uniform(net.modules, params.flat).unbind(1)
        loss = module_gradients(net, 1, params, found, out)
        for i in range(2, net.modules + 1):
            # passed on before the module below takes its step
            sent = found._replace(x=net.layer(params, i - 1, found.x))
            taken = state[i].exchange(sent, drawn[i - 1])
            if taken is None:
                break
            found = taken
            loss = module_gradients(net, i, params, found, out)
        return loss


class Held(NamedTuple):
    """The last batches that a module was sent, one in each place of a ring buffer."""

    x: Tensor
    """(S, R, B, D)"""
    y: Tensor
    """(S, R, B)"""
    targets: Tensor | None
    """(S, R, B, K), where samples are blended."""

    def at(self, *place: Tensor | int) -> dict[str, Any]:
        """Read the batch of one place, or of a place for each run."""
        return {
            name: part if part is None else part[place] for name, part in self._asdict().items()
        }


class Ring:
    """A ring buffer of the last batches of R runs: a new one replaces the oldest."""

    def __init__(self, size: int):
        self.size, self.count = size, 0
        self.held: Held | None = None

    def exchange(self, new: Batch, u: Tensor | None) -> Batch | None:
        """Store a batch and return one.

        Args:
            new: the batch.
            u: (R,) in [0, 1), which of the batches each run takes; None takes the oldest, once the
                ring is full.
        """
        if self.size == 1:
            return new
        if self.held is None:
            targets = None if new.targets is None else _room(new.targets, self.size)
            self.held = Held(_room(new.x, self.size), _room(new.y, self.size), targets)
        place = self.count % self.size
        self.held.x[place], self.held.y[place] = new.x, new.y
        if self.held.targets is not None and new.targets is not None:
            self.held.targets[place] = new.targets
        self.count += 1
        if u is not None:
            rows = (u * min(self.count, self.size)).long()
            return new._replace(**self.held.at(rows, torch.arange(len(u), device=u.device)))
        if self.count < self.size:
            return None
        return new._replace(**self.held.at(self.count % self.size))


def _room(part: Tensor, size: int) -> Tensor:
    return part.new_empty(size, *part.shape)
