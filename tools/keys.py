"""What an executed chapter depends on, looked at without importing any of it.

A chapter counts as executed as long as its code, the settings that steer a run, Python and the
libraries are the same, and so is every definition of the package that it reached when it ran
(``labsupport.dependencies.places`` lists them in the kernel), with the files of its own topic and
the data files (styles, scripts) beside what it reached. A definition is a function, a class or an
assignment at the top level of a module; comments, docstrings and the order of lines do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.markers import Marker

SETTINGS = ("LABSUPPORT_PROFILE", "LABSUPPORT_DEVICE")
RUNNING = ("labsupport", "ipykernel", "nbclient")
"""What cells run in: the package, the kernel, and what sends them there."""
RENDERING = ("labsupport[book]",)
"""What pages are made with."""


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def files_digest(paths: Iterable[Path], root: Path) -> str:
    return digest([(str(p.relative_to(root)), file_digest(p)) for p in sorted(paths)])


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def environment(*names: str) -> list[str]:
    """Python, distributions with all that they require, and the settings that steer a run."""
    settings = [f"{name}={os.environ.get(name, '')}" for name in SETTINGS]
    return [sys.version, *requirements(*names), *settings]


def requirements(*names: str) -> list[str]:
    """Distributions, with extras as in "labsupport[book]", and all that they require over and over.

    Returns:
        ``name==version`` of each that is installed, sorted: what is not installed does not run.
    """
    from packaging.requirements import Requirement

    waiting, seen, found = [Requirement(name) for name in names], set(), set()
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        try:
            distribution = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(f"{distribution.name.lower()}=={distribution.version}")
        needed = [Requirement(line) for line in distribution.requires or []]
        waiting += [n for n in needed if _applies(n.marker, wanted.extras)]
    return sorted(found)


def _applies(marker: Marker | None, extras: set[str]) -> bool:
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def code_of(notebook: dict) -> list[tuple[str, list[str]]]:
    """Source and tags of the code cells: all of a notebook that can change what it computes."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells]


def chapter_key(chapter: Path) -> str:
    """A digest of a chapter's own code and of what it runs in."""
    code = code_of(json.loads(chapter.read_text("utf8")))
    running = [Path(__file__).with_name(f"{name}.py") for name in ("execute", "kernel", "kernels")]
    return digest(code, environment(*RUNNING), [path.read_text("utf8") for path in running])


def snapshot(package: Path) -> dict[str, str]:
    """A digest of each file of a package, ``"compare.py"``, and of each definition in it.

    A definition stands under its file and its name at the top level, ``"compare.py:where"``; a
    module's other lines, its imports for one, under the empty name, ``"compare.py:"``.
    """
    found = {}
    for path in package_files(package):
        file = str(path.relative_to(package))
        found[file] = file_digest(path)
        if path.suffix == ".py":
            found |= {f"{file}:{name}": seen for name, seen in _definitions(path).items()}
    return found


def package_files(package: Path) -> list[Path]:
    """The files of a package that somebody wrote."""
    return [p for p in sorted(package.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]


def reached(
    now: dict[str, str], topic: str, definitions: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """Of a snapshot what a chapter depends on.

    Args:
        now: of the package.
        topic: the chapter's own; every file of its folder counts whole.
        definitions: file and name of each that was reached; the data files beside them count too.
    """
    names = [f"{file}:{name}" for file, name in definitions]
    found = {name: now.get(name, "not there") for name in names}
    beside = {str(Path(file).parent) for file, _ in definitions}
    for file, seen in now.items():
        own = file.startswith(f"topics/{topic}/")
        data = not file.endswith(".py") and str(Path(file).parent) in beside
        if ":" not in file and (own or data):
            found[file] = seen
    return found


def _definitions(path: Path) -> dict[str, str]:
    named: dict[str, list[str]] = {"": []}
    for node in _bare(ast.parse(path.read_text("utf8"))).body:
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        names = [getattr(node, "name", None)] + [getattr(target, "id", None) for target in targets]
        for name in [name for name in names if name] or [""]:
            named.setdefault(name, []).append(ast.dump(node))
    return {name: digest(nodes) for name, nodes in named.items()}


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, and without strings that stand alone."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                part
                for part in body
                if not (
                    isinstance(part, ast.Expr)
                    and isinstance(part.value, ast.Constant)
                    and isinstance(part.value.value, str)
                )
            ]
    return tree
