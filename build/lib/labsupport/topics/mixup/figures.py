"""Two classes in the plane with and without mixup, what Beta(α, α) looks like, and the lecture's
own loop made to run.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor, nn
from torch.optim.sgd import sgd

from labsupport import augment, compare, plots, runtime, train
from labsupport.augment import Mixup
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.study import study
from labsupport.types import Arm, Dataset, Recipe, Result

ALPHAS = (0.05, 0.2, 0.5, 1.0, 2.0, 8.0)
WORLDS = ("crescents", "ring")
SIDE, EDGE = 61, 2.2
SHADES, GREEN, ORANGE = "Blues", "#007A57", "#D55E00"
UNSURE = (0.1, 0.9)

# -- two classes in the plane ----------------------------------------------------------------------


def points(world: str, count: int = 200) -> tuple[Tensor, Tensor]:
    """Samples (N, 2) and their classes (N,), half of each: two crescents, or a disc in a ring.

    Raises:
        ValueError: for another world, with the names there are.
    """
    if world not in WORLDS:
        raise ValueError(f"no world {world!r}; there are {', '.join(WORLDS)}")
    rng = runtime.generator(0, world)
    turn, y = torch.rand(count, generator=rng), torch.arange(count) % 2
    if world == "crescents":
        angle = torch.pi * (turn + y)
        x = torch.stack([angle.cos() + 0.5 - y, angle.sin() + 0.5 * y - 0.25], 1)
    else:
        angle, radius = 2 * torch.pi * turn, 1.6 * (1 - y) + 0.1 * y
        x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return x + 0.15 * torch.randn(count, 2, generator=rng), y


@cache
def _plane(world: str) -> tuple[Tensor, Tensor, dict[float, Tensor]]:
    """The samples, their classes, and p(y = 1) on the grid (SIDE, SIDE) for every alpha; 0 is no
    mixup.

    All networks with mixup are trained in one call, each with its own alpha.
    """
    x, y = points(world)
    dataset = Dataset(world, x, y, x[:0], y[:0], x, y, 2, world, torch.zeros(()))
    plain = Recipe(
        MLP((2, 64, 64, 2)), SGD(lr=0.1, momentum=0.9), epochs=200, batch_size=50, schedule="cosine"
    )
    mixed = [replace(plain, mixup=Mixup(alpha)) for alpha in ALPHAS]
    pictures = _shades([plain], dataset) + _shades(mixed, dataset)
    return x, y, dict(zip((0.0, *ALPHAS), pictures, strict=True))


@runtime.one_thread()
def _shades(recipes: list[Recipe], dataset: Dataset) -> list[Tensor]:
    """p(y = 1) on the grid for each recipe, all trained from one seed."""
    *_, last = train.iterate_steps(recipes, [0] * len(recipes), dataset)
    axis = torch.linspace(-EDGE, EDGE, SIDE)
    grid = torch.cartesian_prod(axis, axis).expand(len(recipes), -1, -1)
    p = recipes[0].model.forward(last.params, last.buffers, grid).softmax(-1)[..., 1]
    return list(p.view(-1, SIDE, SIDE).mT)


def shading(world: str = "crescents", alpha: float = 1.0) -> Figure:
    """p(y = 1) over the plane: without mixup on the left, with mixup on the right."""
    x, y, pictures = _plane(world)
    fig, axes = plots.figure(2, width=6.6, height=3.5, sharey=True)
    for ax, name, p in zip(
        axes,
        ("no mixup", f"mixup, alpha = {alpha:g}"),
        (pictures[0.0], pictures[alpha]),
        strict=True,
    ):
        _shaded(ax, x, y, p)
        ax.set_title(f"{name}\nunsure: {unsure(p):.0%} of the plane, right: {right(x, y, p):.0%}")
    return fig


def _shaded(ax: Axes, x: Tensor, y: Tensor, p: Tensor) -> None:
    edges = (-EDGE, EDGE, -EDGE, EDGE)
    p = p.numpy()
    ax.imshow(p, extent=edges, origin="lower", cmap=SHADES, vmin=0, vmax=1.25)
    ax.contour(p, levels=[0.5], extent=edges, colors="#222222", linewidths=1.2)
    for k, (colour, marker) in enumerate(((GREEN, "o"), (ORANGE, "^"))):
        ax.scatter(*x[y == k].T.numpy(), s=9, color=colour, marker=marker, linewidths=0)
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.grid(False)


def unsure(p: Tensor) -> float:
    """The share of a grid on which the probability is between 0.1 and 0.9."""
    return ((p > UNSURE[0]) & (p < UNSURE[1])).float().mean().item()


def right(x: Tensor, y: Tensor, p: Tensor) -> float:
    """The share of samples that the nearest point of the grid names rightly."""
    column, row = ((x + EDGE) / (2 * EDGE) * (SIDE - 1)).round().long().clamp(0, SIDE - 1).unbind(1)
    return ((p[row, column] > 0.5) == (y == 1)).float().mean().item()


# -- the coefficient -------------------------------------------------------------------------------


def densities(alphas: Iterable[float] = (0.1, 0.5, 1.0, 4.0)) -> Figure:
    """The density of Beta(α, α), and how much of the weaker sample a blend holds."""
    fig, axes = plots.figure(2, width=8, height=3.1)
    lam = np.linspace(0.002, 0.998, 499)
    shares = np.linspace(0.001, 0.5, 200)
    for i, alpha in enumerate(alphas):
        law, line = stats.beta(alpha, alpha), {**plots.look(i), "marker": None, "lw": 2}
        axes[0].plot(lam, law.pdf(lam), label=f"alpha = {alpha:g}", **line)
        axes[1].plot(shares, 2 * law.cdf(shares), label=f"alpha = {alpha:g}", **line)
    axes[0].set(xlabel=r"coefficient $\lambda$", ylabel="density", ylim=(0, 3))
    axes[1].set(
        xlabel="smaller of the two shares", ylabel="blends with less than that", ylim=(0, 1.02)
    )
    axes[0].legend(ncols=2)
    return fig


# -- a search in two rounds ------------------------------------------------------------------------


def finals(first: Result, seeds: Sequence[int], finalists: int = 3) -> Arm:
    """The second round of a search: the best arms of the first go on with more seeds, and all of
    their seeds choose.

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
    """The lecture's epoch of mixup, with `Variable` left out and the source of its numbers as an
    argument.
    """
    for (x1, y1), (x2, y2) in zip(loader1, loader2):  # noqa: B905
        lam = beta(alpha, alpha)
        x = lam * x1 + (1.0 - lam) * x2
        y = lam * y1 + (1.0 - lam) * y2
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()


class TorchSGD:
    """``torch.optim.SGD`` by the function that does its steps: to make one of the class loads
    PyTorch's compiler, for seconds.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float):
        self.params, self.lr = list(params), lr

    def zero_grad(self) -> None:
        """No gradient yet."""
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Every parameter moves along its gradient."""
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
    """Largest relative distance of a weight matrix or bias, the lecture's loop to ours, after the
    recipe's epochs.

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
    """Of every batch of a run the samples with their one-hot labels, their partners with theirs,
    and the coefficient.
    """
    deeper, (_, rngs) = replace(recipe.mixup, layers=(1,)), augment.generators([seed])
    for _, batch in train.batches([replace(recipe, mixup=None)], [seed], dataset):
        mix = deeper(batch, dataset.classes, rngs).mix  # the same draw, not yet carried out
        x, y = batch.x[0], nn.functional.one_hot(batch.y[0], dataset.classes).to(batch.x.dtype)
        yield x, y, x[mix.partner], y[mix.partner], mix.weights[1].item()


def _torch_net(params: dict[str, Tensor]) -> nn.Sequential:
    """A network of torch's own layers with the weights of the first run."""
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
