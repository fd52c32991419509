"""Start and watch one process for every module of decoupled learning.

What a process does is in processes.py; ``in_one_process`` does the same without any.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from labsupport import runtime
from labsupport.topics.local_learning.processes import LOST, Job, Module, batches, join

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.02
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


class Report(NamedTuple):
    """The results of a job."""

    params: dict[str, Tensor]
    """Of all modules together, each (1, ...)."""
    seconds: float
    """From the first step of the first module to the last step of the last, starting the processes
    left out.
    """
    trained: tuple[int, ...]
    """Steps that each module took."""


@torch.no_grad()
def in_one_process(job: Job) -> Report:
    """Train the same modules one after another in this process, as a check on the others."""
    with runtime.one_thread():
        modules = [Module(job, i) for i in range(1, job.net.modules + 1)]
        start = time.perf_counter()
        for batch in batches(job):
            for module in modules:
                h = module.forward(batch)  # before the step, as a process sends it
                module.step(batch)
                batch = batch._replace(x=h)
        seconds = time.perf_counter() - start
    params = {name: p for module in modules for name, p in module.params.items()}
    return Report(params, seconds, tuple(module.trained for module in modules))


def run(
    job: Job, *, kill: int | None = None, started: Callable[[list[int]], object] = lambda pids: None
) -> Report:
    """Train the modules side by side, each in a process of its own on this machine.

    Args:
        job: what they train.
        kill: this module, counted from 1, is killed as soon as all have started, to see what
            happens.
        started: called with the processes' ids when they have been started.

    Raises:
        ValueError: for a module to kill that there is not.
        RuntimeError: if a module dies or the time is up; it names the module. All processes are
            gone by then.
    """
    if kill is not None and not 1 <= kill <= job.net.modules:
        raise ValueError(f"kill is {kill}; there are modules 1 to {job.net.modules}")
    with TemporaryDirectory() as name:
        folder, children = Path(name), []
        try:
            for rank in range(job.net.modules):
                children.append(_start(job, rank, folder))
            started([child.pid for child in children])
            _watch(job, children, folder, kill)
            return _collected(job, folder)
        finally:
            for child in children:
                child.kill()
                child.join()


def _start(job: Job, rank: int, folder: Path) -> BaseProcess:
    """Fork a process where that is possible, for then nothing is imported again."""
    process = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn").Process(
        target=_module, args=(job, rank, folder, os.getpid()), daemon=True
    )
    with warnings.catch_warnings(
        action="ignore", category=DeprecationWarning
    ):  # of forking beside threads; see _module
        process.start()
    return process


def _module(job: Job, rank: int, folder: Path, parent: int) -> None:
    """Run a module in the new process, which ends with its parent and writes to a file."""
    output = os.open(folder / f"output{rank}", os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers an interrupt, for all of them
    with contextlib.suppress(OSError, AttributeError):  # PR_SET_PDEATHSIG, on Linux alone
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before the line above
        os._exit(LOST)
    if sys.platform in LOOPBACK:
        os.environ["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]
    join(job, rank, folder, f"file://{folder}/store")


def _watch(job: Job, children: Sequence[BaseProcess], folder: Path, kill: int | None) -> None:
    """Wait until all have ended without an error."""
    deadline = time.monotonic() + job.seconds
    while None in (codes := [child.exitcode for child in children]) and not any(codes):
        if time.monotonic() > deadline:
            still = ", ".join(str(i) for i, code in enumerate(codes, 1) if code is None)
            raise RuntimeError(
                f"the time is up: after {job.seconds:g} s module {still} of {len(codes)} had not"
                " ended; all were stopped"
            )
        if kill and all((folder / f"started{rank}").exists() for rank in range(len(children))):
            children[kill - 1].kill()
            kill = None
        time.sleep(POLL_SECONDS)
    if any(codes):
        raise RuntimeError(_failure(children, folder))


def _failure(children: Sequence[BaseProcess], folder: Path) -> str:
    """Say which module failed first and how, and how the others ended.

    They get some seconds to notice.
    """
    stopped, deadline = [], time.monotonic() + GRACE_SECONDS
    for i, child in enumerate(children, start=1):
        child.join(max(0.0, deadline - time.monotonic()))
        if child.exitcode is None:
            child.kill()
            child.join()
            stopped.append(i)
    codes = {i: child.exitcode for i, child in enumerate(children, start=1)}
    # a module that lost a neighbour, or had to be stopped, is not the one that failed first
    first = min(codes, key=lambda i: (i in stopped, codes[i] == 0, codes[i] == LOST))
    lost = [i for i, code in codes.items() if code == LOST and i != first]
    how = (
        f"was killed ({signal.Signals(-codes[first]).name})"
        if codes[first] < 0
        else f"failed: {_last_line(folder, first)}"
    )
    rest = "".join(f"; module {i} lost its neighbour and ended" for i in lost)
    rest += "".join(f"; module {i} had to be stopped" for i in stopped)
    return f"module {first} of {len(codes)} {how}{rest}"


def _last_line(folder: Path, i: int) -> str:
    lines = (folder / f"output{i - 1}").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _collected(job: Job, folder: Path) -> Report:
    found = [torch.load(folder / f"module{rank}.pt") for rank in range(job.net.modules)]
    params = {name: p for part, _, _ in found for name, p in part.items()}
    return Report(
        params, max(seconds for _, seconds, _ in found), tuple(trained for _, _, trained in found)
    )
