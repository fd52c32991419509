"""Networks with weight norm looked at from inside: their gradients, the norm of v, who depends on
whom, their start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from labsupport import landscape, runtime, train
from labsupport.models import MLP
from labsupport.models.layers import per_run
from labsupport.rules import SGD, weights
from labsupport.stacks import Stack
from labsupport.topics.weight_norm import reference as wn
from labsupport.types import Batch, Recipe

SIZES = (40, 64, 10)
ROUNDING = 1e-12
"""A norm has fallen if it fell by more than this part of itself."""


def _batch(seeds: Sequence[int], size: int) -> tuple[Recipe, Batch]:
    recipe = Recipe(
        MLP(SIZES, norm="weight"), SGD(), train_size=500, epochs=1, batch_size=size, dtype="float64"
    )
    _, batch = next(train.batches([recipe] * len(seeds), seeds, train.load(recipe)))
    return recipe, batch


def _drawn(net: MLP, seeds: Sequence[int]) -> tuple[Stack, dict[str, Tensor]]:
    """Parameters and buffers of a network in float64; vectors of directions get lengths other than
    g.
    """
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
    """How far the reference's gradients are from autograd's through a whole network, relative to
    their norm: (R,).

    The reference starts from the gradient of the plain network with the same weights; autograd goes
    through g v/‖v‖.
    """
    _, batch = _batch(seeds, 100)
    normed, plain = MLP(SIZES, norm="weight"), MLP(SIZES)
    params, buffers = _drawn(normed, seeds)
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
    """The norm of every v before each step and after the last: (T + 1, R, U), over the units of all
    layers.
    """
    with runtime.one_thread():
        return torch.stack(
            [_norms(step.params) for step in train.iterate_steps([recipe] * len(seeds), seeds)]
        )


def _norms(params: Stack) -> Tensor:
    return torch.cat([params[name].flatten(2).norm(dim=2) for name in weights(params)], dim=1)


def norm_errors(recipe: Recipe, seeds: Sequence[int]) -> Tensor:
    """How far each v's norm after a step of plain SGD is from Pythagoras' prediction, relatively:
    (T, R, U).
    """
    dataset, errors = train.load(recipe), []
    walk = train.iterate_steps([recipe] * len(seeds), seeds, dataset)
    with runtime.one_thread():
        before = _copy(next(walk).params)
        for (_, batch), step in zip(
            train.batches([recipe] * len(seeds), seeds, dataset), walk, strict=True
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


def falls(norms: Tensor) -> Tensor:
    """Of norms (T + 1, R, U), the share of steps in which a norm fell by more than rounding:
    (R,).
    """
    return (norms[1:] < norms[:-1] * (1 - ROUNDING)).double().mean((0, 2))


@runtime.one_thread()
def company(norm: str, seeds: Sequence[int], size: int = 10) -> Tensor:
    """How much a sample's logits depend on another sample's input, in train mode: (R,).

    The largest derivative across samples, relative to the largest of a sample's logits in its own
    input.
    """
    _, batch = _batch(seeds, size)
    net = MLP(SIZES, norm=norm)
    params, buffers = _drawn(net, seeds)
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
def alone(norm: str, seeds: Sequence[int], size: int = 10) -> Tensor:
    """How far the first two samples' logits move when the rest of the batch is sent away,
    relatively: (R,).
    """
    _, batch = _batch(seeds, size)
    net = MLP(SIZES, norm=norm)
    params, buffers = _drawn(net, seeds)
    among, apart = (
        net.forward(params, buffers, x, training=True)[:, :2] for x in (batch.x, batch.x[:, :2])
    )
    return (among - apart).flatten(1).norm(dim=1) / among.flatten(1).norm(dim=1)


@dataclass(frozen=True, kw_only=True)
class Stretched(MLP):
    """An MLP with weight norm whose directions start ``stretch`` times as long: the same function
    at the start.
    """

    norm: str = "weight"
    stretch: float = 1.0

    def init(self, rngs):
        """The parameters of the MLP, each v multiplied by ``stretch``."""
        params, buffers = super().init(rngs)
        for i in range(1, self.depth + 1):
            params[f"weight{i}"] *= per_run(self.stretch, params[f"weight{i}"])
        return params, buffers


@runtime.one_thread()
def stretched(recipe: Recipe, stretches: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """Train from directions of several lengths: stretch, seed, training accuracy, and the mean norm
    of v at the end.
    """
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
    """Layers as torch.nn.Linear draws them, with g = ‖v‖."""
    params, _ = MLP(tuple(sizes), norm="weight").init([runtime.generator(seed, "init")])
    return [
        tuple(params[f"{part}{i}"][0].double() for part in ("weight", "length", "bias"))
        for i in range(1, len(sizes))
    ]


def start_from(x: Tensor, sizes: Sequence[int], seed: int) -> list[Layer]:
    """The same directions, with lengths and biases set layer by layer on the batch x (B, D), ReLU
    between layers.
    """
    layers, h = [], x
    for v, _, _ in default_start(sizes, seed):
        g, b = wn.data_dependent_init(v, h)
        layers.append((v, g, b))
        h = torch.relu(h @ wn.weight(v, g).T + b)
    return layers


def sums(layers: Sequence[Layer], x: Tensor) -> list[Tensor]:
    """What the units of each layer put out before their activation, (B, O) for inputs (B, D)."""
    found, h = [], x
    for v, g, b in layers:
        found.append(h @ wn.weight(v, g).T + b)
        h = torch.relu(found[-1])
    return found


def spread(starts: Mapping[str, Sequence[Sequence[Layer]]], x: Tensor) -> pd.DataFrame:
    """For each start and seed, layer by layer, over the samples x: the mean square of the units'
    means, and their variance.
    """
    rows = [
        (name, seed, i, z.mean(0).square().mean().item(), z.var(0, correction=0).mean().item())
        for name, runs in starts.items()
        for seed, layers in enumerate(runs)
        for i, z in enumerate(sums(layers, x), start=1)
    ]
    return pd.DataFrame(rows, columns=["start", "seed", "layer", "mean2", "variance"])
