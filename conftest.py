"""Fixtures for every test: the built book, and the chapters it is made of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import kernels, layout


@pytest.fixture(scope="session")
def book() -> Path:
    """The built HTML; built now if anything in it has changed."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.book"],
        cwd=layout.ROOT,
        env=kernels.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return layout.HTML


FIRST = ("chapters/", "tests/exercises/", "tests/book/", "tests/notebooks/", "tests/grading/")
"""What takes longest: two workers that start with it end at the same time."""
SLOW = (
    "chapters/",
    "tests/book/test_book.py",
    "tests/book/test_execute.py",
    "tests/book/test_keys.py::test_an_executed_chapter",
    "tests/exercises/test_shelf.py",
    "tests/grading/test_survival.py::test_on_a_machine_that_is_too_busy",
    "tests/grading/test_survival.py::test_the_real_limit",
    "tests/notebooks/test_solved.py::test_a_solved",
    "tests/test_benchmarks.py",
    "tests/test_datasets.py::test_damaged_data",
    "tests/test_datasets.py::test_making_data",
    "tests/test_datasets.py::test_two_threads",
    "tests/test_explore.py",
    "tests/test_package.py",
    "tests/test_study.py::test_what_a_cell_defines_anew",
    "tests/topics/local_learning/test_parallel.py",
)
"""What make check leaves out, beside all that needs the built book."""
SHARED = {
    "tests/book/test_browser.py": r"\[(.+?)(?:-light|-dark)?\]$",
    "tests/exercises/test_shelf.py": r"\[([\w.]+)",
}
"""Files whose tests need only share a worker with those of the same page, or the same exercise."""


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.nodeid.startswith(SLOW) or "book" in getattr(item, "fixturenames", ()):
        item.add_marker("slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=lambda item: (*(not item.nodeid.startswith(first) for first in FIRST),))


def group(nodeid: str) -> str:
    """Which tests run on one worker: those of a file, or of what they share within it."""
    file, _, test = nodeid.partition("::")
    shared = re.search(SHARED[file], test) if file in SHARED else None
    return f"{file}:{shared[1]}" if shared else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Deal out groups of tests to the workers, in the order in which they were collected."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(
            self, nodeid: str
        ) -> str:  # the method that xdist's own schedulers differ in
            return group(nodeid)

    return ByGroup(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a ``chapter`` runs once for each."""
    if "chapter" in metafunc.fixturenames:
        chapters = sorted(layout.CHAPTERS.glob("*.ipynb"))
        metafunc.parametrize(
            "chapter", chapters, ids=[path.stem for path in chapters], scope="session"
        )
