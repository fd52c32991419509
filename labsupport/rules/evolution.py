"""Learning without a gradient: genetic algorithms, and evolution strategies as an estimator.

R runs with N individuals each are evaluated as one stack of R·N copies. These are the fast forms of
the functions in topics/evolution/reference.py; a test holds them equal in float64. An *evaluation*
is one individual on one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport.checks import is_count, is_number
from labsupport.ops.precision import require_full, widened
from labsupport.stacks import Stack, column, hyperparameter
from labsupport.streams import Streams
from labsupport.types import Batch, Net


def _cross_entropy(logits: Tensor, y: Tensor, targets: Tensor | None) -> Tensor:
    # By hand, reduced over the last axis alone: on many short rows it takes a fifth of the time of
    # PyTorch's own. The largest logit goes out first, so that no exponential overflows.
    top = logits.amax(-1, keepdim=True)
    whole = (logits - top).exp_().sum(-1).log_() + top[..., 0]
    wanted = (
        logits.gather(-1, y[..., None])[..., 0] if targets is None else (logits * targets).sum(-1)
    )
    return (whole - wanted).mean(1)


def _zero_one(logits: Tensor, y: Tensor, targets: Tensor | None) -> Tensor:
    said = logits.argmax(-1)
    right = (said == y) if targets is None else targets.gather(-1, said[..., None])[..., 0]
    return 1 - right.to(logits.dtype).mean(1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "zero_one": _zero_one,
}
"""What is minimized: (logits (C, B, K), labels (C, B), soft labels) -> (C,). The 0-1 loss has no
gradient worth the name.
"""


def _check(rule: "EvolutionStrategy | GeneticAlgorithm") -> None:
    if not is_number(rule.sigma, above=0):
        raise ValueError(
            f"sigma is {rule.sigma!r}, the size of a mutation; it must be a finite number above 0"
        )
    if not is_count(rule.population, 2):
        raise ValueError(
            f"population is {rule.population!r}; it must be a whole number of at least 2"
        )
    if rule.loss not in LOSSES:
        raise ValueError(f"loss is {rule.loss!r}; there are {', '.join(LOSSES)}")


def _normal(streams: Streams, count: int, params: Stack) -> Tensor:
    """Draw standard normal numbers (R, count, P), run r from its stream; padding columns are 0.

    Raises:
        ValueError: if there are not as many streams as runs.
    """
    width = params.flat.shape[1]
    drawn = streams.normal(count * width, params.flat).view(-1, count, width)
    starts = [span.start for span in params.spans.values()]
    for span, after in zip(params.spans.values(), [*starts[1:], width], strict=True):
        drawn[..., span.stop : after] = 0
    return drawn


def _copies(params: Stack, buffers: dict[str, Tensor], count: int) -> Stack:
    """Make room for ``count`` individuals of each run: R·N copies of the run's network.

    Raises:
        ValueError: for a network with buffers: running statistics would be those of no individual.
    """
    if buffers:
        raise ValueError(
            f"the network keeps {', '.join(buffers)} between steps; evolution takes networks"
            " without buffers"
        )
    return Stack(params.flat.repeat_interleave(count, 0), params.shapes)


def evaluate(net: Net, population: Stack, batch: Batch, loss: str) -> Tensor:
    """Compute the loss of every individual on the batch of its run, (R, N), in one forward pass.

    Args:
        net: the network; it is evaluated, not trained: nothing is dropped.
        population: a stack of R·N copies, those of one run side by side.
        batch: what the step sees, (R, B, ...): every individual of a run sees the same samples.
        loss: a name in LOSSES.

    Raises:
        ValueError: where samples are blended inside the network.
    """
    if batch.mix:
        raise ValueError(
            "evolution evaluates whole networks: samples can be blended at the inputs alone, not"
            " inside"
        )
    runs = len(batch.y)
    count = len(population.flat) // runs

    def for_all(part: Tensor) -> Tensor:
        return part[:, None].expand(runs, count, *part.shape[1:]).flatten(0, 1)

    targets = None if batch.targets is None else for_all(batch.targets)
    logits = net.forward(population, {}, for_all(batch.x))
    return LOSSES[loss](logits, for_all(batch.y), targets).view(runs, count)


def ranks(losses: Tensor) -> Tensor:
    """Rank each row of (R, N), from -1/2 for the smallest to 1/2; ties share their mean rank."""
    # how many are smaller, and how many smaller or equal: their mean is the rank that ties share
    ordered = losses.sort(-1).values
    below, up_to = (torch.searchsorted(ordered, losses, side=side) for side in ("left", "right"))
    return (below + up_to - 1).to(losses.dtype) / (2 * (losses.shape[-1] - 1)) - 0.5


@dataclass
class EvolutionState:
    """The state of an evolution strategy."""

    sigma: Tensor
    """(R, 1, 1)"""
    population: Stack | None = None
    """Room for R·N individuals, made at the first step, when it is known that the network has no
    buffers, and filled anew in each.
    """


class GeneticState(NamedTuple):
    """The state of a genetic algorithm."""

    sigma: Tensor
    """(R, 1, 1)"""
    credit: Tensor
    """(R,) the loss that the elite won with; infinite before the first generation."""
    population: Stack | None = None
    """R·N individuals, the elite of each run first; made at the first step, as above."""


@dataclass(frozen=True)
class EvolutionStrategy:
    r"""Antithetic evolution strategies, a gradient estimator that only evaluates losses.

    .. math:: \hat g = \frac{1}{2 n \sigma} \sum_{i=1}^{n} \bigl(u_i^+ - u_i^-\bigr)\, \epsilon_i

    with n = population/2 pairs and u the losses of :math:`w \pm \sigma\epsilon_i`, or their
    centered ranks. ``Adam(lr=0.01, gradient=EvolutionStrategy())`` and ``SGD(lr=0.002,
    momentum=0.9, ...)`` learn MNIST-1D, at batch size 50.

    Args:
        sigma: how far the individuals are from the network in each weight.
        population: individuals, an even number: each mutation has its mirror image.
        shaped: use the centered ranks of the losses (True), or the losses themselves.
        loss: "cross_entropy" or "zero_one".

    Raises:
        ValueError: for a sigma of at most 0, a population below 2 or odd, an unknown loss.

    Source: Salimans et al. (2017): Gaussian noise, mirrored pairs, centered ranks. No weight decay
    and no virtual batch norm.
    """

    sigma: float = hyperparameter(0.05)
    population: int = 100
    shaped: bool = True
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        _check(self)
        if self.population % 2:
            raise ValueError(
                f"population is {self.population}; antithetic pairs need an even number"
            )

    def init(self, net: Net, params: Stack, streams: Streams) -> EvolutionState:
        """Make a state without a population."""
        return EvolutionState(column(self.sigma, params.flat)[..., None])

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: EvolutionState,
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """Write the estimate to ``out``; return the mean loss of each population (R,)."""
        if state.population is None:
            state.population = _copies(params, buffers, self.population)
        noise = _normal(batch.streams, self.population // 2, params)
        # views of the population: each run's n individuals w + sigma·eps, then their mirror images
        above, below = state.population.flat.view(len(noise), 2, *noise.shape[1:]).unbind(1)
        torch.addcmul(params.flat[:, None], noise, state.sigma, out=above)
        torch.addcmul(params.flat[:, None], noise, state.sigma, value=-1, out=below)
        losses = evaluate(net, state.population, batch, self.loss)
        plus, minus = (ranks(losses) if self.shaped else losses).chunk(2, 1)
        weights = (plus - minus)[:, None] / (self.population * state.sigma)
        out.flat.copy_(torch.bmm(weights, noise)[:, 0])
        return losses.mean(1)


@dataclass(frozen=True)
class GeneticAlgorithm:
    """Truncation selection and Gaussian mutation, with an elite of one.

    It is a rule, not a gradient estimator: there is nothing to descend along.

    In each step the whole population is evaluated on the batch. The best individual goes on as it
    is, and is the run's network; all others are replaced by mutants ``w + sigma·eps`` of parents
    drawn from the best ``parents``. The defaults learn MNIST-1D, slowly.

    Args:
        sigma: how far a mutation goes in each weight.
        population: individuals of each run, at least 2.
        parents: how many of the best may have children, from 1 to ``population``.
        loss: "cross_entropy" or "zero_one".
        remeasure: evaluate the elite on every batch anew (True), or let it keep the loss that it
            once won with.

    Raises:
        ValueError: for a sigma of at most 0, a population below 2, more parents than individuals or
            none, an unknown loss.

    Source: Such et al. (2017), Algorithm 1; there the elite is chosen by further episodes, here by
    the batch alone. The first generation consists of mutants of the network's own initial weights.
    """

    sigma: float = hyperparameter(0.01)
    population: int = 100
    parents: int = 5
    loss: str = "cross_entropy"
    remeasure: bool = True

    def __post_init__(self) -> None:
        _check(self)
        if not is_count(self.parents, 1) or self.parents > self.population:
            raise ValueError(
                f"parents is {self.parents!r}; it must be a whole number from 1 to"
                f" the population of {self.population}"
            )

    def init(self, net: Net, params: Stack, streams: Streams) -> GeneticState:
        """Make a state without a population."""
        require_full("parameters", params.flat)
        return GeneticState(
            column(self.sigma, params.flat)[..., None],
            params.flat.new_full((len(params.flat),), torch.inf),
        )

    def step(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: GeneticState,
        batch: Batch,
    ) -> tuple[Stack, GeneticState, dict[str, Tensor]]:
        """Breed one generation in every run; the best individual becomes the parameters."""
        population = state.population
        if population is None:
            population = _copies(params, buffers, self.population)
            own = params.flat[:, None].expand(-1, self.population - 1, -1)
            self._mutate(population, params, state.sigma, batch.streams, own)
        losses = evaluate(net, population, batch, self.loss)
        if not self.remeasure:
            losses[:, 0] = torch.where(state.credit.isfinite(), state.credit, losses[:, 0])
        members = population.flat.view(len(losses), self.population, -1)
        # stable, so that of equal losses the elite, which is first, stays the elite
        order = losses.argsort(dim=1, stable=True)
        best = torch.arange(len(losses), device=losses.device), order[:, 0]
        params.flat.copy_(members[best])
        credit = losses[best]
        picks = self._picks(batch.streams, losses)
        chosen = order.gather(1, picks)[..., None].expand(-1, -1, members.shape[-1])
        # gather copies the parents before their places are written over
        self._mutate(population, params, state.sigma, batch.streams, members.gather(1, chosen))
        return params, GeneticState(state.sigma, credit, population), {"loss": credit}

    def _picks(self, streams: Streams, losses: Tensor) -> Tensor:
        """Draw the place in the ranking of each child's parent, (R, N-1)."""
        return (streams.uniform(self.population - 1, widened(losses)) * self.parents).long()

    def _mutate(
        self,
        population: Stack,
        params: Stack,
        sigma: Tensor,
        streams: Streams,
        parents: Tensor,
    ) -> None:
        """Write the next generation: the elite, then a mutant of each parent (R, N-1, P)."""
        members = population.flat.view(len(parents), self.population, -1)
        noise = _normal(streams, self.population - 1, params)
        torch.addcmul(parents, noise, sigma, out=members[:, 1:])
        members[:, 0] = params.flat
