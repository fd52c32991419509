"""Angles along a run of feedback alignment: between its steps and the gradient, between its
matrices and the weights.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from labsupport import compare, plots, profiles, runtime, train
from labsupport.models import patches
from labsupport.rules import gradients
from labsupport.types import Batch, Interval, Recipe

ROWS = 500
"""Training samples that the steps are compared on."""


def course(recipe: Recipe, seeds: Sequence[int], every: int = 30) -> pd.DataFrame:
    """Cosines at the start and after every so many steps: tidy, with columns step, seed, metric,
    value.

    Metrics: ``gradient1`` ..., of each layer but the last, between what the rule steps along and
        the true gradient; and
    ``matrix2`` ..., of each layer but the first, between its feedback matrix and its transposed
    weights; and ``loss``.

    Args:
        recipe: its rule steps along a FeedbackAlignment; trained, as by ``study``, at the size of
            the profile.
        seeds: R runs.
        every: steps between two looks.
    """
    recipe = profiles.sized(recipe)
    dataset, source, rows = train.load(recipe), recipe.rule.gradient, []
    steps = recipe.epochs * train.steps_in_epoch(recipe, dataset)
    with runtime.one_thread(), torch.no_grad():
        for step in train.iterate_steps([recipe] * len(seeds), seeds, dataset):
            if step.t == 0:
                kept = source.init(
                    recipe.model, step.params, [runtime.generator(seed, "rule") for seed in seeds]
                )
            if step.t % every == 0 or step.t == steps:
                for metric, values in _cosines(recipe, step, kept, seeds, dataset).items():
                    rows += [
                        (step.t, seed, metric, value)
                        for seed, value in zip(seeds, values.tolist(), strict=True)
                    ]
    return pd.DataFrame(rows, columns=["step", "seed", "metric", "value"])


def _cosines(
    recipe: Recipe, step, kept: dict[int, Tensor], seeds: Sequence[int], dataset
) -> dict[str, Tensor]:
    net, params, runs = recipe.model, step.params, len(seeds)
    x, y = dataset.x_train[:ROWS].to(params.flat.dtype), dataset.y_train[:ROWS]
    batch = Batch(
        x.expand(runs, *x.shape),
        y.expand(runs, -1),
        1,
        1.0,
        [runtime.generator(seed, "look") for seed in seeds],
    )
    taken, true = params.like(), params.like()
    loss = gradients(net, params, step.buffers, batch, true)
    recipe.rule.gradient(net, params, step.buffers, kept, batch, taken)
    names = [f"weight{layer}" for layer in range(1, net.depth + 1)]
    found = {
        f"gradient{i}": cosines(taken[name], true[name])
        for i, name in enumerate(names[:-1], start=1)
    }
    matrices = {
        f"matrix{i}": cosines(kept[i].mT, patches.matrix(net, params[f"weight{i}"])) for i in kept
    }
    return found | matrices | {"loss": loss}


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine between a[r] and b[r] for every run, (R,); 0 where one of them is zero."""
    return torch.nan_to_num(torch.cosine_similarity(a.flatten(1), b.flatten(1)))


def change(found: pd.DataFrame, metrics: Sequence[str]) -> Interval:
    """The last value minus the first, averaged over these metrics, with its interval over seeds."""
    rows = found[found["metric"].isin(metrics)]
    mean = rows.groupby(["seed", "step"])["value"].mean().unstack()
    return compare.interval(mean.iloc[:, -1] - mean.iloc[:, 0])


def draw(courses: dict[str, pd.DataFrame], metrics: dict[str, str]):
    """A panel for each course, {title: course}, a line with its band for each metric, {label:
    metric}.
    """
    fig, axes = plots.figure(len(courses), width=7.4, height=3.4, sharey=True)
    for ax, (title, found) in zip(axes, courses.items(), strict=True):
        for i, (label, metric) in enumerate(metrics.items()):
            by_step = found[found["metric"] == metric].groupby("step")["value"]
            plots.band(
                ax,
                list(by_step.groups),
                [compare.interval(values) for _, values in by_step],
                label,
                i,
            )
        ax.axhline(0, color="#555555", lw=1)
        ax.set(xlabel="step", title=title)
    axes[0].set_ylabel("cosine")
    axes[-1].legend(loc="upper right")
    return fig
