"""What dropout leaves behind: networks with units taken out, in the wrong mode, and as an ensemble of masks.

Every run is given the same masks, so a run measures the same alone or among fifty.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport import runtime
from labsupport.contracts import Split
from labsupport.models import MLP
from labsupport.stacks import Stack


@dataclass(frozen=True)
class Knockout:
    """Test accuracy with a share of the hidden units taken out at random: ``accuracy_without_<share>``.

    Each sample loses other units; those that stay are divided by 1 - share, as in training with dropout.

    Args:
        shares: of the hidden units that are taken out, each in [0, 1).
        passes: how often units are drawn; the accuracy is the mean over them.
    """

    shares: tuple[float, ...]
    passes: int = 5

    def __call__(self, net: MLP, params: Stack, buffers: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        return {f"accuracy_without_{share:g}":
                _accuracies(passes(net, params, buffers, split.x_test, share, self.passes), split.y_test).mean(0)
                for share in self.shares}


@dataclass(frozen=True)
class WrongMode:
    """Test accuracy with training's dropout left on: the mean ``train_mode_accuracy`` and its spread over passes.

    Args:
        passes: evaluations of the whole test part; ``train_mode_spread`` is their standard deviation.
    """

    passes: int = 20

    def __call__(self, net: MLP, params: Stack, buffers: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        found = _accuracies(passes(net, params, buffers, split.x_test, net.dropout, self.passes), split.y_test)
        return {"train_mode_accuracy": found.mean(0), "train_mode_spread": found.std(0)}


def passes(net: MLP, params: Stack, buffers: dict[str, Tensor], x: Tensor, rate: float | Tensor, count: int) -> Tensor:
    """Class probabilities (T, R, N, K) of inputs (N, ...) in T passes, each unit dropped with probability ``rate``."""
    dropping = _with_rate(net, rate)
    runs = len(params.flat)
    rngs = [runtime.generator(0, "masks") for _ in range(runs)]
    x = x.to(params.flat.dtype).expand(runs, *x.shape)
    return torch.stack([dropping.forward(params, buffers, x, training=True, rngs=rngs).softmax(-1)
                        for _ in range(count)])


def _with_rate(net: MLP, rate: float | Tensor) -> MLP:
    if net.norm:
        raise ValueError(f"norm is {net.norm!r}; a network with batch norm cannot drop units without training its buffers")
    if isinstance(rate, Tensor):
        return net
    plain = dataclasses.replace(net, gain=1.0, dropout=0.0) if isinstance(net.dropout, Tensor) else net
    return dataclasses.replace(plain, gain=1.0, dropout=rate)


def _accuracies(probabilities: Tensor, y: Tensor) -> Tensor:
    """(T, R) of probabilities (T, R, N, K)."""
    return (probabilities.argmax(-1) == y).to(probabilities.dtype).mean(-1)
