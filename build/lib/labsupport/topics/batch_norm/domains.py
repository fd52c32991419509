"""One network, two kinds of input: batch norm with statistics, or scale and shift, for each of two
domains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pandas as pd
import torch
from torch import Generator, Tensor

from labsupport import datasets, runtime, train
from labsupport.models import initialization
from labsupport.models.layers import ACTIVATIONS, BN_EPS, BN_MOMENTUM, Tensors
from labsupport.types import Arm, Dataset, Result

KINDS = {"sensor": lambda x: 3 * x + 5, "reversed": lambda x: x.flip(-1)}
"""What the second domain does to a signal: another sensor, or time that runs backwards."""
OWN = ("nothing", "scale", "all")


def two_domains(kind: str, train_size: int = 1000, valid_size: int = 1000) -> Dataset:
    """MNIST-1D in which every second round of ten signals comes from the second domain.

    The first input of a signal is 0 or 1, its domain: every network may see it.

    Args:
        kind: what the second domain is, a name in KINDS.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; there are {', '.join(KINDS)}")
    dataset = datasets.load("mnist1d", train_size=train_size, valid_size=valid_size)
    mixed = {
        f"x_{part}": _mixed(getattr(dataset, f"x_{part}"), kind, dataset.classes)
        for part in ("train", "valid", "test")
    }
    return replace(dataset, **mixed, digest=f"{dataset.digest}/{kind}")


def _mixed(x: Tensor, kind: str, classes: int) -> Tensor:
    """(N, 1 + D): classes take turns, so whole rounds of them go to one domain and then to the
    other.
    """
    domain = (torch.arange(len(x), device=x.device) // classes % 2)[:, None].to(x.dtype)
    return torch.cat([domain, torch.where(domain > 0, KINDS[kind](x), x)], 1)


@dataclass(frozen=True)
class DomainNet:
    """Linear layers with conditional batch norm and ReLU; the first input is the domain, 0 or 1.

    Args:
        sizes: widths from input to output; the input counts the domain.
        own: what each domain has for itself: "nothing" (one batch norm for both), "scale" (scale
            and shift), "all" (statistics, scale and shift).

    Raises:
        ValueError: for an unknown ``own``.
    """

    sizes: tuple[int, ...] = (41, 32, 32, 10)
    own: str = "nothing"

    def __post_init__(self):
        if self.own not in OWN:
            raise ValueError(f"own is {self.own!r}; there are {', '.join(OWN)}")

    def init(self, rngs: Sequence[Generator]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights as torch.nn.Linear draws them; scales 1, shifts 0, running statistics 0 and 1."""
        device, params, buffers = runtime.device(), {}, {}
        draw = initialization.SCHEMES["torch_default"]
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes), start=1):
            params[f"weight{i}"] = torch.stack([draw((fan_out, fan_in), rng) for rng in rngs]).to(
                device
            )
            if i < len(self.sizes) - 1:
                scales, statistics = (1 + (self.own in own) for own in (("scale", "all"), ("all",)))
                params[f"scale{i}"] = torch.ones(len(rngs), scales, fan_out, device=device)
                params[f"shift{i}"] = torch.zeros(len(rngs), scales, fan_out, device=device)
                buffers[f"mean{i}"] = torch.zeros(len(rngs), statistics, fan_out, device=device)
                buffers[f"var{i}"] = torch.ones(len(rngs), statistics, fan_out, device=device)
        params["bias"] = torch.zeros(len(rngs), self.sizes[-1], device=device)
        return params, buffers

    def forward(
        self,
        params: Tensors,
        buffers: dict[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        rngs: Sequence[Generator] = (),
    ) -> Tensor:
        """Logits (R, B, K) of inputs (R, B, 1 + D)."""
        member, h, last = torch.stack([1 - x[..., 0], x[..., 0]], -1), x, len(self.sizes) - 1
        for i in range(1, last):
            z = h @ params[f"weight{i}"].mT
            h = ACTIVATIONS["relu"](_norm(z, params, buffers, i, member, training))
        return torch.baddbmm(params["bias"][:, None], h, params[f"weight{last}"].mT)


def _norm(
    z: Tensor,
    params: Tensors,
    buffers: dict[str, Tensor],
    layer: int,
    member: Tensor,
    training: bool,
) -> Tensor:
    """Batch norm of z (R, B, H) whose samples belong to domains by ``member`` (R, B, 2), one 1 in
    each row.
    """
    one = torch.ones_like(member[..., :1])
    mean, var = buffers[f"mean{layer}"], buffers[f"var{layer}"]
    groups = member if mean.shape[1] == 2 else one
    if training:
        count = groups.sum(1)[..., None]
        mean = groups.mT @ z / count
        var = groups.mT @ (z - groups @ mean).square() / count
        with torch.no_grad():
            buffers[f"mean{layer}"].lerp_(mean, BN_MOMENTUM)
            buffers[f"var{layer}"].lerp_(var * (count / (count - 1)), BN_MOMENTUM)
    hat = (z - groups @ mean) * (groups @ (var + BN_EPS).rsqrt())
    belongs = member if params[f"scale{layer}"].shape[1] == 2 else one
    return (belongs @ params[f"scale{layer}"]) * hat + belongs @ params[f"shift{layer}"]


def domain_study(arms: Sequence[Arm], kind: str, seeds: Sequence[int]) -> Result:
    """Train every arm from every seed on the two domains and measure the end: as ``study``, but
    nothing is kept on disk.
    """
    dataset, table = two_domains(kind), []
    with runtime.one_thread():
        for own in dict.fromkeys(arm.recipe.model.own for arm in arms):
            runs = [(arm, seed) for arm in arms if arm.recipe.model.own == own for seed in seeds]
            *_, end = train.iterate_steps(
                [arm.recipe for arm, _ in runs], [seed for _, seed in runs], dataset
            )
            measured = train.measure(runs[0][0].recipe.model, end.params, end.buffers, dataset)
            table += [
                (arm.name, seed, arm.recipe.epochs, metric, value)
                for metric, values in measured.items()
                for (arm, seed), value in zip(runs, values.tolist(), strict=True)
            ]
    tidy = pd.DataFrame(table, columns=["arm", "seed", "epoch", "metric", "value"])
    return Result(
        tidy, pd.DataFrame(columns=["arm", "seed", "step"]), tuple(arms), tuple(seeds), 0.0
    )
