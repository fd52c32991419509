"""A chapter run in a fresh kernel, and what came out of it kept under its key."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools import keys
from tools.layout import PACKAGE, topic

if TYPE_CHECKING:
    from nbformat import NotebookNode

# nbformat and nbclient are imported where they are used: they cost two seconds, and a build with
# nothing to do needs neither.

CELL_SECONDS = 600
"""What a cell may take in the quick profile; one that takes longer hangs."""
START_SECONDS = 300
"""What a kernel may take to answer for the first time: on a busy machine a minute is not enough."""
REPORT = """import json, resource, sys
unit = 2**20 if sys.platform == "darwin" else 2**10
report = {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit}
if "labsupport" in sys.modules:
    from labsupport import dependencies
    shell = get_ipython()
    cells = [compile(shell.transform_cell(cell), "cell", "exec") for cell in In[:-1]]
    report["definitions"] = dependencies.places(*((cell, globals()) for cell in cells))
print(json.dumps(report))"""
"""Asked of the kernel at the end: the memory it took, and what the cells reached of the package."""


class ChapterFailed(Exception):
    """A chapter that did not run to its end; the message shows the cell and its traceback."""


@dataclass(frozen=True)
class Record:
    """One executed chapter.

    Args:
        key: what it was executed under, ``keys.chapter_key``.
        seconds: how long it took.
        peak_mb: the most memory that its kernel held.
        package: a digest of all files of the package at that time.
        reached: what it reached of the package, as it was then, ``keys.reached``.
    """

    key: str
    seconds: float
    peak_mb: int
    package: str
    reached: dict[str, str]


def kept(chapter: Path, folder: Path, key: str, package: Path = PACKAGE) -> Record | None:
    """The record of the chapter kept in ``folder``, if it is whole and still current."""
    try:
        record = Record(**json.loads((folder / "record.json").read_text("utf8")))
    except (OSError, ValueError, TypeError):
        return None
    if record.key != key:
        return None
    if record.package == keys.files_digest(keys.package_files(package), package):
        return record
    definitions = [name.split(":") for name in record.reached if ":" in name]
    now = keys.reached(keys.snapshot(package), topic(chapter), definitions)
    return record if record.reached == now else None


def execute(chapter: Path, folder: Path, key: str, threads: int) -> Record:
    """Run ``chapter`` and put notebook, claims and record into ``folder``, all of them or none."""
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    (work / "claims").mkdir(parents=True)
    import nbformat

    notebook = nbformat.read(chapter, as_version=4)
    # as the sources are now: what is changed while the chapter runs is not what ran
    package = keys.files_digest(keys.package_files(PACKAGE), PACKAGE)
    sources = keys.snapshot(PACKAGE)
    start = time.perf_counter()
    try:
        report = run(notebook, chapter, work / "claims", threads, seconds=patience())
        seconds = round(time.perf_counter() - start, 1)
        found = keys.reached(sources, topic(chapter), report.get("definitions", []))
        record = Record(key, seconds, report["peak_mb"], package, found)
        nbformat.write(notebook, work / "notebook.ipynb")
        (work / "record.json").write_text(json.dumps(asdict(record)))
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return record


def patience() -> int | None:
    """Seconds for a cell; in the full profile as many as it takes, for studies of that size may run
    for hours.
    """
    return None if os.environ.get("LABSUPPORT_PROFILE") == "full" else CELL_SECONDS


def run(
    notebook: NotebookNode,
    chapter: Path,
    claims: Path,
    threads: int,
    settings: dict[str, str] | None = None,
    seconds: int | None = CELL_SECONDS,
) -> dict:
    """Execute all cells in place, each in at most so many seconds (None: no limit); returns
    the kernel's report.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from nbformat.v4 import new_code_cell

    from tools.kernels import AsyncOwnKernel

    environment = {
        "LABSUPPORT_CLAIMS": str(claims),
        "OMP_NUM_THREADS": str(threads),
        "TQDM_DISABLE": "1",  # a progress bar means nothing on a page
        **(settings or {}),
    }
    started = []
    probe = new_code_cell(REPORT)
    cells = len(notebook.cells)
    notebook.cells.append(probe)
    client = NotebookClient(
        notebook,
        timeout=seconds,
        startup_timeout=START_SECONDS,
        kernel_manager_class=AsyncOwnKernel,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(chapter.parent)}},
        on_cell_start=lambda cell, cell_index: started.append(cell_index + 1),
    )
    try:
        client.execute(env=environment)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        where = f"chapters/{chapter.name}, cell {max(started, default=1)} of {cells}"
        raise ChapterFailed(f"{where}:\n{plain(str(error))}") from None
    finally:
        notebook.cells.pop()
    refuse_stderr(notebook, chapter)
    return json.loads(probe.outputs[0].text)


def refuse_stderr(notebook: NotebookNode, chapter: Path) -> None:
    """A warning on stderr would be printed in the book, and costs a student the points of a graded
    cell.
    """
    for i, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise ChapterFailed(
                    f"chapters/{chapter.name}, cell {i + 1} wrote to stderr:\n{plain(output.text)}"
                )


def plain(text: str) -> str:
    """Text without colours, unless it goes to a terminal."""
    return text if sys.stderr.isatty() else re.sub(r"\x1b\[[0-9;]*m", "", text)


def graft(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The notebook as it is written now with the outputs of its last run: prose may be newer than
    the run.
    """
    ran = iter([cell for cell in executed.cells if cell.cell_type == "code"])
    for cell in source.cells:
        if cell.cell_type == "code":
            done = next(ran)
            cell.outputs = [output for output in done.outputs if shows_on_a_page(output)]
            cell.execution_count = done.execution_count
    return source


def shows_on_a_page(output: NotebookNode) -> bool:
    """Whether an output needs no kernel: a widget without an HTML form is nothing on a page."""
    kinds = output.get("data", {})
    return "application/vnd.jupyter.widget-view+json" not in kinds or "text/html" in kinds
