"""Every chapter with the solutions from its own pages put in: full points, nothing less.

That a whole chapter executes is shown by nbval and by the book. Here a chapter is its imports, its
stubs with their solutions, and its checks, as a grader runs them; all chapters share one kernel,
which forgets the names of one before the next.
"""

import ast
import itertools

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks import cells
from tools import execute, layout
from tools.kernels import AsyncOwnKernel

SECONDS = 120
FORGET = "%reset -f"


def imports(notebook):
    """The cells that open a chapter and do nothing but import."""
    kinds = (ast.Import, ast.ImportFrom)
    return list(
        itertools.takewhile(
            lambda cell: all(isinstance(node, kinds) for node in cells.tree(cell).body),
            cells.lesson_cells(notebook),
        )
    )


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A running kernel that believes to be a grader's."""
    client = NotebookClient(
        new_notebook(),
        timeout=SECONDS,
        startup_timeout=execute.START_SECONDS,
        kernel_manager_class=AsyncOwnKernel,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(layout.CHAPTERS)}},
    )
    environment = {
        "LABSUPPORT_CLAIMS": str(tmp_path_factory.mktemp("claims")),
        "OMP_NUM_THREADS": "1",
        "NBGRADER_EXECUTION": "autograde",
    }
    with client.setup_kernel(env=environment):
        yield client


def test_a_solved_chapter_gets_full_points(kernel, chapter):
    notebook = cells.solved(cells.read(chapter))
    graded = [cell for cell in notebook.cells if cells.is_stub(cell) or cells.is_check(cell)]
    kernel.nb = new_notebook(cells=[new_code_cell(FORGET), *imports(notebook), *graded])
    for i, cell in enumerate(kernel.nb.cells):
        kernel.execute_cell(cell, i)
    execute.refuse_stderr(kernel.nb, chapter)
    checks = [cell for cell in graded if cells.is_check(cell)]
    assert checks
    for cell in checks:
        assert cells.result_of(cell), f"no points:\n{cell.source}\n{cells.text_of(cell)}"
        assert float(cells.result_of(cell)) == cells.grading(cell)["points"], cells.text_of(cell)


def test_a_stub_and_its_solution_run_without_any_other_cell(chapter):
    """So that they can be lifted out and graded alone, in another process."""
    given, answered = cells.read(chapter), cells.solved(cells.read(chapter))
    for stub, answer in zip(given.cells, answered.cells, strict=True):
        if cells.is_stub(stub):
            for cell in (stub, answer):
                assert cells.missing_names(cell) == set(), cell.source
