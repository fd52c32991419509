"""A chapter is executed whole or not at all, and a failure says where it was."""

import copy
import os
import tempfile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import execute


@pytest.fixture
def run(tmp_path):
    """Execute a notebook of these code cells into a folder; returns the folder."""

    def run_cells(*sources):
        chapter = tmp_path / "01_decay.ipynb"
        nbformat.write(
            new_notebook(cells=[new_markdown_cell("Words."), *map(new_code_cell, sources)]), chapter
        )
        execute.execute(chapter, tmp_path / "executed" / "01_decay", "key", threads=1)
        return tmp_path / "executed" / "01_decay"

    return run_cells


WRITES_A_CLAIM = """import os, pathlib
pathlib.Path(os.environ["LABSUPPORT_CLAIMS"], "decay.json").write_text("[]")"""


def test_notebook_claims_and_record_are_kept_together(run):
    folder = run(WRITES_A_CLAIM, "6 * 7")
    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "code"]
    assert notebook.cells[-1].outputs[0].data["text/plain"] == "42"
    assert (folder / "claims" / "decay.json").read_text() == "[]"
    record = execute.kept(folder, "key")
    assert record.seconds > 0 and record.peak_mb > 10


def test_a_kept_chapter_counts_under_its_own_key_only_and_only_whole(run):
    folder = run("1")
    assert execute.kept(folder, "another key") is None
    (folder / "record.json").write_text('{"key": "key"')
    assert execute.kept(folder, "key") is None
    (folder / "record.json").unlink()
    assert execute.kept(folder, "key") is None


def test_a_failure_names_the_cell_and_leaves_the_last_good_run_alone(run):
    folder = run("'good'")
    with pytest.raises(
        execute.ChapterFailed, match=r"01_decay.ipynb, cell 3 of 4:(?s:.*)ZeroDivisionError"
    ):
        run("1", "1 / 0", "2")
    assert "good" in (folder / "notebook.ipynb").read_text()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.skipif(os.name != "posix", reason="there are no Unix sockets")
def test_a_kernel_needs_no_port_and_leaves_no_socket(run, monkeypatch, tmp_path_factory):
    sockets = tmp_path_factory.mktemp("s")
    monkeypatch.setattr(tempfile, "tempdir", str(sockets))
    folder = run("""import json, ipykernel
print(json.load(open(ipykernel.get_connection_file()))["transport"])""")
    ran = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert ran.cells[1].outputs[0].text.strip() == "ipc"
    assert list(sockets.glob("kernel-*")) == []


def test_a_cell_that_takes_too_long_is_a_failure_but_not_in_the_full_profile(run, monkeypatch):
    monkeypatch.setattr(execute, "CELL_SECONDS", 1)
    with pytest.raises(execute.ChapterFailed, match="cell 2 of 2:\n.*timed out"):
        run("import time; time.sleep(3)")
    monkeypatch.setenv("LABSUPPORT_PROFILE", "full")
    assert run("import time; time.sleep(3)").exists()


def test_a_warning_on_stderr_is_a_failure(run):
    with pytest.raises(execute.ChapterFailed, match="cell 2 wrote to stderr:\n.*careful"):
        run("import sys; print('careful', file=sys.stderr)")


def test_a_kernel_that_dies_is_a_failure(run):
    with pytest.raises(execute.ChapterFailed, match="cell 2 of 2:\nKernel died"):
        run("import os; os._exit(1)")


@pytest.mark.parametrize("module", ["tqdm", "tqdm.auto"])
def test_progress_bars_do_not_reach_the_page(run, module):
    folder = run(f"from {module} import tqdm\nfor i in tqdm(range(3)): pass")
    ran = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert execute.graft(copy.deepcopy(ran), ran).cells[-1].outputs == []


def test_outputs_are_put_into_the_notebook_as_it_is_written_now(run):
    ran = nbformat.read(run("6 * 7") / "notebook.ipynb", as_version=4)
    cell = new_code_cell("6 * 7", metadata={"mystnb": {"image": {"alt": "new"}}})
    now = new_notebook(cells=[new_markdown_cell("New words."), new_markdown_cell("More."), cell])
    grafted = execute.graft(now, ran)
    assert grafted.cells[0].source == "New words."
    assert grafted.cells[2].metadata.mystnb.image.alt == "new"
    assert grafted.cells[2].outputs[0].data["text/plain"] == "42"
