"""Jobs done side by side on the CPUs: by forked processes on Linux, else by threads.

A step of a small network is a few dozen short operations. Threads of one process take turns at
Python's lock between them and lose about a quarter of their time; processes do not. They are forked
for each call, so they compute with the code as it is now, functions of a notebook's cells included.
"""

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from labsupport import machine, runtime

POLL_SECONDS = 0.1


def parallel_map(
    function: Callable, jobs: Sequence[tuple], progress: Callable[[int], object]
) -> list:
    """function(*job, tick) for every job, side by side on the CPUs; the results in the order of
    the jobs.

    Args:
        function: its last argument, ``tick``, is called with the amount of work that is done.
        jobs: its other arguments. Results have to be such that they can be pickled.
        progress: called with what the ticks add up to since the last call.

    Raises:
        RuntimeError: if a process was killed, as the system does when memory runs out.
        Exception: what the first of the jobs to fail, in their order, has raised.
    """
    count = min(runtime.workers(), len(jobs))
    if count <= 1:
        with runtime.one_thread() if runtime.workers() == 1 else contextlib.nullcontext():
            return [function(*job, progress) for job in jobs]
    # where PyTorch has a GPU, a fork of a process that has gone backward cannot go backward itself
    if sys.platform == "linux" and not torch.cuda.is_available():
        return _Processes(function, jobs, count).work(progress)
    with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(lambda job: function(*job, progress), jobs))


class _Processes:
    """Forked processes that take the jobs in order, each the next one as soon as it is free."""

    def __init__(self, function: Callable, jobs: Sequence[tuple], count: int):
        self.function, self.jobs, self.count = function, jobs, count
        fork = multiprocessing.get_context("fork")
        self.pipe, self.process = fork.Pipe, fork.Process
        self.taken, self.done = fork.Value("q", 0), fork.Value("q", 0)

    def work(self, progress: Callable[[int], object]) -> list:
        """Have all jobs done; no process is left, whatever happens."""
        children: list[BaseProcess] = []
        try:
            receivers = [self._fork(children) for _ in range(self.count)]
            outcomes = self._collect(receivers, children, progress)
        finally:
            for child in children:
                child.kill()
            for child in children:
                child.join()
        for _, (error, said) in sorted(outcomes.items()):
            if error is not None:
                raise error from RuntimeError(f"in the process that trained:\n{said}")
        if len(outcomes) < len(self.jobs):
            raise RuntimeError(
                "a training process was killed; perhaps memory ran out: train fewer runs at once, "
                "or set LABSUPPORT_THREADS=1"
            )
        return [result for _, (_, result) in sorted(outcomes.items())]

    def _fork(self, children: list[BaseProcess]) -> Connection:
        """One more process; returns where its outcomes arrive."""
        receiver, sender = self.pipe(duplex=False)
        child = self.process(target=self._serve, args=(sender, os.getpid()))
        # Python warns of forking beside threads: they may hold a lock that the child then waits
        # for. Those of a notebook's kernel hold none that training takes.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            child.start()
        children.append(child)
        sender.close()  # the child has the only one left, so its end is seen
        return receiver

    def _collect(
        self,
        receivers: list[Connection],
        children: list[BaseProcess],
        progress: Callable[[int], object],
    ) -> dict[int, tuple[BaseException | None, object]]:
        """By job: its error with its traceback, or None with its result."""
        outcomes, seen = {}, 0
        while receivers:
            # a killed process may leave the pipe open in one that it has started itself
            if not (ready := wait(receivers, POLL_SECONDS)) and any(c.exitcode for c in children):
                break
            for receiver in [r for r in receivers if r in ready]:
                try:
                    job, *outcome = pickle.loads(receiver.recv_bytes())
                    outcomes[job] = tuple(outcome)
                except (EOFError, OSError):
                    receivers.remove(receiver)
            done = self.done.value
            progress(done - seen)
            seen = done
        return outcomes

    def _serve(self, sender: Connection, parent: int) -> None:
        """In the new process: one thread, deaf to the interrupts of the notebook, and gone when the
        notebook is gone.
        """
        machine.end_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        torch.set_num_threads(1)
        gc.freeze()  # to collect what was there before is to copy all of its pages
        while (job := self._next()) < len(self.jobs):
            sender.send_bytes(self._outcome(job))

    def _next(self) -> int:
        with self.taken.get_lock():
            self.taken.value += 1
            return self.taken.value - 1

    def _outcome(self, job: int) -> bytes:
        try:
            # not with sender.send: torch would pass tensors as shared memory, which dies with us
            return pickle.dumps((job, None, self.function(*self.jobs[job], self._tick)))
        except BaseException as error:
            self.taken.value = len(self.jobs)  # what comes after a failed job is not begun
            return pickle.dumps((job, _portable(error), traceback.format_exc()))

    def _tick(self, amount: int) -> None:
        with self.done.get_lock():
            self.done.value += amount


def _portable(error: BaseException) -> BaseException:
    """The error itself if it can be sent to another process, else its type and message as one."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
