"""The records and protocols that pass between the modules of the package; no logic.

One alphabet of axes: R runs, B batch, D inputs, H hidden, K classes, P parameters, T steps.

Models, rules, gradient estimators, transforms and mixup are frozen records. Their fields that are
declared with ``stacks.hyperparameter`` may differ between the runs of one stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from torch import Generator, Tensor

from labsupport.checks import is_count, is_number
from labsupport.stacks import Stack
from labsupport.streams import NO_STREAMS, Streams

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """A data set in three parts: to train on, to choose on, to report on."""

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
    """How the samples of R batches are blended: partners, layers and mixing coefficients."""

    partner: Tensor
    """(R·B,) for each row of the flattened batch the row that it is blended with, of the same
    run.
    """
    coefficient: Mapping[int, Tensor]
    """Layer -> the mixing coefficients λ (R,): the share of a sample itself in its blend. Layer 0
    is the inputs; λ = 1 leaves a run as it is.
    """


class Batch(NamedTuple):
    """The data of one step of R runs."""

    x: Tensor
    """(R, B, ...) inputs; each run draws its own."""
    y: Tensor
    """(R, B) labels."""
    t: int
    """Step number, counted from 1."""
    lr_scale: float
    """The schedule's factor on the learning rate at this step."""
    streams: Streams
    """For whatever else a step draws."""
    targets: Tensor | None = None
    """(R, B, K) what the labels became, where samples are blended: each row adds up to 1."""
    mix: Mix | None = None
    """Where samples are blended inside the network."""


class Net(Protocol):
    """A network of which R copies with weights of their own are evaluated at once."""

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw parameters and buffers, each (R, ...); run r draws from rngs[r] alone."""

    def forward(
        self,
        params: Mapping[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        streams: Streams = NO_STREAMS,
    ) -> Tensor:
        """Compute logits (R, B, K) of inputs (R, B, ...).

        When training, buffers are updated in place, and what a run draws comes from its stream.
        """


@runtime_checkable
class MixableNet(Net, Protocol):
    """A network whose hidden layers can be blended."""

    @property
    def mixable_layers(self) -> int:
        """Count the hidden layers that can be blended, from the first on."""

    def forward(
        self,
        params: Mapping[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        streams: Streams = NO_STREAMS,
        mix: Mix | None = None,
    ) -> Tensor:
        """Compute logits as a Net, the layers blended that ``mix`` names."""


class Transposable(Protocol):
    """Parameters by name, with views of the matrices transposed: a Stack, or a part of one."""

    @property
    def transposed(self) -> Mapping[str, Tensor]:
        """Return matrices (R, out, in) as (R, in, out)."""

    def __getitem__(self, name: str, /) -> Tensor: ...


class HasBackprop(Protocol):
    """A network with a backward pass of its own, written by hand."""

    def backprop(
        self, params: Stack, buffers: dict[str, Tensor], batch: Batch, grads: Stack
    ) -> Tensor | None:
        """Write each run's gradient of the mean cross-entropy to ``grads``; return losses (R,).

        Or it does nothing and returns None where autograd has to do it.
        """


@runtime_checkable
class ChecksData(Protocol):
    """A network that knows what it can be trained on."""

    def check_data(self, shape: tuple[int, ...], classes: int) -> None:
        """Refuse inputs of another shape, without batch axes, or more classes than logits.

        Raises:
            ValueError: it says what the network takes and what the data have.
        """


class GradientEstimator(Protocol):
    """The direction of an optimizer's step: the backpropagated gradient or a substitute."""

    def init(self, net: Net, params: Stack, streams: Streams) -> Any:
        """Make the state updated in place from step to step; run r draws from its stream."""

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: Any,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the direction to ``out``, shaped like params; return the losses (R,) before it."""


class Rule(Protocol):
    """A way to change parameters: backpropagation with SGD is one, evolution another."""

    def init(self, net: Net, params: Stack, streams: Streams) -> Any:
        """Make the state that the rule carries from step to step; run r draws from its stream."""

    def step(
        self, net: Net, params: Stack, buffers: dict[str, Tensor], state: Any, batch: Batch
    ) -> tuple[Stack, Any, dict[str, Tensor]]:
        """Return new parameters, new state, and metrics; tensors may be updated in place.

        ``metrics["loss"]`` is (R,), before the step.
        """


class Transform(Protocol):
    """A random change of the inputs in training: crops, flips."""

    def __call__(self, x: Tensor, streams: Streams, fill_value: Tensor) -> Tensor:
        """Change inputs (R, B, ...); run r draws from its stream."""


class Mixing(Protocol):
    """A way to blend the samples of a batch."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers where it may blend: 0 the inputs, i the outputs of hidden layer i."""

    def __call__(self, batch: Batch, classes: int, streams: Streams) -> Batch:
        """Blend a batch; run r draws from its stream."""


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a run, but its seed."""

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

    def __post_init__(self) -> None:
        for name, least in (("valid_size", 0), ("epochs", 0), ("batch_size", 1)):
            if not is_count(getattr(self, name), least):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; it must be a whole number of at least"
                    f" {least}"
                )
        if self.train_size is not None and not is_count(self.train_size, 1):
            raise ValueError(
                f"train_size is {self.train_size!r}; it must be a whole number of at least 1, or"
                " None for all samples"
            )
        if not is_count(self.measure_every):
            raise ValueError(
                f"measure_every is {self.measure_every!r}; it must be a whole number of at least 0"
            )
        if not is_number(self.label_noise, least=0, most=1):
            raise ValueError(
                f"label_noise is {self.label_noise!r}, a share of the training labels; it must be"
                " in [0, 1]"
            )
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
    """The state of R runs after a step."""

    t: int
    """Steps taken."""
    epoch: int
    """Epochs begun."""
    loss: Tensor
    """(R,) training loss of this step's batch, before the step; NaN before the first."""
    params: Stack
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
    """The measurements of a study."""

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
