"""Try an answer on the fixed battery of its exercise, and search for a small failure."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, find, settings
from hypothesis.configuration import set_hypothesis_home_dir, storage_directory
from hypothesis.errors import HypothesisException

from labsupport.grading.clock import Clock
from labsupport.grading.compare import Difference, difference
from labsupport.grading.exercise import Exercise
from labsupport.grading.sandbox import Problem, Ran, run
from labsupport.grading.values import PLAIN_TENSORS, fresh, show

BATTERY_SIZE = 40
_SEARCHED = 60  # further inputs that a right answer is tried on
_PATIENCE = 0.6  # seconds of looking for something smaller, once a failure is known
_AT_MOST = 4.0  # seconds of looking for a failure
_CROWDED = 6.0  # so much longer than its computing may anything take on a machine that is busy

_MUTABLE = (*PLAIN_TENSORS, list, dict, tuple)

# What says nothing of the answer: the machine or the user stopped the call.
NOT_THE_ANSWER = ("starved", "memory", "interrupt")

# These end a check at once: each time shrinking met them again it would cost the whole time limit.
FATAL = ("timeout", "flood", "exit", "raised interrupt", *NOT_THE_ANSWER)

RAISES = type("Raises", (), {"__repr__": lambda self: "RAISES"})()
"""What a misconception answers where it raises an exception."""


@dataclass(frozen=True)
class Finding:
    """One call: its inputs before and after, what is right for them, and what came back."""

    inputs: dict[str, Any]
    given: dict[str, Any]
    expected: Any
    ran: Ran
    difference: Difference | None
    changed: tuple[str, ...]

    @property
    def fault(self) -> Problem | Difference | None:
        """Why there is no value, or how the value differs."""
        return self.ran.problem or self.difference

    @property
    def kind(self) -> str:
        """What is wrong, in a word; empty if nothing is."""
        if self.fault:
            return self.fault.kind
        return "changed" if self.changed else ""

    @property
    def words(self) -> str:
        """What is wrong, for the student; empty where the kind says it all."""
        return self.fault.words if self.fault else ""


@cache
def battery(exercise: Exercise) -> tuple[dict[str, Any], ...]:
    """Draw the exercise's fixed inputs: the same for every student and every run."""
    drawn: list[dict[str, Any]] = []

    def keep(inputs: dict[str, Any]) -> bool:
        drawn.append(inputs)
        return False  # so that the search goes on

    _search(exercise, keep, BATTERY_SIZE, seed=1)
    return tuple(drawn)


@cache
def behaviours(exercise: Exercise) -> dict[str, tuple[Any, ...]]:
    """List each misconception's answers on the battery; :data:`RAISES` where it raises."""
    return {
        m.name: tuple(_answer(m.answer, inputs) for inputs in battery(exercise))
        for m in exercise.misconceptions
    }


def _answer(function: Callable, inputs: dict[str, Any]) -> Any:
    try:
        return function(**fresh(inputs))
    except Exception:
        return RAISES


def probe(exercise: Exercise, function: Callable, inputs: dict[str, Any], clock: Clock) -> Finding:
    """Call the student's function once, on a copy of ``inputs``, and compare."""
    given = fresh(inputs)
    ran = run(function, given, clock)
    expected = exercise.reference(**fresh(inputs))
    differs = None if ran.problem else _difference(exercise, expected, ran.value)
    changed = tuple(
        name
        for name, value in inputs.items()
        if type(value) in _MUTABLE and difference(value, given[name], exact=True)
    )
    return Finding(inputs, given, expected, ran, differs, changed)


def _difference(exercise: Exercise, expected: Any, got: Any) -> Difference | None:
    return difference(expected, got, names=exercise.returns, keeps_dtype=exercise.keeps_dtype)


def match_misconception(exercise: Exercise, findings: list[Finding]) -> str | None:
    """Name the misconception that gives the student's answers on the battery, if there is one.

    Inputs on which only the student's function raises are left out, if a quarter is left: it may
    have a second fault (half of the inputs are of one dtype). Where the misconception raises, the
    student's function has to.
    """
    for name, answers in behaviours(exercise).items():
        pairs = list(zip(answers, findings, strict=True))
        told = [(a, f) for a, f in pairs if a is RAISES or not f.ran.problem]
        if (
            4 * len(told) >= len(pairs)
            and any(f.kind for _, f in told)
            and all(_is_like(exercise, answer, finding) for answer, finding in told)
        ):
            return name
    return None


def _is_like(exercise: Exercise, answer: Any, finding: Finding) -> bool:
    if answer is RAISES:
        return finding.ran.problem is not None
    return _difference(exercise, answer, finding.ran.value) is None


def explained(exercise: Exercise, misconception: str, finding: Finding) -> bool:
    """Whether a failure is one that the misconception leads to, and not a second fault."""
    if not finding.ran.problem:
        return True
    known = next(m for m in exercise.misconceptions if m.name == misconception)
    return _answer(known.answer, finding.inputs) is RAISES


def smallest_failure(
    exercise: Exercise,
    function: Callable,
    clock: Clock,
    known: list[Finding],
    counts: Callable[[Finding], bool] = lambda finding: True,
) -> Finding | None:
    """Find the simplest input that goes wrong; None if neither battery nor search met one.

    Args:
        known: failures from the battery. With none, a fixed number of further inputs is tried.
        counts: whether a failure is one of those looked for.
    """
    hunt = _Hunt(exercise, function, clock, list(known), counts)
    best = _search(exercise, hunt.fails, _SEARCHED, seed=0)
    if not hunt.failures:
        return hunt.fatal
    found = [f for f in hunt.failures if f.inputs is best]
    smallest = min(hunt.failures, key=_size)  # of the battery, where the search ran out of time
    return found[0] if found and _size(found[0])[0] <= _size(smallest)[0] else smallest


class _Hunt:
    """Collect the failures that Hypothesis meets, until the time for it is used up."""

    def __init__(
        self,
        exercise: Exercise,
        function: Callable,
        clock: Clock,
        failures: list[Finding],
        counts: Callable[[Finding], bool],
    ) -> None:
        self.exercise, self.function, self.clock, self.counts = exercise, function, clock, counts
        self.failures = failures
        self.fatal: Finding | None = None
        self.patience = _PATIENCE if failures else _AT_MOST
        self.began = time.thread_time(), time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether it has computed enough; by the wall clock a busy machine would find less."""
        computed, passed = (
            now - then
            for now, then in zip((time.thread_time(), time.perf_counter()), self.began, strict=True)
        )
        return bool(self.fatal) or max(computed, passed / _CROWDED) > self.patience

    def fails(self, inputs: dict[str, Any]) -> bool:
        if self.is_over:
            return False
        finding = probe(self.exercise, self.function, inputs, self.clock)
        if finding.kind in FATAL:
            self.fatal = finding
            return False
        if not finding.kind or not self.counts(finding):
            return False
        if not self.failures:
            self.patience = _PATIENCE
            self.began = time.thread_time(), time.perf_counter()
        self.failures.append(finding)
        return True


def _search(
    exercise: Exercise, condition: Callable[[dict], bool], tries: int, seed: int
) -> dict | None:
    """Have Hypothesis search and shrink; None if nothing met the condition, or only once."""
    rules = settings(
        max_examples=tries,
        derandomize=True,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    with _writing_nothing():
        try:
            return find(exercise.inputs, condition, settings=rules, random=Random(seed))
        except (HypothesisException, ExceptionGroup):
            return None


@contextlib.contextmanager
def _writing_nothing() -> Iterator[None]:
    """Keep Hypothesis from writing a folder beside the notebook.

    It keeps there what it reads from the modules of the working directory: numbers of 100 and more,
    texts. Strategies that choose from a list, or draw small integers, never draw one of them. Below
    the null device no folder can be made, and Hypothesis does without.
    """
    home = storage_directory(intent_to_write=False).home_directory
    set_hypothesis_home_dir(os.path.join(os.devnull, "hypothesis"))
    try:
        yield
    finally:
        set_hypothesis_home_dir(home)


def _size(finding: Finding) -> tuple[int, int]:
    elements = sum(value.numel() for value in finding.inputs.values() if hasattr(value, "numel"))
    return elements, len(show(finding.inputs))
