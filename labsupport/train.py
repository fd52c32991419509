"""The one training loop: many runs, seeds x hyperparameters, at once.

``iterate_steps`` yields the runs after every step; ``train`` takes all steps, measures on the way,
and notes which runs diverged and when. The loop knows no optimizer: a rule says how parameters
change.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from labsupport import augment, datasets, runtime, workers
from labsupport.stacks import Stack, stacked, structure
from labsupport.streams import Streams
from labsupport.types import Batch, ChecksData, Dataset, MixableNet, Net, Recipe, Step

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}
MOST_RUNS = 64
"""Runs in one stack: more of them do not go faster and only take memory."""
EVAL_ROWS = 250
"""Samples that are evaluated at once: what a layer puts out should fit in the cache."""
QUIET_SECONDS = 2.0
"""A progress bar comes up after so long."""

Probe = Callable[[Any, Stack, dict[str, Tensor], Dataset], dict[str, Tensor]]
"""What else to measure: (net, params, buffers, dataset) -> {metric: (R,)}. Which networks it can
look into is the probe's affair.
"""


@dataclass(frozen=True)
class Trained:
    """The state of R runs after training."""

    metrics: list[tuple[int, str, Tensor]]
    """(epoch, metric, values (R,)) in the order of measurement; NaN from the epoch in which a run
    diverged.
    """
    diverged: Tensor
    """(R,) the first step at which the loss was no longer finite, 0 for a run that did not
    diverge.
    """
    params: Stack
    buffers: dict[str, Tensor]


@torch.no_grad()
def iterate_steps(
    recipes: Sequence[Recipe], seeds: Sequence[int], dataset: Dataset | None = None
) -> Iterator[Step]:
    """Train R runs, run r by recipes[r] from seeds[r]; yield the start and every step's state.

    Args:
        recipes: R recipes of one structure: they differ in hyperparameters of model, rule, mixup
            and transforms at most.
        seeds: R seeds. A run's weights, batches and noise come from its seed alone.
        dataset: the data; loaded by the recipe's name if not given.

    Yields:
        A Step, the first with t = 0; its parameters are updated in place by the next one.

    Raises:
        ValueError: if the recipes differ in structure, or cannot be trained: see ``check``.
    """
    first = _same_structure(recipes, seeds)
    dataset = dataset or load(first)
    check(first, dataset)
    dtype = getattr(torch, first.dtype)
    model = stacked([recipe.model for recipe in recipes], runtime.device())
    rule = stacked([recipe.rule for recipe in recipes], runtime.device())
    # drawn in float32 and then cast: a run starts from the same weights in either precision
    drawn, buffers = model.init([runtime.generator(seed, "init") for seed in seeds])
    params = Stack.of({name: p.to(dtype) for name, p in drawn.items()})
    buffers = {name: b.to(dtype) for name, b in buffers.items()}
    state = rule.init(model, params, Streams(seeds, "rule"))
    yield Step(0, 0, params.flat.new_full((len(seeds),), math.nan), params, buffers)
    for epoch, batch in batches(recipes, seeds, dataset):
        params, state, metrics = rule.step(model, params, buffers, state, batch)
        yield Step(batch.t, epoch, metrics["loss"], params, buffers)


def batches(
    recipes: Sequence[Recipe], seeds: Sequence[int], dataset: Dataset
) -> Iterator[tuple[int, Batch]]:
    """Yield epoch and batch of every step; each run shuffles by its own generator each epoch.

    Args:
        recipes, seeds, dataset: as in ``iterate_steps``; the samples are changed and blended as the
            recipes have it.
    """
    recipe = recipes[0]
    transforms = [
        stacked(column, runtime.device())
        for column in zip(*(r.augment for r in recipes), strict=True)
    ]
    mix = stacked([r.mixup for r in recipes], runtime.device())
    drawing = augment.streams_of(seeds)
    orders = [runtime.generator(seed, "order") for seed in seeds]
    noise = Streams(seeds, "noise")
    x, y = dataset.x_train.to(getattr(torch, recipe.dtype)), dataset.y_train
    size, steps = min(recipe.batch_size, len(y)), steps_in_epoch(recipe, dataset)
    lr_scale = SCHEDULES[recipe.schedule]
    for epoch in range(1, recipe.epochs + 1):
        # one gather a step for all runs: their rows side by side, step after step
        order = torch.stack(
            [torch.randperm(len(y), generator=rng)[: steps * size] for rng in orders]
        ).to(y.device)
        for i, rows in enumerate(
            order.view(len(seeds), steps, size).transpose(0, 1).reshape(steps, -1)
        ):
            done = (epoch - 1) * steps + i
            batch = Batch(
                x.index_select(0, rows).view(len(seeds), size, *x.shape[1:]),
                y.index_select(0, rows).view(len(seeds), size),
                done + 1,
                lr_scale(done / (recipe.epochs * steps)),
                noise,
            )
            yield epoch, augment.prepared(batch, transforms, mix, dataset, drawing)


def train(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    probes: Sequence[Probe] = (),
    progress: Callable[[int], object] = lambda runs: None,
) -> Trained:
    """Train one stack of R runs to the end and measure on the way.

    Args:
        recipes, seeds: as in ``iterate_steps``.
        probes: what to measure beside loss and accuracy.
        progress: called after each epoch with the number of runs that finished it.

    Returns:
        A Trained. Its metric ``seconds`` is the time of the steps so far, shared out over the runs
        of the stack, without what measuring took. A run that diverges is marked at its step and
        goes on; its neighbours do not notice.
    """
    first = _same_structure(recipes, seeds)
    dataset = load(first)
    model = stacked([recipe.model for recipe in recipes], runtime.device())
    every = first.measure_every or max(first.epochs, 1)
    losses: list[Tensor] = []
    metrics: list[tuple[int, str, Tensor]] = []
    watch = Stopwatch()
    for step in watch.over(iterate_steps(recipes, seeds, dataset)):
        losses += [step.loss] if step.t else []
        if len(losses) % steps_in_epoch(first, dataset) or (step.t == 0 and first.epochs):
            continue
        watch.settle()
        progress(len(seeds))
        if step.epoch % every == 0 or step.epoch == first.epochs:
            diverged = _first_bad(losses, len(seeds))
            for name, values in measure(model, step.params, step.buffers, dataset, probes).items():
                metrics.append(
                    (step.epoch, name, values.double().masked_fill(diverged > 0, math.nan))
                )
            metrics.append(
                (
                    step.epoch,
                    "seconds",
                    torch.full((len(seeds),), watch.seconds / len(seeds), dtype=torch.float64),
                )
            )
            runtime.synchronize()  # what measuring takes is not the next epoch's
    return Trained(metrics, _first_bad(losses, len(seeds)), step.params, step.buffers)


def train_in_memory(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    probes: Sequence[Probe] = (),
    progress: Callable[[int], object] = lambda runs: None,
) -> Trained:
    """Train as ``train`` does; a stack for which a GPU's memory ends is trained in halves.

    Raises:
        RuntimeError: if not even one run fits.
    """
    try:
        return train(recipes, seeds, probes, progress)
    except torch.cuda.OutOfMemoryError as error:
        if len(seeds) == 1:
            raise RuntimeError(
                f"the memory of {runtime.device()} does not hold one run of {recipes[0].model} with"
                f" batches of {recipes[0].batch_size}; take smaller batches or a smaller network"
            ) from error
    # not in the handler: the error's traceback holds the tensors of the stack
    torch.cuda.empty_cache()
    half = len(seeds) // 2
    parts = [
        train_in_memory(recipes[which], seeds[which], probes, progress)
        for which in (slice(half), slice(half, None))
    ]
    measured = zip(*(part.metrics for part in parts), strict=True)
    return Trained(
        [
            (epoch, metric, torch.cat([first, second]))
            for (epoch, metric, first), (_, _, second) in measured
        ],
        torch.cat([part.diverged for part in parts]),
        Stack(torch.cat([part.params.flat for part in parts]), parts[0].params.shapes),
        {name: torch.cat([part.buffers[name] for part in parts]) for name in parts[0].buffers},
    )


class Stopwatch:
    """A clock that counts the time an iterator takes for its items, not their use."""

    seconds = 0.0

    def settle(self) -> None:
        """Count what a GPU still computes, once an epoch: waiting at every step would slow it."""
        start = time.perf_counter()
        runtime.synchronize()
        self.seconds += time.perf_counter() - start

    def over(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the same items."""
        while True:
            start = time.perf_counter()
            item = next(items, None)
            self.seconds += time.perf_counter() - start
            if item is None:
                return
            yield item


def steps_in_epoch(recipe: Recipe, dataset: Dataset) -> int:
    """Count the whole batches in the training part; the rest of a shuffled epoch is left out."""
    return max(1, len(dataset.y_train) // recipe.batch_size)


def _first_bad(losses: Sequence[Tensor], runs: int) -> Tensor:
    """Find each run's first step, from 1, with a loss that is not finite; 0 if there is none."""
    if not losses:
        return torch.zeros(runs, dtype=torch.long, device=runtime.device())
    bad = ~torch.isfinite(torch.stack(list(losses)))
    return torch.where(bad.any(0), bad.int().argmax(0) + 1, 0)


@torch.no_grad()
def measure(
    net: Net,
    params: Stack,
    buffers: dict[str, Tensor],
    dataset: Dataset,
    probes: Sequence[Probe] = (),
) -> dict[str, Tensor]:
    """Measure loss and accuracy on each part of the data, and the probes: {metric: (R,)}."""
    measured = {}
    for part in ("train", "valid", "test"):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        if len(y):
            measured[f"{part}_loss"], measured[f"{part}_accuracy"] = evaluate(
                net, params, buffers, x, y
            )
    for probe in probes:
        measured.update(probe(net, params, buffers, dataset))
    return measured


def evaluate(
    net: Net, params: Stack, buffers: dict[str, Tensor], x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute mean cross-entropy and accuracy, both (R,), on samples x (N, ...), labels y (N,)."""
    runs = len(params.flat)
    loss, right = params.flat.new_zeros(runs), params.flat.new_zeros(runs)
    for some, labels in zip(x.split(EVAL_ROWS), y.split(EVAL_ROWS), strict=True):
        with runtime.autocast():
            logits = net.forward(params, buffers, some.to(loss.dtype).expand(runs, *some.shape)).to(
                loss.dtype
            )
        labels = labels.expand(runs, -1)
        loss += (
            F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            .view(runs, -1)
            .sum(1)
        )
        right += (logits.argmax(-1) == labels).sum(1)
    return loss / len(y), right / len(y)


def train_many(
    runs: Sequence[tuple[Recipe, int]], probes: Sequence[Probe] = ()
) -> list[tuple[list[int], Trained]]:
    """Train any mixture of runs: equal structures share stacks, stacks train side by side.

    Args:
        runs: (recipe, seed) pairs.
        probes: as in ``train``.

    Returns:
        (which of the runs, their Trained), one pair a stack.

    Raises:
        ValueError: if some recipe cannot be trained (see ``check``), before any is.
    """
    for recipe in dict.fromkeys(_shape(recipe) for recipe, _ in runs):
        check(recipe, load(recipe))
    stacks = _stacks([recipe for recipe, _ in runs], runtime.workers())
    jobs = [
        ([runs[row][0] for row in rows], [runs[row][1] for row in rows], probes) for rows in stacks
    ]
    total = sum(max(recipe.epochs, 1) for recipe, _ in runs)
    with tqdm(total=total, unit="epoch", delay=QUIET_SECONDS, leave=False) as bar:
        return list(
            zip(stacks, workers.parallel_map(train_in_memory, jobs, bar.update), strict=True)
        )


def _stacks(recipes: Sequence[Recipe], workers: int) -> list[list[int]]:
    """Group rows that train together: equal structure, at most MOST_RUNS in a stack.

    There is at least one stack for each worker.
    """
    groups: dict[Recipe, list[int]] = {}
    for row, recipe in enumerate(recipes):
        groups.setdefault(_shape(recipe), []).append(row)
    stacks = []
    for rows in groups.values():
        pieces = max(math.ceil(len(rows) / MOST_RUNS), math.ceil(workers / len(groups)))
        size = math.ceil(len(rows) / pieces)
        stacks += [rows[i : i + size] for i in range(0, len(rows), size)]
    return stacks


def _shape(recipe: Recipe) -> Recipe:
    """Set the numbers of a recipe in which runs of one stack may differ to 0."""
    return replace(
        recipe,
        model=structure(recipe.model),
        rule=structure(recipe.rule),
        mixup=structure(recipe.mixup),
        augment=tuple(structure(transform) for transform in recipe.augment),
    )


def load(recipe: Recipe) -> Dataset:
    """Load the data of a recipe."""
    return datasets.load(
        recipe.data,
        train_size=recipe.train_size,
        valid_size=recipe.valid_size,
        standardize=recipe.standardize,
        label_noise=recipe.label_noise,
    )


def _same_structure(recipes: Sequence[Recipe], seeds: Sequence[int]) -> Recipe:
    """Return the first recipe, if all fit in one stack."""
    if not recipes or len(recipes) != len(seeds):
        raise ValueError(
            f"{len(recipes)} recipes and {len(seeds)} seeds; there must be as many, and at"
            " least one"
        )
    first = recipes[0]
    if any(_shape(recipe) != _shape(first) for recipe in recipes):
        raise ValueError(
            "recipes of one stack may differ only in hyperparameters of model, rule, mixup and"
            " transforms"
        )
    return first


def check(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse a recipe that cannot be trained on its data, before any training.

    Raises:
        ValueError: for a model or rule that is none, an unknown schedule or dtype, a model that
            does not take the data, mixup at a layer that is not there, transforms of standardized
            columns; it names the value and what is allowed.
    """
    for name, part, needed in (
        ("model", recipe.model, ("init", "forward")),
        ("rule", recipe.rule, ("init", "step")),
    ):
        if isinstance(part, type) or not all(hasattr(part, method) for method in needed):
            raise ValueError(
                f"{name} is {part!r}; it must be an object with the methods {' and '.join(needed)}"
            )
    if recipe.schedule not in SCHEDULES:
        raise ValueError(f"schedule is {recipe.schedule!r}; there are {', '.join(SCHEDULES)}")
    if recipe.dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {recipe.dtype!r}; there are float32 and float64")
    if recipe.augment and recipe.standardize:
        raise ValueError(
            "augment changes inputs that were scaled as a whole; standardize scales every column"
            " by itself"
        )
    if isinstance(recipe.model, ChecksData):
        recipe.model.check_data(tuple(dataset.x_train.shape[1:]), dataset.classes)
    deepest = max(recipe.mixup.layers) if recipe.mixup else 0
    hidden = recipe.model.mixable_layers if isinstance(recipe.model, MixableNet) else 0
    if deepest > hidden:
        raise ValueError(
            f"mixup at layer {deepest}: {type(recipe.model).__name__} has {hidden} hidden layers"
            " that can be blended; 0 are the inputs"
        )
