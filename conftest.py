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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a ``chapter`` runs once for each."""
    if "chapter" in metafunc.fixturenames:
        chapters = sorted(layout.CHAPTERS.glob("*.ipynb"))
        metafunc.parametrize(
            "chapter", chapters, ids=[path.stem for path in chapters], scope="session"
        )
