"""Reading a chapter's cells, for the tests of what a chapter has to be."""

from __future__ import annotations

import ast
import builtins
import dis
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import nbformat
from nbformat import NotebookNode

SOLUTION = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{solution\}.*?^(?P=fence)\s*$|<details>\s*<summary>Solution.*?</details>",
    re.MULTILINE | re.DOTALL,
)
PYTHON = re.compile(r"^(`{3,}|~{3,})\s*python\n(?P<code>.*?)^\1\s*$", re.MULTILINE | re.DOTALL)

INSTALL = """\
# Only where the package is missing, as in Colab: put its wheel beside this notebook.
import importlib.util

if not importlib.util.find_spec("labsupport"):
    get_ipython().run_line_magic("pip", "install --quiet labsupport-*.whl")"""


def read(chapter: Path) -> NotebookNode:
    return nbformat.read(chapter, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lesson_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells but the one that installs the package where it is missing."""
    return [c for c in code_cells(notebook) if "install" not in c.metadata.get("tags", [])]


def prose(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tree(cell: NotebookNode) -> ast.Module:
    """The syntax tree of a code cell, IPython's own lines left out."""
    lines = [
        "" if line.lstrip().startswith(("%", "!", "?")) else line
        for line in cell.source.splitlines()
    ]
    return ast.parse("\n".join(lines))


def lines_of_code(cell: NotebookNode) -> int:
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#")
        for line in cell.source.splitlines()
    )


def imports(cell: NotebookNode, package: str) -> bool:
    """Whether a code cell imports a package or something of it."""
    names = [
        name
        for node in ast.walk(tree(cell))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    ]
    return any((name or "").split(".")[0] == package for name in names)


def grading(cell: NotebookNode) -> dict:
    return cell.metadata.get("nbgrader", {})


def is_stub(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and grading(cell).get("solution", False)


def is_check(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and grading(cell).get("grade", False)


def functions(module: ast.Module) -> list[str]:
    """The names of the functions that a piece of code defines at its top."""
    return [node.name for node in module.body if isinstance(node, ast.FunctionDef)]


def missing_names(cell: NotebookNode) -> set[str]:
    """The names that a cell uses and neither defines, nor imports, nor Python has."""
    namespace: dict = {}
    exec(cell.source, namespace)
    (name,) = functions(tree(cell))
    waiting, used = [namespace[name].__code__], set()
    while waiting:
        code = waiting.pop()
        used |= {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
        waiting += [part for part in code.co_consts if isinstance(part, CodeType)]
    return {name for name in used if name not in namespace and not hasattr(builtins, name)}


def solutions(notebook: NotebookNode) -> Iterator[str]:
    """The code inside the chapter's solution blocks."""
    for block in SOLUTION.finditer(prose(notebook)):
        for code in PYTHON.finditer(block.group()):
            yield code["code"]


def solved(notebook: NotebookNode) -> NotebookNode:
    """The chapter with every stub replaced by the code of its own solution block."""
    answers = {name: code for code in solutions(notebook) for name in functions(ast.parse(code))}
    for cell in filter(is_stub, notebook.cells):
        (name,) = functions(tree(cell))
        if name not in answers:
            raise KeyError(
                f"no solution block defines {name}, which the cell {grading(cell)['grade_id']}"
                " asks for"
            )
        cell.source = answers[name]
    return notebook


def text_of(cell: NotebookNode) -> str:
    """All that a cell printed or showed, as plain text."""
    shown = [
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.get("outputs", [])
    ]
    return "\n".join(shown)


def result_of(cell: NotebookNode) -> str:
    """The plain text of a cell's last expression."""
    results = [o for o in cell.get("outputs", []) if o.output_type == "execute_result"]
    return results[-1].data["text/plain"] if results else ""
