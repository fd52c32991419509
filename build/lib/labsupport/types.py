"""The nouns of the book: what travels between the rooms. Frozen records and protocols, no logic.

One alphabet of axes: R runs, B batch, D inputs, K classes, P parameters, T steps.

A *float field* of a model or a rule, or of a record inside it, is a hyperparameter: runs that
differ only in float fields
train together, each with its own number. Every other field is structure: runs that differ in it
train in separate stacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from torch import Generator, Tensor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """A data set cut in three: what is trained on, what choices are made on, what is reported
    on.
    """

    name: str
    x_train: Tensor
    """(N, ...) float32 inputs."""
    y_train: Tensor
    """(N,) int64 labels."""
    x_valid: Tensor
    y_valid: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    digest: str
    """Of every tensor above: the same digest, the same data."""
    fill_value: Tensor
    """What an input of zero became when the data were scaled: a number, or one a channel (C, 1,
    1).
    """


class Mix(NamedTuple):
    """How the samples of R batches are blended: who with whom, where, and how much."""

    partner: Tensor
    """(R·B,) for each row of the flattened batch the row that it is blended with, of the same
    run.
    """
    weights: Mapping[int, Tensor]
    """Layer -> (R,) how much of its own a sample keeps there; 0 is the inputs; 1 leaves a run as it
    is.
    """


class Batch(NamedTuple):
    """What one step of R runs sees."""

    x: Tensor
    """(R, B, ...) inputs; each run draws its own."""
    y: Tensor
    """(R, B) labels."""
    t: int
    """Step number, counted from 1."""
    lr_scale: float
    """The schedule's factor on the learning rate at this step."""
    rngs: Sequence[Generator]
    """One generator a run, for whatever else a step draws."""
    targets: Tensor | None = None
    """(R, B, K) what the labels became, where samples are blended: each row adds up to 1."""
    mix: Mix | None = None
    """Where samples are blended inside the network."""


class Net(Protocol):
    """A network of which R copies with weights of their own are evaluated at once."""

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters and buffers, each (R, ...); run r draws from rngs[r] alone."""

    def forward(
        self,
        params: Mapping[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        rngs: Sequence[Generator] = (),
    ) -> Tensor:
        """Logits (R, B, K) of inputs (R, B, ...).

        When training, buffers are updated in place, and whatever run r draws it draws from rngs[r].
        A network whose hidden layers can be blended takes a Mix besides, as ``mix``.
        """


class GradientEstimator(Protocol):
    """What an optimizer steps along: the gradient by backpropagation, or something else in its
    place. A frozen record.
    """

    def init(self, net: Net, params: Any, rngs: Sequence[Generator]) -> Any:
        """What it keeps between steps; whatever it draws for run r it draws from rngs[r]."""

    def __call__(
        self, net: Net, params: Any, buffers: dict[str, Tensor], kept: Any, batch: Batch, out: Any
    ) -> Tensor:
        """The loss of each run (R,) before the step, with what is stepped along written to ``out``,
        shaped like params.
        """


class Rule(Protocol):
    """How parameters change: backpropagation with SGD is one rule, evolution is another."""

    def init(self, net: Net, params: Any, rngs: Sequence[Generator]) -> Any:
        """The state that the rule keeps between steps; whatever it draws for run r it draws from
        rngs[r].
        """

    def step(
        self, net: Net, params: Any, buffers: dict[str, Tensor], state: Any, batch: Batch
    ) -> tuple[Any, Any, dict[str, Tensor]]:
        """New parameters, new state, and metrics; ``metrics["loss"]`` is (R,), before the step."""


class Transform(Protocol):
    """A change of the inputs in training: random crops, mirrors. A frozen record of its
    settings.
    """

    def __call__(self, x: Tensor, rngs: Sequence[Generator], fill_value: Tensor) -> Tensor:
        """The changed inputs, (R, B, ...); run r draws from rngs[r]."""


class Mixing(Protocol):
    """A way to blend the samples of a batch. A frozen record of its settings."""

    def __call__(self, batch: Batch, classes: int, rngs: Sequence[Generator]) -> Batch:
        """The blended batch; run r draws from rngs[r]."""


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a run, but its seed."""

    model: Net
    rule: Rule
    data: str = "mnist1d"
    train_size: int | None = None
    """Samples to train on, a stratified subset; None takes all."""
    valid_size: int = 0
    """Samples of the training pool that are held out for choices, never trained on."""
    standardize: bool = False
    """Give every input column mean 0 and variance 1, by the statistics of the samples trained
    on.
    """
    label_noise: float = 0.0
    """Share of the training labels that are replaced by one drawn from all classes, the same ones
    for every seed.
    """
    augment: tuple[Transform, ...] = ()
    """Changes of the inputs, drawn anew for every sample of every training batch, in this order."""
    mixup: Mixing | None = None
    """How the samples of a training batch are blended, after the changes."""
    epochs: int = 20
    """Passes over the training samples; 0 measures the runs at their start and trains nothing."""
    batch_size: int = 100
    schedule: str = "constant"
    """constant | cosine"""
    measure_every: int = 1
    """Epochs between two measurements; the last epoch is always measured. 0 measures only the
    last.
    """
    dtype: str = "float32"
    """float32, or float64 where an identity is checked."""

    def __post_init__(self):
        if not isinstance(self.augment, tuple) or not all(map(callable, self.augment)):
            raise ValueError(
                f"augment is {self.augment!r}; it must be a tuple of transforms, (RandomFlip(),)"
                " for one"
            )
        if self.mixup is not None and not callable(self.mixup):
            raise ValueError(
                f"mixup is {self.mixup!r}; it must be None or a way to blend, such as"
                " Mixup(alpha=1.0)"
            )


class Step(NamedTuple):
    """Where R runs are after a step."""

    t: int
    """Steps taken."""
    epoch: int
    """Epochs begun."""
    loss: Tensor
    """(R,) training loss of this step's batch, before the step; NaN before the first."""
    params: Any
    buffers: dict[str, Tensor]


@dataclass(frozen=True)
class Arm:
    """One side of a comparison."""

    name: str
    recipe: Recipe
    values: Mapping[str, Any] = field(default_factory=dict)
    """What sets this arm apart, by name: {"lr": 0.1, "weight_decay": 1e-3}."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval over runs."""

    estimate: float
    low: float
    high: float
    runs: int
    """Runs of each arm behind the estimate."""
    unit: str = ""


@dataclass(frozen=True)
class Result:
    """What a study measured."""

    table: pd.DataFrame
    """Tidy: arm, seed, epoch, metric, value. A value after a run has diverged is NaN."""
    diverged: pd.DataFrame
    """arm, seed, step: the first step at which the loss was no longer finite."""
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    seconds: float
    """Wall time of the training when it was run; a stored result keeps the time of its making."""


@dataclass(frozen=True)
class Claim:
    """A statement of the lecture with what was measured and the verdict that follows."""

    id: str
    chapter: str
    kind: str
    """exact | study"""
    statement: str
    estimate: float
    low: float
    high: float
    runs: int
    verdict: str
    """reproduced | not reproduced here | contradicted"""
    measure: str
    """What the estimate is, in words with its unit."""
    criterion: str
    """What had to hold, written down before the run."""
    budget: str
    """Data, epochs, profile: what the verdict rests on."""
