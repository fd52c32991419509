"""A build that is ended leaves nothing running, however it was ended."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import book, layout

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

SLEEPS = """import os, pathlib, time
pathlib.Path(os.environ["STARTED"], str(os.getpid())).touch()
time.sleep(600)"""
DRIVER = """import sys
from pathlib import Path
from tools import book, layout
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    layout.BUILD, layout.EXECUTED = folder / "_build", folder / "_build" / "executed"
    chapters = sorted(folder.glob("*.ipynb"))
    book.build = lambda: book.run_chapters(chapters, {chapter: "key" for chapter in chapters})
    sys.exit(book.main())
"""


def variables(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


def left(mark: str) -> set[int]:
    """The processes that have inherited this mark in their environment."""
    pids = filter(str.isdigit, os.listdir("/proc"))
    return {int(pid) for pid in pids if mark.encode() in variables(pid)}


def until(holds, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def building(tmp_path):
    """A build of four notebooks that sleep, two of which are just being executed."""
    for name in "1234":
        cells = [new_code_cell(SLEEPS)]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"0{name}_sleep.ipynb")
    (tmp_path / "started").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "driver.py").write_text(DRIVER)
    settings = {
        "PYTHONPATH": str(layout.ROOT),
        "STARTED": str(tmp_path / "started"),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    process = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", tmp_path],
        env={k: v for k, v in os.environ.items() if k != "MAKELEVEL"} | settings,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    workers = min(book.AT_ONCE, book.machine.cpus())
    started = lambda: len(list((tmp_path / "started").iterdir()))  # noqa: E731
    try:
        until(lambda: started() == workers or process.poll() is not None, 240, "nothing started")
        assert process.poll() is None, process.stderr.read()
        yield process
        until(lambda: not left(f"STARTED={tmp_path}"), 10, "processes are left")
        assert started() == workers, "another chapter was begun"
    finally:
        for pid in left(f"STARTED={tmp_path}"):
            os.kill(pid, signal.SIGKILL)


def test_a_signal_ends_the_build_its_processes_and_their_kernels(building, tmp_path):
    building.terminate()
    assert building.wait(timeout=20) == 128 + signal.SIGTERM
    assert "Stopped by SIGTERM" in building.stderr.read()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupt_from_the_terminal_reaches_all_and_ends_all(building):
    os.killpg(building.pid, signal.SIGINT)
    assert building.wait(timeout=20) == 128 + signal.SIGINT


def test_what_a_killed_build_has_started_ends_by_itself(building, tmp_path, monkeypatch):
    building.kill()
    assert building.wait(timeout=20) == -signal.SIGKILL
    monkeypatch.setattr(layout, "EXECUTED", tmp_path / "_build" / "executed")
    assert len(list(layout.EXECUTED.iterdir())) > 0
    book.remove_leftovers()
    assert list(layout.EXECUTED.iterdir()) == []


def test_a_killed_process_ends_the_build_with_a_reason(building, tmp_path):
    (kernel, *_) = [int(path.name) for path in (tmp_path / "started").iterdir()]
    with open(f"/proc/{kernel}/stat") as stat:
        worker = int(stat.read().rsplit(")", 1)[1].split()[1])
    os.kill(worker, signal.SIGKILL)
    assert building.wait(timeout=20) == 1
    assert "was killed; perhaps memory ran out" in building.stderr.read()
