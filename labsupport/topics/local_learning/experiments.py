"""GMDH beside its rivals on a table and on a ring, and the gradients between modules."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport import runtime
from labsupport.topics.local_learning import reference as ll

# the two learners step by chapter 1's Adam
from labsupport.topics.weight_decay.reference import adam_step

# -- the table -------------------------------------------------------------------------------------

PARTS = (221, 111, 110)
"""Samples to fit on, to select on, to report on."""
WIDTH, LEAST = 10, 0.02
NET_UNITS, NET_STEPS, NET_RATES = 16, 200, (0.003, 0.01, 0.03)


@functools.cache
def table() -> tuple[Tensor, Tensor]:
    """Load the diabetes table: ten measurements (442, 10) and the progression in a year (442).

    Each column has mean 0 and standard deviation 1.
    """
    from sklearn.datasets import load_diabetes

    x, y = (torch.from_numpy(part) for part in load_diabetes(return_X_y=True))
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


def split_table(seed: int) -> list[tuple[Tensor, Tensor]]:
    """Split the table at random into its three parts."""
    x, y = table()
    order = torch.randperm(len(y), generator=runtime.generator(seed, "order"))
    return [(x[rows], y[rows]) for rows in order.split(PARTS)]


def r_squared(predicted: Tensor, y: Tensor) -> float:
    """Compute R², the share of the variance that is explained.

    It is 1 for every number right, 0 for the mean predicted throughout.
    """
    return 1 - ((predicted - y).square().mean() / (y - y.mean()).square().mean()).item()


@runtime.one_thread()
def contest(seeds: Sequence[int]) -> pd.DataFrame:
    """Measure R² of GMDH and its rivals on the reported part of each split.

    The rivals are GMDH without a least gain, linear least squares, and a small network.
    """
    rows = {}
    for seed in seeds:
        fitting, choosing, (x, y) = split_table(seed)
        grown = {
            least: ll.grow(*fitting, *choosing, width=WIDTH, least=least, most=6)
            for least in (LEAST, 0.0)
        }
        both = [torch.cat(pair) for pair in zip(fitting, choosing, strict=True)]
        rows[seed] = {
            "gmdh": r_squared(ll.predict(grown[LEAST], x), y),
            "layers": len(grown[LEAST]),
            "any gain": r_squared(ll.predict(grown[0.0], x), y),
            "layers, any gain": len(grown[0.0]),
            "linear": r_squared(
                _with_one(x)
                @ torch.linalg.lstsq(_with_one(both[0]), both[1][:, None]).solution[:, 0],
                y,
            ),
        }
    return pd.DataFrame(rows).T.assign(net=_networks(seeds))


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


def _networks(seeds: Sequence[int]) -> list[float]:
    """Train a network 10-16-1 on every split by Adam.

    Learning rate and number of steps are those with the least selection error.

    One stack holds all rates and splits, and one forward pass all samples; the loss is that of the
    samples to fit on.
    """
    x, y = (
        torch.stack([torch.cat([part[i] for part in split_table(seed)]) for seed in seeds]).float()
        for i in (0, 1)
    )
    x, y = torch.cat([x] * len(NET_RATES)).mT.contiguous(), torch.cat([y] * len(NET_RATES))
    rates = torch.tensor(NET_RATES).repeat_interleave(len(seeds))[:, None, None]
    weights = [
        torch.stack([_initial_weights(seed)[k] for seed in seeds] * len(NET_RATES)).requires_grad_()
        for k in range(4)
    ]
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
    # as if each network were stopped where its selection error is least
    best, reported = torch.full((len(x),), torch.inf), torch.zeros(len(x), PARTS[2])
    for t in range(1, NET_STEPS + 2):
        predicted = _forward(weights, x)
        fitting, choosing, _ = (predicted - y).square().split(PARTS, 1)
        found = choosing.detach().mean(1)
        better = found < best
        best[better] = found[better]
        reported[better] = predicted.detach()[better, -PARTS[2] :]
        # a sum over networks: none of them sees the gradient of another
        gradients = torch.autograd.grad(fitting.mean(1).sum(), weights)
        moved = [
            adam_step(w.detach(), g, *m, t, lr=rates)
            for w, g, m in zip(weights, gradients, moments, strict=True)
        ]
        weights, moments = [w.requires_grad_() for w, *_ in moved], [m for _, *m in moved]
    rate = best.view(len(NET_RATES), -1).argmin(0)
    chosen = reported.view(len(NET_RATES), len(seeds), -1)[rate, range(len(seeds))]
    return [
        r_squared(one, truth)
        for one, truth in zip(chosen, y[: len(seeds), -PARTS[2] :], strict=True)
    ]


def _initial_weights(seed: int) -> list[Tensor]:
    rng = runtime.generator(seed, "init")
    shapes = ((NET_UNITS, 10), (NET_UNITS, 1), (1, NET_UNITS), (1, 1))
    bounds = (10**-0.5, 10**-0.5, NET_UNITS**-0.5, NET_UNITS**-0.5)
    return [
        torch.empty(shape).uniform_(-b, b, generator=rng)
        for shape, b in zip(shapes, bounds, strict=True)
    ]


def _forward(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Predict (R, N) for samples in columns (R, 10, N)."""
    w, b, v, c = weights
    return torch.baddbmm(c, v, torch.baddbmm(b, w, x).relu())[:, 0]


# -- the ring --------------------------------------------------------------------------------------


def ring(x: Tensor) -> Tensor:
    """Draw a target that is high on a circle around the origin and low elsewhere.

    No neuron of two inputs can make that alone.
    """
    return torch.exp(-8 * (x.square().sum(-1) - 0.5).square())


@functools.cache
def grow_on_ring(noise: float) -> tuple[ll.Layer, ...]:
    """Grow a network on 300 noisy samples of the ring, half of them to select on.

    Its inputs are passed on to every layer.
    """
    rng = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(300, 2, generator=rng, dtype=torch.float64) - 1
    y = ring(x) + noise * torch.randn(300, generator=rng, dtype=torch.float64)
    return tuple(ll.grow(x[:150], y[:150], x[150:], y[150:], width=6, most=8, carry=True))


# -- modules that leak -----------------------------------------------------------------------------


class Log(NamedTuple):
    """The arguments of ``diagnose``: measurements of a network of J modules in one step."""

    reach: Tensor
    """(J, J) norm of the gradient that the loss of head j (column) sends into layer i (row)."""
    heads: Tensor
    """(J) how far each head moved."""
    ages: Tensor
    """(J) how many steps ago the layer below made what each module trained on."""


FAULTY_RUNS = {"A": "leaking", "B": "decoupled", "C": "blocked", "D": "end_to_end"}
"""Do not peek before you have diagnosed."""


def faulty_runs() -> dict[str, Log]:
    """Log one step of four programs of decoupled learning.

    They have the same network of three modules and 100 random samples.
    """
    return {name: log(kind) for name, kind in FAULTY_RUNS.items()}


def log(kind: str, modules: int = 3, units: int = 8, classes: int = 4) -> Log:
    """Measure by autograd which loss of a step reaches which layer.

    The detach is where this kind of program has it.
    """
    rng = torch.Generator().manual_seed(0)
    weights = [
        (
            torch.randn(units, units, generator=rng, dtype=torch.float64) / units**0.5
        ).requires_grad_()
        for _ in range(modules)
    ]
    heads = [
        torch.randn(classes, units, generator=rng, dtype=torch.float64).requires_grad_()
        for _ in range(modules)
    ]
    h, y = (
        torch.randn(100, units, generator=rng, dtype=torch.float64),
        torch.randint(classes, (100,), generator=rng),
    )
    losses = []
    for w, v in zip(weights, heads, strict=True):
        below = h.detach() if kind in ("decoupled", "heads_frozen", "stale") else h
        h = (below @ w.T).relu()
        losses.append(F.cross_entropy((h.detach() if kind == "blocked" else h) @ v.T, y))
    used = losses[-1:] if kind == "end_to_end" else losses
    reach = torch.zeros(modules, modules, dtype=torch.float64)
    for loss in used:
        found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        column = next(j for j, other in enumerate(losses) if other is loss)
        reach[:, column] = torch.stack(
            [torch.zeros((), dtype=torch.float64) if g is None else g.norm() for g in found]
        )
    gradients = torch.autograd.grad(sum(used), heads, allow_unused=True)
    moved = torch.stack(
        [
            (
                torch.zeros((), dtype=torch.float64)
                if g is None or kind == "heads_frozen"
                else 0.1 * g.norm()
            )
            for g in gradients
        ]
    )
    ages = torch.arange(modules) * 4 if kind == "stale" else torch.zeros(modules, dtype=torch.long)
    return Log(reach, moved, ages)
