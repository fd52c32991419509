"""Settings of the book: device, profile, threads, random generators, folder for results.

This is the one place that reads the book's settings:

=====================  ==================================================================
LABSUPPORT_DEVICE      cpu, cuda or cuda:N; default: cuda where there is one
LABSUPPORT_PROFILE     quick (two CPU cores, the default) or full (the size of the papers)
LABSUPPORT_HOME        folder for data, results and claims
LABSUPPORT_CLAIMS      folder for the claims' ledger alone (see claims.py)
LABSUPPORT_THREADS     workers that train side by side on a CPU; default: one a CPU allowed
=====================  ==================================================================
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from labsupport import machine

PROFILES = ("quick", "full")


def device() -> torch.device:
    """Return the device that everything is made on.

    Raises:
        ValueError: if LABSUPPORT_DEVICE is no device, or CUDA is asked for and not available.
    """
    name = os.environ.get("LABSUPPORT_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"LABSUPPORT_DEVICE is {name!r}; allowed are cpu, cuda and cuda:N")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"LABSUPPORT_DEVICE is {name!r}, but PyTorch {torch.__version__} sees no CUDA device"
        )
    return chosen


def profile() -> str:
    """Return the profile, quick or full.

    Raises:
        ValueError: if LABSUPPORT_PROFILE is neither.
    """
    name = os.environ.get("LABSUPPORT_PROFILE") or "quick"
    if name not in PROFILES:
        raise ValueError(f"LABSUPPORT_PROFILE is {name!r}; allowed are {' and '.join(PROFILES)}")
    return name


def mixed() -> bool:
    """Tell whether networks multiply in bfloat16: in the full profile, on CUDA."""
    return profile() == "full" and device().type == "cuda"


def autocast() -> contextlib.AbstractContextManager:
    """Compute forward passes in bfloat16 inside this context where ``mixed`` says so.

    Weights, gradients, norms and losses stay float32; float64 stays what it is.
    """
    return torch.autocast(device().type, torch.bfloat16) if mixed() else contextlib.nullcontext()


def synchronize() -> None:
    """Wait for what a GPU still computes, so that a clock shows what it took."""
    if device().type == "cuda":
        torch.cuda.synchronize()


def home() -> Path:
    """Return the folder for results.

    LABSUPPORT_HOME, else .labsupport of the checkout, else labsupport in the user's cache.
    """
    given = os.environ.get("LABSUPPORT_HOME")
    checkout = Path(__file__).resolve().parents[1]
    if given:
        return Path(given).expanduser()
    if (checkout / "_toc.yml").exists():
        return checkout / ".labsupport"
    return _cache() / "labsupport"


def _cache() -> Path:
    """Return the user's cache: XDG_CACHE_HOME, else .cache in the user's home.

    A user without a home, as in a container that is run under any number, has one among the
    temporary files. Source: XDG Base Directory Specification: a variable that is empty counts as
    not set, a path that is not absolute is ignored.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"


def workers() -> int:
    """Count the stacks that train side by side: one a CPU that may be used, one on a GPU.

    Raises:
        ValueError: if LABSUPPORT_THREADS is not a whole number of at least 1.
    """
    given = os.environ.get("LABSUPPORT_THREADS")
    if given and not (given.isdecimal() and int(given) > 0):
        raise ValueError(
            f"LABSUPPORT_THREADS is {given!r}; it must be a whole number of at least 1"
        )
    if device().type != "cpu":
        return 1
    return int(given) if given else min(torch.get_num_threads(), machine.cpus())


def generator(seed: int, stream: str) -> torch.Generator:
    """Make a CPU generator that depends on (seed, stream) and on nothing else.

    It is for what is drawn once, or once an epoch: a run's weights, the order of its samples. What
    every step draws comes from ``streams``.

    Args:
        seed: the run's seed, a whole number.
        stream: what the draws are for: "init", "order".
    """
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one core inside: for small operations, threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
