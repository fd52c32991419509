"""Probes of mixup: predictions along segments, hidden states within a class, calibration."""

from dataclasses import dataclass

import torch
from torch import Tensor

from labsupport import runtime
from labsupport.models.layered import Layered
from labsupport.stacks import Stack
from labsupport.topics.mixup.calibration import calibration_error, reliability
from labsupport.types import Dataset, Net


@dataclass(frozen=True)
class Segments:
    r"""Predictions on the segment between test samples of two different classes.

    Of the pairs drawn, each run looks at those whose two ends it names rightly; ``pairs`` is how
    many they are. At step k of T, so at a share :math:`t = k/T` of the way: ``own<k>`` is the mean
    probability of the class at the start, ``third<k>`` the share of points at which the class that
    is named is neither of the two, ``bend<k>`` the mean distance (total variation, half the sum of
    absolute differences) from the straight line between the predictions at the ends. ``bend`` and
    ``third`` are their means over the steps between the ends. A run with no such pair has NaN.

    Args:
        drawn: how many pairs are drawn; the same ones for every run.
        steps: T, at least 2.
    """

    drawn: int = 1000
    steps: int = 10

    def __call__(
        self, net: Layered, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        starts, ends = different_class_pairs(dataset.y_test, self.drawn)
        x, first, last = (
            dataset.x_test.to(params.flat.dtype),
            dataset.y_test[starts],
            dataset.y_test[ends],
        )
        ways = [torch.lerp(x[starts], x[ends], k / self.steps) for k in range(self.steps + 1)]
        said = [
            net.forward(params, buffers, w.expand(len(params.flat), *w.shape)).softmax(-1)
            for w in ways
        ]
        known = (said[0].argmax(-1) == first) & (said[-1].argmax(-1) == last)
        found = {"pairs": known.sum(1).to(params.flat.dtype)}
        for k, p in enumerate(said):
            line, named = torch.lerp(said[0], said[-1], k / self.steps), p.argmax(-1)
            seen = {
                "own": p.gather(-1, first.expand(len(p), -1)[..., None])[..., 0],
                "third": (named != first) & (named != last),
                "bend": (p - line).abs().sum(-1) / 2,
            }
            found |= {
                f"{name}{k}": (values * known).sum(1) / found["pairs"]
                for name, values in seen.items()
            }
        between = range(1, self.steps)
        return found | {
            name: torch.stack([found[f"{name}{k}"] for k in between]).mean(0)
            for name in ("bend", "third")
        }


def different_class_pairs(y: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw the same ``count`` pairs of different classes each time, from labels (N,).

    Raises:
        ValueError: if all labels are equal.
    """
    if bool((y == y[0]).all()):
        raise ValueError(
            f"all {len(y)} labels are {int(y[0])}; there is no pair of different classes"
        )
    rng = runtime.generator(0, "pairs")
    rows = torch.randint(len(y), (2, 0), device=y.device)
    while rows.shape[1] < count:
        drawn = torch.randint(len(y), (2, 2 * count), generator=rng).to(y.device)
        rows = torch.cat([rows, drawn[:, y[drawn[0]] != y[drawn[1]]]], 1)
    return rows[0, :count], rows[1, :count]


@dataclass(frozen=True)
class Spectrum:
    r"""Spread of one class's hidden states: its number of directions and its size.

    Of each hidden layer l, on the test part: the states of a class, less their mean, have singular
    values :math:`s_1 \ge s_2 \ge \dots`. ``rank<l>`` is their effective rank: :math:`\exp(-\sum_j
    q_j \ln q_j)` with :math:`q_j = s_j^2 / \sum_i s_i^2`, the mean over classes. It is 1 if all lie
    on a line, and the number of directions if all are alike. ``within<l>`` is the share of the
    whole variance that lies within the classes. ``share<l>_<j>`` is the mean :math:`q_j`.

    Args:
        shown: of how many directions the shares are kept.
    """

    shown: int = 12

    def __call__(
        self, net: Layered, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        x, y = dataset.x_test.to(params.flat.dtype), dataset.y_test
        hidden = net.layers(params, buffers, x.expand(len(params.flat), *x.shape))[:-1]
        found = {}
        for layer, h in enumerate(hidden, start=1):
            h = h.flatten(2)
            parts = [h[:, y == k] for k in range(dataset.classes)]
            parts = [part - part.mean(1, keepdim=True) for part in parts]
            energies = [spectrum(part) for part in parts]
            shares = torch.stack(
                [_padded(e / e.sum(1, keepdim=True).clamp(min=1e-30), self.shown) for e in energies]
            ).mean(0)
            total = (h - h.mean(1, keepdim=True)).square().sum((1, 2))
            found |= {
                f"rank{layer}": torch.stack([effective_rank(e) for e in energies]).mean(0),
                f"within{layer}": sum(part.square().sum((1, 2)) for part in parts) / total,
            }
            found |= {
                f"share{layer}_{j}": column for j, column in enumerate(shares.unbind(1), start=1)
            }
        return found


def spectrum(h: Tensor) -> Tensor:
    """Compute the squared singular values, largest first, of R matrices (R, N, H): (R, H).

    They are computed as eigenvalues of the Gram matrices, which are small.
    """
    h = h.double()
    return torch.linalg.eigvalsh(h.mT @ h).flip(1).clamp(min=0)


def effective_rank(energies: Tensor) -> Tensor:
    r"""Compute :math:`\exp(-\sum_j q_j \ln q_j)` of normalized rows (R, J); 0 for all zeros.

    The rows are squared singular values.
    """
    q = energies / energies.sum(1, keepdim=True).clamp(min=1e-30)
    return torch.where(energies.sum(1) > 0, torch.special.entr(q).sum(1).exp(), 0.0)


def _padded(values: Tensor, count: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, max(0, count - values.shape[1])))[:, :count]


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error ``ece`` on the test part, with its components.

    ``confidence`` is the mean probability of the class that is named. Of each of a few bins of
    confidence, counted from 1: ``share<b>`` of the predictions, ``confidence<b>`` and
    ``accuracy<b>``; the last two are 0 in an empty bin.

    Args:
        bins: of equal width, for the error.
        shown: of equal width, for the parts.
    """

    bins: int = 15
    shown: int = 10

    def __call__(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
    ) -> dict[str, Tensor]:
        runs = len(params.flat)
        x = dataset.x_test.to(params.flat.dtype)
        sure, named = net.forward(params, buffers, x.expand(runs, *x.shape)).softmax(-1).max(-1)
        correct = named == dataset.y_test
        found = {"ece": calibration_error(sure, correct, self.bins), "confidence": sure.mean(-1)}
        for name, values in zip(
            ("share", "confidence", "accuracy"), reliability(sure, correct, self.shown), strict=True
        ):
            values = values / len(x) if name == "share" else values
            found |= {
                f"{name}{b}": column for b, column in enumerate(torch.unbind(values, -1), start=1)
            }
        return found
