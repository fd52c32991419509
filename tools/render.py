"""Pages and executed chapters put together and turned into HTML."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import yaml

from labsupport import machine
from tools import api, keys
from tools.execute import graft
from tools.kernels import environment
from tools.layout import (
    ASSETS,
    BUILD,
    CLAIMS,
    EXECUTED,
    GENERATED,
    HTML,
    PACKAGE,
    ROOT,
    SOURCE,
    built_names,
    chapters,
    has_claims_page,
    toc,
    topics,
    written_pages,
)

STAMP = HTML / ".digest"


class RenderFailed(Exception):
    """The HTML could not be made, or not without warnings; the message is the log."""


def inputs_digest(records: list[dict]) -> str:
    """A digest of all that the HTML is made from."""
    files = [
        *written_pages(),
        *ASSETS.rglob("*"),
        *PACKAGE.rglob("*.py"),  # the API reference is made of docstrings
        *PACKAGE.rglob("*.toml"),  # and the claims page of statements
        *Path(__file__).parent.glob("*.py"),
    ]
    files += [ROOT / "_toc.yml", ROOT / "_config.yml", ROOT / "references.bib"]
    found = keys.files_digest((path for path in files if path.is_file()), ROOT)
    return keys.digest(records, found, keys.environment(*keys.RENDERING))


def is_current(digest: str) -> bool:
    return STAMP.exists() and STAMP.read_text() == digest and (HTML / "index.html").exists()


def gather_claims() -> None:
    """Lay the claims of the book's chapters side by side."""
    shutil.rmtree(CLAIMS, ignore_errors=True)
    CLAIMS.mkdir(parents=True)
    for chapter in chapters():
        for path in (EXECUTED / chapter.stem / "claims").glob("*.json"):
            shutil.copy(path, CLAIMS)


def assemble() -> None:
    """Write the folder that is rendered: pages, executed notebooks, the generated pages,
    configuration.
    """
    import nbformat

    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ASSETS, SOURCE / ASSETS.name)
    for path in written_pages():
        target = SOURCE / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            executed = nbformat.read(EXECUTED / path.stem / "notebook.ipynb", as_version=4)
            nbformat.write(graft(nbformat.read(path, as_version=4), executed), target)
        else:
            shutil.copy(path, target)
    if has_claims_page():
        from labsupport import claims

        (SOURCE / f"{GENERATED}.md").write_text(claims.page(CLAIMS))
    (SOURCE / api.INDEX).mkdir()
    for name, text in api.pages(PACKAGE, topics()).items():
        (SOURCE / f"{name}.md").write_text(text)
    shutil.copy(ROOT / "references.bib", SOURCE)
    shutil.copy(ROOT / "_config.yml", SOURCE)
    (SOURCE / "_toc.yml").write_text(yaml.safe_dump(without_missing(toc()), sort_keys=False))


def without_missing(node):
    """The table of contents without the generated page as long as nothing can write it."""
    if isinstance(node, dict):
        return {key: without_missing(value) for key, value in node.items()}
    if isinstance(node, list):
        return [
            without_missing(entry) for entry in node if entry.get("file") in (None, *built_names())
        ]
    return node


def render(digest: str) -> None:
    """Turn SOURCE into HTML with every warning an error, and put it in place as a whole."""
    work = BUILD / "render"
    shutil.rmtree(work, ignore_errors=True)
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", SOURCE, "--path-output", work, "--quiet"]
    done = subprocess.run(
        [*command, "--all", "-W", "--keep-going"],
        cwd=BUILD,
        env=environment(),
        preexec_fn=partial(machine.end_with_parent, os.getpid()),
        capture_output=True,
        text=True,
    )
    made = work / "_build" / "html"
    if done.returncode or not (made / "index.html").exists():
        raise RenderFailed(done.stdout + done.stderr)
    (made / STAMP.name).write_text(digest)
    shutil.rmtree(HTML, ignore_errors=True)
    made.rename(HTML)
    shutil.rmtree(work)
