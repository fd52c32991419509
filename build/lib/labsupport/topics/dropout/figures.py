"""What the masks do to one sum, three dropout layers with a log, and the lecture's own training
code made to run.
"""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from labsupport import datasets, plots, runtime
from labsupport.topics.dropout import reference as do
from labsupport.types import Dataset

Batches = list[tuple[Tensor, Tensor]]

# -- one sum over all masks ------------------------------------------------------------------------


def contributions(units: int) -> Tensor:
    """What each of an even number of units adds to the pre-activation z = 1: large ones and small
    negative ones.
    """
    return torch.tensor([2.5, -0.5], dtype=torch.float64).repeat(units // 2) / units


def sums(units: int, drop: float) -> tuple[Tensor, Tensor]:
    """The thinned sum under every mask, without any scaling, and how likely each mask is: both
    (2^n).
    """
    masks = do.all_masks(units)
    return masks @ contributions(units), do.mask_probability(masks, keep=1 - drop)


def all_sums(units: int = 8, drop: float = 0.5) -> Figure:
    """How one pre-activation is spread in training by each convention, with what inference puts in
    its place.
    """
    values, likely = sums(units, drop)
    fig, axes = plots.figure(2, width=7.2, height=3.3, sharey=True)
    for i, (ax, name, scale) in enumerate(
        zip(axes, ("lecture", "inverted"), (1.0, 1 / (1 - drop)), strict=True)
    ):
        spread, at_inference = scale * values, scale * (1 - drop)
        mean = (likely * spread).sum().item()
        deviation = (likely * (spread - mean).square()).sum().sqrt().item()
        ax.hist(
            spread,
            bins=[0.25 * k - 2.125 for k in range(33)],
            weights=likely,
            color=plots.COLOURS[i],
            alpha=0.75,
        )
        ax.axvline(at_inference, color="#222222", lw=2, label=f"inference: {at_inference:.2f}")
        ax.set(xlim=(-2.1, 6), ylim=(0, 0.9), xlabel="pre-activation $z$")
        ax.set_title(f"{name}: mean {mean:.2f}, spread {deviation:.2f}")
        ax.legend(loc="upper right")
    axes[0].set_ylabel("probability")
    fig.suptitle(f"{units} units, {2**units} masks, drop rate {drop:g}", fontsize=10.5)
    return fig


# -- three layers with a log -----------------------------------------------------------------------


def _kept(h: Tensor, u: Tensor, drop: float) -> Tensor:
    return h * do.keep_mask(u, drop)


LAYERS: dict[str, Callable[[Tensor, Tensor, float, bool], Tensor]] = {
    "inverted": lambda h, u, r, training: do.inverted_dropout(h, u, drop=r, training=training),
    "lecture": lambda h, u, r, training: _kept(h, u, r) if training else (1 - r) * h,
    "scale_missing": lambda h, u, r, training: _kept(h, u, r) if training else h,
    "scaled_twice": lambda h, u, r, training: _kept(h, u, r) / (1 - r) if training else (1 - r) * h,
    "swapped": lambda h, u, r, training: _kept(h, u, 1 - r) / r if training else h,
    "eval_drops": lambda h, u, r, training: _kept(h, u, r) / (1 - r),
    "one_mask": lambda h, u, r, training: (
        _kept(h, u[:1].expand_as(u), r) / (1 - r) if training else h
    ),
}
"""Seven layers that call themselves dropout: (h, uniform numbers, drop rate, training) -> output.
Two are right.
"""

PATIENTS = {"A": "scaled_twice", "B": "lecture", "C": "one_mask"}
"""Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """What went into a dropout layer and what came out."""

    h: Tensor
    """(B, D) activations that went in."""
    trained: Tensor
    """(B, D) what came out in train mode."""
    evaluated: Tensor
    """(B, D) what came out in eval mode."""
    drop: float


class Patient(NamedTuple):
    log: Log
    course: list[float]
    """Training loss of each epoch, in train mode."""


class Layer(nn.Module):
    """A layer of LAYERS that draws its numbers from a generator of its own."""

    def __init__(self, name: str, drop: float):
        super().__init__()
        self.name, self.drop, self.rng = name, drop, torch.Generator().manual_seed(0)

    def forward(self, h: Tensor) -> Tensor:
        u = torch.rand(h.shape, generator=self.rng).to(h.device)
        return LAYERS[self.name](h, u, self.drop, self.training)


def patients(drop: float = 0.2, epochs: int = 30) -> dict[str, Patient]:
    """The same small network, trained on 500 signals of MNIST-1D with three layers that call
    themselves dropout.
    """
    dataset = datasets.load("mnist1d", train_size=500)
    return {name: _patient(Layer(kind, drop), dataset, epochs) for name, kind in PATIENTS.items()}


def _patient(layer: Layer, dataset: Dataset, epochs: int) -> Patient:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), layer, nn.Linear(64, 10)).to(
            dataset.x_train.device
        )
    batches = _batches(dataset.x_train, dataset.y_train, 50)
    course = [
        _train_epoch(model, torch.optim.SGD(model.parameters(), lr=0.5), batches)
        for _ in range(epochs)
    ]
    with torch.no_grad():
        h = model[:2](dataset.x_test[:100])
        return Patient(Log(h, layer.train()(h), layer.eval()(h), layer.drop), course)


def draw_patients(found: dict[str, Patient]) -> Figure:
    """Each patient's training loss over its epochs."""
    fig, (ax,) = plots.figure(height=3.2)
    for i, (name, patient) in enumerate(found.items()):
        ax.plot(
            range(1, len(patient.course) + 1),
            patient.course,
            label=f"patient {name}",
            **{**plots.look(i), "marker": None},
            lw=2,
        )
    ax.set(
        xlabel="epoch",
        ylabel="training loss",
        title="Three layers, one promise: dropout with rate 0.2",
    )
    ax.legend()
    return fig


# -- the lecture's code ----------------------------------------------------------------------------


class NN(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = nn.Linear(784, 200)
        self.dropout = nn.Dropout(0.5)
        self.linear2 = nn.Linear(200, 10)

    def forward(self, x):
        x = F.relu(self.linear1(x))
        x = self.dropout(x)
        return self.linear2(x)


def slide_loop(model, loader, epochs, loss_func=F.cross_entropy):
    """The loop of both halves of the slide; it also counts, as anyone would add it, and returns
    each epoch's accuracy.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    counted = []
    for epoch in range(epochs):
        right = 0
        for batch_idx, (data, target) in enumerate(loader):
            optimizer.zero_grad()
            output = model(data)
            loss = loss_func(output, target)
            loss.backward()
            optimizer.step()
            right += (output.argmax(1) == target).sum().item()
        counted.append(right / sum(len(target) for _, target in loader))
    return counted


@torch.no_grad()
def accuracy(model, loader):
    """The loop as it should be: eval mode, no gradient, no step."""
    model.eval()
    right = 0
    for data, target in loader:
        right += (model(data).argmax(1) == target).sum().item()
    return right / sum(len(target) for _, target in loader)


def slide_study(seeds=range(10), epochs: int = 5) -> pd.DataFrame:
    """The lecture's network on 1,000 digits from each seed: accuracies, one row a seed.

    ``honest`` and ``reported``: on 1,000 test digits, by ``accuracy`` after training, and by the
    slide's second loop in its last epoch. ``fresh_before`` and ``fresh``: on 1,000 digits that
    neither loop sees, before the second loop and after it.
    """
    dataset = datasets.load("mnist5k", train_size=1000, valid_size=1000)
    parts = [
        (getattr(dataset, f"x_{part}").flatten(1), getattr(dataset, f"y_{part}"))
        for part in ("train", "test", "valid")
    ]
    return pd.DataFrame([_slide_run(seed, parts, epochs) for seed in seeds], index=list(seeds))


def _slide_run(seed: int, parts: list[tuple[Tensor, Tensor]], epochs: int) -> dict[str, float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NN().to(parts[0][0].device)
        order = torch.randperm(len(parts[0][0]), generator=runtime.generator(seed, "order"))
        train, test, fresh = (
            _batches(x, y, 100) for x, y in [(part[order] for part in parts[0]), *parts[1:]]
        )
        model.train()
        slide_loop(model, train, epochs)
        before = {"honest": accuracy(model, test), "fresh_before": accuracy(model, fresh)}
        model.eval()
        reported = slide_loop(model, test, epochs)[-1]
    return before | {"reported": reported, "fresh": accuracy(model, fresh)}


def _batches(x: Tensor, y: Tensor, size: int) -> Batches:
    return list(zip(x.split(size), y.split(size), strict=True))


def _train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> float:
    """One epoch in train mode; the mean loss."""
    model.train()
    total = 0.0
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(batches)
