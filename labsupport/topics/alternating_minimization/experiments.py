"""The batch form of alternating minimization with its cost, and small demonstrations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from labsupport import datasets, profiles, runtime, train
from labsupport.models import MLP
from labsupport.topics.alternating_minimization import reference as am
from labsupport.types import Recipe


class Log(NamedTuple):
    """The objective at three moments of each sweep, each (T,)."""

    start: Tensor
    coded: Tensor
    ended: Tensor


class BatchRun(NamedTuple):
    """R runs of the batch form."""

    log: Tensor
    """(T, 1 + updates, R) the objective at the start of each sweep and after its updates: codes
    from the top, weights from below.
    """
    accuracy: Tensor
    """(T, R) test accuracy of the network, codes left aside, at the end of each sweep."""
    fitted: Tensor
    """(T, R) its accuracy on the signals that it was trained on, codes left aside too."""


def batch_run(
    mu: float,
    *,
    sizes: tuple[int, ...] = (40, 32, 32, 10),
    size: int = 200,
    sweeps: int = 30,
    seeds: Sequence[int] = range(10),
    steps: int = 3,
    ridge: float = 1e-3,
    activation: str = "relu",
) -> BatchRun:
    """Run the batch form on MNIST-1D in float64, with the objective after each update.

    All codes are updated from the top down, then all weights.
    """
    am.check_positive("mu", mu)
    dataset = datasets.load("mnist1d", train_size=size)
    net = MLP(sizes, activation=activation)
    params, _ = net.init([runtime.generator(seed, "init") for seed in seeds])
    weights = [params[f"weight{i}"].double() for i in range(1, len(sizes))]
    biases = [params[f"bias{i}"].double() for i in range(1, len(sizes))]
    x, y = (
        t.expand(len(seeds), *t.shape)
        for t in (dataset.x_train.flatten(1).double(), dataset.y_train)
    )
    codes, log, accuracy, fitted = am.encode(weights, biases, x, activation), [], [], []
    for _ in range(sweeps):
        row = [am.objective(weights, biases, codes, x, y, mu, activation)]
        for i in reversed(range(len(codes))):
            below = x if i == 0 else am.ACTIVATIONS[activation](codes[i - 1])
            last = i == len(codes) - 1
            codes[i] = am.update_code(
                codes[i],
                am.layer(weights[i], biases[i], below),
                (weights[i + 1], biases[i + 1]),
                y if last else codes[i + 1],
                mu,
                last=last,
                activation=activation,
                steps=steps,
            )
            row.append(am.objective(weights, biases, codes, x, y, mu, activation))
        for i in range(len(weights)):
            update_weights(weights, biases, codes, x, y, i, ridge, activation)
            row.append(am.objective(weights, biases, codes, x, y, mu, activation))
        log.append(torch.stack(row))
        accuracy.append(
            _accuracy(
                weights, biases, dataset.x_test.flatten(1).double(), dataset.y_test, activation
            )
        )
        fitted.append(_accuracy(weights, biases, x, y, activation))
    return BatchRun(torch.stack(log), torch.stack(accuracy), torch.stack(fitted))


def update_weights(
    weights: list[Tensor],
    biases: list[Tensor],
    codes: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    i: int,
    ridge: float,
    activation: str = "relu",
) -> None:
    """Fit layer i, counted from 0, to the codes of the whole batch.

    Hidden layers are fitted by ridge regression, the last one by one step.
    """
    a = am.with_one(am.ACTIVATIONS[activation](codes[i - 1]) if i else x)
    old, last = torch.cat([weights[i], biases[i][..., None]], -1), i == len(weights) - 1
    target = am.output_slope(am.layer(weights[i], biases[i], a[..., :-1]), y) if last else codes[i]
    A, B = am.moments(a, target)
    new = (am.output_weights if last else am.ridge_weights)(A, B, old, ridge)
    weights[i], biases[i] = new[..., :-1], new[..., -1]


def _accuracy(
    weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, y: Tensor, activation: str
) -> Tensor:
    codes = am.encode(weights, biases, x, activation)
    logits = am.layer(weights[-1], biases[-1], am.ACTIVATIONS[activation](codes[-1]))
    return (logits.argmax(-1) == y).double().mean(-1)


def largest_rise(log: Tensor) -> tuple[float, int]:
    """Return the largest relative rise of the objective at an update, and the update count.

    The rise is 0 if there is none; the count is that of all updates.
    """
    steps = log.diff(dim=1) / log[:, :-1]
    return steps.clamp_min(0).max().item(), steps.numel()


@runtime.one_thread()
def first_pass(recipe: Recipe, seeds: Sequence[int], at: Sequence[int]) -> dict[int, Tensor]:
    """Measure test accuracy (R,) after these steps of the first pass over the samples.

    In the full profile a pass has more steps; each of ``at`` stands for the same share of it.
    """
    large = profiles.sized(recipe)
    dataset, net = train.load(large), large.model
    lr_scale = train.steps_in_epoch(large, dataset) / train.steps_in_epoch(
        recipe, train.load(recipe)
    )
    steps = {t: max(1, round(t * lr_scale)) for t in at}
    seen = {
        step.t: train.evaluate(net, step.params, step.buffers, dataset.x_test, dataset.y_test)[1]
        .double()
        .cpu()
        for step in train.iterate_steps([large] * len(seeds), seeds, dataset)
        if step.t in steps.values()
    }
    return {t: seen[step] for t, step in steps.items()}


def unit_path(mu: float, start: float, sweeps: int = 10) -> tuple[np.ndarray, bool]:
    """Return (w, c) after every half sweep, and whether the code crossed from dead to live.

    The path is (1 + 2 sweeps, 2).
    """
    w = torch.tensor(start, dtype=torch.float64)
    c, one = w.clone(), torch.ones((), dtype=torch.float64)
    rows = [(w, c)]
    for _ in range(sweeps):
        c = am.best_code(one, w, 2.0, mu)
        rows.append((w, c))
        w = c
        rows.append((w, c))
    path = torch.stack([torch.stack(row) for row in rows]).numpy()
    return path, bool(start <= 0 and path[-1, 1] > 0)


def penalty_and_multipliers(mu: float = 0.5, sweeps: int = 30) -> dict[str, Tensor]:
    """Compute the largest residual |c - w x| of both methods, sweep by sweep.

    One weight cannot satisfy both of the two samples.
    """
    x, y, v = (torch.tensor(t, dtype=torch.float64) for t in ([1.0, 1.0], [0.0, 2.0], 1.0))
    w, found = torch.tensor(0.2, dtype=torch.float64), {"penalty": [], "multipliers": []}
    for _ in range(sweeps):
        c, w, _ = am.sweep(x, y, w, v, mu)
        found["penalty"].append((c - w * x).abs().max())
    u, w = torch.zeros_like(x), torch.tensor(0.2, dtype=torch.float64)
    for _ in range(sweeps):
        c, w, u = am.multiplier_sweep(x, y, u, w, v, mu)
        found["multipliers"].append((c - w * x).abs().max())
    return {name: torch.stack(values) for name, values in found.items()}


def layer_shares(
    depth: int = 8, mu: float = 1.0, size: int = 100, seeds: Sequence[int] = range(10)
) -> dict[str, Tensor]:
    """Measure what arrives at each hidden layer, (L, R), as a share of the top one's.

    The error is the gradient by backpropagation, and the change of the codes.

    The codes come from the forward pass and are updated once, from the top layer down, by one
    majorized step each or by thirty.
    """
    dataset = datasets.load("mnist1d", train_size=size)
    params, _ = MLP((40, *[64] * depth, 10), initializer="kaiming_normal").init(
        [runtime.generator(seed, "init") for seed in seeds]
    )
    weights, biases = (
        [params[f"{kind}{i}"].double() for i in range(1, depth + 2)] for kind in ("weight", "bias")
    )
    x, y = (
        t.expand(len(seeds), *t.shape)
        for t in (dataset.x_train.flatten(1).double(), dataset.y_train)
    )
    codes = am.encode(weights, biases, x)
    slopes = [
        am.output_slope(am.layer(weights[-1], biases[-1], codes[-1].relu()), y)
        @ weights[-1]
        * (codes[-1] > 0)
    ]
    for weight, code in zip(weights[-2:0:-1], codes[-2::-1], strict=True):
        slopes.insert(0, slopes[0] @ weight * (code > 0))
    found = {"gradient by backpropagation": slopes}
    for name, steps in (("codes, one step each", 1), ("codes, thirty steps each", 30)):
        moved = am.update_codes(weights, biases, codes, x, y, mu, steps=steps)
        found[name] = [new - old for new, old in zip(moved, codes, strict=True)]
    return {name: _shares(moves) for name, moves in found.items()}


def _shares(moves: Sequence[Tensor]) -> Tensor:
    sizes = torch.stack([move.square().sum((1, 2)).sqrt() for move in moves])
    return (sizes / sizes[-1]).cpu()


FAULTY_RUNS = {"A": "weights_rise", "B": "healthy", "C": "codes_lost", "D": "codes_rise"}
"""What is wrong with each. Do not peek before you have diagnosed."""


def faulty_runs(mu: float = 0.5, sweeps: int = 12) -> dict[str, Log]:
    """Log four runs of the batch form with one hidden layer, each with its own fault or none."""
    return {name: _faulty_run(fault, mu, sweeps) for name, fault in FAULTY_RUNS.items()}


def _faulty_run(fault: str, mu: float, sweeps: int) -> Log:
    dataset = datasets.load("mnist1d", train_size=200)
    params, _ = MLP((40, 32, 10)).init([runtime.generator(0, "init")])
    weights, biases = (
        [params[f"{kind}{i}"][0].double() for i in (1, 2)] for kind in ("weight", "bias")
    )
    x, y = dataset.x_train.flatten(1).double(), dataset.y_train
    codes, log = am.encode(weights, biases, x), []
    for _ in range(sweeps):
        if fault == "codes_lost":
            codes = am.encode(weights, biases, x)
        row = [am.objective(weights, biases, codes, x, y, mu)]
        if fault == "codes_rise":
            slope = (
                am.output_slope(am.layer(weights[1], biases[1], codes[0].relu()), y) @ weights[1]
            )
            # gradient steps that are too long: nothing keeps them from raising the cost
            codes = [codes[0] - 8 * slope * (codes[0] > 0)]
        else:
            codes = am.update_codes(weights, biases, codes, x, y, mu, steps=3)
        row.append(am.objective(weights, biases, codes, x, y, mu))
        if fault == "weights_rise":
            weights[0] = weights[0] + 0.4 * (
                codes[0] - am.layer(weights[0], biases[0], x)
            ).mT @ x / len(x)
        else:
            update_weights(weights, biases, codes, x, y, 0, 1e-3)
        update_weights(weights, biases, codes, x, y, 1, 1e-3)
        log.append(torch.stack([*row, am.objective(weights, biases, codes, x, y, mu)]))
    return Log(*torch.stack(log).unbind(1))
