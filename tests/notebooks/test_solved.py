"""Every chapter with the solutions from its own pages put in: full points, nothing less."""

import pytest

from labsupport import runtime
from tests.notebooks import cells
from tools import execute

SECONDS = 120
HOME = str(runtime.home())
"""Where the book keeps its results; asked before any test has a folder of its own."""


@pytest.fixture(scope="session")
def solved(chapter, book, tmp_path_factory):
    """The solved chapter after a run as a grader runs it; built after the book, whose results it
    finds on disk.
    """
    notebook = cells.solved(cells.read(chapter))
    claims = tmp_path_factory.mktemp("claims")
    execute.run(
        notebook,
        chapter,
        claims,
        threads=1,
        seconds=SECONDS,
        settings={"NBGRADER_EXECUTION": "autograde", "LABSUPPORT_HOME": HOME},
    )
    return notebook


def test_a_solved_chapter_gets_full_points(solved):
    checks = [cell for cell in solved.cells if cells.is_check(cell)]
    assert checks
    for cell in checks:
        assert cells.result_of(cell), f"no points:\n{cell.source}\n{cells.text_of(cell)}"
        assert float(cells.result_of(cell)) == cells.grading(cell)["points"], cells.text_of(cell)
