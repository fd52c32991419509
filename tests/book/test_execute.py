"""A chapter is executed whole or not at all, and a failure says where it was."""

import copy
import os
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import execute, kernels, layout

CHAPTER = Path("01_decay.ipynb")


@pytest.fixture
def run(tmp_path):
    """Execute a notebook of these code cells into a folder; returns the folder."""

    def run_cells(*sources):
        chapter = tmp_path / CHAPTER
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
    record = execute.kept(CHAPTER, folder, "key")
    assert record.seconds > 0 and record.peak_mb > 10


def test_a_kept_chapter_counts_under_its_own_key_only_and_only_whole(run):
    folder = run("1")
    assert execute.kept(CHAPTER, folder, "another key") is None
    (folder / "record.json").write_text('{"key": "key"')
    assert execute.kept(CHAPTER, folder, "key") is None
    (folder / "record.json").unlink()
    assert execute.kept(CHAPTER, folder, "key") is None


def test_a_failure_names_the_cell_and_leaves_the_last_good_run_alone(run):
    folder = run("'good'")
    with pytest.raises(
        execute.ChapterFailed, match=r"01_decay.ipynb, cell 3 of 4:(?s:.*)ZeroDivisionError"
    ):
        run("1", "1 / 0", "2")
    assert "good" in (folder / "notebook.ipynb").read_text()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


SHOWS = """import json, os, sys, warnings
import ipykernel, matplotlib
from matplotlib import pyplot as plt
from labsupport import storage
print(json.load(open(ipykernel.get_connection_file()))["ip"])
print(storage.__file__, "changed" in globals(), matplotlib.rcParams["lines.linewidth"])
print(storage.write(storage.Path(os.environ["LABSUPPORT_HOME"]) / "file" / "a", b"content"))
warnings.warn("CUDA initialization: the driver is old")
plt.plot([1, 2]);"""


@pytest.mark.skipif(sys.platform != "linux", reason="sockets have no names outside of files")
def test_neither_the_machine_nor_its_user_leaves_a_mark(run, monkeypatch, tmp_path):
    """Each of these once ended the build, or changed a page."""
    user, long = tmp_path / "user", tmp_path / ("t" * 100)
    for folder in (user / "profile_default" / "startup", user / "kernels" / "python3", long):
        folder.mkdir(parents=True)
    (user / "profile_default" / "startup" / "a.py").write_text("changed = True")
    (user / "profile_default" / "ipython_config.py").write_text(
        "c.InteractiveShellApp.exec_lines = ['changed = True']"
    )
    (user / "kernels" / "python3" / "kernel.json").write_text(
        '{"argv": ["false"], "display_name": "false", "language": "python"}'
    )
    for name in ("start.py", "sitecustomize.py", "torch.py"):
        (user / name).write_text("raise SystemExit('the user was read')")
    (user / "matplotlibrc").write_text("lines.linewidth: 17")
    (tmp_path / "file").touch()
    for name, value in {
        "HOME": tmp_path / "file",
        "IPYTHONDIR": user,
        "JUPYTER_CONFIG_DIR": user,
        "JUPYTER_DATA_DIR": user,
        "JUPYTER_PATH": user,
        "JUPYTER_RUNTIME_DIR": tmp_path / "file",
        "LABSUPPORT_HOME": tmp_path,
        "MATPLOTLIBRC": user,
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": tmp_path / "file",
        "PYTHONPATH": user,
        "PYTHONSAFEPATH": "1",
        "PYTHONSTARTUP": user / "start.py",
        "PYTHONWARNINGS": "error",
        "TMPDIR": long,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (outputs,) = [
        cell.outputs
        for cell in nbformat.read(run(SHOWS) / "notebook.ipynb", as_version=4).cells
        if cell.cell_type == "code"
    ]
    socket, line, written = outputs[0].text.split("\n")[:3]
    assert socket.startswith("@kernel-") and written == "False"
    assert line == f"{layout.PACKAGE / 'storage.py'} False 1.5"
    assert "image/png" in outputs[1].data and len(outputs) == 2
    assert list(long.iterdir()) == []


@pytest.mark.parametrize(
    ("platform", "folder", "starts"),
    [
        ("linux", "/t" * 80, "@kernel-"),
        ("darwin", "/tmp", "/tmp/kernel-"),
        ("darwin", "/t" * 80, None),
    ],
)
def test_a_socket_has_a_path_that_fits(monkeypatch, platform, folder, starts):
    monkeypatch.setattr(kernels.sys, "platform", platform)
    monkeypatch.setattr(tempfile, "tempdir", folder)
    path = kernels.socket_path()
    assert path is None if starts is None else path.startswith(starts) and len(path) < 100


def test_a_relative_folder_for_results_is_the_builds_and_not_the_notebooks(monkeypatch):
    monkeypatch.setenv("LABSUPPORT_HOME", "results")
    assert kernels.environment()["LABSUPPORT_HOME"] == os.path.abspath("results")


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
