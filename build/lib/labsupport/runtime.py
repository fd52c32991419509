"""Where and how things run: the device, the profile, the threads, one random generator a run, the
disk.

This is the one place that asks the machine or the environment anything:

=====================  ==================================================================
LABSUPPORT_DEVICE      cpu, cuda or cuda:N; default: cuda where there is one
LABSUPPORT_PROFILE     quick (two CPU cores, the default) or full (the size of the papers)
LABSUPPORT_HOME        folder for data, results and claims
LABSUPPORT_CLAIMS      folder for the claims' ledger alone (see claims.py)
LABSUPPORT_THREADS     workers that train side by side on a CPU; default: one a core
=====================  ==================================================================
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

PROFILES = ("quick", "full")


def device() -> torch.device:
    """The device that everything is made on.

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
    """quick or full.

    Raises:
        ValueError: if LABSUPPORT_PROFILE is neither.
    """
    name = os.environ.get("LABSUPPORT_PROFILE") or "quick"
    if name not in PROFILES:
        raise ValueError(f"LABSUPPORT_PROFILE is {name!r}; allowed are {' and '.join(PROFILES)}")
    return name


def mixed() -> bool:
    """Whether networks multiply in bfloat16: in the full profile, on CUDA."""
    return profile() == "full" and device().type == "cuda"


def autocast() -> contextlib.AbstractContextManager:
    """Forward passes of training and evaluation run in here: products in bfloat16 where ``mixed``
    says so.

    Weights, gradients, norms and losses stay float32; float64 stays what it is.
    """
    return torch.autocast(device().type, torch.bfloat16) if mixed() else contextlib.nullcontext()


def home() -> Path:
    """The folder for results: LABSUPPORT_HOME, else .labsupport of the checkout, else the user's
    cache.
    """
    given = os.environ.get("LABSUPPORT_HOME")
    checkout = Path(__file__).resolve().parents[1]
    if given:
        return Path(given).expanduser()
    if (checkout / "_toc.yml").exists():
        return checkout / ".labsupport"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "labsupport"


def workers() -> int:
    """How many stacks of runs train side by side: one a core on a CPU, one on a GPU.

    Raises:
        ValueError: if LABSUPPORT_THREADS is not a whole number of at least 1.
    """
    given = os.environ.get("LABSUPPORT_THREADS")
    if given and not (given.isdigit() and int(given) > 0):
        raise ValueError(
            f"LABSUPPORT_THREADS is {given!r}; it must be a whole number of at least 1"
        )
    if device().type != "cpu":
        return 1
    return int(given) if given else min(torch.get_num_threads(), os.cpu_count() or 1)


def generator(seed: int, stream: str) -> torch.Generator:
    """A CPU generator that depends on (seed, stream) and on nothing else.

    Each run draws its weights, its batches and its noise from streams of their own, so run 4 is the
    same run alone or among fifty, on every device, and a new kind of draw leaves the others as they
    were.

    Args:
        seed: the run's seed, a whole number.
        stream: what the draws are for: "init", "order", "noise", "augment", "mixup", "rule".
    """
    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def uniform(rngs: Sequence[torch.Generator], count: int, like: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1), (R, count); run r draws from rngs[r] alone.

    Raises:
        ValueError: if there are not as many generators as runs.
    """
    if len(rngs) != len(like):
        raise ValueError(
            f"each run draws from a generator of its own: there are {len(like)} runs and"
            f" {len(rngs)} rngs"
        )
    drawn = torch.empty(len(rngs), count)
    for row, rng in zip(drawn, rngs, strict=True):
        row.uniform_(0, 1, generator=rng)
    return drawn.to(like.device).to(like.dtype)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one core inside: for small operations, threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
