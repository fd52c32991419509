"""A call has its computing time and no more, and the timer that was there before is there after."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from labsupport.grading.clock import Clock, OutOfTime, limited
from tests.grading.conftest import over


def computing():
    while True:
        pass


def sleeping():
    time.sleep(600)


def deaf_asleep():
    while not over.is_set():
        try:
            over.wait()
        except BaseException:
            pass


def deaf_on_every_line():
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


def deaf_and_collecting():
    kept = []
    while True:
        try:
            while True:
                try:
                    time.sleep(60)
                except BaseException as error:
                    kept.append(error)
        except BaseException as error:
            kept.append(error)


class SlowToGo:
    def __del__(self):
        time.sleep(60)


def deaf_in_a_destructor():
    while True:
        try:
            SlowToGo()
        except BaseException:
            pass


def test_a_call_that_ends_gives_its_value():
    assert limited(lambda: 7, Clock(1.0, 10.0)) == 7


def test_a_call_that_computes_for_too_long_is_stopped():
    clock = Clock(0.2, 600.0)
    with pytest.raises(OutOfTime):
        limited(computing, clock)
    assert 0.2 <= clock.computed < 1.0 and not clock.was_starved


def test_a_call_that_sleeps_for_too_long_is_stopped_and_the_machine_is_not_to_blame():
    clock = Clock(600.0, 0.3)
    with pytest.raises(OutOfTime):
        limited(sleeping, clock)
    assert clock.computed < 0.1 and clock.passed >= 0.3 and not clock.was_starved


@pytest.mark.parametrize(
    "call", [deaf_asleep, deaf_on_every_line, deaf_and_collecting, deaf_in_a_destructor]
)
def test_a_call_that_swallows_every_exception_is_stopped(call, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda failed: None)
    clock = Clock(600.0, 0.1)
    with pytest.raises(OutOfTime):
        limited(call, clock)
    assert clock.passed < 5


def test_several_calls_share_the_time_of_one_clock():
    clock, calls = Clock(600.0, 0.3), 0
    with pytest.raises(OutOfTime):
        for calls in range(100):  # noqa: B007
            limited(lambda: time.sleep(0.02), clock)
    assert 0 < calls < 20


def test_importing_a_library_is_not_counted(tmp_path, monkeypatch):
    (tmp_path / "slow_library.py").write_text(
        "import time\nend = time.thread_time() + 0.5\nwhile time.thread_time() < end:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    clock = Clock(0.3, 600.0)
    limited(lambda: __import__("slow_library"), clock)
    assert clock.computed < 0.3 and clock.used > 0.4


STOPPED = """
import time
from labsupport.grading.clock import Clock, limited
def computing():
    end = time.thread_time() + 0.5
    print("go", flush=True)
    while time.thread_time() < end:
        pass
clock = Clock(60.0, 20.0)
limited(computing, clock)
print(clock.passed)
"""


@pytest.mark.skipif(
    not hasattr(signal, "SIGSTOP"), reason="there is no signal that stops a process"
)
def test_the_time_in_which_the_process_stood_still_is_not_counted():
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout.readline() == "go\n"
    began = time.monotonic()
    process.send_signal(signal.SIGSTOP)
    time.sleep(4.0)
    process.send_signal(signal.SIGCONT)
    passed = float(process.communicate(timeout=120)[0])
    assert passed < time.monotonic() - began - 2.0


def test_a_timer_of_someone_else_survives():
    def handler(signum, frame):
        raise AssertionError("the timer is far away")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 600)
        with pytest.raises(OutOfTime):
            limited(sleeping, Clock(600.0, 0.1))
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 600
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_tracer_is_set_to_stop_a_call():
    seen = []
    with pytest.raises(OutOfTime):
        limited(lambda: _noting_the_tracer(seen), Clock(600.0, 0.1))
    assert set(seen) == {sys.gettrace()}


def _noting_the_tracer(seen):
    while len(seen) < 5:
        try:
            time.sleep(60)
        except BaseException:
            seen.append(sys.gettrace())
    time.sleep(60)


@pytest.mark.parametrize("call", [computing, deaf_asleep])
def test_on_another_thread_a_call_is_stopped_or_left_behind(call):
    clock, ends = Clock(0.2, 1.0), []

    def work():
        with pytest.raises(OutOfTime):
            limited(call, clock)
        ends.append(clock.is_over)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(60)
    assert ends == [True]
