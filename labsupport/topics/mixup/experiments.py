"""Mixup in the plane, a search in two rounds, the lecture's loop, mixups with a fault."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd

from labsupport import augment, compare, profiles, runtime, train
from labsupport.augment import Mixup
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.streams import Streams
from labsupport.study import study
from labsupport.topics.mixup.faults import BLENDS, Pairs
from labsupport.topics.mixup.reference import coefficient
from labsupport.types import Arm, Batch, Dataset, Recipe, Result

# -- two classes in the plane ----------------------------------------------------------------------


ALPHAS = (0.05, 0.2, 0.5, 1.0, 2.0, 8.0)
DATA_SETS = ("crescents", "ring")
SIDE, EDGE = 61, 2.2
UNSURE = (0.1, 0.9)


def points(data: str, count: int = 200) -> tuple[Tensor, Tensor]:
    """Draw samples (N, 2) and classes (N,) in equal numbers: two crescents, or a disc in a ring.

    Raises:
        ValueError: for another data set, with the names there are.
    """
    if data not in DATA_SETS:
        raise ValueError(f"no data set {data!r}; there are {', '.join(DATA_SETS)}")
    rng = runtime.generator(0, data)
    turn, y = torch.rand(count, generator=rng), torch.arange(count) % 2
    if data == "crescents":
        angle = torch.pi * (turn + y)
        x = torch.stack([angle.cos() + 0.5 - y, angle.sin() + 0.5 * y - 0.25], 1)
    else:
        angle, radius = 2 * torch.pi * turn, 1.6 * (1 - y) + 0.1 * y
        x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return x + 0.15 * torch.randn(count, 2, generator=rng), y


@cache
def trained_plane(data: str) -> tuple[Tensor, Tensor, dict[float, Tensor]]:
    """Train with every alpha and compute p(y = 1) on the grid (SIDE, SIDE); 0 is no mixup.

    Returns samples, classes, and the grid by alpha.

    All networks with mixup are trained in one call, each with its own alpha.
    """
    x, y = points(data)
    dataset = Dataset(data, x, y, x[:0], y[:0], x, y, 2, data, torch.zeros(()))
    plain = Recipe(
        MLP((2, 64, 64, 2)), SGD(lr=0.1, momentum=0.9), epochs=200, batch_size=50, schedule="cosine"
    )
    mixed = [replace(plain, mixup=Mixup(alpha)) for alpha in ALPHAS]
    pictures = _shades([plain], dataset) + _shades(mixed, dataset)
    return x, y, dict(zip((0.0, *ALPHAS), pictures, strict=True))


@runtime.one_thread()
def _shades(recipes: list[Recipe], dataset: Dataset) -> list[Tensor]:
    """Compute p(y = 1) on the grid for each recipe, all trained from one seed."""
    *_, last = train.iterate_steps(recipes, [0] * len(recipes), dataset)
    axis = torch.linspace(-EDGE, EDGE, SIDE)
    grid = torch.cartesian_prod(axis, axis).expand(len(recipes), -1, -1)
    p = recipes[0].model.forward(last.params, last.buffers, grid).softmax(-1)[..., 1]
    return list(p.view(-1, SIDE, SIDE).mT)


def unsure_share(p: Tensor) -> float:
    """Measure the share of a grid where the probability is between 0.1 and 0.9."""
    return ((p > UNSURE[0]) & (p < UNSURE[1])).float().mean().item()


def grid_accuracy(x: Tensor, y: Tensor, p: Tensor) -> float:
    """Measure the share of samples whose nearest grid point names their class."""
    column, row = ((x + EDGE) / (2 * EDGE) * (SIDE - 1)).round().long().clamp(0, SIDE - 1).unbind(1)
    return ((p[row, column] > 0.5) == (y == 1)).float().mean().item()


# -- a search in two rounds ------------------------------------------------------------------------


def second_round(first: Result, seeds: Sequence[int], finalists: int = 3) -> Arm:
    """Choose an arm in a second round: the best of the first get more seeds.

    All their seeds choose.

    Args:
        first: all arms, from a few seeds, with their validation accuracy.
        seeds: others than those of the first round.
        finalists: how many arms go on; one with a diverged run never does.
    """
    early = compare.final(first, "valid_accuracy")
    names = early.mean(skipna=False).nlargest(finalists).index
    arms = [arm for arm in first.arms if arm.name in names]
    late = compare.final(study(arms, seeds), "valid_accuracy")
    means = pd.concat([early[late.columns], late]).mean(skipna=False)
    return next(arm for arm in arms if arm.name == means.idxmax())


# -- the lecture's code ----------------------------------------------------------------------------


def slide_epoch(
    net: nn.Module,
    loader1: Iterable,
    loader2: Iterable,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor, Tensor], Tensor],
    beta: Callable[[float, float], float],
    alpha: float,
) -> None:
    """Train one epoch by the lecture's mixup.

    `Variable` is left out, and the source of the numbers is an argument.
    """
    for (x1, y1), (x2, y2) in zip(loader1, loader2):  # noqa: B905
        lam = beta(alpha, alpha)
        x = lam * x1 + (1.0 - lam) * x2
        y = lam * y1 + (1.0 - lam) * y2
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()


class TorchSGD:
    """``torch.optim.SGD`` by its functional form.

    The class loads PyTorch's compiler, for seconds.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float):
        self.params, self.lr = list(params), lr

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter against its gradient."""
        sgd(
            self.params,
            [p.grad for p in self.params],
            [None] * len(self.params),
            lr=self.lr,
            weight_decay=0.0,
            momentum=0.0,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


def slide_gap(recipe: Recipe, seed: int) -> float:
    """Compare the lecture's loop with ours: the largest relative distance of a parameter.

    They are compared after the recipe's epochs.

    The lecture's loaders are handed the samples of our batches, the second one in the order of the
    partners, and its generator our coefficients; everything else is the slide's code and torch's.
    """
    dataset = train.load(recipe)
    start = next(train.iterate_steps([recipe], [seed], dataset))
    net = _torch_net(start.params)
    *_, last = train.iterate_steps([recipe], [seed], dataset)
    x1, y1, x2, y2, lams = zip(*pairs(recipe, seed, dataset), strict=True)
    numbers = iter(lams)
    slide_epoch(
        net,
        [*zip(x1, y1, strict=True)],
        [*zip(x2, y2, strict=True)],
        TorchSGD(net.parameters(), recipe.rule.lr),
        nn.functional.cross_entropy,
        lambda a, b: next(numbers),
        recipe.mixup.alpha,
    )
    return max(
        ((ours[0] - theirs).norm() / ours[0].norm()).item()
        for ours, theirs in zip(last.params.values(), net.parameters(), strict=True)
    )


def pairs(
    recipe: Recipe, seed: int, dataset: Dataset
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, float]]:
    """Yield every batch's samples and partners with one-hot labels, and the coefficient."""
    deeper, (_, streams) = replace(recipe.mixup, layers=(1,)), augment.streams_of([seed])
    for _, batch in train.batches([replace(recipe, mixup=None)], [seed], dataset):
        mix = deeper(batch, dataset.classes, streams).mix  # the same draw, not yet carried out
        x, y = batch.x[0], nn.functional.one_hot(batch.y[0], dataset.classes).to(batch.x.dtype)
        yield x, y, x[mix.partner], y[mix.partner], mix.coefficient[1].item()


def _torch_net(params: dict[str, Tensor]) -> nn.Sequential:
    """Build a network of torch's own layers with the weights of the first run."""
    weights = [
        (p[0], params[name.replace("weight", "bias")][0])
        for name, p in params.items()
        if "weight" in name
    ]
    net = nn.Sequential()
    for weight, bias in weights:
        layer = nn.Linear(*weight.T.shape, dtype=weight.dtype, device=weight.device)
        layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
        net.extend([layer, nn.ReLU()])
    return net[:-1]


# -- mixups with one thing wrong -------------------------------------------------------------------


@dataclass(frozen=True)
class FaultyMixup(Mixup):
    """Mixup of the inputs with one thing wrong.

    Args:
        alpha: as Mixup.
        fault: one of BLENDS.
    """

    fault: str = "healthy"

    def __call__(self, batch: Batch, classes: int, streams: Streams) -> Batch:
        # who is blended and how much, not yet carried out
        mix = Mixup(self.alpha, (1,))(batch, classes, streams).mix
        runs, size = batch.y.shape
        y = F.one_hot(batch.y, classes).to(batch.x.dtype).flatten(0, 1)
        x = batch.x.flatten(0, 1)
        drawn = self.fault == "lam_per_sample"
        own = self._own(runs, size, streams).to(x) if drawn else x.new_empty(0)
        lam = mix.coefficient[1].repeat_interleave(size)
        another = y.view(runs, size, -1).flip(1).flatten(0, 1)
        pairs = Pairs(x, y, x[mix.partner], y[mix.partner], another, lam, own)
        x, targets = BLENDS[self.fault](pairs)
        return batch._replace(x=x.view(batch.x.shape), targets=targets.view(runs, size, -1))

    def _own(self, runs: int, size: int, streams: Streams) -> Tensor:
        """Draw a coefficient for each sample, (R·B,)."""
        alpha = torch.as_tensor(self.alpha, dtype=torch.float64).expand(runs)
        return coefficient(streams.uniform(size, alpha), alpha[:, None]).flatten()


def fault_study(recipe: Recipe, seeds: Sequence[int]) -> pd.DataFrame:
    """Tabulate test accuracy in per cent without mixup and with each fault, with intervals.

    Args:
        recipe: one with mixup; its alpha is kept.
        seeds: every row is trained from each of these.
    """
    kinds = {"no mixup": None} | {
        fault: FaultyMixup(recipe.mixup.alpha, fault=fault) for fault in BLENDS
    }
    sized = profiles.sized(recipe)
    runs = [(name, seed) for name in kinds for seed in seeds]
    found = {}
    for rows, trained in train.train_many(
        [(replace(sized, mixup=kinds[name]), seed) for name, seed in runs]
    ):
        accuracy = next(
            values for _, metric, values in reversed(trained.metrics) if metric == "test_accuracy"
        )
        found |= {
            runs[row]: 100 * value for row, value in zip(rows, accuracy.tolist(), strict=True)
        }
    columns = {name: compare.interval([found[name, seed] for seed in seeds]) for name in kinds}
    return pd.DataFrame(
        {
            name: {
                "test accuracy (%)": f"{v.estimate:.1f}",
                "95 % interval": f"{v.low:.1f} to {v.high:.1f}",
            }
            for name, v in columns.items()
        }
    ).T


# -- three runs to diagnose ------------------------------------------------------------------------


FAULTY_RUNS = {"A": "other_partner", "B": "healthy", "C": "hardened"}
"""What each run did. Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """The inputs and outputs of a mixup of two classes."""

    x: Tensor
    """(B,) one number a sample."""
    y: Tensor
    """(B,) its class, 0.0 or 1.0."""
    order: Tensor
    """(B,) the partners of the inputs."""
    lam: float
    """The coefficient that was drawn for the batch."""
    mixed: Tensor
    target: Tensor


def faulty_runs(size: int = 12) -> dict[str, Log]:
    """Log one batch of the crescents, blended by three codes."""
    x, y = points("crescents")
    # the stream's name decides the draws: another one would make other logs
    x, y, rng = x[:size, 0], y[:size].float(), runtime.generator(1, "patients")
    order, other = (torch.randperm(size, generator=rng) for _ in range(2))
    pairs = Pairs(
        x, y, x[order], y[order], y[other], torch.tensor(0.3), torch.rand(size, generator=rng)
    )
    return {name: Log(x, y, order, 0.3, *BLENDS[kind](pairs)) for name, kind in FAULTY_RUNS.items()}


def log_table(log: Log) -> pd.DataFrame:
    """Show a log, one row a sample."""
    columns = {
        "x": log.x,
        "class": log.y,
        "partner": log.order,
        "blended x": log.mixed,
        "target": log.target,
    }
    return pd.DataFrame({name: values.numpy() for name, values in columns.items()}).round(2)
