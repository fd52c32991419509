"""A call with a time limit, on any thread.

On the main thread a repeating timer interrupts the call with :class:`OutOfTime`. Code that swallows
it (``except: pass`` in a loop) is met with more of the same: when a swallowed one is deleted, or at
the next ring if it was kept, every further line of the call raises, the lines of the ``except``
clauses included, until it is over. Where there is no such timer (Windows, another thread) the call
runs on a thread of its own, which is told to stop, and left behind if it will not listen.

One call into C code that never comes back to Python cannot be interrupted on the main thread.
"""

import ctypes
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

_AGAIN = 0.05


class OutOfTime(BaseException):
    """The call was stopped at its time limit; not an Exception, so ``except Exception`` lets it
    through.
    """


def limited(call: Callable[[], Any], seconds: float) -> Any:
    """Run ``call()`` and return its value; raise :class:`OutOfTime` if it has not ended in
    ``seconds``.
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _by_alarm(call, seconds)
    return _by_thread(call, seconds)


def _by_alarm(call: Callable[[], Any], seconds: float) -> Any:
    tracer, alarm = sys.gettrace(), _Alarm()
    handler = signal.signal(signal.SIGALRM, alarm.ring)
    waiting, every = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), _AGAIN)
    try:
        return call()
    finally:
        # In this order: with no tracer and no timer left, nothing below can be interrupted.
        alarm.over = True
        sys.settrace(tracer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler if handler is not None else signal.SIG_DFL)
        if waiting:
            signal.setitimer(signal.ITIMER_REAL, waiting, every)


class _Alarm:
    """Interrupts the call below :func:`_by_alarm`, and insists."""

    def __init__(self) -> None:
        self.over, self.rings, self.thread = False, 0, threading.get_ident()

    def ring(self, signum, frame) -> None:
        if self.over or frame is None or frame.f_code is _by_alarm.__code__:
            return  # the call has just ended
        self.rings += 1
        if self.rings > 1:
            self.insist(frame)
        raise _Insistent(self)

    def insist(self, frame) -> None:
        """Make every further line of the call raise."""
        sys.settrace(self.refuse)
        while frame is not None and frame.f_code is not _by_alarm.__code__:
            frame.f_trace = self.refuse
            frame = frame.f_back

    def refuse(self, frame, event, argument) -> None:
        raise _Insistent(self)


class _Insistent(OutOfTime):
    """Python drops a tracer once it has raised; deleting this exception, as swallowing it does,
    brings it back.
    """

    def __init__(self, alarm: _Alarm) -> None:
        self.alarm = alarm

    def __del__(self) -> None:
        if not self.alarm.over and threading.get_ident() == self.alarm.thread:
            self.alarm.insist(sys._getframe(1))


def _by_thread(call: Callable[[], Any], seconds: float) -> Any:
    box: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            box.append((call(), None))
        except BaseException as error:
            box.append((None, error))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    for _ in range(20):
        if not worker.is_alive():
            break
        stop = ctypes.c_ulong(worker.ident), ctypes.py_object(OutOfTime)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(*stop)
        worker.join(_AGAIN)
    if not box:
        raise OutOfTime
    value, error = box[0]
    if error is not None:
        raise error
    return value
