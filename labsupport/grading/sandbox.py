"""Call a student's function so that nothing escapes but a :class:`Ran`.

Caught: exceptions of every kind, ``sys.exit``, Ctrl-C, a loop without end, a flood of output. The
call runs under the settings of a fresh session, and what it changes of them is put back, with
``sys.stdout`` and ``sys.stderr``. ``os._exit`` and a crash in C code cannot be survived in one
process.
"""

import contextlib
import dis
import inspect
import io
import linecache
import os
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, TextIO

from labsupport.grading.ambient import standard_settings
from labsupport.grading.clock import Clock, OutOfTime, limited

OUTPUT_LIMIT = 20_000  # characters a call may print
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARY = tuple(os.path.abspath(sysconfig.get_paths()[key]) for key in ("stdlib", "platstdlib"))
_MODEST = 64 << 20  # bytes that a machine with memory left can give
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory")


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
    """What came of a call: a value or a problem, and what was printed."""

    value: Any
    problem: Problem | None
    printed: str


def run(function: Callable, arguments: dict[str, Any], clock: Clock) -> Ran:
    """Call ``function(**arguments)`` within the time that the clock has left."""
    tape, value, problem = _Tape(), None, None
    with (
        standard_settings(),
        contextlib.redirect_stdout(tape),
        contextlib.redirect_stderr(tape),
        _plain_warnings(),
    ):
        try:
            value = limited(lambda: function(**arguments), clock)
        except BaseException as error:
            problem = Problem("flood", "") if tape.is_full else _problem(error, clock)
    if problem and problem.kind == "memory" and not _memory_is_short():
        problem = Problem("error", problem.words, problem.lines)
    problem = problem or _never_ran(value)
    return Ran(None if problem else value, problem, tape.text())


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print a warning in one line, and of an exception in a destructor only the student's lines.

    Python would add the line of the check that made the call, and a traceback through the clock
    when a call is stopped while it runs a destructor or a callback of the garbage collector.
    """

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        place = "" if _is_library(filename) else f" (line {lineno})"
        print(f"{category.__name__}{place}: {message}", file=sys.stderr)

    def unraisable(failed: "sys.UnraisableHookArgs") -> None:
        error = failed.exc_value
        if error is not None and not isinstance(error, (OutOfTime, Flooded)):
            where = "".join(f"\n  {line}" for line in own_lines(error))
            print(f"Exception ignored: {_words_of(error)}{where}", file=sys.stderr)

    kept, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            for category in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            warnings.showwarning = show
            yield
    finally:
        sys.unraisablehook = kept


class _Tape(io.TextIOBase):
    """Keep what is printed, and stop a call that prints too much."""

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


def _problem(error: BaseException, clock: Clock) -> Problem:
    if isinstance(error, OutOfTime):
        return Problem("starved" if clock.was_starved else "timeout", "")
    lines = own_lines(error)
    if isinstance(error, SystemExit):
        return Problem("exit", "", lines)
    if isinstance(error, KeyboardInterrupt):
        return Problem("raised interrupt" if _was_raised_by_hand(error) else "interrupt", "", lines)
    if isinstance(error, NotImplementedError) and _was_raised_by_hand(error):
        return Problem("stub", "")
    if isinstance(error, RecursionError):
        return Problem("recursion", "", lines[:4])
    words = _words_of(error)
    asked_for_memory = isinstance(error, MemoryError) or any(
        sign in words.casefold() for sign in _NO_MEMORY
    )
    return Problem("memory" if asked_for_memory else "error", words, lines)


def _memory_is_short() -> bool:
    """Whether the machine has no memory for anyone, rather than not for what the call asked for."""
    try:
        bytearray(_MODEST)
    except MemoryError:
        return True
    return False


def _never_ran(value: Any) -> Problem | None:
    if inspect.iscoroutine(value):
        value.close()
        return Problem("async", "")
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return Problem("generator", "")
    return None


def _words_of(error: BaseException) -> str:
    """Write ``TypeName: message``, also when the message itself misbehaves."""
    try:
        message = limited(lambda: str(error), Clock(0.5, 3.0))
        message = "\n".join(message.splitlines()[:3])[:500]
    except BaseException:
        message = ""
    if isinstance(error, MemoryError):
        message = message or "it asked for more memory than there is"
    return type(error).__name__ + (f": {message}" if message else "")


def _was_raised_by_hand(error: BaseException) -> bool:
    """Whether a ``raise`` statement raised it, not an operation that torch does not implement."""
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    if last is None:
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def own_lines(error: BaseException) -> tuple[str, ...]:
    """List the traceback's lines from the student's own code: where, and the source."""
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


def _place(code: CodeType) -> str:
    """Name a place: ``sgd_step`` in a notebook's cell, ``sgd_step (solution.py)`` in a file."""
    name = os.path.basename(code.co_filename)
    in_cell = name.startswith("<") or "ipykernel_" in code.co_filename
    return code.co_name if in_cell else f"{code.co_name} ({name})"


def _is_library(filename: str) -> bool:
    if "site-packages" in filename or "dist-packages" in filename or filename.startswith("<frozen"):
        return True
    return os.path.abspath(filename).startswith(
        (_PACKAGE + os.sep, *(path + os.sep for path in _LIBRARY))
    )
