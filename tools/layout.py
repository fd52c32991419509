"""Where the book's parts are, and which pages it has."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import yaml

from tools import api

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "labsupport"
CHAPTERS = ROOT / "chapters"
ASSETS = ROOT / "assets"
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
CLAIMS = ROOT / ".labsupport" / "claims"  # where the command line looks for them
SOURCE = BUILD / "source"
HTML = BUILD / "html"

GENERATED = "claims"  # the page that is written by the package, from what the chapters measured


def toc() -> dict:
    """The table of contents, with the pages of the API reference below their index."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    for part in contents["parts"]:
        for entry in part["chapters"]:
            if entry.get("file") == api.INDEX:
                entry["sections"] = [{"file": name} for name in api.names(topics())]
    return contents


def topics() -> list[str]:
    """The topics that have a chapter, in the chapters' order."""
    return [topic(path) for path in sorted(CHAPTERS.glob("*.ipynb"))]


def is_written(name: str) -> bool:
    """Whether somebody wrote this page; the others are generated."""
    return name not in (GENERATED, api.INDEX) and not name.startswith(f"{api.INDEX}/")


def names(node: dict | list | None = None) -> list[str]:
    """The pages of the table of contents, in reading order, without suffix."""
    node = toc() if node is None else node
    if isinstance(node, list):
        return [name for item in node for name in names(item)]
    own = [node[key] for key in ("root", "file") if key in node]
    return own + [n for key in ("parts", "chapters", "sections") for n in names(node.get(key, []))]


def page(name: str) -> Path:
    """The file behind a name of the table of contents."""
    for suffix in (".md", ".ipynb"):
        if (path := ROOT / f"{name}{suffix}").exists():
            return path
    raise FileNotFoundError(
        f"_toc.yml lists {name!r}, but there is no {name}.md and no {name}.ipynb"
    )


def has_claims_page() -> bool:
    return GENERATED in names() and (PACKAGE / "claims.py").exists()


def built_names() -> list[str]:
    """The pages that end up in the HTML."""
    return [name for name in names() if name != GENERATED or has_claims_page()]


def written_pages() -> list[Path]:
    """The pages that somebody wrote, the generated ones left out."""
    return [page(name) for name in names() if is_written(name)]


def chapters() -> list[Path]:
    """The notebooks of the book, in reading order; one that is in no table of contents is an
    error.
    """
    listed = [path for path in written_pages() if path.suffix == ".ipynb"]
    if forgotten := sorted(set(CHAPTERS.glob("*.ipynb")) - set(listed)):
        raise ValueError(f"not in _toc.yml: {', '.join(path.name for path in forgotten)}")
    return listed


def topic(chapter: Path) -> str:
    """chapters/01_weight_decay.ipynb -> weight_decay"""
    return chapter.stem.split("_", 1)[1]


@contextlib.contextmanager
def only_one_build() -> Iterator[None]:
    """Hold the build folder: a second build waits for the first and then finds its work done."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
