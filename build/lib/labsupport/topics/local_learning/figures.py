"""A table for the algorithm of 1965, a ring that its neurons learn layer by layer, and modules that
leak or do not.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import plots, runtime
from labsupport.topics.local_learning import reference as ll

# the two learners step by chapter 1's Adam
from labsupport.topics.weight_decay.reference import adam_step

# -- the table -------------------------------------------------------------------------------------

PARTS = (221, 111, 110)
"""Patients to fit on, to select on, to report on."""
WIDTH, LEAST = 10, 0.02
NET_UNITS, NET_STEPS, NET_RATES = 16, 200, (0.003, 0.01, 0.03)


@functools.cache
def table() -> tuple[Tensor, Tensor]:
    """442 patients with diabetes: ten measurements (442, 10) and how far it went in a year (442),
    all with deviation 1.
    """
    from sklearn.datasets import load_diabetes

    x, y = (torch.from_numpy(part) for part in load_diabetes(return_X_y=True))
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


def cut(seed: int) -> list[tuple[Tensor, Tensor]]:
    """The table cut at random into its three parts."""
    x, y = table()
    order = torch.randperm(len(y), generator=runtime.generator(seed, "order"))
    return [(x[rows], y[rows]) for rows in order.split(PARTS)]


def explained(said: Tensor, y: Tensor) -> float:
    """The share of the variance that is explained, R²: 1 for every number right, 0 for the mean
    said throughout.
    """
    return 1 - ((said - y).square().mean() / (y - y.mean()).square().mean()).item()


@runtime.one_thread()
def contest(seeds: Sequence[int]) -> pd.DataFrame:
    """R² on the reported part for each cut: GMDH, the same without a least gain, linear least
    squares, a small network.
    """
    rows = {}
    for seed in seeds:
        fitting, choosing, (x, y) = cut(seed)
        grown = {
            least: ll.grow(*fitting, *choosing, width=WIDTH, least=least, most=6)
            for least in (LEAST, 0.0)
        }
        both = [torch.cat(pair) for pair in zip(fitting, choosing, strict=True)]
        rows[seed] = {
            "gmdh": explained(ll.predict(grown[LEAST], x), y),
            "layers": len(grown[LEAST]),
            "any gain": explained(ll.predict(grown[0.0], x), y),
            "layers, any gain": len(grown[0.0]),
            "linear": explained(
                _with_one(x)
                @ torch.linalg.lstsq(_with_one(both[0]), both[1][:, None]).solution[:, 0],
                y,
            ),
        }
    return pd.DataFrame(rows).T.assign(net=_networks(seeds))


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


def _networks(seeds: Sequence[int]) -> list[float]:
    """Networks 10-16-1 of every cut, fitted by Adam; learning rate and number of steps are those
    with the least selection error.

    One stack holds all rates and cuts, and one forward pass all patients; the loss is that of the
    patients to fit on.
    """
    x, y = (
        torch.stack([torch.cat([part[i] for part in cut(seed)]) for seed in seeds]).float()
        for i in (0, 1)
    )
    x, y = torch.cat([x] * len(NET_RATES)).mT.contiguous(), torch.cat([y] * len(NET_RATES))
    rates = torch.tensor(NET_RATES).repeat_interleave(len(seeds))[:, None, None]
    weights = [
        torch.stack([_drawn(seed)[k] for seed in seeds] * len(NET_RATES)).requires_grad_()
        for k in range(4)
    ]
    moments = [(torch.zeros_like(w), torch.zeros_like(w)) for w in weights]
    best, kept = torch.full((len(x),), torch.inf), torch.zeros(len(x), PARTS[2])
    for t in range(1, NET_STEPS + 2):
        said = _said(weights, x)
        fitting, choosing, _ = (said - y).square().split(PARTS, 1)
        found = choosing.detach().mean(1)
        better = found < best
        best[better], kept[better] = found[better], said.detach()[better, -PARTS[2] :]
        slopes = torch.autograd.grad(fitting.mean(1).sum(), weights)
        moved = [
            adam_step(w.detach(), g, *m, t, lr=rates)
            for w, g, m in zip(weights, slopes, moments, strict=True)
        ]
        weights, moments = [w.requires_grad_() for w, *_ in moved], [m for _, *m in moved]
    choice = best.view(len(NET_RATES), -1).argmin(0)
    chosen = kept.view(len(NET_RATES), len(seeds), -1)[choice, range(len(seeds))]
    return [
        explained(one, truth)
        for one, truth in zip(chosen, y[: len(seeds), -PARTS[2] :], strict=True)
    ]


def _drawn(seed: int) -> list[Tensor]:
    rng = runtime.generator(seed, "init")
    shapes = ((NET_UNITS, 10), (NET_UNITS, 1), (1, NET_UNITS), (1, 1))
    bounds = (10**-0.5, 10**-0.5, NET_UNITS**-0.5, NET_UNITS**-0.5)
    return [
        torch.empty(shape).uniform_(-b, b, generator=rng)
        for shape, b in zip(shapes, bounds, strict=True)
    ]


def _said(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """What the networks make of patients, one a column (R, 10, N): (R, N)."""
    w, b, v, c = weights
    return torch.baddbmm(c, v, torch.baddbmm(b, w, x).relu())[:, 0]


# -- the ring --------------------------------------------------------------------------------------


def ring(x: Tensor) -> Tensor:
    """High on a circle around the origin, low inside and outside: no neuron of two inputs can make
    that alone.
    """
    return torch.exp(-8 * (x.square().sum(-1) - 0.5).square())


@functools.cache
def grown(noise: float) -> tuple[ll.Layer, ...]:
    """A network grown on 300 noisy samples of the ring, half of them to select on, with its inputs
    carried along.
    """
    rng = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(300, 2, generator=rng, dtype=torch.float64) - 1
    y = ring(x) + noise * torch.randn(300, generator=rng, dtype=torch.float64)
    return tuple(ll.grow(x[:150], y[:150], x[150:], y[150:], width=6, most=8, carry=True))


def draw_ring(layers: int = 1, noise: float = 0.1) -> Figure:
    """What the best neuron of a layer has made of the ring, beside the ring."""
    network = grown(noise)
    part = network[:layers]
    side = torch.linspace(-1, 1, 61, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).reshape(-1, 2)
    truth, said = ring(points), ll.predict(part, points, carry=True)
    fig, axes = plots.figure(2, width=6.6, height=3.5, sharey=True)
    stopped = f"; it stopped after {len(network)}" if layers > len(network) else ""
    for ax, values, title in (
        (axes[0], truth, "the ring"),
        (axes[1], said, f"layer {len(part)}: R² = {explained(said, truth):.2f}"),
    ):
        ax.imshow(
            values.reshape(61, 61).numpy(),
            origin="lower",
            extent=(-1, 1, -1, 1),
            cmap="cividis",
            vmin=-0.2,
            vmax=1.1,
        )
        ax.set(xlabel="$x_1$", title=title)
        ax.grid(False)
    axes[0].set_ylabel("$x_2$")
    fig.suptitle(
        f"{layers} layer{'s'[: layers > 1]} asked for, noise {noise:g}: selection error"
        f" {part[-1].error:.3f}{stopped}",
        fontsize=10.5,
    )
    return fig


# -- modules that leak -----------------------------------------------------------------------------


class Log(NamedTuple):
    """What was seen of a network of J modules in one step."""

    reach: Tensor
    """(J, J) norm of the gradient that the loss of head j (column) sends into layer i (row)."""
    heads: Tensor
    """(J) how far each head moved."""
    ages: Tensor
    """(J) how many steps ago the layer below made what each module trained on."""


PATIENTS = {"A": "leaking", "B": "decoupled", "C": "blocked", "D": "end_to_end"}
"""Do not peek before you have diagnosed."""


def patients() -> dict[str, Log]:
    """Four people wrote decoupled learning for the same network of three modules; one step of each
    on 100 random samples.
    """
    return {name: log(kind) for name, kind in PATIENTS.items()}


def log(kind: str, modules: int = 3, units: int = 8, classes: int = 4) -> Log:
    """What a step of such a network sends where, by autograd, with the detach where this kind of
    program has it.
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
    slopes = torch.autograd.grad(sum(used), heads, allow_unused=True)
    moved = torch.stack(
        [
            (
                torch.zeros((), dtype=torch.float64)
                if g is None or kind == "heads_frozen"
                else 0.1 * g.norm()
            )
            for g in slopes
        ]
    )
    ages = torch.arange(modules) * 4 if kind == "stale" else torch.zeros(modules, dtype=torch.long)
    return Log(reach, moved, ages)


def draw_patients(found: dict[str, Log]) -> Figure:
    """Of each patient, which loss reaches which layer."""
    fig, axes = plots.figure(len(found), width=9, height=2.9)
    for ax, (name, seen) in zip(axes, found.items(), strict=True):
        ax.imshow((seen.reach > 0).numpy(), cmap="cividis", vmin=0, vmax=1)
        for (i, j), value in zip(
            torch.cartesian_prod(*[torch.arange(len(seen.reach))] * 2).tolist(),
            seen.reach.flatten().tolist(),
            strict=True,
        ):
            ax.text(
                j,
                i,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=8.5,
                color="#111111" if value else "white",
            )
        ticks = range(len(seen.reach))
        ax.set_xticks(ticks, [f"{i + 1}" for i in ticks])
        ax.set_yticks(ticks, [f"{i + 1}" for i in ticks])
        ax.set(xlabel="loss of head", title=f"patient {name}")
        ax.grid(False)
    axes[0].set_ylabel("layer")
    return fig
