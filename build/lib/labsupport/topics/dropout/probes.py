"""What dropout leaves behind: networks with units taken out, in the wrong mode, and as an ensemble
of masks.

Every run is given the same masks, so a run measures the same alone or among fifty.
"""

import dataclasses
from dataclasses import dataclass

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from labsupport import runtime
from labsupport.models import MLP
from labsupport.stacks import Stack
from labsupport.types import Dataset


@dataclass(frozen=True)
class Knockout:
    """Test accuracy with a share of the hidden units taken out at random:
    ``accuracy_without_<share>``.

    Each sample loses other units; those that stay are divided by 1 - share, as in training with
    dropout.

    Args:
        shares: of the hidden units that are taken out, each in [0, 1).
        passes: how often units are drawn; the accuracy is the mean over them.
    """

    shares: tuple[float, ...]
    passes: int = 5

    def __call__(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        return {
            f"accuracy_without_{share:g}": (
                _accuracies(
                    passes(net, params, buffers, dataset.x_test, share, self.passes), dataset.y_test
                ).mean(0)
            )
            for share in self.shares
        }


@dataclass(frozen=True)
class WrongMode:
    """Test accuracy with training's dropout left on: the mean ``train_mode_accuracy`` and its
    spread over passes.

    Args:
        passes: evaluations of the whole test part; ``train_mode_spread`` is their standard
            deviation.
    """

    passes: int = 20

    def __call__(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        found = _accuracies(
            passes(net, params, buffers, dataset.x_test, net.dropout, self.passes), dataset.y_test
        )
        return {"train_mode_accuracy": found.mean(0), "train_mode_spread": found.std(0)}


@dataclass(frozen=True)
class Ensemble:
    """Test accuracy of the mean of T sub-networks: ``accuracy_of_<T>``. Each sample has masks of
    its own.

    ``accuracy_of_1`` is the mean over all the single sub-networks.

    Args:
        counts: how many masks are averaged, each at least 1.
    """

    counts: tuple[int, ...] = (1, 2, 5, 10, 20, 50)

    def __call__(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        found = passes(net, params, buffers, dataset.x_test, net.dropout, max(self.counts))
        groups = {
            count: found if count == 1 else found[:count].mean(0, keepdim=True)
            for count in self.counts
        }
        return {
            f"accuracy_of_{count}": _accuracies(group, dataset.y_test).mean(0)
            for count, group in groups.items()
        }


@dataclass(frozen=True)
class Uncertainty:
    """How well a network's doubt ranks its errors, and inputs of another kind: areas under the ROC
    curve.

    ``<event>_single`` by the entropy of one pass in eval mode, ``<event>_mc`` by the entropy of the
    mean of several passes with dropout left on, ``<event>_mutual`` by what the passes disagree on:
    that entropy minus the mean of
    theirs. The events: ``errors``, of the single pass, on the test part; ``shuffled``, the test
    signals with their samples in another order, the same for all; ``noise``, white noise with the
    test part's mean and deviation.

    Args:
        passes: T, with dropout left on.
    """

    passes: int = 30

    def __call__(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        doubts, prediction = self._doubts(net, params, buffers, dataset.x_test)
        events = {"errors": (doubts, prediction != dataset.y_test)}
        for name, x in strangers(dataset.x_test).items():
            others, _ = self._doubts(net, params, buffers, x)
            strange = torch.zeros_like(prediction, dtype=torch.bool)
            events[name] = (
                {kind: torch.cat([doubts[kind], others[kind]], 1) for kind in doubts},
                torch.cat([strange, ~strange], 1),
            )
        return {
            f"{event}_{kind}": areas(happened, score)
            for event, (scores, happened) in events.items()
            for kind, score in scores.items()
        }

    def _doubts(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], x: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Three measures of doubt, each (R, N), and the prediction of the single pass (R, N)."""
        single = net.forward(
            params, buffers, x.to(params.flat.dtype).expand(len(params.flat), *x.shape)
        ).softmax(-1)
        found = passes(net, params, buffers, x, net.dropout, self.passes)
        of_mean = torch.special.entr(found.mean(0)).sum(-1)
        mutual = of_mean - torch.special.entr(found).sum(-1).mean(0)
        return {
            "single": torch.special.entr(single).sum(-1),
            "mc": of_mean,
            "mutual": mutual,
        }, single.argmax(-1)


def strangers(x: Tensor) -> dict[str, Tensor]:
    """Inputs that no network of the book was trained on, made of inputs (N, ...) and as many."""
    order = torch.randperm(x[0].numel(), generator=runtime.generator(0, "shuffled")).to(x.device)
    noise = torch.empty(x.shape).normal_(generator=runtime.generator(0, "noise")).to(x)
    return {"shuffled": x.flatten(1)[:, order].view(x.shape), "noise": x.mean() + x.std() * noise}


def areas(happened: Tensor, score: Tensor) -> Tensor:
    """(R,) the area under the ROC curve of a score (R, N) for an event (R, N); NaN where all or
    none happened.
    """
    mixed = happened.any(1) & ~happened.all(1)
    found = [
        roc_auc_score(event.cpu().numpy(), value.double().cpu().numpy()) if some else float("nan")
        for event, value, some in zip(happened, score, mixed, strict=True)
    ]
    return torch.tensor(found, dtype=score.dtype, device=score.device)


def passes(
    net: MLP, params: Stack, buffers: dict[str, Tensor], x: Tensor, rate: float | Tensor, count: int
) -> Tensor:
    """Class probabilities (T, R, N, K) of inputs (N, ...) in T passes, each unit dropped with
    probability ``rate``.
    """
    if count < 1:
        raise ValueError(f"count is {count}; there must be at least one pass")
    dropping = _with_rate(net, rate)
    runs = len(params.flat)
    rngs = [runtime.generator(0, "masks") for _ in range(runs)]
    x = x.to(params.flat.dtype).expand(runs, *x.shape)
    return torch.stack(
        [
            dropping.forward(params, buffers, x, training=True, rngs=rngs).softmax(-1)
            for _ in range(count)
        ]
    )


def _with_rate(net: MLP, rate: float | Tensor) -> MLP:
    if net.norm:
        raise ValueError(
            f"norm is {net.norm!r}; a network with batch norm cannot drop units without training"
            " its buffers"
        )
    if isinstance(rate, Tensor):
        return net
    plain = (
        dataclasses.replace(net, gain=1.0, dropout=0.0) if isinstance(net.dropout, Tensor) else net
    )
    return dataclasses.replace(plain, gain=1.0, dropout=rate)


def _accuracies(probabilities: Tensor, y: Tensor) -> Tensor:
    """(T, R) of probabilities (T, R, N, K)."""
    return (probabilities.argmax(-1) == y).to(probabilities.dtype).mean(-1)
