"""Units along training, the theorem on every unit, two domains, three codes to diagnose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from labsupport import datasets, landscape, profiles, runtime, train
from labsupport.models import initialization
from labsupport.models.layers import ACTIVATIONS, BN_EPS, BN_MOMENTUM, Tensors
from labsupport.stacks import Stack
from labsupport.streams import NO_STREAMS, Streams
from labsupport.topics.batch_norm import faults
from labsupport.topics.batch_norm import reference as bn
from labsupport.types import Arm, Batch, Dataset, Recipe, Result


def hidden_unit() -> Tensor:
    """Compute one hidden unit's products (N,) with the 4,000 training signals, before any norm.

    The signals are those of MNIST-1D.
    """
    w = torch.randn(40, generator=torch.Generator().manual_seed(3)) / 4
    return datasets.load("mnist1d").x_train.cpu() @ w + 1.5


# -- what is read off a study ----------------------------------------------------------------------


def decades(trains: pd.DataFrame, arms: Sequence, axis: str) -> pd.Series:
    """Count the decades of ``axis`` that train, by seed: half a decade for each arm that does.

    Args:
        trains: one row a seed, one column an arm, whether it trains.
        arms: those that lie along the axis, half a decade from each other.
        axis: their value's name, to check that they do.

    Raises:
        ValueError: if the arms are not half a decade apart.
    """
    steps = np.diff(np.log10([arm.values[axis] for arm in arms]))
    if not np.allclose(steps, 0.5, atol=1e-6):
        raise ValueError(f"the arms' {axis} lie {steps} decades apart; each step must be 0.5")
    return 0.5 * trains[[arm.name for arm in arms]].sum(axis=1)


def log_ratios(surveys: dict[str, pd.DataFrame], one: str, other: str, metric: str) -> pd.DataFrame:
    """Compute log(one / other) of a probe: one row a seed, one column a step.

    Args:
        surveys: {label: a survey}.
        one, other: labels.
        metric: of the survey; "loss_range" is its loss_high - loss_low, "shift" the mean over the
            layers.
    """
    wide = {
        name: surveys[name].pivot_table(index=["seed", "step"], columns="metric", values="value")
        for name in (one, other)
    }
    for table in wide.values():
        table["loss_range"] = table["loss_high"] - table["loss_low"]
        table["shift"] = table[[c for c in table.columns if c.startswith("shift")]].mean(axis=1)
    return np.log(wide[one][metric] / wide[other][metric]).unstack("step")


# -- along a run -----------------------------------------------------------------------------------


def movement(recipe: Recipe, seeds: Sequence[int]) -> Tensor:
    """Measure how far a unit's mean moves in a step, in its standard deviations, (R,).

    It is averaged over units and steps.

    The units are seen in train mode, after their activation, with the noise that the step itself
    draws.
    """
    recipe, means, deviations = profiles.sized(recipe), [], []
    for step, params, batch in landscape.steps_with_batches(recipe, seeds):
        aside = {name: buffer.clone() for name, buffer in step.buffers.items()}
        hidden = torch.cat(
            recipe.model.layers(params, aside, batch.x, training=True, streams=batch.streams)[:-1],
            -1,
        )
        means.append(hidden.mean(1))
        deviations.append(hidden.std(1))
    moved, spread = torch.stack(means).diff(dim=0).abs().mean(0), torch.stack(deviations).mean(0)
    alive = spread > 0
    return torch.where(alive, moved / spread.clamp_min(1e-12), 0).sum(1) / alive.sum(1)


def theorem(recipe: Recipe, seeds: Sequence[int], every: int) -> pd.DataFrame:
    """Check the theorem on every hidden unit along runs with batch norm, eps = 0.

    One row a step, layer and seed.

    Columns: ``units``; ``error``, the largest difference of the two sides over gamma²/sigma²
    ‖dL/dz‖²; ``slide``, the same with the slide's second term; ``broken``, units whose gradient is
    longer than the bound from dL/dz allows; ``literal``, units whose gradient is longer than the
    bound allows with the gradient of the network that lacks this layer's norm.
    """
    rows = []
    for step, params, batch in landscape.steps_with_batches(recipe, seeds):
        if step.t % every == 0:
            for layer in range(1, recipe.model.depth):
                rows += [
                    (step.t, layer, seed, *found)
                    for seed, found in zip(
                        seeds, _sides(params, batch, recipe.model.depth, layer), strict=True
                    )
                ]
    return pd.DataFrame(
        rows, columns=["step", "layer", "seed", "units", "error", "slide", "broken", "literal"]
    )


def _sides(params: Stack, batch: Batch, depth: int, layer: int) -> list[tuple[float, ...]]:
    """Compare both sides of the theorem and of the slide's form in one layer of R runs.

    Returns the units, the error, the slide's error, and how many units break the two bounds.
    """
    y, z, dy, dz = _gradients(params, batch, depth, layer)
    _, _, _, plain = _gradients(params, batch, depth, layer, without=layer)
    gamma, sigma = params[f"scale{layer}"].flatten(), y.std(0, correction=0)
    hat = (y - y.mean(0)) / sigma
    found, bound = dy.square().sum(0), bn.squared_gradient(dz, hat, gamma, sigma)
    whole = (gamma / sigma).square() * dz.square().sum(0)
    whole = torch.where(whole > 0, whole, 1)  # a dead unit has no gradient: 0 / 1, not 0 / 0
    slides = bound + (gamma / sigma).square() * (len(y) - 1) * dz.mean(0).square()
    literal = bn.squared_gradient(plain, hat, gamma, sigma)
    columns = [
        (found - bound).abs() / whole,
        (found - slides).abs() / whole,
        found > bound + 1e-9 * whole,
        found > literal + 1e-9 * whole,
    ]
    error, slide, broken, violated = (c.view(len(batch.x), -1) for c in columns)
    return [
        (
            error.shape[1],
            error[r].max().item(),
            slide[r].max().item(),
            broken[r].sum().item(),
            violated[r].sum().item(),
        )
        for r in range(len(batch.x))
    ]


def _gradients(
    params: Stack, batch: Batch, depth: int, layer: int, without: int = 0
) -> tuple[Tensor, ...]:
    """Return a layer's inputs and outputs of batch norm and the gradients in them.

    Every unit of every run is a channel.
    """
    with torch.enable_grad():
        h, pairs = batch.x, []
        for i in range(1, depth):
            y = torch.baddbmm(
                params[f"bias{i}"][:, None], h, params[f"weight{i}"].mT
            ).requires_grad_()
            sigma = y.std(1, correction=0, keepdim=True)
            hat = (y - y.mean(1, keepdim=True)) / sigma
            z = (
                y
                if i == without
                else params[f"scale{i}"][:, None] * hat + params[f"shift{i}"][:, None]
            )
            pairs.append((y, z))
            h = z.relu()
        logits = torch.baddbmm(params[f"bias{depth}"][:, None], h, params[f"weight{depth}"].mT)
        loss = (
            F.cross_entropy(logits.flatten(0, 1), batch.y.flatten(), reduction="sum")
            / batch.y.shape[1]
        )
        gradients = torch.autograd.grad(loss, pairs[layer - 1])
    return tuple(
        part.detach().transpose(0, 1).flatten(1) for part in (*pairs[layer - 1], *gradients)
    )


# -- conditional batch norm: one network, two domains ----------------------------------------------


KINDS = {"sensor": lambda x: 3 * x + 5, "reversed": lambda x: x.flip(-1)}
"""What the second domain does to a signal: another sensor, or time that runs backwards."""
OWN = ("nothing", "scale", "all")


def two_domains(kind: str, train_size: int = 1000, valid_size: int = 1000) -> Dataset:
    """Load MNIST-1D with every second round of ten signals taken from a second domain.

    The first input of a signal is 0 or 1, its domain: every network may see it.

    Args:
        kind: what the second domain is, a name in KINDS.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; there are {', '.join(KINDS)}")
    dataset = datasets.load("mnist1d", train_size=train_size, valid_size=valid_size)
    mixed = {
        f"x_{part}": _mixed(getattr(dataset, f"x_{part}"), kind, dataset.classes)
        for part in ("train", "valid", "test")
    }
    return replace(dataset, **mixed, digest=f"{dataset.digest}/{kind}")


def _mixed(x: Tensor, kind: str, classes: int) -> Tensor:
    """Put the domain in front, (N, 1 + D), in turn for whole rounds of the classes."""
    domain = (torch.arange(len(x), device=x.device) // classes % 2)[:, None].to(x.dtype)
    return torch.cat([domain, torch.where(domain > 0, KINDS[kind](x), x)], 1)


@dataclass(frozen=True)
class DomainNet:
    """Linear layers with conditional batch norm and ReLU; the first input is the domain, 0 or 1.

    Args:
        sizes: decades from input to output; the input counts the domain.
        own: what each domain has for itself: "nothing" (one batch norm for both), "scale" (scale
            and shift), "all" (statistics, scale and shift).

    Raises:
        ValueError: for an unknown ``own``.
    """

    sizes: tuple[int, ...] = (41, 32, 32, 10)
    own: str = "nothing"

    def __post_init__(self):
        if self.own not in OWN:
            raise ValueError(f"own is {self.own!r}; there are {', '.join(OWN)}")

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw weights as torch.nn.Linear does; scales 1, shifts 0, running statistics 0 and 1."""
        device, params, buffers = runtime.device(), {}, {}
        draw = initialization.SCHEMES["torch_default"]
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes), start=1):
            params[f"weight{i}"] = torch.stack([draw((fan_out, fan_in), rng) for rng in rngs]).to(
                device
            )
            if i < len(self.sizes) - 1:
                scales, statistics = (1 + (self.own in own) for own in (("scale", "all"), ("all",)))
                params[f"scale{i}"] = torch.ones(len(rngs), scales, fan_out, device=device)
                params[f"shift{i}"] = torch.zeros(len(rngs), scales, fan_out, device=device)
                buffers[f"mean{i}"] = torch.zeros(len(rngs), statistics, fan_out, device=device)
                buffers[f"var{i}"] = torch.ones(len(rngs), statistics, fan_out, device=device)
        params["bias"] = torch.zeros(len(rngs), self.sizes[-1], device=device)
        return params, buffers

    def forward(
        self,
        params: Tensors,
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        streams: Streams = NO_STREAMS,
    ) -> Tensor:
        """Compute logits (R, B, K) of inputs (R, B, 1 + D)."""
        member, h, last = torch.stack([1 - x[..., 0], x[..., 0]], -1), x, len(self.sizes) - 1
        for i in range(1, last):
            z = h @ params[f"weight{i}"].mT
            h = ACTIVATIONS["relu"](_norm(z, params, buffers, i, member, training))
        return torch.baddbmm(params["bias"][:, None], h, params[f"weight{last}"].mT)


def _norm(
    z: Tensor,
    params: Tensors,
    buffers: dict[str, Tensor],
    layer: int,
    member: Tensor,
    training: bool,
) -> Tensor:
    """Normalize z (R, B, H) by domain; ``member`` (R, B, 2) has one 1 in each row."""
    one = torch.ones_like(member[..., :1])
    mean, var = buffers[f"mean{layer}"], buffers[f"var{layer}"]
    # with shared statistics every sample is in the one group
    groups = member if mean.shape[1] == 2 else one
    if training:
        count = groups.sum(1)[..., None]
        mean = groups.mT @ z / count
        var = groups.mT @ (z - groups @ mean).square() / count
        with torch.no_grad():
            buffers[f"mean{layer}"].lerp_(mean, BN_MOMENTUM)
            buffers[f"var{layer}"].lerp_(var * (count / (count - 1)), BN_MOMENTUM)
    hat = (z - groups @ mean) * (groups @ (var + BN_EPS).rsqrt())
    belongs = member if params[f"scale{layer}"].shape[1] == 2 else one
    return (belongs @ params[f"scale{layer}"]) * hat + belongs @ params[f"shift{layer}"]


def domain_study(arms: Sequence[Arm], kind: str, seeds: Sequence[int]) -> Result:
    """Train every arm from every seed on the two domains and measure the end.

    As ``study``, but nothing is stored on disk.
    """
    dataset, table = two_domains(kind), []
    with runtime.one_thread():
        for own in dict.fromkeys(arm.recipe.model.own for arm in arms):
            runs = [(arm, seed) for arm in arms if arm.recipe.model.own == own for seed in seeds]
            *_, end = train.iterate_steps(
                [arm.recipe for arm, _ in runs], [seed for _, seed in runs], dataset
            )
            measured = train.measure(runs[0][0].recipe.model, end.params, end.buffers, dataset)
            table += [
                (arm.name, seed, arm.recipe.epochs, metric, value)
                for metric, values in measured.items()
                for (arm, seed), value in zip(runs, values.tolist(), strict=True)
            ]
    tidy = pd.DataFrame(table, columns=["arm", "seed", "epoch", "metric", "value"])
    return Result(
        tidy, pd.DataFrame(columns=["arm", "seed", "step"]), tuple(arms), tuple(seeds), 0.0
    )


# -- three codes to diagnose -----------------------------------------------------------------------


class Log(NamedTuple):
    """One unit of a batch norm layer: its training batches, a test batch, and the outputs."""

    batches: Tensor
    """(T, B, 1) the training batches in their order."""
    x: Tensor
    """(N, 1) the test batch."""
    out: Tensor
    """(N, 1) what the layer put out for it."""
    momentum: float


FAULTY_RUNS = {"A": "momentum_swapped", "B": "train_mode", "C": "healthy"}
"""What is wrong with each run's code. Do not peek before you have diagnosed."""


def faulty_runs(momentum: float = 0.1) -> dict[str, Log]:
    """Run three codes that claim to be batch norm on one unit.

    12 training batches of 20 signals, then a test batch of one class.
    """
    z, dataset = hidden_unit(), datasets.load("mnist1d")
    batches = z[:240].view(12, 20, 1).double()
    x = z[1000:2000][dataset.y_train[1000:2000].cpu() == 3][:40, None].double()
    outputs = faults.suspects(batches, x, momentum)
    return {name: Log(batches, x, outputs[fault], momentum) for name, fault in FAULTY_RUNS.items()}
