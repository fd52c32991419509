"""Work shared out over the cores: processes where they can be forked, threads elsewhere.

A step of a small network is a few dozen short operations. Threads of one process take turns at
Python's lock between them and lose about a quarter of their time; processes do not. They are forked
once and kept, so a call costs a millisecond.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import util

import torch

from labsupport import runtime

POLL_SECONDS = 0.1
_kept: dict[tuple, Executor] = {}
"""The pool of forked processes, under the settings it was forked with; at most one."""
_counter = multiprocessing.get_context("fork").Value("q", 0) if sys.platform == "linux" else None


def parallel_map(
    function: Callable, jobs: Sequence[tuple], progress: Callable[[int], object]
) -> list:
    """function(*job, tick) for every job, side by side on the cores; the results in the order of
    the jobs.

    Args:
        function: a function of a module, so that another process can find it; its last argument,
            ``tick``, is called with the amount of work that is done.
        jobs: its other arguments. What cannot be sent to another process is done by threads.
        progress: called with what the ticks add up to since the last call.

    Raises:
        RuntimeError: if a process was killed, as the system does when memory runs out.
    """
    count = min(runtime.workers(), len(jobs))
    if count <= 1:
        with runtime.one_thread() if runtime.workers() == 1 else contextlib.nullcontext():
            return [function(*job, progress) for job in jobs]
    payloads = _packed(function, jobs)
    if payloads is None:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(lambda job: function(*job, progress), jobs))
    return [pickle.loads(result) for result in _in_processes(payloads, progress)]


def _packed(function: Callable, jobs: Sequence[tuple]) -> list[bytes] | None:
    """The jobs as bytes, or None where processes cannot be forked or a job cannot be sent to
    one.
    """
    if sys.platform != "linux" or runtime.device().type != "cpu":
        return None
    try:
        return [pickle.dumps((function, job)) for job in jobs]
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _in_processes(payloads: list[bytes], progress: Callable[[int], object]) -> list[bytes]:
    """Send every payload to the pool and wait, passing on what the ticks add up to."""
    _counter.value = 0
    futures = [_pool().submit(_work, payload) for payload in payloads]
    seen, waiting = 0, set(futures)
    try:
        while waiting:
            waiting = wait(waiting, POLL_SECONDS, FIRST_COMPLETED).not_done
            done = _counter.value
            progress(done - seen)
            seen = done
        return [future.result() for future in futures]
    except BrokenProcessPool:
        _drop()
        raise RuntimeError(
            "a training process was killed; perhaps memory ran out: train fewer runs at once, "
            "or set LABSUPPORT_THREADS=1"
        ) from None
    except BaseException:
        _drop()
        raise


def _pool() -> Executor:
    """The kept pool; a new one if the settings of the book have changed since it was forked."""
    settings = (
        os.getpid(),
        runtime.workers(),
        *sorted(i for i in os.environ.items() if i[0].startswith("LABSUPPORT_")),
    )
    if settings not in _kept:
        _drop()
        # a process that multiprocessing made waits for its children before it tells any pool to end
        util.Finalize(None, _drop, exitpriority=100)
        _kept[settings] = ProcessPoolExecutor(
            runtime.workers(), multiprocessing.get_context("fork"), _begin
        )
    return _kept[settings]


def _drop() -> None:
    """End the pool and whatever it is doing."""
    for settings, pool in list(_kept.items()):
        del _kept[settings]
        if settings[0] == os.getpid():
            for process in (pool._processes or {}).values():
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """In a new process: one thread, deaf to the interrupts of the notebook, and gone when the
    notebook is gone.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _work(payload: bytes) -> bytes:
    function, job = pickle.loads(payload)
    return pickle.dumps(function(*job, _tick))


def _tick(amount: int) -> None:
    with _counter.get_lock():
        _counter.value += amount
