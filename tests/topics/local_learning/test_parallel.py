"""Modules in processes of their own: the same numbers, a clear end, and nobody left behind."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from labsupport import train
from labsupport.rules import SGD, Decoupled
from labsupport.topics.local_learning import parallel
from labsupport.topics.local_learning.processes import Job
from labsupport.types import Recipe

SMALL = dict(
    sizes=(40, 6, 5, 4, 10), steps=20, batch_size=10, train_size=100, dtype="float64", seconds=100.0
)


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name].cpu()) for name in one)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("buffer", [1, 3, 50])
def test_processes_compute_what_one_process_does_whatever_the_buffer(buffer):
    job = Job(buffer=buffer, **SMALL)
    report, alone = parallel.run(job), parallel.in_one_process(job)
    assert same(report.params, alone.params)
    assert report.trained == alone.trained == (20, 20, 20)


@pytest.mark.parametrize("buffer", [1, 3])
def test_processes_with_full_buffers_are_as_stale_as_the_rule_says(buffer):
    job = Job(buffer=buffer, full=True, **SMALL)
    report = parallel.run(job)
    recipe = Recipe(
        job.net,
        SGD(lr=job.lr, gradient=Decoupled(buffer)),
        train_size=100,
        batch_size=10,
        epochs=2,
        dtype="float64",
    )
    *_, last = train.iterate_steps([recipe], [job.seed])
    assert same(report.params, dict(last.params))
    assert report.trained == (20, 20 - (buffer - 1), 20 - 2 * (buffer - 1))


@pytest.mark.parametrize("victim", [1, 3])
def test_when_a_process_is_killed_the_error_names_it_and_all_are_gone(victim):
    pids, start = [], time.monotonic()
    with pytest.raises(
        RuntimeError,
        match=rf"module {victim} of 3 was killed \(SIGKILL\); module \d lost its neighbour",
    ):
        parallel.run(Job(**SMALL | {"steps": 10**7}), kill=victim, begun=pids.extend)
    assert time.monotonic() - start < 60
    assert len(pids) == 3 and all(gone(pid) for pid in pids)


@pytest.mark.skipif(
    sys.platform != "linux", reason="a process can ask to go with its parent on Linux alone"
)
@pytest.mark.parametrize("seconds", [0, 3])
def test_modules_go_with_the_process_that_began_them(seconds):
    """Killed at once, when some module may not have begun, and in the middle of the training."""
    began = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in began.stdout.readline().split()]
    time.sleep(seconds)
    began.kill()
    began.communicate()
    deadline = time.monotonic() + 60
    while running(pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(pids) == 3 and running(pids) == []


PARENT = """
from labsupport.toys import local_learning_parallel as parallel
from labsupport.topics.local_learning.processes import Job
parallel.run(Job(steps=10**7), begun=lambda pids: print(*pids, flush=True))
"""


def running(pids):
    """Those that have not ended; an orphan that nobody has collected yet has."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            found += [pid] * (state != "Z")
    return found


def test_time_that_is_up_ends_all():
    pids = []
    with pytest.raises(RuntimeError, match=r"the time is up: after 2 s module 1, 2, 3 of 3"):
        parallel.run(Job(**SMALL | {"steps": 10**7, "seconds": 2.0}), begun=pids.extend)
    assert len(pids) == 3 and all(gone(pid) for pid in pids)


def test_a_module_that_fails_is_named_with_its_last_words():
    with pytest.raises(RuntimeError, match=r"module 1 of 3 failed: .*train_size 7"):
        parallel.run(Job(**SMALL | {"train_size": 7}))


@pytest.mark.parametrize("field, value", [("buffer", 0), ("steps", 0), ("seconds", 0.0)])
def test_a_bad_job_is_named(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        Job(**{field: value})


def test_a_module_that_is_not_there_cannot_be_killed():
    with pytest.raises(ValueError, match="kill is 4; there are modules 1 to 3"):
        parallel.run(Job(**SMALL), kill=4)


def test_torchrun_starts_the_same_modules(tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "3",
        "--master-port",
        "0",
        "--standalone",
        "-m",
        "labsupport.topics.local_learning.processes",
        "--folder",
        str(tmp_path),
        "--job",
        (
            '{"sizes": [40, 6, 5, 4, 10], "steps": 20, "batch_size": 10, "train_size": 100,'
            ' "dtype": "float64"}'
        ),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    found = [torch.load(tmp_path / f"module{rank}.pt")[0] for rank in range(3)]
    assert same(
        {name: p for part in found for name, p in part.items()},
        parallel.in_one_process(Job(**SMALL)).params,
    )


def test_a_module_started_without_the_others_says_how_to_start_them(tmp_path):
    settings = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    command = [
        sys.executable,
        "-m",
        "labsupport.topics.local_learning.processes",
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=settings)
    assert (
        done.returncode == 2
        and "1 processes for 3 modules" in done.stderr
        and "torchrun --nproc-per-node 3" in done.stderr
    )
