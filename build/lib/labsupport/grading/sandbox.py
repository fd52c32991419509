"""One call of a student's function, from which nothing escapes but a :class:`Ran`.

Caught: exceptions of every kind, ``sys.exit``, Ctrl-C, a loop without end, a flood of output. Put
back: the default dtype and device, whether gradients are recorded, the recursion limit, the warning
filters, ``sys.stdout`` and ``sys.stderr``. ``os._exit`` and a crash in C code cannot be survived in
one process.
"""

import contextlib
import dis
import inspect
import io
import linecache
import os
import random
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from labsupport.grading.clock import OutOfTime, limited

OUTPUT_LIMIT = 20_000  # characters a call may print
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARY = tuple(os.path.abspath(sysconfig.get_paths()[key]) for key in ("stdlib", "platstdlib"))


class Flooded(BaseException):
    """The call printed more than :data:`OUTPUT_LIMIT` characters."""


@dataclass(frozen=True)
class Problem:
    """Why a call gave no value: a kind, words, and the student's own lines of the traceback."""

    kind: str
    words: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """What came of a call: a value or a problem, what was printed, how long it took."""

    value: Any
    problem: Problem | None
    printed: str
    seconds: float


def run(function: Callable, arguments: dict[str, Any], seconds: float = 10.0) -> Ran:
    """Call ``function(**arguments)`` for at most ``seconds``."""
    tape, value, problem = _Tape(), None, None
    started = time.perf_counter()
    with _kept_settings(), contextlib.redirect_stdout(tape), contextlib.redirect_stderr(tape):
        try:
            value = limited(lambda: function(**arguments), seconds)
        except BaseException as error:
            problem = Problem("flood", "") if tape.is_full else _problem(error)
    problem = problem or _never_ran(value)
    return Ran(None if problem else value, problem, tape.text(), time.perf_counter() - started)


@contextlib.contextmanager
def kept_randomness() -> Iterator[None]:
    """Put the global random generators back where they were."""
    numpy = sys.modules.get("numpy")
    states = random.getstate(), torch.get_rng_state(), numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        random.setstate(states[0])
        torch.set_rng_state(states[1])
        if numpy:
            numpy.random.set_state(states[2])


@contextlib.contextmanager
def _kept_settings() -> Iterator[None]:
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    gradients, depth = torch.is_grad_enabled(), sys.getrecursionlimit()
    with warnings.catch_warnings():
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            if torch.get_default_device() != device:
                torch.set_default_device(None if device.type == "cpu" else device)
            if sys.getrecursionlimit() != depth:
                sys.setrecursionlimit(depth)


class _Tape(io.TextIOBase):
    """Keeps what is printed, and stops whoever prints too much."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._room = OUTPUT_LIMIT

    @property
    def is_full(self) -> bool:
        return self._room <= 0

    def write(self, text: str) -> int:
        if self.is_full:
            raise Flooded
        self._parts.append(text[: self._room])
        self._room -= max(len(text), 1)
        return len(text)

    def writable(self) -> bool:
        return True

    def text(self) -> str:
        return "".join(self._parts)


def _problem(error: BaseException) -> Problem:
    if isinstance(error, OutOfTime):
        return Problem("timeout", "")
    if isinstance(error, SystemExit):
        return Problem("exit", "", own_lines(error))
    if isinstance(error, KeyboardInterrupt):
        return Problem("interrupt", "", own_lines(error))
    if isinstance(error, NotImplementedError) and _was_raised_by_hand(error):
        return Problem("stub", "")
    if isinstance(error, RecursionError):
        return Problem("recursion", "", own_lines(error)[:4])
    return Problem("error", _words_of(error), own_lines(error))


def _never_ran(value: Any) -> Problem | None:
    if inspect.iscoroutine(value):
        value.close()
        return Problem("async", "")
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return Problem("generator", "")
    return None


def _words_of(error: BaseException) -> str:
    """``TypeName: message``, also when the message itself misbehaves."""
    try:
        message = "\n".join(limited(lambda: str(error), 0.5).splitlines()[:3])[:500]
    except BaseException:
        message = ""
    if isinstance(error, MemoryError):
        message = message or "it asked for more memory than there is"
    return type(error).__name__ + (f": {message}" if message else "")


def _was_raised_by_hand(error: BaseException) -> bool:
    """Raised by a ``raise`` statement, not by an operation that torch does not implement."""
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    return bool(last) and last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def own_lines(error: BaseException) -> tuple[str, ...]:
    """The traceback's lines from the student's own code: where, and the source."""
    lines, step = [], error.__traceback__
    while step:
        code = step.tb_frame.f_code
        if not _is_library(code.co_filename):
            source = linecache.getline(
                code.co_filename, step.tb_lineno, step.tb_frame.f_globals
            ).strip()
            lines.append(f"line {step.tb_lineno} of {_place(code)}:  {source}".rstrip(": "))
        step = step.tb_next
    return tuple(lines if len(lines) <= 8 else [*lines[:4], "...", *lines[-3:]])


def _place(code) -> str:
    """``sgd_step`` for a notebook's cell, ``sgd_step (solution.py)`` for a file."""
    name = os.path.basename(code.co_filename)
    in_cell = name.startswith("<") or "ipykernel_" in code.co_filename
    return code.co_name if in_cell else f"{code.co_name} ({name})"


def _is_library(filename: str) -> bool:
    if "site-packages" in filename or "dist-packages" in filename or filename.startswith("<frozen"):
        return True
    return os.path.abspath(filename).startswith(
        (_PACKAGE + os.sep, *(path + os.sep for path in _LIBRARY))
    )
