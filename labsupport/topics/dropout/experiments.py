"""A sum under every mask, seven versions of dropout, and the lecture's training loop."""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labsupport import datasets, runtime
from labsupport.topics.dropout import reference as do
from labsupport.types import Dataset

Batches = list[tuple[Tensor, Tensor]]


def contributions(units: int) -> Tensor:
    """Split the pre-activation z = 1 among an even number of units, (n,).

    The parts are large ones and small negative ones.
    """
    return torch.tensor([2.5, -0.5], dtype=torch.float64).repeat(units // 2) / units


def sums(units: int, drop: float) -> tuple[Tensor, Tensor]:
    """Sum what each mask leaves, unscaled; return also the masks' probabilities, both (2^n)."""
    masks = do.all_masks(units)
    return masks @ contributions(units), do.mask_probability(masks, keep=1 - drop)


def _drop(h: Tensor, u: Tensor, drop: float) -> Tensor:
    return h * do.keep_mask(u, drop)


LAYERS: dict[str, Callable[[Tensor, Tensor, float, bool], Tensor]] = {
    "inverted": lambda h, u, r, training: do.inverted_dropout(h, u, drop=r, training=training),
    "lecture": lambda h, u, r, training: _drop(h, u, r) if training else (1 - r) * h,
    "scale_missing": lambda h, u, r, training: _drop(h, u, r) if training else h,
    "scaled_twice": lambda h, u, r, training: _drop(h, u, r) / (1 - r) if training else (1 - r) * h,
    "swapped": lambda h, u, r, training: _drop(h, u, 1 - r) / r if training else h,
    "eval_drops": lambda h, u, r, training: _drop(h, u, r) / (1 - r),
    "one_mask": lambda h, u, r, training: (
        _drop(h, u[:1].expand_as(u), r) / (1 - r) if training else h
    ),
}
"""Seven layers that call themselves dropout: (h, uniform numbers, drop rate, training) -> output.
Two are right.
"""

FAULTY_RUNS = {"A": "scaled_twice", "B": "lecture", "C": "one_mask"}
"""The layer of each run. Do not peek before you have diagnosed."""


class Log(NamedTuple):
    """The inputs and outputs of a dropout layer."""

    h: Tensor
    """(B, D) activations that went in."""
    trained: Tensor
    """(B, D) what came out in train mode."""
    evaluated: Tensor
    """(B, D) what came out in eval mode."""
    drop: float


class FaultyRun(NamedTuple):
    """A network that was trained with one of LAYERS."""

    log: Log
    losses: list[float]
    """Training loss of each epoch, in train mode."""


class Layer(nn.Module):
    """One of LAYERS as a module that draws its numbers from a generator of its own."""

    def __init__(self, name: str, drop: float):
        super().__init__()
        self.name, self.drop, self.rng = name, drop, torch.Generator().manual_seed(0)

    def forward(self, h: Tensor) -> Tensor:
        u = torch.rand(h.shape, generator=self.rng).to(h.device)
        return LAYERS[self.name](h, u, self.drop, self.training)


def faulty_runs(drop: float = 0.2, epochs: int = 30) -> dict[str, FaultyRun]:
    """Train one network with three layers that claim to be dropout; one of them is right.

    The network is small; the data are 500 signals of MNIST-1D.
    """
    dataset = datasets.load("mnist1d", train_size=500)
    return {
        name: _faulty_run(Layer(kind, drop), dataset, epochs) for name, kind in FAULTY_RUNS.items()
    }


def _faulty_run(layer: Layer, dataset: Dataset, epochs: int) -> FaultyRun:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), layer, nn.Linear(64, 10)).to(
            dataset.x_train.device
        )
    batches = _batches(dataset.x_train, dataset.y_train, 50)
    losses = [
        _train_epoch(model, torch.optim.SGD(model.parameters(), lr=0.5), batches)
        for _ in range(epochs)
    ]
    with torch.no_grad():
        h = model[:2](dataset.x_test[:100])
        return FaultyRun(Log(h, layer.train()(h), layer.eval()(h), layer.drop), losses)


class NN(nn.Module):
    """The network on the lecture's slide."""

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
    """Run the slide's training and test loops; return each epoch's accuracy.

    The slide counts no accuracy; it is added in the plainest way.
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
    """Measure accuracy in eval mode, without gradients and without steps."""
    model.eval()
    right = 0
    for data, target in loader:
        right += (model(data).argmax(1) == target).sum().item()
    return right / sum(len(target) for _, target in loader)


def slide_study(seeds=range(10), epochs: int = 5) -> pd.DataFrame:
    """Train the lecture's network on 1,000 digits from each seed: accuracies, a row a seed.

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
    """Train for one epoch and return the mean loss."""
    model.train()
    total = 0.0
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(batches)
