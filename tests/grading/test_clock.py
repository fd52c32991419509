"""A call has its time and no more, and the timer and the tracer that were there before are there
after.
"""

import signal
import subprocess
import sys
import time

import pytest

from labsupport.grading.clock import OutOfTime, limited


def test_a_call_that_ends_gives_its_value():
    assert limited(lambda: 7, 1.0) == 7


def test_a_call_that_does_not_end_is_stopped():
    with pytest.raises(OutOfTime):
        limited(lambda: time.sleep(60), 0.1)


def test_a_call_that_swallows_every_exception_is_stopped():
    def deaf():
        while True:
            try:
                while True:
                    try:
                        time.sleep(60)
                    except BaseException:
                        continue
                    finally:
                        str(1)
            except BaseException:
                continue

    started = time.monotonic()
    with pytest.raises(OutOfTime):
        limited(deaf, 0.1)
    assert time.monotonic() - started < 5


def test_a_timer_of_someone_else_survives():
    def handler(signum, frame):
        raise AssertionError("the timer is far away")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 600)
        with pytest.raises(OutOfTime):
            limited(lambda: time.sleep(60), 0.1)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 600
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


TRACED = """
import sys, time
from labsupport.grading.clock import OutOfTime, limited
def tracer(frame, event, argument):
    return None
sys.settrace(tracer)
try:
    limited(lambda: time.sleep(60), 0.1)
except OutOfTime:
    print(sys.gettrace() is tracer)
"""


def test_a_tracer_of_someone_else_survives():
    """In a process of its own: CPython 3.11 can spin for ever where it traces while an exception
    waits for another thread, as other tests of this folder leave one waiting."""
    done = subprocess.run(
        [sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "True", done.stderr
