"""What an executed chapter depends on, as one digest.

A chapter depends on every file of the package but the modules of other topics. A topic's modules
count as soon as the chapter bears the topic's name, names it in its code, or reaches it through an
import.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

TOPIC_ROOMS = ("reference", "probes", "toys", "exercises")
SETTINGS = ("LABSUPPORT_PROFILE", "LABSUPPORT_DEVICE")


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def files_digest(paths: Iterable[Path], root: Path) -> str:
    return digest(
        [
            (str(p.relative_to(root)), hashlib.sha256(p.read_bytes()).hexdigest())
            for p in sorted(paths)
        ]
    )


def environment() -> list[str]:
    """Python, every installed package with its version, and the settings that steer a run."""
    packages = {f"{d.name}=={d.version}" for d in importlib.metadata.distributions()}
    return [
        sys.version,
        *sorted(packages),
        *(f"{name}={os.environ.get(name, '')}" for name in SETTINGS),
    ]


def code_of(notebook: dict) -> list[tuple[str, list[str]]]:
    """Source and tags of the code cells: all of a notebook that can change what it computes."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells]


def package_files(package: Path, topic: str, code: str) -> set[Path]:
    """The files of the package that a chapter on ``topic`` with this ``code`` depends on."""
    every = {p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    by_topic = {
        p for p in every if p.parent.name in TOPIC_ROOMS and p.suffix == ".py" and p.stem[0] != "_"
    }
    found = (every - by_topic) | {
        p for p in by_topic if p.stem == topic or re.search(rf"\b{re.escape(p.stem)}\b", code)
    }
    waiting = list(found)
    while waiting:
        new = (imported(waiting.pop(), package) & by_topic) - found
        found |= new
        waiting += new
    return found


def imported(module: Path, package: Path) -> set[Path]:
    """The files of the package that a module imports."""
    if module.suffix != ".py":
        return set()
    here = (package.name, *module.relative_to(package).parent.parts)
    dotted: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            dotted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (
                [*here[: len(here) - node.level + 1], *filter(None, [node.module])]
                if node.level
                else [node.module]
            )
            dotted |= {".".join(base), *(".".join([*base, alias.name]) for alias in node.names)}
    paths = (
        package.parent / name.replace(".", "/") for name in dotted if name.startswith(package.name)
    )
    return {p.with_suffix(".py") for p in paths if p.with_suffix(".py").exists()}


def chapter_key(chapter: Path, package: Path) -> str:
    """The digest under which the executed chapter is kept."""
    code = code_of(json.loads(chapter.read_text()))
    topic = chapter.stem.split("_", 1)[1]
    files = package_files(package, topic, "\n".join(source for source, _ in code))
    runner = Path(__file__).with_name("execute.py").read_text()
    return digest(code, files_digest(files, package), environment(), runner)
