"""Learning without a gradient: a genetic algorithm, and evolution strategies as a gradient source.

R runs with N individuals each are evaluated as one stack of R·N copies. These are the fast forms of
the functions in topics/evolution/reference.py; a test holds them equal in float64. An *evaluation*
is one individual on one batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from labsupport.stacks import Stack, column
from labsupport.types import Batch, Net


def _cross_entropy(logits: Tensor, y: Tensor, targets: Tensor | None) -> Tensor:
    """With the exponentials over the last axis alone, which takes a fifth of the time of PyTorch's
    own on many short rows.
    """
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


def _check(rule: Any) -> None:
    if not 0 < rule.sigma < math.inf:
        raise ValueError(
            f"sigma is {rule.sigma}, the size of a mutation; it must be a finite number above 0"
        )
    if not isinstance(rule.population, int) or rule.population < 2:
        raise ValueError(
            f"population is {rule.population}; it must be a whole number of at least 2"
        )
    if rule.loss not in LOSSES:
        raise ValueError(f"loss is {rule.loss!r}; there are {', '.join(LOSSES)}")


def _normal(rngs: Sequence[Generator], count: int, params: Stack) -> Tensor:
    """Standard normal numbers (R, count, P), 0 in the columns that hold no parameter; run r draws
    from rngs[r] alone.

    Raises:
        ValueError: if there are not as many generators as runs.
    """
    if len(rngs) != len(params.flat):
        raise ValueError(
            f"each run draws from a generator of its own: there are {len(params.flat)} runs and"
            f" {len(rngs)} rngs"
        )
    drawn = torch.empty(len(rngs), count, params.flat.shape[1])
    for row, rng in zip(drawn, rngs, strict=True):
        row.normal_(generator=rng)
    unused = torch.ones(drawn.shape[-1], dtype=torch.bool)
    for span in params.spans.values():
        unused[span] = False
    drawn[..., unused] = 0
    return drawn.to(params.flat.device).to(params.flat.dtype)


def _copies(params: Stack, buffers: dict[str, Tensor], count: int) -> Stack:
    """Room for ``count`` individuals of each run: a stack of R·N copies, all of them the run's own
    network.

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
    """The loss of every individual on the batch of its run, (R, N), all R·N of them in one forward
    pass.

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
    x, y, targets = (
        None if part is None else part[:, None].expand(runs, count, *part.shape[1:]).flatten(0, 1)
        for part in (batch.x, batch.y, batch.targets)
    )
    return LOSSES[loss](net.forward(population, {}, x), y, targets).view(runs, count)


def ranks(losses: Tensor) -> Tensor:
    """Each row's ranks, from -1/2 for the smallest to 1/2 for the largest; equal values share their
    mean rank. (R, N).
    """
    ordered = losses.sort(-1).values
    below, up_to = (torch.searchsorted(ordered, losses, side=side) for side in ("left", "right"))
    return (below + up_to - 1).to(losses.dtype) / (2 * (losses.shape[-1] - 1)) - 0.5


@dataclass(frozen=True)
class EvolutionStrategy:
    r"""A gradient source that only ever evaluates: antithetic evolution strategies.

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

    sigma: float = 0.05
    population: int = 100
    shaped: bool = True
    loss: str = "cross_entropy"

    def __post_init__(self):
        _check(self)
        if self.population % 2:
            raise ValueError(
                f"population is {self.population}; antithetic pairs need an even number"
            )

    def init(self, net: Net, params: Stack, rngs: Sequence[Generator]) -> dict[str, Any]:
        """Room for the population is made at the first step, when it is known that the network
        keeps no buffers.
        """
        return {"sigma": column(self.sigma, params.flat)[..., None]}

    def __call__(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        kept: dict[str, Any],
        batch: Batch,
        out: Stack,
    ) -> Tensor:
        """The mean loss of the population of each run (R,), with the estimate written to
        ``out``.
        """
        if "population" not in kept:
            kept["population"] = _copies(params, buffers, self.population)
        noise = _normal(batch.rngs, self.population // 2, params)
        above, below = kept["population"].flat.view(len(noise), 2, *noise.shape[1:]).unbind(1)
        torch.addcmul(params.flat[:, None], noise, kept["sigma"], out=above)
        torch.addcmul(params.flat[:, None], noise, kept["sigma"], value=-1, out=below)
        losses = evaluate(net, kept["population"], batch, self.loss)
        plus, minus = (ranks(losses) if self.shaped else losses).chunk(2, 1)
        weights = (plus - minus)[:, None] / (self.population * kept["sigma"])
        out.flat.copy_(torch.bmm(weights, noise)[:, 0])
        return losses.mean(1)


@dataclass(frozen=True)
class GeneticAlgorithm:
    """Truncation selection and Gaussian mutation, with an elite of one. A rule of its own: there is
    nothing to descend along.

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

    sigma: float = 0.01
    population: int = 100
    parents: int = 5
    loss: str = "cross_entropy"
    remeasure: bool = True

    def __post_init__(self):
        _check(self)
        if not isinstance(self.parents, int) or not 1 <= self.parents <= self.population:
            raise ValueError(
                f"parents is {self.parents}; it must be a whole number from 1 to the population of"
                f" {self.population}"
            )

    def init(self, net: Net, params: Stack, rngs: Sequence[Generator]) -> dict[str, Any]:
        """No population yet: the first step makes it, when it is known that the network keeps no
        buffers.
        """
        return {
            "sigma": column(self.sigma, params.flat)[..., None],
            "credit": params.flat.new_full((len(params.flat),), torch.inf),
        }

    def step(
        self,
        net: Net,
        params: Stack,
        buffers: dict[str, Tensor],
        state: dict[str, Any],
        batch: Batch,
    ):
        """One generation of every run; parameters are updated in place to those of the best
        individual.
        """
        if "population" not in state:
            state["population"] = _copies(params, buffers, self.population)
            self._mutate(
                params, state, batch.rngs, params.flat[:, None].expand(-1, self.population - 1, -1)
            )
        losses = evaluate(net, state["population"], batch, self.loss)
        if not self.remeasure:
            losses[:, 0] = torch.where(state["credit"].isfinite(), state["credit"], losses[:, 0])
        members = state["population"].flat.view(len(losses), self.population, -1)
        order = losses.argsort(dim=1, stable=True)
        best = torch.arange(len(losses), device=losses.device), order[:, 0]
        params.flat.copy_(members[best])
        state["credit"] = losses[best]
        picks = self._picks(batch.rngs).to(losses.device)
        chosen = order.gather(1, picks)[..., None].expand(-1, -1, members.shape[-1])
        self._mutate(params, state, batch.rngs, members.gather(1, chosen))
        return params, state, {"loss": state["credit"]}

    def _picks(self, rngs: Sequence[Generator]) -> Tensor:
        """The place in the ranking of each child's parent, (R, N-1)."""
        return torch.stack(
            [torch.randint(self.parents, (self.population - 1,), generator=rng) for rng in rngs]
        )

    def _mutate(
        self, params: Stack, state: dict[str, Any], rngs: Sequence[Generator], parents: Tensor
    ) -> None:
        """The next generation: the elite, then a mutant of each parent (R, N-1, P)."""
        members = state["population"].flat.view(len(parents), self.population, -1)
        noise = _normal(rngs, self.population - 1, params)
        torch.addcmul(parents, noise, state["sigma"], out=members[:, 1:])
        members[:, 0] = params.flat
