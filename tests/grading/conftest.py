"""Two small exercises, so that the check is tested without the shelf: one value, and a pair of
values.
"""

import threading

import pytest
import torch
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, Misconception
from labsupport.grading.inputs import form, one_of, tensor

over = threading.Event()
"""What sleeps waits for it; it is set when the test is over."""


@pytest.fixture(autouse=True)
def nothing_sleeps_on():
    """End the threads that a check has left behind.

    Python 3.11 hangs in a profiler as long as a thread has an exception before it that it has not
    woken up for.
    """
    over.clear()
    before = set(threading.enumerate())
    yield
    over.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def scaled(x, *, by):
    """by times x, x untouched."""
    return by * x


def scaled_pair(x, *, by):
    return by * x, x + 1


@st.composite
def _inputs(draw):
    return {"x": tensor(draw, *form(draw)), "by": one_of(draw, 1.0, 2.0, -3.0)}


def forgot_to_scale(x, *, by):
    """You returned x itself: multiply it."""
    return x.clone()


def divided(x, *, by):
    """You divided: multiply."""
    return x / by


def lost_the_sign(x, *, by):
    """You dropped the sign of the factor."""
    return abs(by) * x


def _beside_a_sum(answer):
    return lambda x, *, by: (answer(x, by=by), x + 1)


def _exercise(reference, known, returns=()):
    return Exercise(
        id=f"sample.{reference.__name__}",
        title="Scale a tensor",
        reference=reference,
        inputs=_inputs(),
        points=2,
        section="Idea",
        returns=returns,
        alternatives=(reference,),
        misconceptions=tuple(Misconception(answer, "How it fails") for answer in known),
    )


SINGLE = _exercise(scaled, (forgot_to_scale, divided, lost_the_sign))
PAIR = _exercise(
    scaled_pair, map(_beside_a_sum, (forgot_to_scale, divided, lost_the_sign)), ("y", "z")
)


@pytest.fixture
def single():
    """Return ``by * x``."""
    return SINGLE


@pytest.fixture
def pair():
    """Return ``by * x`` and ``x + 1``, called y and z."""
    return PAIR


@pytest.fixture(autouse=True)
def world_as_before():
    """Whatever a student's code does in a test, torch's settings are as before it."""
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device()
    yield
    assert (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_default_device(),
    ) == before
