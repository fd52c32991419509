"""Networks at their start: backward passes layer by layer, and the loop that the slide prints."""

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from labsupport import datasets, runtime
from labsupport.models import initialization
from labsupport.topics.activations import backprop
from labsupport.topics.activations import reference as activations

HIDDEN, WIDTH = 5, 64


class Network(NamedTuple):
    """One network at its start, with the inputs that are sent through it."""

    weights: list[Tensor]
    biases: list[Tensor]
    x: Tensor
    y: Tensor


def network(initializer: str, gain: float = 1.0, hidden: int = HIDDEN, seed: int = 0) -> Network:
    """Draw a network of WIDTH units a hidden layer and run 200 signals of MNIST-1D through it.

    It is in float64, its biases are zero.
    """
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


class Log(NamedTuple):
    """The gradient's sizes at each hidden layer but the last, from layer S down to layer 1."""

    slope: Tensor
    """(S,) root mean square of the activation's derivatives at this layer."""
    weight: Tensor
    """(S,) by how much the weights above it multiplied the root mean square of the gradient."""
    factor: Tensor
    """(S,) root mean square of the gradient that the code passed on, divided by that of the layer
    above.
    """


def backward_log(net: Network, activation: str, believed: str | None = None) -> Log:
    """Log what each hidden layer does to the gradient, from the top down.

    Args:
        net: the network and its inputs.
        activation: a name in ``activations.ACTIVATIONS``.
        believed: the activation whose derivative the code uses, if not the right one.
    """
    done = backprop.forward(net.weights, net.biases, net.x, activation)
    v, rows = backprop.cross_entropy_slope(done.zs[-1], net.y), []
    for weight, z in zip(net.weights[:0:-1], done.zs[-2::-1], strict=True):
        received = v @ weight
        passed = received * activations.ACTIVATIONS[believed or activation].slope(z)
        slope = activations.ACTIVATIONS[activation].slope(z)
        rows.append(torch.stack([_rms(slope), _rms(received) / _rms(v), _rms(passed) / _rms(v)]))
        v = passed
    return Log(*torch.stack(rows[1:], 1))


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


FAULTY_RUNS = {
    "A": ("relu", "torch_default", None),
    "B": ("tanh", "xavier_normal", None),
    "C": ("sigmoid", "xavier_normal", None),
    "D": ("sigmoid", "xavier_normal", "linear"),
}
"""Activation, initializer, and whose derivative the code uses. Do not peek before you have
diagnosed.
"""


def faulty_runs(hidden: int = 10) -> dict[str, Log]:
    """Log the backward passes of four networks at the start, each by its own code."""
    return {
        name: backward_log(network(initializer, hidden=hidden), activation, believed)
        for name, (activation, initializer, believed) in FAULTY_RUNS.items()
    }


def as_printed(weights: list[Tensor], x: Tensor, v: Tensor, activation: str) -> dict[int, Tensor]:
    """Compute weight gradients by the slide's loop, word for word: {layer: gradient}.

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


def corrected(weights: list[Tensor], x: Tensor, v: Tensor, activation: str) -> dict[int, Tensor]:
    """Run the same loop from J down to 1, with v paired with each layer's input."""
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
    """Compare both loops with autograd: the relative error of every layer.

    The loss is ½‖x_J - y‖², all layers are equally wide.
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
    for name, grads in (("as printed", as_printed(*call)), ("mended", corrected(*call))):
        table[name] = [
            f"{(grads[j] - g).norm() / g.norm():.1e}" if j in grads else "no gradient"
            for j, g in enumerate(right, start=1)
        ]
    return pd.DataFrame(table, index=pd.RangeIndex(1, depth + 1, name="layer"))
