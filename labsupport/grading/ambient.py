"""Put torch's, NumPy's and Python's settings as in a fresh session, and back afterwards.

A notebook may have changed them before a check, and an answer may change them: neither reaches the
judge, and what was there before is there after.
"""

import contextlib
import decimal
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import torch

_FREE_FRAMES = 1000  # room for recursion, as in a fresh session
_AS_IT_IS = object()


def _anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _set_profiler(profiler: Any) -> None:
    """Put a profiler back; one written in C, as cProfile is, is switched on by itself."""
    if profiler is None or callable(profiler):
        sys.setprofile(profiler)
    else:
        profiler.enable()


_NUMPY = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}

# How to read it, how to write it, what a fresh session has.
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], Any], Any], ...] = (
    (sys.gettrace, sys.settrace, None),
    (sys.getprofile, _set_profiler, None),
    (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    (torch.is_grad_enabled, torch.set_grad_enabled, True),
    (_anomaly, lambda both: torch.autograd.set_detect_anomaly(*both), (False, True)),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
        False,
    ),
    (torch.get_num_threads, torch.set_num_threads, _AS_IT_IS),
    (np.geterr, lambda how: np.seterr(**how), _NUMPY),
    (lambda: decimal.getcontext().copy(), decimal.setcontext, decimal.DefaultContext),
)


@contextlib.contextmanager
def standard_settings() -> Iterator[None]:
    """Run under the settings of a fresh session, quietly, and put back what was there."""
    with contextlib.ExitStack() as stack:
        stack.callback(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(_depth() + _FREE_FRAMES)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.inference_mode(False))  # its end puts the old mode back
        stack.enter_context(_device_cpu())
        before = [read() for read, _, _ in _SETTINGS]
        stack.callback(_write, before)
        _write([standard for _, _, standard in _SETTINGS])
        yield


@contextlib.contextmanager
def kept_randomness() -> Iterator[None]:
    """Put the global random generators back where they were."""
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        torch.set_rng_state(states[1])
        np.random.set_state(states[2])


def _write(values: list[Any]) -> None:
    for (read, write, _), value in zip(_SETTINGS, values, strict=True):
        if value is not _AS_IT_IS and read() != value:
            write(value)


@contextlib.contextmanager
def _device_cpu() -> Iterator[None]:
    """Make new tensors on the CPU, also inside ``with torch.device(...)``."""
    before = torch.get_default_device()
    with contextlib.ExitStack() as stack:
        if before.type != "cpu":
            torch.set_default_device(None)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        try:
            yield
        finally:
            if torch.get_default_device().type != "cpu":
                torch.set_default_device(None)
    if torch.get_default_device() != before:
        torch.set_default_device(before)


def _depth() -> int:
    depth = 0
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth
