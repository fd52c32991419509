"""Whatever an answer is or does, the check comes back with a plain word for it, and nothing on
stderr.
"""

import asyncio
import dataclasses
import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy
import pytest
import torch

import labsupport
from labsupport.grading import battery, check, sandbox
from labsupport.grading.check import judge
from labsupport.grading.clock import Clock
from tests.grading.conftest import SINGLE, over

ROOT = os.path.dirname(os.path.dirname(labsupport.__file__))


class AlwaysEqual:
    def __eq__(self, other):
        return True

    def __getattr__(self, name):
        return AlwaysEqual()

    __hash__ = None


class FlatteringTensor(torch.Tensor):
    """A tensor that says of every comparison that it holds."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True


class RudeError(Exception):
    def __str__(self):
        raise RuntimeError("no message for you")


def decorated(x, by):
    """Set on an ordinary tensor, a method of its own must not be asked."""
    y = torch.zeros_like(x) - 9
    y.detach = y.cpu = y.tolist = lambda: by * x
    return y


def in_place(x, *, by):
    x *= by
    return x


def in_place_and_wrong(x, *, by):
    x += by
    return x


def two_steps_deep(x, *, by):
    def helper(y):
        return y / 0 if isinstance(y, int) else helper(0)

    return helper(x)


def without_end(x, *, by):
    return without_end(x, by=by)


def printing_without_end(x, *, by):
    while True:
        print("again")


def printing_on(x, *, by):
    while True:
        try:
            print("again")
        except:  # noqa: E722
            pass


def with_yield(x, *, by):
    yield by * x


async def with_async(x, *, by):
    return by * x


def leaving(x, *, by):
    sys.exit(0)


def raising(error):
    def scaled(x, *, by):
        raise error

    return scaled


def counting():
    calls = []

    def scaled(x, *, by):
        calls.append(1)
        return by * x + (len(calls) > 50)

    return scaled


WRONG = {
    "a number": (3.0, "not a function"),
    "None": (None, "None, which is not a function"),
    "a string": ("scaled", "a string"),
    "the result of a call": (torch.zeros(2), "without calling it"),
    "a class": (AlwaysEqual, "a class"),
    "a missing argument": (lambda x: x, "does not take by"),
    "another name": (lambda y, *, by: y, "does not take x and needs y"),
    "None returned": (lambda x, *, by: None, "forget the return"),
    "a number returned": (lambda x, *, by: 3.0, "a number where a tensor"),
    "a NumPy array": (lambda x, *, by: numpy.asarray(x) * by, "NumPy array where a tensor"),
    "a list": (lambda x, *, by: (by * x).tolist(), "a list where a tensor"),
    "a tuple": (lambda x, *, by: (by * x,), "a tuple where a tensor"),
    "always equal": (lambda x, *, by: AlwaysEqual(), "AlwaysEqual"),
    "a flattering tensor": (
        lambda x, *, by: x.as_subclass(FlatteringTensor),
        "special kind of tensor",
    ),
    "methods of its own": (decorated, "wrong numbers"),
    "another shape": (lambda x, *, by: (by * x)[None], "shape (1, 1)"),
    "summed up": (lambda x, *, by: (by * x).sum(), "shape ()"),
    "a complex dtype": (lambda x, *, by: (by * x) + 0j, "dtype torch.complex64"),
    "another device": (lambda x, *, by: (by * x).to("meta"), "device meta"),
    "a sparse tensor": (lambda x, *, by: (by * x).to_sparse(), "not a dense"),
    "NaN": (lambda x, *, by: by * x / torch.zeros_like(x), "NaN"),
    "an infinity": (lambda x, *, by: by * x + float("inf"), "infinity"),
    "inputs changed": (in_place, "changes its argument x in place"),
    "inputs changed, and wrong": (in_place_and_wrong, "also changes its argument x"),
    "a division by zero": (two_steps_deep, "ZeroDivisionError"),
    "a message that raises": (raising(RudeError()), "RudeError"),
    "recursion": (without_end, "calls itself without end"),
    "out of memory": (raising(MemoryError()), "memory"),
    "sys.exit": (leaving, "sys.exit"),
    "SystemExit": (raising(SystemExit("bye")), "sys.exit"),
    "KeyboardInterrupt": (raising(KeyboardInterrupt()), "raises KeyboardInterrupt itself"),
    "a bare BaseException": (raising(BaseException("base")), "BaseException: base"),
    "a generator": (with_yield, "yield"),
    "a coroutine": (with_async, "async"),
    "a flood of output": (printing_without_end, "printed without end"),
    "random numbers": (
        lambda x, *, by: by * x + torch.rand_like(x),
        "different answers to the same input",
    ),
    "a count of the calls": (counting(), "different answers to the same input"),
}


@pytest.mark.parametrize("answer, word", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_is_told_plainly_what_is_wrong(single, capfd, answer, word):
    outcome = judge(single, answer)
    assert outcome.status == "incorrect" and outcome.points == 0.0
    assert word in outcome.message
    assert outcome.reason != "internal"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "answer, word",
    [
        (lambda x, *, by: by * x, "a tensor where 2 values (y, z)"),
        (lambda x, *, by: (by * x,), "length 1"),
        (lambda x, *, by: (by * x, x + 1, x), "length 3"),
        (lambda x, *, by: (by * x, None), "z is None"),
        (lambda x, *, by: (x + 1, by * x), "y and z have the right shapes, but wrong numbers"),
    ],
)
def test_a_wrong_tuple_is_told_plainly_what_is_wrong(pair, answer, word):
    outcome = judge(pair, answer)
    assert outcome.status == "incorrect" and outcome.reason != "internal"
    assert word in outcome.message


def test_a_list_will_do_for_a_tuple(pair):
    assert judge(pair, lambda x, *, by: [by * x, x + 1]).status == "correct"


def test_an_input_returned_as_it_is_will_do_where_it_is_right(single):
    assert judge(single, lambda x, *, by: x if by == 1 else by * x).status == "correct"


def test_an_exception_shows_the_students_own_lines_and_no_others(single):
    def scaled(x, *, by):
        return torch.nn.functional.linear(x, "weights")

    outcome = judge(single, scaled)
    assert "TypeError" in outcome.message
    assert len(outcome.lines) == 1 and "functional.linear(x" in outcome.lines[0]
    assert not outcome.printed
    deep = judge(single, two_steps_deep).lines
    assert [line.split(":  ")[1] for line in deep] == [
        "return helper(x)",
        *["return y / 0 if isinstance(y, int) else helper(0)"] * 2,
    ]
    assert not any(os.sep in line.split(":  ")[0] for line in deep)


def looping(x, *, by):
    while True:
        pass


def looping_deaf(x, *, by):
    while True:
        try:
            pass
        except:  # noqa: E722
            pass


def sleeping(x, *, by):
    over.wait()


def sleeping_deaf(x, *, by):
    while not over.is_set():
        try:
            over.wait()
        except BaseException:
            pass


def looping_for_some(x, *, by):
    while by < 0:
        pass
    return by * x


class LoopsInItsDestructor:
    def __del__(self):
        while True:
            pass


def looping_in_a_destructor(x, *, by):
    while True:
        LoopsInItsDestructor()


COMPUTING = (looping, looping_deaf, looping_for_some, looping_in_a_destructor, printing_on)


@pytest.mark.parametrize("answer", COMPUTING)
def test_a_loop_without_end_is_stopped(single, answer):
    outcome = judge(single, answer, seconds=0.3, passing=600.0)
    assert outcome.status == "incorrect" and outcome.reason in ("timeout", "flood")
    assert "endless loop" in outcome.message
    assert "clock" not in repr(outcome) and "OutOfTime" not in repr(outcome)


@pytest.mark.parametrize("answer", [sleeping, sleeping_deaf])
def test_an_answer_that_sleeps_is_told_how_long_it_took_and_how_little_it_computed(single, answer):
    outcome = judge(single, answer, passing=1.0)
    assert (outcome.status, outcome.reason) == ("incorrect", "timeout")
    assert re.search(r"not ended after 1 s, of which it computed 0\.\d+ s", outcome.message)
    assert "endless" not in outcome.message


@pytest.mark.parametrize("answer", [looping, sleeping, sleeping_deaf])
def test_a_loop_without_end_is_stopped_on_another_thread_too(single, answer):
    outcomes = []
    worker = threading.Thread(
        target=lambda: outcomes.append(judge(single, answer, seconds=0.3, passing=3.0)), daemon=True
    )
    worker.start()
    worker.join(60)
    assert outcomes and outcomes[0].reason in ("timeout", "starved")


def test_a_right_answer_is_right_on_another_thread_too(single):
    outcomes = []
    worker = threading.Thread(
        target=lambda: outcomes.append(judge(single, lambda x, *, by: by * x))
    )
    worker.start()
    worker.join(30)
    assert outcomes[0].status == "correct"


def test_the_real_limit_is_ten_seconds_of_computing(single):
    outcome = judge(single, looping, passing=600.0)
    assert "computing for 10 s" in outcome.message


def test_a_slow_answer_is_stopped_in_all_and_told_how_slow_it_is(single):
    def scaled(x, *, by):
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        return by * x

    outcome = judge(single, scaled, seconds=0.5, passing=600.0)
    assert outcome.reason == "timeout" and "s each on average" in outcome.message


STARVED = """
import os, signal, sys
from tests.grading.conftest import SINGLE
from labsupport.grading.battery import behaviours
from labsupport.grading.check import judge

def scaled(x, *, by):
    while True:
        pass

behaviours(SINGLE)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
parent, others = os.getpid(), []
for _ in range(4):
    other = os.fork()
    if other == 0:
        while os.getppid() == parent:
            pass
        os._exit(0)
    others.append(other)
os.nice(19)
outcome = judge(SINGLE, scaled, seconds=5.0, passing=2.0)
for other in others:
    os.kill(other, signal.SIGKILL)
print(outcome.status, outcome.points, outcome.reason, outcome.message)
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="a process has no processor of its own"
)
def test_on_a_machine_that_is_too_busy_an_answer_is_not_judged():
    done = _python(STARVED)
    assert done.stdout.startswith("not judged 0.0 starved"), done.stdout + done.stderr
    assert "too busy" in done.stdout and "Run this cell again" in done.stdout


def _python(program, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ROOT, **environment},
    )


def test_memory_that_the_machine_lacks_is_not_the_answers_fault(single, monkeypatch):
    monkeypatch.setattr(sandbox, "_memory_is_short", lambda: True)
    outcome = judge(single, raising(MemoryError()))
    assert (outcome.status, outcome.points, outcome.reason) == ("not judged", 0.0, "memory")
    assert "restart the kernel" in outcome.message


@pytest.mark.parametrize("ask", [torch.zeros, numpy.zeros, lambda n: b"0" * n])
def test_memory_that_no_machine_has_is_the_answers_fault(single, ask):
    outcome = judge(single, lambda x, *, by: ask(10**17))
    assert (outcome.status, outcome.reason) == ("incorrect", "error")


def test_a_check_that_fails_itself_does_not_judge(single):
    def broken(x, *, by):
        raise RuntimeError("the reference is broken")

    outcome = judge(dataclasses.replace(single, reference=broken), lambda x, *, by: by * x)
    assert (outcome.status, outcome.points, outcome.reason) == ("not judged", 0.0, "internal")
    assert "not your fault" in outcome.message


def test_a_check_that_the_user_interrupts_does_not_judge(single):
    def scaled(x, *, by):
        signal.raise_signal(signal.SIGINT)
        return by * x

    outcome = judge(single, scaled)
    assert (outcome.status, outcome.reason) == ("not judged", "interrupt")


def test_a_repeat_that_runs_out_of_time_is_no_evidence_of_randomness(single):
    seen = battery.battery(single)[0]
    findings = [battery.probe(single, lambda x, *, by: x, seen, Clock(10.0, 600.0))]
    spent = Clock(0.0, 600.0)
    assert not check._answers_vary(single, lambda x, *, by: x, spent, findings[0])


def test_the_world_is_put_back(single):
    def meddling(x, *, by):
        torch.manual_seed(0)
        random.seed(0)
        numpy.random.seed(0)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_default_device("meta")
        sys.setrecursionlimit(5000)
        warnings.simplefilter("error")
        sys.stdout = sys.stderr = None
        return x * by

    before = (
        torch.get_rng_state().tolist(),
        random.getstate(),
        numpy.random.get_state()[1].tolist(),
        sys.getrecursionlimit(),
        list(warnings.filters),
        sys.stdout,
        sys.stderr,
    )
    outcome = judge(single, meddling)
    after = (
        torch.get_rng_state().tolist(),
        random.getstate(),
        numpy.random.get_state()[1].tolist(),
        sys.getrecursionlimit(),
        list(warnings.filters),
        sys.stdout,
        sys.stderr,
    )
    assert after == before and torch.get_default_dtype() is torch.float32
    assert outcome.status == "correct"


def test_a_warning_is_shown_without_the_lines_of_the_check(single):
    def scaled(x, *, by):
        warnings.warn("old", stacklevel=2)
        warnings.warn("older", stacklevel=1)
        return by * x

    printed = judge(single, scaled).printed
    assert re.fullmatch(r"UserWarning: old\nUserWarning \(line \d+\): older\n", printed)


class FailsToGo:
    def __del__(self):
        raise ValueError("cannot go")


def test_an_exception_in_a_destructor_is_shown_by_the_students_own_lines(single):
    def scaled(x, *, by):
        FailsToGo()
        return by * x

    printed = judge(single, scaled).printed
    assert printed.startswith("Exception ignored: ValueError: cannot go\n  line ")
    assert "labsupport" not in printed and "Traceback" not in printed


def test_an_exception_in_a_callback_shows_the_students_own_lines_and_no_others(single):
    def scaled(x, *, by):
        w = x.clone().requires_grad_()
        w.register_hook(lambda gradient: gradient + "text")
        w.sum().backward()
        return by * x

    outcome = judge(single, scaled)
    assert outcome.reason == "error"
    assert [line.split(":  ")[1] for line in outcome.lines] == [
        "w.sum().backward()",
        'w.register_hook(lambda gradient: gradient + "text")',
    ]


def test_a_callback_of_the_garbage_collector_leaves_no_lines(single, capfd):
    def scaled(x, *, by):
        while True:
            gc.collect()

    outcome = judge(single, scaled, seconds=0.3, passing=600.0)
    assert outcome.reason == "timeout" and outcome.printed == ""
    assert capfd.readouterr() == ("", "")


NOISY = """
import sys, warnings
from labsupport.exercises import check

def sgd_step(w, g, *, lr, weight_decay):
    warnings.warn("old")
    print("noise", file=sys.stderr)
    return w - lr * g - lr * weight_decay * w

outcome = check("weight_decay.sgd_step", sgd_step)
assert "noise" in outcome.printed
print(repr(outcome))
"""


def test_warnings_and_writes_to_stderr_do_not_reach_a_grader_that_would_score_them_zero(tmp_path):
    done = _python(NOISY, cwd=tmp_path, NBGRADER_EXECUTION="autograde")
    assert (done.stdout.strip(), done.stderr) == ("2.0", "")
    assert list(tmp_path.iterdir()) == []


def test_a_check_inside_a_running_event_loop_works(single):
    async def cell():
        return judge(single, lambda x, *, by: by * x)

    assert asyncio.run(cell()).status == "correct"


def test_a_check_leaves_no_files_beside_the_notebook(single, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judge(single, lambda x, *, by: x)
    assert list(tmp_path.iterdir()) == []


ELSEWHERE = """
import module_of_the_student
from tests.grading.conftest import SINGLE
from labsupport.grading.battery import battery
print(battery(SINGLE))
"""


def test_the_inputs_do_not_depend_on_the_folder_of_the_notebook(tmp_path):
    module = tmp_path / "module_of_the_student.py"
    module.write_text("NUMBERS = [123456, 1.25, 'a text']\n" * 100)
    path = f"{ROOT}{os.pathsep}{tmp_path}"
    drawn = _python(ELSEWHERE, cwd=tmp_path, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
    assert drawn.stdout.strip() == str(battery.battery(SINGLE)), drawn.stderr
    assert list(tmp_path.iterdir()) == [module]


def test_arguments_in_another_order_are_refused(single):
    def by_position(x, by):
        return by * x

    exercise = dataclasses.replace(single, reference=by_position)
    assert judge(exercise, by_position).status == "correct"
    outcome = judge(exercise, lambda by, x: by * x)
    assert outcome.status == "incorrect" and "another order" in outcome.message
