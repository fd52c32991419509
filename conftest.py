"""Fixtures for every test: the built book, and the chapters it is made of."""

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


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file run on one worker, as notebooks and module fixtures need it. A module whose
    tests share more by an argument than by the file names it: ``GROUPED_BY = "exercise"``.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        if item.nodeid.startswith("chapters/") or "book" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    items.sort(key=lambda item: (*(not item.nodeid.startswith(first) for first in FIRST),))


def _group(item: pytest.Item) -> str:
    file = item.nodeid.partition("::")[0]
    argument = getattr(getattr(item, "module", None), "GROUPED_BY", None)
    value = item.callspec.params.get(argument) if hasattr(item, "callspec") else None
    return file if value is None else f"{file}:{getattr(value, 'id', value)}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a ``chapter`` runs once for each."""
    if "chapter" in metafunc.fixturenames:
        chapters = sorted(layout.CHAPTERS.glob("*.ipynb"))
        metafunc.parametrize(
            "chapter", chapters, ids=[path.stem for path in chapters], scope="session"
        )
