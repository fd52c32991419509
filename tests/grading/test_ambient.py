"""What a notebook has set reaches no part of a check; what an answer sets does not outlive it."""

import contextlib
import cProfile
import dataclasses
import decimal
import sys
import warnings

import numpy
import pytest
import torch

from labsupport.grading.check import judge


@contextlib.contextmanager
def written(write, value, before):
    write(value)
    try:
        yield
    finally:
        write(before)


@contextlib.contextmanager
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def tracer(frame, event, argument):
    return None


CHANGES = {
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "float64 by default": lambda: written(torch.set_default_dtype, torch.float64, torch.float32),
    "another default device": lambda: written(torch.set_default_device, "meta", None),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "deterministic algorithms": lambda: written(torch.set_deterministic_debug_mode, 2, 0),
    "autocast": lambda: torch.autocast("cpu"),
    "coarse matrix products": lambda: written(
        torch.set_float32_matmul_precision, "medium", "highest"
    ),
    "NumPy raises": lambda: numpy.errstate(all="raise"),
    "warnings are errors": warnings_as_errors,
    "little recursion": lambda: written(
        sys.setrecursionlimit, depth() + 100, sys.getrecursionlimit()
    ),
    "decimals of two digits": lambda: decimal.localcontext(prec=2),
    "a tracer": lambda: written(sys.settrace, tracer, sys.gettrace()),
    "a profiler": lambda: written(sys.setprofile, tracer, sys.getprofile()),
    "a profiler written in C": cProfile.Profile,
}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


def depth():
    frame, count = sys._getframe(), 0
    while frame:
        frame, count = frame.f_back, count + 1
    return count


def settings():
    """Everything that :data:`CHANGES` changes, as plain values."""
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "anomaly": torch.is_anomaly_enabled(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "products": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "numpy": numpy.geterr(),
        "errors": [kind for kind, *_ in warnings.filters[:1]] == ["error"],
        "recursion": sys.getrecursionlimit(),
        "decimals": decimal.getcontext().prec,
        "tracer": sys.gettrace(),
        "profiler": sys.getprofile(),
    }


FRESH = {
    "gradients": True,
    "inference": False,
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "anomaly": False,
    "deterministic": 0,
    "autocast": False,
    "products": "highest",
    "numpy": {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
    "errors": False,
    "decimals": 28,
    "tracer": None,
    "profiler": None,
}


def noting(seen, function):
    """The function, which notes in which settings it is called."""

    def noted(*args, **kwargs):
        here = settings()
        here["room"] = sys.getrecursionlimit() - depth() > 500
        seen.append(here)
        return function(*args, **kwargs)

    return noted


def scaled(x, *, by):
    return by * x


@every_change
def test_what_a_notebook_has_set_reaches_neither_inputs_nor_reference_nor_answer(single, change):
    inputs, reference, answer = [], [], []
    exercise = dataclasses.replace(
        single,
        inputs=single.inputs.map(noting(inputs, lambda drawn: drawn)),
        reference=lambda x, *, by: noting(reference, scaled)(x, by=by),
    )
    with change():
        before = settings()
        outcome = judge(exercise, lambda x, *, by: noting(answer, scaled)(x, by=by))
        after = settings()
    assert outcome.status == "correct", outcome
    assert after == before
    for seen in (inputs, reference, answer):
        assert seen and all(here["room"] for here in seen)
        assert all({name: here[name] for name in FRESH} == FRESH for here in seen)


@every_change
def test_what_an_answer_sets_is_gone_after_each_call(single, change):
    seen, kept = [], []

    def meddling(x, *, by):
        value = by * x
        kept.append(change())
        kept[-1].__enter__()
        return value

    before = settings()
    outcome = judge(single, lambda x, *, by: noting(seen, meddling)(x, by=by))
    assert settings() == before
    assert outcome.status == "correct", outcome
    assert all({name: here[name] for name in FRESH} == FRESH for here in seen)
    kept.reverse()
    with contextlib.suppress(Exception):
        for context in kept:
            context.__exit__(None, None, None)


def test_the_number_of_threads_that_an_answer_sets_is_put_back(single):
    def scaled(x, *, by):
        torch.set_num_threads(before + 1)
        return by * x

    before = torch.get_num_threads()
    assert judge(single, scaled).status == "correct"
    assert torch.get_num_threads() == before


def test_a_check_inside_a_device_block_is_not_of_that_device(single):
    with torch.device("meta"):
        assert judge(single, scaled).status == "correct"
        assert torch.get_default_device() == torch.device("meta")


def test_gradients_are_recorded_in_an_answer_that_needs_them(single):
    def through_autograd(x, *, by):
        w = x.clone().requires_grad_()
        (by * w * x).sum().backward()
        return w.grad

    with torch.no_grad():
        assert judge(single, through_autograd).status == "correct"
