"""The small networks of the book. One object evaluates R copies at once; weights have the shapes of torch.nn.

A model is a frozen record of its structure. Its ``init`` draws the parameters of every run from that run's
generator alone; its ``forward`` is a pure function of the parameters, but for buffers in training.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import functional_call

from labsupport import runtime
from labsupport.reference import initialization
from labsupport.stacks import Stack

Tensors = Mapping[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_, "tanh": torch.tanh_, "sigmoid": torch.sigmoid_, "leaky_relu": F.leaky_relu_, "elu": F.elu_,
    "gelu": F.gelu, "silu": F.silu, "linear": lambda z: z}
"""In place where the backward pass needs the output alone; GELU and SiLU need their input."""
BIASES = ("uniform", "zero")
BN_MOMENTUM, BN_EPS = 0.1, 1e-5


@dataclass(frozen=True)
class MLP:
    """Fully connected layers: linear, batch norm if asked for, activation, dropout; the last layer is linear alone.

    Args:
        sizes: widths from input to output: (40, 100, 100, 10). Inputs (R, B, ...) are flattened to (R, B, D).
        activation: relu | tanh | sigmoid | leaky_relu | elu | gelu | silu | linear.
        norm: None, or "batch": batch norm before each activation, with PyTorch's defaults.
        initializer: how weights are drawn, by its name in reference/initialization.py.
        bias: "uniform" in ±1/√fan_in as torch.nn.Linear draws them, or "zero".
        gain: every weight matrix is multiplied by it at the start.
        dropout: the probability, in [0, 1), that a hidden unit is set to zero in training; the others are divided by
            1 - dropout (inverted dropout).

    Raises:
        ValueError: for fewer than two sizes, a size below one, an unknown name, a negative gain, a dropout outside
            [0, 1).
    """

    sizes: tuple[int, ...] = (40, 100, 100, 10)
    activation: str = "relu"
    norm: str | None = None
    initializer: str = "torch_default"
    bias: str = "uniform"
    gain: float = 1.0
    dropout: float = 0.0

    def __post_init__(self):
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"sizes are {self.sizes}; an MLP has at least two, each at least 1")
        for field, allowed in (("activation", ACTIVATIONS), ("norm", (None, "batch")), ("bias", BIASES),
                               ("initializer", initialization.SCHEMES)):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} is {getattr(self, field)!r}; there are {', '.join(map(str, allowed))}")
        if not 0 <= self.gain < math.inf:
            raise ValueError(f"gain is {self.gain}; it must be a number of at least 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, the probability to drop a unit; it must be in [0, 1)")

    @property
    def depth(self) -> int:
        """How many linear layers there are."""
        return len(self.sizes) - 1

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights by the initializer, times the gain; scales one, shifts zero."""
        drawn = [self._draw(rng) for rng in rngs]
        device = runtime.device()
        params = {name: torch.stack([run[name] for run in drawn]).to(device) for name in drawn[0]}
        for i in range(1, self.depth + 1):
            params[f"weight{i}"] *= _per_run(self.gain, params[f"weight{i}"])
        buffers = {}
        for i, size in enumerate(self.sizes[1:-1] if self.norm else (), start=1):
            buffers[f"mean{i}"] = torch.zeros(len(rngs), size, device=device)
            buffers[f"var{i}"] = torch.ones(len(rngs), size, device=device)
        return params, buffers

    def _draw(self, rng: Generator) -> dict[str, Tensor]:
        params = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes), start=1):
            params[f"weight{i}"] = initialization.SCHEMES[self.initializer]((fan_out, fan_in), rng)
            bound = 1 / math.sqrt(fan_in) if self.bias == "uniform" else 0.0
            params[f"bias{i}"] = torch.empty(fan_out).uniform_(-bound, bound, generator=rng)
            if self.norm and i < self.depth:
                params[f"scale{i}"], params[f"shift{i}"] = torch.ones(fan_out), torch.zeros(fan_out)
        return params

    def forward(self, params: Tensors, buffers: dict[str, Tensor], x: Tensor, *, training: bool = False,
                rngs: Sequence[Generator] = ()) -> Tensor:
        """Logits (R, B, K) of inputs (R, B, ...); in training with dropout, run r draws its masks from rngs[r]."""
        return self.layers(params, buffers, x, training=training, rngs=rngs)[-1]

    def layers(self, params: Tensors, buffers: dict[str, Tensor], x: Tensor, *, training: bool = False,
               rngs: Sequence[Generator] = ()) -> list[Tensor]:
        """What each layer puts out, (R, B, H) of the hidden ones and the logits (R, B, K), for inputs (R, B, ...)."""
        masks = self._masks(x, rngs) if training else None
        outputs = [x.flatten(2)]
        for i in range(1, self.depth):
            z = torch.baddbmm(params[f"bias{i}"][:, None], outputs[-1], params[f"weight{i}"].mT)
            if self.norm:
                z = _batch_norm(z, params[f"scale{i}"], params[f"shift{i}"], buffers, i, training)
            h = ACTIVATIONS[self.activation](z)
            outputs.append(h * masks[i - 1] if masks else h)
        last = self.depth
        outputs.append(torch.baddbmm(params[f"bias{last}"][:, None], outputs[-1], params[f"weight{last}"].mT))
        return outputs[1:]

    def _masks(self, x: Tensor, rngs: Sequence[Generator]) -> list[Tensor] | None:
        """For each hidden layer (R, B, H): 0 where a unit is dropped, 1 / (1 - dropout) where it stays."""
        if not isinstance(self.dropout, Tensor) and self.dropout == 0:
            return None
        if len(rngs) != len(x):
            raise ValueError(f"dropout is drawn from one generator a run: there are {len(x)} runs and {len(rngs)} rngs")
        drawn = torch.empty(len(x), x.shape[1] * sum(self.sizes[1:-1]))
        for row, rng in zip(drawn, rngs, strict=True):
            row.uniform_(0, 1, generator=rng)
        parts = drawn.to(x.device).to(x.dtype).split([x.shape[1] * size for size in self.sizes[1:-1]], dim=1)
        rate = _per_run(self.dropout, x.flatten(2))
        return [(part.view(len(x), x.shape[1], -1) >= rate) / (1 - rate) for part in parts]

    def backprop(self, params: Stack, x: Tensor, y: Tensor, grads: Stack,
                 rngs: Sequence[Generator] = ()) -> Tensor | None:
        """The gradient of the mean cross-entropy of each run, by hand; None where autograd has to do it.

        A step of a small network is mostly the overhead of its operations. This is the lecture's backward pass
        with as few of them as can be: it takes about two thirds of autograd's time.

        Args:
            params, x, y, rngs: as in ``forward``, with labels (R, B).
            grads: where the gradients are written, shapes as params.

        Returns:
            The loss of each run (R,), or None if this network is not a plain ReLU one.
        """
        if self.norm or self.activation != "relu":
            return None
        masks = self._masks(x, rngs)
        hs, depth = [x if x.dim() == 3 else x.flatten(2)], self.depth
        for i in range(1, depth):
            hs.append(torch.baddbmm(params[f"bias{i}"][:, None], hs[-1], params.turned[f"weight{i}"]).relu_())
            if masks:
                hs[-1].mul_(masks[i - 1])
        # classes before samples: a product with few rows is faster than one with few columns
        logits = torch.baddbmm(params[f"bias{depth}"][..., None], params[f"weight{depth}"], hs[-1].mT)
        loss, vt = _cross_entropy_and_slope(logits, y[:, None])
        for i in range(depth, 0, -1):
            torch.bmm(vt, hs[i - 1], out=grads[f"weight{i}"])
            torch.sum(vt, 2, out=grads[f"bias{i}"])
            if i > 1:
                v = torch.bmm(vt.mT, params[f"weight{i}"])
                if masks:  # a dropped unit puts out 0, so the next line stops its gradient
                    v.mul_(1 / (1 - _per_run(self.dropout, v)))
                vt = torch.ops.aten.threshold_backward.grad_input(v, hs[i - 1], 0, grad_input=v).mT
        return loss


def _per_run(value: float | Tensor, like: Tensor) -> Tensor:
    """A hyperparameter as (R, 1, 1), or (1, 1, 1) where all runs share it, beside ``like``, (R, ., .)."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(-1, 1, 1)


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

    def forward(self, params: Tensors, buffers: dict[str, Tensor], x: Tensor, *, training: bool = False,
                rngs: Sequence[Generator] = ()) -> Tensor:
        """Logits (R, B, K) of inputs (R, B, ...); what the module itself draws comes from torch's global generator."""
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
