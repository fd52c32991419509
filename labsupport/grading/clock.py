"""Limit how long a call computes, and more generously how long it takes, on any thread.

What counts is the processor time of the thread that makes the call, so that a loaded machine, a
stopped process or a closed lid is not held against an answer; importing a library is not counted.

On the main thread a repeating timer looks at the clock, and interrupts the call with
:class:`OutOfTime` once its time is up. Code that swallows it (``except: pass`` in a loop) is
interrupted again wherever Python looks for signals, until it is over. Where there is no such timer
(Windows, another thread) the call runs on a thread of its own, which is asked to stop, and left
behind if it does not.

One call into C code that never comes back to Python cannot be interrupted on the main thread.
"""

import _thread
import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

_EVERY = 0.05  # seconds between two looks at the clock
_PAUSE = 1.0  # at most so many seconds count as passed between two looks


class OutOfTime(BaseException):
    """The call was stopped at its limit; no Exception, so ``except Exception`` lets it through."""


class Clock:
    """Count the time of several calls together.

    Args:
        computing: seconds of processor time they may take.
        passing: seconds they may take by the clock on the wall. Seconds in which the whole process
            stood still (a closed lid, a stopped process) do not count.

    Attributes:
        computed: seconds of processor time, imports not counted.
        used: seconds of processor time, imports counted.
        queued: seconds that the calls were ready and waited for a processor; None where the system
            does not say.
        passed: seconds by the clock on the wall.
        calls: how many calls there were.
    """

    def __init__(self, computing: float, passing: float) -> None:
        self.computing, self.passing = computing, passing
        self.computed = self.used = self.passed = 0.0
        self.queued: float | None = None
        self.calls = 0

    @property
    def is_over(self) -> bool:
        return self.computed >= self.computing or self.passed >= self.passing

    @property
    def was_starved(self) -> bool:
        """Whether the calls took long because the machine had no processor for them.

        Code that sleeps does not wait for a processor. Where the system does not say who waits,
        code that computes on a crowded machine is told from code that sleeps by the little that it
        computes.
        """
        if self.computed >= self.computing:
            return False
        if self.queued is None:
            return 0.02 < self.used / max(self.passed, 1e-9) < 0.5
        return self.queued > self.passed / 2


def limited(call: Callable[[], Any], clock: Clock) -> Any:
    """Run ``call()`` on the time that the clock has left, and return its value.

    Raises:
        OutOfTime: if the clock's time is up before the call has ended.
    """
    if clock.is_over:
        raise OutOfTime
    clock.calls += 1
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _by_alarm(call, clock)
    return _by_thread(call, clock)


class _Reading:
    """Read a thread's times, and add to the clock what has come since the last look."""

    def __init__(self, clock: Clock) -> None:
        """Begin, on the thread that is to be read."""
        self.clock = clock
        has_clock = hasattr(time, "pthread_getcpuclockid")
        self._thread = time.pthread_getcpuclockid(threading.get_ident()) if has_clock else None
        self._lines = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        self._used, self._passed = self._processor(), time.monotonic()
        self._queued: float | None = None

    def look(self, frame: FrameType | None) -> None:
        """Bring the clock up to date; ``frame`` is where the call is now."""
        clock, used, passed = self.clock, self._processor(), time.monotonic()
        clock.used += used - self._used
        if not _is_importing(frame):
            clock.computed += used - self._used
        clock.passed += min(passed - self._passed, _PAUSE)
        self._used, self._passed = used, passed

    def look_at_the_queue(self) -> None:
        """Add the time spent waiting for a processor since the last look at it."""
        try:
            with open(self._lines) as file:
                queued = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return
        if self._queued is not None:
            self.clock.queued = (self.clock.queued or 0.0) + queued - self._queued
        self._queued = queued

    def _processor(self) -> float:
        return time.process_time() if self._thread is None else time.clock_gettime(self._thread)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code not in _OURS:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _by_alarm(call: Callable[[], Any], clock: Clock) -> Any:
    alarm = _Alarm(_Reading(clock))
    handler = signal.signal(signal.SIGALRM, alarm.ring)
    waiting, every = signal.setitimer(signal.ITIMER_REAL, _EVERY, _EVERY)
    try:
        return call()
    finally:
        # First of all, so that nothing below can be interrupted.
        alarm.over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler if handler is not None else signal.SIG_DFL)
        if waiting:
            signal.setitimer(signal.ITIMER_REAL, waiting, every)
        alarm.reading.look(None)


class _Alarm:
    """Interrupt the call below :func:`_by_alarm` once its time is up, again if it goes on."""

    def __init__(self, reading: _Reading) -> None:
        self.reading, self.over, self.is_second = reading, False, False

    def ring(self, signum: int, frame: FrameType | None) -> None:
        if self.over or frame is None or frame.f_code in _OURS:
            return  # the call has just ended, or this method is at work already
        if not self.is_second:
            self.reading.look(frame)
            self.reading.look_at_the_queue()
            if not self.reading.clock.is_over:
                return
            self.is_second = True
            raise OutOfTime
        # The exception was swallowed. The signal is set off again, so that the next line that
        # swallows it is interrupted as well. A call would let Python look for signals at once, that
        # is, here; a loop over a map does not.
        for _ in map(_thread.interrupt_main, [signal.SIGALRM]):
            raise OutOfTime


def _by_thread(call: Callable[[], Any], clock: Clock) -> Any:
    box: list[tuple[Any, BaseException | None]] = []
    readings: list[_Reading] = []

    def work() -> None:
        readings.append(_Reading(clock))
        try:
            box.append((call(), None))
        except BaseException as error:
            box.append((None, error))
        readings.pop().look(None)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    assert worker.ident is not None  # it has been started
    asked = 0
    while worker.is_alive() and asked < 20:
        worker.join(_EVERY)
        for reading in readings[:]:
            reading.look(sys._current_frames().get(worker.ident))
            reading.look_at_the_queue()
        if clock.is_over:
            asked += 1
            stop = ctypes.c_ulong(worker.ident), ctypes.py_object(OutOfTime)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(*stop)
    if not box:
        raise OutOfTime
    value, error = box[0]
    if error is not None:
        raise error
    return value


# Frames of this file: where a look at the stack ends, and where nothing is interrupted.
_OURS = {
    function.__code__ for function in (_by_alarm, _Alarm.ring, _Reading.look, _is_importing)
} | {_Reading.look_at_the_queue.__code__, _Reading._processor.__code__}
