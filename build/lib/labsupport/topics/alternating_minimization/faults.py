"""Logs of the batch form of alternating minimization with a fault, and the wrong ways to read
them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labsupport.topics.alternating_minimization.reference import diagnose


def log(
    top: float,
    codes: Sequence[float],
    weights: Sequence[float],
    seams: Sequence[float],
    rounding: float = 0.0,
) -> dict[str, Tensor]:
    """The objective at three moments of T sweeps, from how far it falls at each.

    Args:
        top: where it begins.
        codes, weights, seams: T each: its fall at the update of the codes, at that of the weights,
            and before the sweep.
        rounding: is added to the falls at the codes and taken from those at the weights.

    Returns:
        start, coded and ended, each (T,) in float64.
    """
    moments, f = [], top
    for code, weight, seam in zip(codes, weights, seams, strict=True):
        for fall in (seam, code + rounding, weight - rounding):
            f -= fall
            moments.append(f)
    return dict(
        zip(
            ("start", "coded", "ended"),
            torch.tensor(moments, dtype=torch.float64).view(-1, 3).mT.contiguous(),
            strict=True,
        )
    )


def asked(
    start: Tensor,
    coded: Tensor,
    ended: Tensor,
    *,
    slack: float = 1e-6,
    rise: Callable = torch.any,
    still: Callable = torch.all,
    seam: Callable = torch.abs,
) -> str:
    """The first fault that is found, asking in the order of the chapter's table; the options are
    where one can go wrong.
    """
    slack = slack * torch.stack([start, coded, ended]).abs().max()
    answers = {
        "codes_rise": rise(coded > start + slack),
        "weights_rise": rise(ended > coded + slack),
        "codes_lost": (seam(start[1:] - ended[:-1]) > slack).any(),
        "codes_frozen": still((start - coded).abs() <= slack),
        "weights_frozen": still((coded - ended).abs() <= slack),
    }
    return next((name for name, found in answers.items() if found), "healthy")


def sweeps_compared(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You compared sweeps with each other. Which of the two updates went wrong can be seen within a
    sweep.
    """
    return "codes_rise" if ended[-1] > start[0] else "healthy"


def rise_blamed_on_the_other(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You blamed the wrong update for a rise: from start to coded the codes move, from coded to
    ended the weights.
    """
    found = diagnose(start, coded, ended)
    return {"codes_rise": "weights_rise", "weights_rise": "codes_rise"}.get(found, found)


def frozen_blamed_on_the_other(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You blamed the wrong update for standing still: from start to coded the codes move, from
    coded to ended the weights.
    """
    found = diagnose(start, coded, ended)
    return {"codes_frozen": "weights_frozen", "weights_frozen": "codes_frozen"}.get(found, found)


def seam_passed_over(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You did not look at the seam between two sweeps. The codes are kept: a sweep begins where the
    one before ended.
    """
    found = diagnose(start, coded, ended)
    return "healthy" if found == "codes_lost" else found


def standing_still_taken_for_health(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You called everything healthy that does not rise. An update that never changes anything is
    not being made.
    """
    found = diagnose(start, coded, ended)
    return "healthy" if found.endswith("frozen") else found


def a_rise_in_every_sweep_wanted(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You called it a rise only where every sweep has one. One is enough: any, not all."""
    return asked(start, coded, ended, rise=torch.all)


def one_still_sweep_taken_for_frozen(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You called an update frozen for one sweep in which it stood still. Frozen is what never
    changes anything: all, not any.
    """
    return asked(start, coded, ended, still=torch.any)


def no_room_for_rounding(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You left no room for rounding. A change of up to a millionth of the largest cost is none."""
    return asked(start, coded, ended, slack=0.0)


def seam_upwards_only(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You looked for a rise at the seam. A sweep that begins lower than the one before ended has
    lost its codes as well.
    """
    return asked(start, coded, ended, seam=lambda gap: gap)


WRONG_DIAGNOSES = (
    sweeps_compared,
    rise_blamed_on_the_other,
    frozen_blamed_on_the_other,
    seam_passed_over,
    standing_still_taken_for_health,
    a_rise_in_every_sweep_wanted,
    one_still_sweep_taken_for_frozen,
    no_room_for_rounding,
    seam_upwards_only,
)
