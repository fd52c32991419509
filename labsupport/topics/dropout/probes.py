"""Probes of dropout: units taken out, the wrong mode, ensembles, and uncertainty.

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
from labsupport.streams import Streams
from labsupport.types import Dataset


@dataclass(frozen=True)
class Knockout:
    """Accuracy with a share of the hidden units taken out: ``accuracy_without_<share>``.

    It is measured on the test part; the units are random.

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
    """Test accuracy with dropout left on: ``train_mode_accuracy``, ``train_mode_std``.

    They are the mean over passes and its standard deviation.

    Args:
        passes: evaluations of the whole test part.
    """

    passes: int = 20

    def __call__(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        found = _accuracies(
            passes(net, params, buffers, dataset.x_test, net.dropout, self.passes), dataset.y_test
        )
        return {"train_mode_accuracy": found.mean(0), "train_mode_std": found.std(0)}


@dataclass(frozen=True)
class Ensemble:
    """Test accuracy of the mean of T sub-networks, ``accuracy_of_<T>``.

    Each sample has masks of its own.

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
    """AUROC of a network's uncertainty for its errors and for out-of-distribution inputs.

    ``<event>_single`` by the entropy of one pass in eval mode, ``<event>_mc`` by the entropy of the
    mean of several passes with dropout left on, ``<event>_mutual`` by what the passes disagree on:
    that entropy minus the mean of theirs (the mutual information of class and mask). The events:
    ``errors``, of the single pass, on the test part; ``shuffled`` and ``noise``, the inputs that
    :func:`out_of_distribution` makes of the test part.

    Args:
        passes: T, with dropout left on.
    """

    passes: int = 30

    def __call__(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        scores, prediction = self._uncertainties(net, params, buffers, dataset.x_test)
        events = {"errors": (scores, prediction != dataset.y_test)}
        for name, x in out_of_distribution(dataset.x_test).items():
            others, _ = self._uncertainties(net, params, buffers, x)
            in_test = torch.ones_like(prediction, dtype=torch.bool)
            events[name] = (
                {kind: torch.cat([scores[kind], others[kind]], 1) for kind in scores},
                torch.cat([~in_test, in_test], 1),
            )
        return {
            f"{event}_{kind}": auroc(happened, score)
            for event, (by_kind, happened) in events.items()
            for kind, score in by_kind.items()
        }

    def _uncertainties(
        self, net: MLP, params: Stack, buffers: dict[str, Tensor], x: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Compute three measures of uncertainty and the single pass's prediction, each (R, N)."""
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


def out_of_distribution(x: Tensor) -> dict[str, Tensor]:
    """Make inputs that no network was trained on, as many as those given (N, ...).

    ``shuffled``: each input with its numbers in another order, the same for all; ``noise``: white
    noise with the mean and standard deviation of x.
    """
    order = torch.randperm(x[0].numel(), generator=runtime.generator(0, "shuffled")).to(x.device)
    noise = torch.empty(x.shape).normal_(generator=runtime.generator(0, "noise")).to(x)
    return {"shuffled": x.flatten(1)[:, order].view(x.shape), "noise": x.mean() + x.std() * noise}


def auroc(happened: Tensor, score: Tensor) -> Tensor:
    """Measure the area under the ROC curve of scores for an event, both (R, N): (R,).

    NaN where all or none happened.
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
    """Predict class probabilities (T, R, N, K) in T passes with dropout at ``rate``.

    Inputs are (N, ...).

    Raises:
        ValueError: if there is no pass, or the network has batch norm.
    """
    if count < 1:
        raise ValueError(f"count is {count}; there must be at least one pass")
    dropping = _with_rate(net, rate)
    runs = len(params.flat)
    streams = Streams([0] * runs, "masks")  # the same masks for every run
    x = x.to(params.flat.dtype).expand(runs, *x.shape)
    return torch.stack(
        [
            dropping.forward(params, buffers, x, training=True, streams=streams).softmax(-1)
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
    """Compute accuracies (T, R) of probabilities (T, R, N, K)."""
    return (probabilities.argmax(-1) == y).to(probabilities.dtype).mean(-1)
