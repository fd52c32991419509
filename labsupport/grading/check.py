"""Check an answer: ask the questions in their order, and say what was found.

1. Is it a function, and does it take the reference's arguments by name and in order?
2. A fixed battery of inputs: does it run, end, return the right kind of thing? Does it behave like
   a known misconception?
3. A search for the smallest input that goes wrong; that input is what the student sees.

An answer is not judged where the machine, the user or the check itself is why there is no result.
"""

import inspect
from collections.abc import Callable
from typing import Any

from labsupport.grading import battery
from labsupport.grading.ambient import kept_randomness, standard_settings
from labsupport.grading.battery import Finding
from labsupport.grading.clock import Clock
from labsupport.grading.compare import difference
from labsupport.grading.exercise import (
    CORRECT,
    INCORRECT,
    NOT_ATTEMPTED,
    NOT_JUDGED,
    Counterexample,
    Exercise,
    Outcome,
)
from labsupport.grading.sandbox import OUTPUT_LIMIT
from labsupport.grading.values import kind_of, listed, show_apart, show_call

TIME_LIMIT = 10.0
WALL_LIMIT = 60.0


def judge(
    exercise: Exercise, function: Any, seconds: float = TIME_LIMIT, passing: float = WALL_LIMIT
) -> Outcome:
    """Check an answer; returns an Outcome whatever the answer is or does.

    Args:
        exercise: what was asked.
        function: the student's answer, of any type.
        seconds: how long the student's code may compute, all calls together.
        passing: how long it may take by the clock on the wall.
    """
    try:
        with kept_randomness(), standard_settings():
            return _judge(exercise, function, Clock(seconds, passing))
    except KeyboardInterrupt:
        return _not_judged(exercise, "interrupt", _WORDS["interrupt"])
    except Exception as error:
        return _not_judged(
            exercise,
            "internal",
            f"The check itself failed ({type(error).__name__}), which is not your fault. Run this "
            "cell again; if that does not help, please report it with your code.",
        )


def _judge(exercise: Exercise, function: Any, clock: Clock) -> Outcome:
    refused = not_callable(exercise, function) or unlike_signature(exercise, function)
    if refused:
        return _incorrect(exercise, *refused)
    findings = _run_battery(exercise, function, clock)
    if all(f.kind == "stub" for f in findings):
        return _not_attempted(exercise)
    failures = [f for f in findings if f.kind]
    if failures and failures[-1].kind in battery.FATAL:
        return _explain(exercise, failures[-1], clock)
    name = battery.match_misconception(exercise, findings) if failures else None
    worst = _smallest_failure(exercise, function, clock, failures, name)
    if worst and worst.kind in battery.FATAL:
        return _explain(exercise, worst, clock)
    for finding in filter(None, (worst, findings[0])):
        if _answers_vary(exercise, function, clock, finding):
            return _explain(exercise, finding, clock, kind="random")
    if worst:
        return _explain(exercise, worst, clock, misconception=name)
    return Outcome(
        exercise.id,
        exercise.title,
        CORRECT,
        float(exercise.points),
        exercise.points,
        "correct",
        "Public checks passed.",
        printed=findings[0].ran.printed,
    )


def _smallest_failure(
    exercise: Exercise,
    function: Callable,
    clock: Clock,
    failures: list[Finding],
    misconception: str | None,
) -> Finding | None:
    """Find the smallest failure; with a known mistake, the smallest that it leads to."""
    if misconception is None:
        return battery.smallest_failure(exercise, function, clock, failures)

    def counts(finding: Finding) -> bool:
        return battery.explained(exercise, misconception, finding)

    explained = [f for f in failures if counts(f)]
    return battery.smallest_failure(exercise, function, clock, explained, counts)


def not_callable(exercise: Exercise, function: Any) -> tuple[str, str] | None:
    """Refuse what is no function, with a kind and words; None if it is one."""
    name = exercise.function
    if isinstance(function, type):
        return "not a function", f"You gave a class where the function {name} is asked for."
    if callable(function):
        return None
    return "not a function", (
        f"You gave {kind_of(function)}, which is not a function. Give the function "
        f'itself, without calling it: check("{exercise.id}", {name}).'
    )


def unlike_signature(exercise: Exercise, function: Callable) -> tuple[str, str] | None:
    """Refuse a function that lacks the reference's arguments, by name and in order; else None."""
    try:
        theirs = inspect.signature(function)
    except (ValueError, TypeError):
        return None  # a built-in that does not tell: calling it will
    wanted = _asked(exercise)
    asked, names = (
        f"The signature asked for is {exercise.function}{wanted}.",
        list(wanted.parameters),
    )
    missing = [n for n in names if not _takes(theirs, n)]
    surplus = [
        n
        for n, p in theirs.parameters.items()
        if n not in names
        and p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if missing or surplus:
        parts = [f"does not take {listed(missing)}"] * bool(missing)
        parts += [f"needs {listed(surplus)}, which nobody gives it"] * bool(surplus)
        return "signature", f"Your function {' and '.join(parts)}. {asked}"
    return (
        None
        if _in_order(wanted, theirs)
        else ("signature", f"Your function takes its arguments in another order. {asked}")
    )


def _asked(exercise: Exercise) -> inspect.Signature:
    """Return the reference's parameters that the exercise's inputs name, without annotations."""
    given = battery.battery(exercise)[0]
    parameters = inspect.signature(exercise.reference).parameters.values()
    return inspect.Signature([p.replace(annotation=p.empty) for p in parameters if p.name in given])


def _takes(signature: inspect.Signature, name: str) -> bool:
    try:
        signature.bind_partial(**{name: None})
    except TypeError:
        return False
    return True


def _in_order(asked: inspect.Signature, theirs: inspect.Signature) -> bool:
    positional = [n for n, p in asked.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    try:
        bound = theirs.bind_partial(*positional).arguments
    except TypeError:
        return False
    return all(bound.get(name, name) == name for name in positional)


def _run_battery(exercise: Exercise, function: Callable, clock: Clock) -> list[Finding]:
    findings = []
    for inputs in battery.battery(exercise):
        findings.append(battery.probe(exercise, function, inputs, clock))
        if findings[-1].kind in battery.FATAL:
            break
    return findings


def _answers_vary(exercise: Exercise, function: Callable, clock: Clock, seen: Finding) -> bool:
    """Whether the same input gives another answer, from a call made later."""
    again = battery.probe(exercise, function, seen.inputs, clock)
    if again.kind in battery.FATAL:
        return False  # it ran out of time, or was stopped: that says nothing of its answer
    if again.kind != seen.kind:
        return True
    comparable = seen.kind in ("", "value", "nan", "inf", "changed")
    return comparable and bool(difference(seen.ran.value, again.ran.value))


_IDEA = ("value", "nan", "inf")  # the kinds of failure that reading the section again may mend

_WORDS = {
    "none": "Your function returned None: did you forget the return?",
    "exit": (
        "Your function called sys.exit (or exit, quit), which would end the whole session. Take the"
        " call out and return a value."
    ),
    "raised interrupt": "Your function was interrupted: it raises KeyboardInterrupt itself.",
    "interrupt": "The check was interrupted before it ended. Run this cell again.",
    "memory": (
        "The machine has no memory left. Close other programs, or restart the kernel, and run this"
        " cell again."
    ),
    "async": "Your function is asynchronous: it gives back a coroutine. Write def, not async def.",
    "generator": "Your function is a generator: it uses yield. Give the result back with return.",
    "recursion": "Your function calls itself without end (RecursionError).",
    "stub": (
        "Your function raises NotImplementedError for some inputs: a branch is still to be written."
    ),
    "flood": (
        f"Your function printed without end and was stopped after {OUTPUT_LIMIT:,} characters. Is"
        " there a print in an endless loop?"
    ),
    "random": (
        "Your function gives different answers to the same input. Does it use random numbers, or"
        " keep something from one call to the next (a global variable)?"
    ),
}


def _words(finding: Finding, clock: Clock) -> str:
    kind = finding.kind
    if kind == "timeout":
        return _timeout_words(clock)
    if kind == "starved":
        return _starved_words(clock)
    if kind == "error":
        return f"Your function stopped with {finding.words}"
    if kind == "changed":
        return (
            "On this input the value is right, but your function changes its argument"
            f" {listed(finding.changed)} in place (+=, -=, mul_ ... do that). Compute new tensors"
            " and leave the inputs as they were."
        )
    words = _WORDS.get(kind) or finding.words
    words = "Y" + words[1:] if words.startswith("your") else words
    if finding.changed:
        words += f" It also changes its argument {listed(finding.changed)} in place."
    return words


def _timeout_words(clock: Clock) -> str:
    if clock.computed < clock.computing:
        return (
            f"Your function had not ended after {clock.passed:.0f} s, of which it computed "
            f"{clock.used:.2g} s, and was stopped: does it sleep, or wait for something?"
        )
    if clock.calls <= 2:
        return (
            f"Your function had not ended after computing for {clock.computing:g} s and was "
            "stopped: is there an endless loop?"
        )
    return (
        f"Your function was stopped after computing for {clock.computing:g} s: {clock.calls} calls "
        f"took {clock.computing / clock.calls:.2g} s each on average, or the last one is an endless"
        " loop."
    )


def _starved_words(clock: Clock) -> str:
    return (
        f"The machine was too busy: in {clock.passed:.0f} s your function was given "
        f"{clock.used:.2g} s of computing, and was stopped before it had ended. Run this cell "
        "again, when less else is running."
    )


def _explain(
    exercise: Exercise,
    finding: Finding,
    clock: Clock,
    kind: str | None = None,
    misconception: str | None = None,
) -> Outcome:
    kind = kind or finding.kind
    message = _words(finding, clock) if kind == finding.kind else _WORDS[kind]
    if kind in battery.NOT_THE_ANSWER:
        return _not_judged(exercise, kind, message, printed=finding.ran.printed)
    problem = finding.ran.problem
    known = next((m for m in exercise.misconceptions if m.name == misconception), None)
    return _incorrect(
        exercise,
        kind,
        message,
        misconception=misconception,
        hint=known.hint if known else None,
        section=known.section if known else exercise.section if kind in _IDEA else None,
        counterexample=_counterexample(exercise, finding),
        lines=problem.lines if problem else (),
        printed=finding.ran.printed,
    )


def _counterexample(exercise: Exercise, finding: Finding) -> Counterexample:
    call = show_call(exercise.function, finding.inputs)
    if finding.ran.problem:
        return Counterexample(call, show_apart(finding.expected, None)[0], None)
    if finding.kind == "changed":
        name = finding.changed[0]
        before, after = show_apart(finding.inputs[name], finding.given[name])
        return Counterexample(
            call, f"{name} is still {before} after the call", f"{name} is {after}"
        )
    return Counterexample(call, *show_apart(finding.expected, finding.ran.value))


def _incorrect(exercise: Exercise, reason: str, message: str, **more: Any) -> Outcome:
    return Outcome(
        exercise.id, exercise.title, INCORRECT, 0.0, exercise.points, reason, message, **more
    )


def _not_judged(exercise: Exercise, reason: str, message: str, printed: str = "") -> Outcome:
    return Outcome(
        exercise.id,
        exercise.title,
        NOT_JUDGED,
        0.0,
        exercise.points,
        reason,
        f"Your answer was not judged. {message}",
        printed=printed,
    )


def _not_attempted(exercise: Exercise) -> Outcome:
    return Outcome(
        exercise.id,
        exercise.title,
        NOT_ATTEMPTED,
        0.0,
        exercise.points,
        "stub",
        "Nothing to check yet. Replace the line raise NotImplementedError with your code, run the "
        "cell, then run this one again.",
        section=exercise.section,
    )
