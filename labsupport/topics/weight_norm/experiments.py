"""Networks with weight norm: gradients, norms of v, batch dependence, codes to diagnose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from labsupport import datasets, landscape, runtime, train
from labsupport.models import MLP
from labsupport.models.layers import per_run
from labsupport.rules import SGD, weights
from labsupport.stacks import Stack, hyperparameter
from labsupport.topics.weight_norm import faults
from labsupport.topics.weight_norm import reference as wn
from labsupport.types import Batch, Recipe

# -- in the plane ----------------------------------------------------------------------------------


CURVATURE = torch.tensor([1.0, 4.0], dtype=torch.float64)
"""Of the bowl's two axes."""
MINIMUM = torch.tensor([1.2, 0.9], dtype=torch.float64)
ANGLE = 2.6
"""Of the first weight, in radians; its length is 1 whatever the length of v."""
STEPS = 60


class DescentPath(NamedTuple):
    """Gradient descent on v and g, from its start on."""

    v: Tensor
    """(T + 1, 2)"""
    g: Tensor
    """(T + 1,)"""
    w: Tensor
    """(T + 1, 2)"""


def descent_path(lr: float, start: float) -> DescentPath:
    """Take STEPS steps on the bowl ½ Σ cᵢ (wᵢ - mᵢ)², from ‖v‖ = ``start`` and g = 1."""
    v = start * torch.tensor([[np.cos(ANGLE), np.sin(ANGLE)]], dtype=torch.float64)
    g = torch.ones(1, dtype=torch.float64)
    rows = [(v, g, wn.weight(v, g))]
    for _ in range(STEPS):
        dv, dg = wn.gradients(CURVATURE * (rows[-1][2] - MINIMUM), v, g)
        v, g = v - lr * dv, g - lr * dg
        rows.append((v, g, wn.weight(v, g)))
    vs, gs, ws = (torch.cat(column) for column in zip(*rows, strict=True))
    return DescentPath(vs, gs, ws)


# -- gradients and norms ---------------------------------------------------------------------------


SIZES = (40, 64, 10)
ROUNDING = 1e-12
"""A norm has fallen if it fell by more than this part of itself."""


def _batch(seeds: Sequence[int], size: int) -> tuple[Recipe, Batch]:
    recipe = Recipe(
        MLP(SIZES, norm="weight"), SGD(), train_size=500, epochs=1, batch_size=size, dtype="float64"
    )
    _, batch = next(train.batches([recipe] * len(seeds), seeds, train.load(recipe)))
    return recipe, batch


def _draw_params(net: MLP, seeds: Sequence[int]) -> tuple[Stack, dict[str, Tensor]]:
    """Draw parameters and buffers of a network in float64; no direction v is as long as its g."""
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    params = {name: p.double() for name, p in params.items()}
    if net.norm == "weight":
        rngs = [runtime.generator(seed, "noise") for seed in seeds]
        for i in range(1, net.depth + 1):
            for run, rng in enumerate(rngs):
                rows = params[f"length{i}"][run]
                params[f"weight{i}"][run] *= (
                    torch.rand(len(rows), 1, generator=rng, dtype=torch.float64).to(rows) + 0.5
                )
    return Stack.of(params), {name: b.double() for name, b in buffers.items()}


@runtime.one_thread()
def gradient_errors(seeds: Sequence[int]) -> Tensor:
    """Measure the reference gradients' relative error (R,) against autograd's in a network.

    The reference starts from the gradient of the plain network with the same weights; autograd goes
    through g v/‖v‖.
    """
    _, batch = _batch(seeds, 100)
    normed, plain = MLP(SIZES, norm="weight"), MLP(SIZES)
    params, buffers = _draw_params(normed, seeds)
    _, through = landscape.loss_and_gradient(normed, params, buffers, batch)
    finished = {f"weight{i}": normed.weight(params, i) for i in range(1, normed.depth + 1)}
    biases = {name: p for name, p in params.items() if name.startswith("bias")}
    _, gradient = landscape.loss_and_gradient(plain, Stack.of(finished | biases), {}, batch)
    errors = []
    for run in range(len(seeds)):
        pairs = []
        for i in range(1, normed.depth + 1):
            dv, dg = wn.gradients(
                gradient[f"weight{i}"][run], params[f"weight{i}"][run], params[f"length{i}"][run]
            )
            pairs += [(dv, through[f"weight{i}"][run]), (dg, through[f"length{i}"][run])]
        errors.append(max(((a - b).norm() / b.norm()) for a, b in pairs))
    return torch.stack(errors)


def row_norms(recipe: Recipe, seeds: Sequence[int]) -> Tensor:
    """Train, and return every v's norm before each step and after the last: (T + 1, R, U).

    U are the units of all layers.
    """
    with runtime.one_thread():
        return torch.stack(
            [_norms(step.params) for step in train.iterate_steps([recipe] * len(seeds), seeds)]
        )


def _norms(params: Stack) -> Tensor:
    return torch.cat([params[name].flatten(2).norm(dim=2) for name in weights(params)], dim=1)


def norm_errors(recipe: Recipe, seeds: Sequence[int]) -> Tensor:
    """Train by plain SGD and compare each v's norm with Pythagoras: relative errors (T, R, U)."""
    dataset, errors = train.load(recipe), []
    steps = train.iterate_steps([recipe] * len(seeds), seeds, dataset)
    with runtime.one_thread():
        before = _copy(next(steps).params)
        for (_, batch), step in zip(
            train.batches([recipe] * len(seeds), seeds, dataset), steps, strict=True
        ):
            _, gradient = landscape.loss_and_gradient(recipe.model, before, {}, batch)
            predicted = [
                [
                    wn.norm_after_step(before[name][run], gradient[name][run], recipe.rule.lr)
                    for name in weights(before)
                ]
                for run in range(len(seeds))
            ]
            before = _copy(step.params)
            errors.append(
                (torch.stack([torch.cat(rows) for rows in predicted]) / _norms(before) - 1).abs()
            )
    return torch.stack(errors)


def _copy(params: Stack) -> Stack:
    return Stack(params.flat.clone(), params.shapes)


def share_of_falls(norms: Tensor) -> Tensor:
    """Compute the share of steps (R,) in which a norm fell by more than rounding.

    The norms are (T + 1, R, U).
    """
    return (norms[1:] < norms[:-1] * (1 - ROUNDING)).double().mean((0, 2))


# -- batch dependence ------------------------------------------------------------------------------


@runtime.one_thread()
def batch_dependence(norm: str, seeds: Sequence[int], size: int = 10) -> Tensor:
    """Measure how much a sample's logits depend on another sample's input, in train mode: (R,).

    The largest derivative across samples, relative to the largest of a sample's logits in its own
    input.
    """
    _, batch = _batch(seeds, size)
    net = MLP(SIZES, norm=norm)
    params, buffers = _draw_params(net, seeds)
    x = batch.x.clone().requires_grad_()
    logits = net.forward(params, buffers, x, training=True)
    jacobian = torch.stack(
        [
            torch.autograd.grad(logits[:, i, k].sum(), x, retain_graph=True)[0].abs().amax(2)
            for i in range(size)
            for k in range(logits.shape[2])
        ]
    )
    by_sample = jacobian.view(size, logits.shape[2], len(seeds), size).amax(1)
    own = torch.eye(size, dtype=torch.bool, device=x.device)[:, None, :].expand_as(by_sample)
    return by_sample.masked_fill(own, 0).amax((0, 2)) / by_sample.masked_fill(~own, 0).amax((0, 2))


@runtime.one_thread()
def change_in_smaller_batch(norm: str, seeds: Sequence[int], size: int = 10) -> Tensor:
    """Measure how far two samples' logits move without the rest of the batch, (R,).

    The distance is relative to the norm of the logits.
    """
    _, batch = _batch(seeds, size)
    net = MLP(SIZES, norm=norm)
    params, buffers = _draw_params(net, seeds)
    among, apart = (
        net.forward(params, buffers, x, training=True)[:, :2] for x in (batch.x, batch.x[:, :2])
    )
    return (among - apart).flatten(1).norm(dim=1) / among.flatten(1).norm(dim=1)


# -- the start -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Stretched(MLP):
    """An MLP with weight norm whose directions start ``stretch`` times as long.

    It is the same function at the start.
    """

    norm: str = "weight"
    stretch: float = hyperparameter(1.0)

    def init(self, rngs):
        """Draw the parameters of the MLP, and multiply each v by ``stretch``."""
        params, buffers = super().init(rngs)
        for i in range(1, self.depth + 1):
            params[f"weight{i}"] *= per_run(self.stretch, params[f"weight{i}"])
        return params, buffers


@runtime.one_thread()
def train_stretched(
    recipe: Recipe, stretches: Sequence[float], seeds: Sequence[int]
) -> pd.DataFrame:
    """Train from directions of several lengths; tabulate accuracy and the final norm of v."""
    rows = []
    for stretch in stretches:
        arm = Recipe(
            Stretched(SIZES, stretch=stretch),
            recipe.rule,
            recipe.data,
            recipe.train_size,
            recipe.valid_size,
            epochs=recipe.epochs,
            measure_every=0,
        )
        done = train.train([arm] * len(seeds), seeds)
        accuracy = {name: values for _, name, values in done.metrics}["train_accuracy"]
        rows += [
            (stretch, seed, a.item(), n.item())
            for seed, a, n in zip(seeds, accuracy, _norms(done.params).mean(1), strict=True)
        ]
    return pd.DataFrame(rows, columns=["stretch", "seed", "accuracy", "norm"])


Layer = tuple[Tensor, Tensor, Tensor]
"""(v, g, b) of one layer."""


def default_start(sizes: Sequence[int], seed: int) -> list[Layer]:
    """Draw layers as torch.nn.Linear does, with g = ‖v‖."""
    params, _ = MLP(tuple(sizes), norm="weight").init([runtime.generator(seed, "init")])
    return [
        tuple(params[f"{part}{i}"][0].double() for part in ("weight", "length", "bias"))
        for i in range(1, len(sizes))
    ]


def data_dependent_start(x: Tensor, sizes: Sequence[int], seed: int) -> list[Layer]:
    """Draw the same directions, and set lengths and biases layer by layer on the batch x.

    x is (B, D), with ReLU between layers.
    """
    layers, h = [], x
    for v, _, _ in default_start(sizes, seed):
        g, b = wn.data_dependent_init(v, h)
        layers.append((v, g, b))
        h = torch.relu(h @ wn.weight(v, g).T + b)
    return layers


def preactivations(layers: Sequence[Layer], x: Tensor) -> list[Tensor]:
    """Compute each layer's outputs before their activation, (B, O), for inputs (B, D)."""
    found, h = [], x
    for v, g, b in layers:
        found.append(h @ wn.weight(v, g).T + b)
        h = torch.relu(found[-1])
    return found


def preactivation_moments(
    starts: Mapping[str, Sequence[Sequence[Layer]]], x: Tensor
) -> pd.DataFrame:
    """Compute the mean square of the units' means, and their variance, over the samples x.

    There is a row for each start, seed and layer.
    """
    rows = [
        (name, seed, i, z.mean(0).square().mean().item(), z.var(0, correction=0).mean().item())
        for name, runs in starts.items()
        for seed, layers in enumerate(runs)
        for i, z in enumerate(preactivations(layers, x), start=1)
    ]
    return pd.DataFrame(rows, columns=["start", "seed", "layer", "mean2", "variance"])


# -- three codes to diagnose -----------------------------------------------------------------------


class Log(NamedTuple):
    """One step of a hand-written weight norm: its inputs and outputs."""

    v: Tensor
    """(O, D)"""
    g: Tensor
    """(O,)"""
    dw: Tensor
    """(O, D) the true gradient in the weights."""
    dv: Tensor
    """(O, D) the gradients that the code computed."""
    dg: Tensor
    """(O,)"""


FAULTY_RUNS = {"A": "norm_constant", "B": "matrix_norm", "C": "healthy"}
"""What each run's code computes. Do not peek before you have diagnosed."""


class Run(NamedTuple):
    """A training run by one of the codes."""

    loss: Tensor
    """(T,)"""
    log: Log
    """The last step."""


def faulty_runs(lr: float = 1.0, steps: int = 150) -> dict[str, Run]:
    """Train softmax regression under weight norm by three codes for its gradients.

    The data are 500 signals of MNIST-1D.
    """
    dataset = datasets.load("mnist1d", train_size=500)
    return {
        name: _run(dataset.x_train.double(), dataset.y_train, lr, steps, fault)
        for name, fault in FAULTY_RUNS.items()
    }


def _run(x: Tensor, y: Tensor, lr: float, steps: int, fault: str) -> Run:
    v = 0.1 * torch.randn(
        10, x.shape[1], dtype=x.dtype, generator=torch.Generator().manual_seed(0)
    ).to(x.device)
    g, code, losses = v.norm(dim=1), faults.faulty_gradients()[fault], []
    for _ in range(steps):
        w = (_matrix_weight if fault == "matrix_norm" else wn.weight)(v, g).requires_grad_()
        loss = F.cross_entropy(x @ w.T, y)
        (dw,) = torch.autograd.grad(loss, w)
        dv, dg = code(dw, v, g)
        log = Log(v, g, dw, dv, dg)
        v, g = v - lr * dv, g - lr * dg
        losses.append(loss.detach())
    return Run(torch.stack(losses), log)


def _matrix_weight(v: Tensor, g: Tensor) -> Tensor:
    return g[:, None] * v / v.norm()
