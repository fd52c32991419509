"""Signals that fade: the outputs of every layer, the loop that the slide prints, and four backward
passes to examine.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labsupport import compare, datasets, plots, runtime
from labsupport.models import initialization
from labsupport.topics.activations import backprop
from labsupport.topics.activations import reference as activations

SHOWN = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
}
FITTING = {"sigmoid": "xavier_normal", "tanh": "xavier_normal", "relu": "kaiming_normal"}
SPANS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 4.0)}
HIDDEN, WIDTH = 5, 64


def draw_functions() -> Figure:
    """Six activations beside their derivatives."""
    fig, axes = plots.figure(2, width=8, height=3.4)
    z = torch.linspace(-5, 5, 401, dtype=torch.float64)
    for i, (name, label) in enumerate(SHOWN.items()):
        value, slope, _ = activations.ACTIVATIONS[name]
        for ax, y in zip(axes, (value(z), slope(z)), strict=True):
            ax.plot(z, y, label=label, lw=1.8, **{**plots.look(i), "marker": None})
    axes[0].set(xlabel="z", title="what comes out", ylim=(-1.2, 3))
    axes[1].set(xlabel="z", title="its slope", ylim=(-0.2, 1.3))
    axes[1].axhline(0.25, color="#777777", lw=0.8)
    axes[1].annotate("1/4", (4.5, 0.27), color="#555555")
    axes[0].legend(fontsize=8.5)
    return fig


class Network(NamedTuple):
    """One network at its start, with the signals that are sent through it."""

    weights: list[Tensor]
    biases: list[Tensor]
    x: Tensor
    y: Tensor


def network(initializer: str, gain: float = 1.0, hidden: int = HIDDEN, seed: int = 0) -> Network:
    """Hidden layers of WIDTH units in float64, biases zero, and 200 signals of MNIST-1D."""
    rng, dataset = runtime.generator(seed, "init"), datasets.load("mnist1d", train_size=200)
    sizes = [dataset.x_train.shape[1], *[WIDTH] * hidden, dataset.classes]
    draw = initialization.SCHEMES[initializer]
    weights = [
        gain * draw((out, fan_in), rng).double()
        for fan_in, out in zip(sizes, sizes[1:], strict=False)
    ]
    weights = [weight.to(dataset.x_train.device) for weight in weights]
    return Network(
        weights,
        [weight.new_zeros(len(weight)) for weight in weights],
        dataset.x_train.double(),
        dataset.y_train,
    )


def saturation(activation: str = "tanh", gain: float = 1.0) -> Figure:
    """Histograms of the outputs of each hidden layer at the start; the title says how many sit
    where the slope is small.

    Weights have their fitting initialization (Xavier, for ReLU Kaiming) times the gain. Saturated
        means: a slope of
    less than a tenth of the steepest one.
    """
    net = network(FITTING[activation], gain)
    done = backprop.forward(net.weights, net.biases, net.x, activation)
    rule = activations.ACTIVATIONS[activation]
    fig, axes = plots.figure(HIDDEN, width=8, height=2.9, sharey=True)
    for i, (ax, z) in enumerate(zip(axes, done.zs[:-1], strict=True), start=1):
        share = (rule.slope(z) < 0.1 * rule.steepest).double().mean().item()
        _histogram(ax, rule.value(z), SPANS[activation])
        ax.set_title(f"layer {i}: {share:.0%}")
    axes[0].set_ylabel("share of outputs")
    log = descent(net, activation)
    fig.suptitle(
        f"{SHOWN[activation]}, gain {gain:g}: saturated share by layer. The gradient that reaches"
        f" layer 1 is {log.factor.prod():.2g} times that of layer {HIDDEN}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    return fig


def _histogram(ax: Axes, values: Tensor, span: tuple[float, float]) -> None:
    counts, edges = np.histogram(values.clamp(*span).cpu(), bins=20, range=span)
    ax.bar(
        edges[:-1],
        counts / counts.sum(),
        width=np.diff(edges),
        align="edge",
        color=plots.COLOURS[0],
    )
    ax.set(xlim=span, ylim=(0, 0.6), xticks=[span[0], sum(span) / 2, span[1]])


class Log(NamedTuple):
    """What happened to a gradient at each hidden layer but the last, from layer S down to layer
    1.
    """

    slope: Tensor
    """(S,) root mean square of the activation's derivatives at this layer."""
    weight: Tensor
    """(S,) by how much the weights above it multiplied the root mean square of the gradient."""
    factor: Tensor
    """(S,) root mean square of the gradient that the code passed on, divided by that of the layer
    above.
    """


def descent(net: Network, activation: str, believed: str | None = None) -> Log:
    """Follow the gradient down; ``believed`` is the activation whose derivative the code uses, if
    not the right one.
    """
    done = backprop.forward(net.weights, net.biases, net.x, activation)
    v, rows = backprop.cross_entropy_slope(done.zs[-1], net.y), []
    for weight, z in zip(net.weights[:0:-1], done.zs[-2::-1], strict=True):
        received = v @ weight
        passed = received * activations.ACTIVATIONS[believed or activation].slope(z)
        slope = activations.ACTIVATIONS[activation].slope(z)
        rows.append(
            torch.stack([_size(slope), _size(received) / _size(v), _size(passed) / _size(v)])
        )
        v = passed
    return Log(*torch.stack(rows[1:], 1))


def _size(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


PATIENTS = {
    "A": ("relu", "torch_default", None),
    "B": ("tanh", "xavier_normal", None),
    "C": ("sigmoid", "xavier_normal", None),
    "D": ("sigmoid", "xavier_normal", "linear"),
}
"""Activation, initializer, and whose derivative the code uses. Do not peek before you have
diagnosed.
"""


def patients(hidden: int = 10) -> dict[str, Log]:
    """The logs of four networks at the start, each from its own code."""
    return {
        name: descent(network(initializer, hidden=hidden), activation, believed)
        for name, (activation, initializer, believed) in PATIENTS.items()
    }


def draw_patients(logs: dict[str, Log]) -> Figure:
    """The size of each patient's gradient by layer, relative to the last hidden layer."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, log) in enumerate(logs.items()):
        sizes = torch.cat([log.factor.new_ones(1), log.factor.cumprod(0)])
        ax.plot(range(len(sizes), 0, -1), sizes.cpu(), label=f"patient {name}", **plots.look(i))
    ax.set(xlabel="hidden layer", ylabel="size of the gradient,\nlast layer = 1", yscale="log")
    ax.legend()
    return fig


def interval_table(name: str, rows: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """The mean of each row's values over seeds, with its interval."""
    found = {row: compare.interval(values) for row, values in rows.items()}
    table = pd.DataFrame(
        {row: (f.estimate, f.low, f.high) for row, f in found.items()}, index=["mean", "from", "to"]
    ).T
    return table.round(3).rename_axis(name)


def as_printed(weights: list[Tensor], x: Tensor, v: Tensor, activation: str) -> dict[int, Tensor]:
    """The weight gradients that the slide's loop computes, word for word: {layer: gradient}.

    Args:
        weights: [W_1, ..., W_J] of the slide's network, which has no biases and an activation on
            every layer.
        x: one input (in,).
        v: the gradient of the loss in x_J, the network's output.
        activation: a name in ``activations.ACTIVATIONS``.

    Raises:
        RuntimeError: where two sizes do not fit, unless all layers are equally wide.
    """
    rule, depth = activations.ACTIVATIONS[activation], len(weights)
    xs, zs, grads = {0: x}, {}, {}
    for j in range(depth):
        zs[j + 1] = weights[j] @ xs[j]  # weights[j] is W_{j+1}
        xs[j + 1] = rule.value(zs[j + 1])
    for j in range(depth - 1, 0, -1):
        v = v * rule.slope(zs[j])
        grads[j] = torch.outer(v, xs[j + 1])
        v = weights[j - 1].T @ v
    return grads


def mended(weights: list[Tensor], x: Tensor, v: Tensor, activation: str) -> dict[int, Tensor]:
    """The same loop from J down to 1, with each layer's gradient paired with the layer's input."""
    rule, depth = activations.ACTIVATIONS[activation], len(weights)
    xs, zs, grads = {0: x}, {}, {}
    for j in range(1, depth + 1):
        zs[j] = weights[j - 1] @ xs[j - 1]
        xs[j] = rule.value(zs[j])
    for j in range(depth, 0, -1):
        v = v * rule.slope(zs[j])
        grads[j] = torch.outer(v, xs[j - 1])
        v = weights[j - 1].T @ v
    return grads


def loops_beside_autograd(activation: str = "tanh", depth: int = 4, width: int = 6) -> pd.DataFrame:
    """The relative error of both loops for every layer, loss ½‖x_J - y‖², all layers equally
    wide.
    """
    rng = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(width, width, dtype=torch.float64, generator=rng, requires_grad=True)
        for _ in range(depth)
    ]
    x, y = torch.randn(2, width, dtype=torch.float64, generator=rng)
    out = x
    for weight in weights:
        out = activations.ACTIVATIONS[activation].value(weight @ out)
    right = torch.autograd.grad((out - y).square().sum() / 2, weights)
    call = ([weight.detach() for weight in weights], x, (out - y).detach(), activation)
    table = {}
    for name, grads in (("as printed", as_printed(*call)), ("mended", mended(*call))):
        table[name] = [
            f"{(grads[j] - g).norm() / g.norm():.1e}" if j in grads else "no gradient"
            for j, g in enumerate(right, start=1)
        ]
    return pd.DataFrame(table, index=pd.RangeIndex(1, depth + 1, name="layer"))
