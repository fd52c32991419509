"""Work shared out over processes: nothing is lost, nothing hangs, and what goes wrong is said."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from labsupport import workers

FORKS = sys.platform == "linux" and not torch.cuda.is_available()
forks = pytest.mark.skipif(not FORKS, reason="processes are forked on Linux without a GPU only")


PARENT = os.getpid()
FACTOR = 1


@pytest.fixture(autouse=True)
def two_workers(monkeypatch):
    monkeypatch.setenv("LABSUPPORT_THREADS", "2")
    monkeypatch.setenv("LABSUPPORT_DEVICE", "cpu")


def square(x, tick):
    tick(1)
    return x * x, os.getpid()


def fail(x, tick):
    raise ValueError(f"bad {x}")


def vanish(x, tick):
    os.kill(os.getpid(), signal.SIGKILL)


def threads(x, tick):
    return torch.get_num_threads()


def share(function, count=6, progress=lambda amount: None):
    return workers.parallel_map(function, [(i,) for i in range(count)], progress)


def test_results_come_in_the_order_of_the_jobs_and_progress_adds_up():
    seen = []
    assert [value for value, _ in share(square, progress=seen.append)] == [i * i for i in range(6)]
    assert sum(seen) == 6


@forks
def test_other_processes_do_the_work_with_one_thread_each():
    assert os.getpid() not in {pid for _, pid in share(square)}
    assert set(share(threads)) == {1}


@forks
def test_the_code_is_as_it_is_at_the_call_wherever_it_is_defined(monkeypatch):
    names = {}
    for number in (1, 2):  # as a cell of a notebook that is executed again
        exec(f"factor = {number}\ndef cell(x, tick): return x * factor", names)
        assert share(names["cell"]) == [i * number for i in range(6)]
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 3)
    assert share(lambda x, tick: (x * FACTOR, os.getpid() != PARENT)) == [
        (i * 3, True) for i in range(6)
    ]


@forks
def test_no_process_is_left_after_a_call():
    pids = {pid for _, pid in share(square)}
    assert 1 <= len(pids) <= 2 and not any(map(running, pids))


def test_an_error_reaches_the_caller_and_the_next_call_works():
    with pytest.raises(ValueError, match="^bad 0$") as caught:
        share(fail)
    if FORKS:
        assert "in fail" in str(caught.value.__cause__)
    assert share(square)[5][0] == 25


@forks
def test_the_first_job_to_fail_is_the_one_that_is_said_and_later_ones_are_not_begun(tmp_path):
    def slow_then_fail(x, tick):
        (tmp_path / str(x)).touch()
        time.sleep(0.5 if x == 0 else 0)
        raise ValueError(f"bad {x}")

    with pytest.raises(ValueError, match="bad 0"):
        share(slow_then_fail)
    assert {path.name for path in tmp_path.iterdir()} <= {"0", "1"}


@forks
def test_an_error_or_a_result_that_cannot_be_sent_is_said_by_its_name():
    def odd(x, tick):
        class Odd(Exception):
            pass

        raise Odd(f"bad {x}")

    with pytest.raises(RuntimeError, match="Odd: bad 0"):
        share(odd)
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="pickle"):
        share(lambda x, tick: lambda: x)


@forks
def test_an_interrupt_ends_the_processes():
    pids = []

    def interrupted(amount):
        pids.extend(child.pid for child in multiprocessing.active_children())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share(lambda x, tick: time.sleep(60), progress=interrupted)
    assert len(set(pids)) == 2 and not any(map(running, pids))


@forks
def test_a_killed_process_is_reported_and_the_next_call_works():
    with pytest.raises(RuntimeError, match="was killed; perhaps memory ran out"):
        share(vanish)
    assert share(square)[5][0] == 25


def test_with_one_worker_everything_is_done_here(monkeypatch):
    monkeypatch.setenv("LABSUPPORT_THREADS", "1")
    assert {pid for _, pid in share(square)} == {os.getpid()}


@forks
def test_the_processes_die_with_the_one_that_forked_them():
    code = (
        "import os; from tests.test_workers import share, square\n"
        "print({pid for _, pid in share(square)}, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    left = [int(pid) for pid in done.stdout.strip().strip("{}").split(",")]
    assert left
    deadline = time.monotonic() + 10
    while any(running(pid) for pid in left):
        assert time.monotonic() < deadline, "a forked process outlived its parent"
        time.sleep(0.05)


def nested():
    return [value for value, _ in share(square)]


def test_a_process_that_shares_out_work_itself_can_end():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        assert pool.submit(nested).result(timeout=60) == [i * i for i in range(6)]


def running(pid):
    """Whether a process is there and is not a zombie that waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
