"""The inputs an answer is tried on: a fixed battery for each exercise, and the search for a small
failure.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis.errors import HypothesisException

from labsupport.grading.compare import Difference, difference
from labsupport.grading.exercise import Exercise
from labsupport.grading.sandbox import Ran, run
from labsupport.grading.values import PLAIN_TENSORS, fresh

BATTERY_SIZE = 40
_SEARCHED = 60  # further inputs that a right answer is tried on
_PATIENCE = 0.6  # seconds of looking for something smaller, once a failure is known
_AT_MOST = 4.0  # seconds of looking for a failure

_MUTABLE = (*PLAIN_TENSORS, list, dict, tuple)

# These end a check at once: each time shrinking met them again it would cost the whole time limit.
FATAL = ("timeout", "flood", "exit", "interrupt")


@dataclass(frozen=True)
class Finding:
    """One input, what is right for it, and what the student's function made of it (and of the
    input).
    """

    inputs: dict[str, Any]
    given: dict[str, Any]
    expected: Any
    ran: Ran
    difference: Difference | None
    changed: tuple[str, ...]

    @property
    def kind(self) -> str | None:
        """What is wrong, None if nothing is."""
        if self.ran.problem:
            return self.ran.problem.kind
        if self.difference:
            return self.difference.kind
        return "changed" if self.changed else None


class Clock:
    """The seconds a student's function may run in one check, all calls together."""

    def __init__(self, seconds: float) -> None:
        self.limit, self.left, self.calls = seconds, seconds, 0

    def spend(self, seconds: float) -> None:
        self.left -= seconds
        self.calls += 1


@cache
def battery(exercise: Exercise) -> tuple[dict[str, Any], ...]:
    """The exercise's fixed inputs: the same for every student and every run."""
    drawn: list[dict[str, Any]] = []
    _search(exercise, lambda inputs: bool(drawn.append(inputs)), BATTERY_SIZE, seed=1)
    return tuple(drawn)


@cache
def behaviours(exercise: Exercise) -> dict[str, tuple[Any, ...]]:
    """What each misconception answers on the battery, by name."""
    return {
        m.name: tuple(m.answer(**fresh(inputs)) for inputs in battery(exercise))
        for m in exercise.misconceptions
    }


def probe(exercise: Exercise, function: Callable, inputs: dict[str, Any], clock: Clock) -> Finding:
    """Call the student's function once, on a copy of ``inputs``, and compare."""
    given = fresh(inputs)
    ran = run(function, given, max(clock.left, 0.01))
    clock.spend(ran.seconds)
    expected = exercise.reference(**fresh(inputs))
    differs = None if ran.problem else difference(expected, ran.value, names=exercise.returns)
    changed = tuple(
        name
        for name, value in inputs.items()
        if type(value) in _MUTABLE and difference(value, given[name], exact=True)
    )
    return Finding(inputs, given, expected, ran, differs, changed)


def match_misconception(exercise: Exercise, findings: list[Finding]) -> str | None:
    """The misconception that gives the student's answers on the whole battery, if there is one."""
    if any(f.ran.problem for f in findings) or not any(f.difference for f in findings):
        return None
    for name, answers in behaviours(exercise).items():
        if not any(
            difference(answer, f.ran.value) for answer, f in zip(answers, findings, strict=True)
        ):
            return name
    return None


def smallest_failure(
    exercise: Exercise, function: Callable, clock: Clock, known: list[Finding]
) -> Finding | None:
    """The simplest input that goes wrong, or None if neither the battery nor the search met one.

    Args:
        known: failures from the battery. With none, a fixed number of further inputs is tried.
    """
    hunt = _Hunt(exercise, function, clock, list(known))
    best = _search(exercise, hunt.fails, _SEARCHED, seed=0)
    if hunt.fatal:
        return hunt.fatal
    found = [f for f in hunt.failures if f.inputs is best]
    smallest = min(
        hunt.failures, key=_size, default=None
    )  # of the battery, where the search ran out of time
    return found[0] if found and _size(found[0])[0] <= _size(smallest)[0] else smallest


class _Hunt:
    """The question Hypothesis asks of each input, with an end to its patience."""

    def __init__(
        self, exercise: Exercise, function: Callable, clock: Clock, failures: list[Finding]
    ) -> None:
        self.exercise, self.function, self.clock = exercise, function, clock
        self.failures, self.fatal = failures, None
        self.end = time.perf_counter() + (_PATIENCE if failures else min(_AT_MOST, clock.left / 2))

    def fails(self, inputs: dict[str, Any]) -> bool:
        if self.fatal or time.perf_counter() > self.end:
            return False
        finding = probe(self.exercise, self.function, inputs, self.clock)
        if finding.kind is None:
            return False
        if not self.failures:
            self.end = time.perf_counter() + _PATIENCE
        if finding.kind in FATAL:
            self.fatal = finding
        self.failures.append(finding)
        return True


def _search(
    exercise: Exercise, condition: Callable[[dict], bool], tries: int, seed: int
) -> dict | None:
    """Hypothesis' search and shrink; None if nothing met the condition, or met it only once."""
    rules = settings(
        max_examples=tries,
        derandomize=True,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    with _self_contained():
        try:
            return find(exercise.inputs, condition, settings=rules, random=Random(seed))
        except (HypothesisException, ExceptionGroup):
            return None


@contextlib.contextmanager
def _self_contained() -> Iterator[None]:
    """Keep Hypothesis from reading the caller's sources and from writing a folder beside the
    notebook.

    It collects constants from the modules of the working directory and stores them there, so what a
    student is shown would depend on the folder they work in. Versions without this have nothing to
    switch off.
    """
    from hypothesis.internal.conjecture import providers

    name = "_get_local_constants"
    kept, nothing = getattr(providers, name, None), getattr(providers, "_local_constants", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kept:
            setattr(providers, name, lambda: nothing)
        try:
            yield
        finally:
            if kept:
                setattr(providers, name, kept)


def _size(finding: Finding) -> tuple[int, int]:
    elements = sum(value.numel() for value in finding.inputs.values() if hasattr(value, "numel"))
    return elements, len(repr(finding.inputs))
