"""The CPUs that this process may use, and processes that end with their parent.

It imports no torch, so that the programs that only start others are quick.
"""

import contextlib
import ctypes
import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""The request to Linux's prctl: send me this signal when my parent ends."""
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def cpus() -> int:
    """Count the CPUs that this process may use, at least 1.

    Those it is bound to (``taskset``, a batch system), and no more than the quota of a container
    pays for, rounded up.
    """
    # macOS and Windows bind no process
    bound = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, math.ceil(min([bound, *_quotas()])))


def _quotas() -> Iterator[float]:
    """List the CPU quotas of the control groups around this process that have one."""
    with contextlib.suppress(OSError, ValueError):
        for line in OWN_CGROUPS.read_text().splitlines():
            number, kinds, path = line.split(":", 2)
            # version 2 has one tree, without a number; version 1 has one for the kind "cpu"
            tree = CGROUPS if number == "0" else CGROUPS / "cpu"
            if number == "0" or "cpu" in kinds.split(","):
                folder = tree / path.lstrip("/")
                yield from map(_quota, (folder, *(p for p in folder.parents if tree in p.parents)))
                # in a container the path may be the host's, and the tree's root is the container
                yield _quota(tree)


def _quota(folder: Path) -> float:
    """Read a control group's quota in CPUs; infinite where nothing limits it."""
    with contextlib.suppress(OSError, ValueError):
        share, period = (folder / "cpu.max").read_text().split()
        return int(share) / int(period)
    with contextlib.suppress(OSError, ValueError):
        microseconds = int((folder / "cpu.cfs_quota_us").read_text())
        of = int((folder / "cpu.cfs_period_us").read_text())
        return microseconds / of if microseconds > 0 else math.inf
    return math.inf


def end_with_parent(parent: int, by: int = signal.SIGKILL) -> None:
    """Let the system end this process when its parent ends, however that ends. Linux only.

    Args:
        parent: process id of the parent; if it is gone already, this process ends now.
        by: the signal that ends it.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
    if sys.platform == "linux" and os.getppid() != parent:
        os.kill(os.getpid(), by)
