"""The small networks of the book. One object evaluates R copies at once; weights have the shapes of torch.nn.

A model is a frozen record of its structure. Its ``init`` draws the parameters of every run from that run's
generator alone; its ``forward`` is a pure function of the parameters, but for buffers in training.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from labsupport import runtime
from labsupport.stacks import Stack

Tensors = Mapping[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": torch.tanh_,
                                                      "sigmoid": torch.sigmoid_}
"""In place: each keeps its output for the backward pass, and nothing else needs its input."""
BN_MOMENTUM, BN_EPS = 0.1, 1e-5


@dataclass(frozen=True)
class MLP:
    """Fully connected layers: linear, batch norm if asked for, activation; the last layer is linear alone.

    Args:
        sizes: widths from input to output: (40, 100, 100, 10). Inputs (R, B, ...) are flattened to (R, B, D).
        activation: relu | tanh | sigmoid.
        norm: None, or "batch": batch norm before each activation, with PyTorch's defaults.

    Raises:
        ValueError: for fewer than two sizes, a size below one, or an unknown activation or norm.
    """

    sizes: tuple[int, ...] = (40, 100, 100, 10)
    activation: str = "relu"
    norm: str | None = None

    def __post_init__(self):
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes are {self.sizes}; an MLP has at least two, each at least 1")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation is {self.activation!r}; there are {', '.join(ACTIVATIONS)}")
        if self.norm not in (None, "batch"):
            raise ValueError(f"norm is {self.norm!r}; it may be None or 'batch'")

    @property
    def depth(self) -> int:
        """How many linear layers there are."""
        return len(self.sizes) - 1

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights and biases uniform in ±1/√fan_in, as torch.nn.Linear draws them; scales one, shifts zero."""
        drawn = [self._draw(rng) for rng in rngs]
        device = runtime.device()
        params = {name: torch.stack([run[name] for run in drawn]).to(device) for name in drawn[0]}
        buffers = {}
        for i, size in enumerate(self.sizes[1:-1] if self.norm else (), start=1):
            buffers[f"mean{i}"] = torch.zeros(len(rngs), size, device=device)
            buffers[f"var{i}"] = torch.ones(len(rngs), size, device=device)
        return params, buffers

    def _draw(self, rng: Generator) -> dict[str, Tensor]:
        params = {}
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), start=1):
            bound = 1 / math.sqrt(fan_in)
            params[f"weight{i}"] = torch.empty(fan_out, fan_in).uniform_(-bound, bound, generator=rng)
            params[f"bias{i}"] = torch.empty(fan_out).uniform_(-bound, bound, generator=rng)
            if self.norm and i < self.depth:
                params[f"scale{i}"], params[f"shift{i}"] = torch.ones(fan_out), torch.zeros(fan_out)
        return params

    def forward(self, params: Tensors, buffers: dict[str, Tensor], x: Tensor, *, training: bool = False) -> Tensor:
        """Logits (R, B, K) of inputs (R, B, ...)."""
        activation = ACTIVATIONS[self.activation]
        h = x.flatten(2)
        for i in range(1, self.depth):
            z = torch.baddbmm(params[f"bias{i}"][:, None], h, params[f"weight{i}"].mT)
            if self.norm:
                z = _batch_norm(z, params[f"scale{i}"], params[f"shift{i}"], buffers, i, training)
            h = activation(z)
        return torch.baddbmm(params[f"bias{self.depth}"][:, None], h, params[f"weight{self.depth}"].mT)

    def backprop(self, params: Stack, x: Tensor, y: Tensor, grads: Stack) -> Tensor | None:
        """The gradient of the mean cross-entropy of each run, by hand; None where autograd has to do it.

        A step of a small network is mostly the overhead of its operations. This is the lecture's backward pass
        with as few of them as can be: it takes about two thirds of autograd's time.

        Args:
            params, x, y: as in ``forward``, with labels (R, B).
            grads: where the gradients are written, shapes as params.

        Returns:
            The loss of each run (R,), or None if this network is not a plain ReLU one.
        """
        if self.norm or self.activation != "relu":
            return None
        hs, depth = [x if x.dim() == 3 else x.flatten(2)], self.depth
        for i in range(1, depth):
            hs.append(torch.baddbmm(params[f"bias{i}"][:, None], hs[-1], params.turned[f"weight{i}"]).relu_())
        # classes before samples: a product with few rows is faster than one with few columns
        logits = torch.baddbmm(params[f"bias{depth}"][..., None], params[f"weight{depth}"], hs[-1].mT)
        loss, vt = _cross_entropy_and_slope(logits, y[:, None])
        for i in range(depth, 0, -1):
            torch.bmm(vt, hs[i - 1], out=grads[f"weight{i}"])
            torch.sum(vt, 2, out=grads[f"bias{i}"])
            if i > 1:
                v = torch.bmm(vt.mT, params[f"weight{i}"])
                vt = torch.ops.aten.threshold_backward.grad_input(v, hs[i - 1], 0, grad_input=v).mT
        return loss


def _cross_entropy_and_slope(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy of each run (R,) and its slope in the logits (R, K, B), for labels (R, 1, B)."""
    slope = torch.log_softmax(logits, 1)
    loss = slope.gather(1, y)[:, 0].mean(1).neg_()
    slope.exp_().scatter_add_(1, y, slope.new_full((), -1.0).expand(y.shape))
    return loss, slope.div_(y.shape[2])


def _batch_norm(z: Tensor, scale: Tensor, shift: Tensor, buffers: dict[str, Tensor], layer: int,
                training: bool) -> Tensor:
    """Normalize (R, B, H) over B; running statistics as in torch.nn.BatchNorm1d."""
    if training:
        var, mean = torch.var_mean(z, 1, correction=0)
        size = z.shape[1]
        with torch.no_grad():
            buffers[f"mean{layer}"].lerp_(mean, BN_MOMENTUM)
            buffers[f"var{layer}"].lerp_(var * (size / (size - 1)), BN_MOMENTUM)
    else:
        mean, var = buffers[f"mean{layer}"], buffers[f"var{layer}"]
    gain = scale * torch.rsqrt(var + BN_EPS)
    return torch.addcmul((shift - mean * gain)[:, None], z, gain[:, None])


@dataclass(frozen=True)
class Vmapped:
    """Any torch.nn.Module as a network of R copies, through torch.func.vmap: general, and two to three times slower.

    Args:
        make: a function of no arguments that builds the module; it draws its weights from torch's global
            generator, which is seeded from each run's own and put back.
    """

    make: Callable[[], nn.Module]

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters and buffers of R modules, stacked."""
        modules = [_seeded(self.make, rng) for rng in rngs]
        params, buffers = torch.func.stack_module_state(modules)
        device = runtime.device()
        return ({name: p.detach().to(device) for name, p in params.items()},
                {name: b.to(device) for name, b in buffers.items()})

    def forward(self, params: Tensors, buffers: dict[str, Tensor], x: Tensor, *, training: bool = False) -> Tensor:
        """Logits (R, B, K) of inputs (R, B, ...)."""
        module = _template(self.make, training)
        call = torch.func.vmap(lambda p, b, v: functional_call(module, (p, b), (v,)), randomness="different")
        return call(dict(params), buffers, x)


@functools.lru_cache(maxsize=32)
def _template(make: Callable[[], nn.Module], training: bool) -> nn.Module:
    """The module's structure without memory for its weights, which each call brings along."""
    with torch.device("meta"):
        return make().train(training)


def _seeded(make: Callable[[], nn.Module], rng: Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.initial_seed())
        return make()
