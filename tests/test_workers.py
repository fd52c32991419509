"""Work shared out over processes: nothing is lost, nothing hangs, and what goes wrong is said."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from labsupport import workers

forks = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


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
def test_the_processes_are_kept_and_changed_settings_fork_new_ones(monkeypatch):
    share(square)
    (pool,) = workers._kept.values()
    first = set(pool._processes)
    share(square)
    assert list(workers._kept.values()) == [pool] and set(pool._processes) == first
    monkeypatch.setenv("LABSUPPORT_PROFILE", "full")
    assert not first & {pid for _, pid in share(square)}
    assert len(workers._kept) == 1


def test_an_error_reaches_the_caller_and_the_next_call_works():
    with pytest.raises(ValueError, match="bad 0"):
        share(fail)
    assert share(square)[5][0] == 25


@forks
def test_a_killed_process_is_reported_and_the_next_call_works():
    with pytest.raises(RuntimeError, match="was killed; perhaps memory ran out"):
        share(vanish)
    assert share(square)[5][0] == 25


def test_what_cannot_be_sent_to_a_process_is_done_here():
    assert share(lambda x, tick: os.getpid()) == [os.getpid()] * 6


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
