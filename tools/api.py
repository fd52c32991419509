"""The pages of the API reference, written as text: Sphinx imports the package when it renders them.

There is a page for each topic's equations and one for each group of the core's rooms. A topic needs
no entry here: its page comes with its chapter.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

INDEX = "api"
"""The page that lists the others, as the table of contents calls it."""


class Group(NamedTuple):
    """Rooms of the core that share a page."""

    title: str
    words: str
    rooms: tuple[str, ...]
    """Modules of the package; a folder stands for all of its modules."""


CORE = {
    "experiments": Group(
        "Experiments",
        "From a data set to a verdict: what a run is, how it is trained, how arms are compared.",
        ("types", "datasets", "augment", "train", "study", "compare", "claims"),
    ),
    "models": Group("Models", "The networks, and how their weights are drawn.", ("models",)),
    "rules": Group("Rules", "How parameters change in a step.", ("rules",)),
    "ops": Group("Operations", "Equations that several topics and the core share.", ("ops",)),
    "showing": Group(
        "Measuring and showing",
        "What is measured of a run, and how it is drawn.",
        ("probes", "landscape", "plots", "explore.explorer", "explore.frames", "listing"),
    ),
    "checking": Group(
        "Exercises",
        "The check that students call, and what an exercise is made of.",
        ("exercises", "grading.exercise", "grading.inputs"),
    ),
    "machine": Group(
        "The machine",
        "Device, profile, workers, seeds, and where files go.",
        ("runtime", "profiles"),
    ),
}

PREFACE = """# API reference

What the package offers, in its own words: each entry is the docstring of the code that the chapters
run. A chapter imports the core from one place:

```python
from labsupport.notebook import MLP, SGD, Arm, Recipe, check, compare, grid, study
```"""


def names(topics: list[str]) -> list[str]:
    """The pages below the index, in reading order; ``topics`` are those of the chapters."""
    return [f"{INDEX}/{name}" for name in (*CORE, *topics)]


def pages(package: Path, topics: list[str]) -> dict[str, str]:
    """Every page of the reference by its name, in MyST markdown."""
    found = {INDEX: index(package, topics)}
    for name, group in CORE.items():
        parts = [f"# {group.title}", group.words]
        for module in modules(package, group.rooms):
            short = module.removeprefix(f"{package.name}.")
            parts += [f"## `{short}`", described(module)]
        found[f"{INDEX}/{name}"] = joined(parts)
    for topic in topics:
        module = equations(topic)
        found[f"{INDEX}/{topic}"] = joined([f"# {title(topic)}", f"`{module}`", described(module)])
    return found


def index(package: Path, topics: list[str]) -> str:
    """The first page: what a chapter imports, what the core has, the topics' equations."""
    links = [(g.title, f"{INDEX}/{name}", g.words) for name, g in CORE.items()]
    parts = [PREFACE, "## The core", *(f"- [{t}]({link}.md): {words}" for t, link, words in links)]
    parts += ["## The equations, topic by topic"]
    parts += [f"- [{title(topic)}]({INDEX}/{topic}.md)" for topic in topics]
    parts += ["## What `labsupport.notebook` offers"]
    parts += [summaries(offered(package / "notebook.py"))]
    return joined(parts)


def offered(notebook: Path) -> list[str]:
    """The full names of what ``labsupport.notebook`` imports to offer it."""
    imports = [
        n for n in ast.parse(notebook.read_text("utf8")).body if isinstance(n, ast.ImportFrom)
    ]
    return [f"{node.module}.{alias.name}" for node in imports for alias in node.names]


def modules(package: Path, rooms: tuple[str, ...]) -> list[str]:
    """The modules of these rooms by their full names."""
    found = []
    for room in rooms:
        folder = package / room.replace(".", "/")
        inside = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
        found += [f"{room}.{name}" for name in inside] or [room]
    return [f"{package.name}.{name}" for name in found]


def equations(topic: str) -> str:
    """The module that holds a topic's equations."""
    return f"labsupport.topics.{topic}.reference"


def title(topic: str) -> str:
    return topic.replace("_", " ").capitalize()


def described(module: str) -> str:
    """The docstrings of a module and of all that is public in it."""
    return f"```{{eval-rst}}\n.. automodule:: {module}\n```"


def summaries(full_names: list[str]) -> str:
    """A table: each name with the first sentence of its docstring."""
    rows = "\n".join(f"   ~{name}" for name in full_names)
    return f"```{{eval-rst}}\n.. autosummary::\n\n{rows}\n```"


def joined(parts: list[str]) -> str:
    return "\n\n".join(parts) + "\n"


def setup(app) -> dict[str, bool]:
    """Make this file an extension of Sphinx, for the one thing that napoleon does wrong."""
    app.connect("autodoc-process-docstring", shield_colons, priority=400)  # before napoleon's 500
    return {"parallel_read_safe": True}


def shield_colons(app, what, name, obj, options, lines: list[str]) -> None:
    """Put an empty start before what is said of a field, in place.

    Napoleon takes words before a colon in its first line for the field's type and moves them.
    """
    if what == "attribute":
        lines.insert(0, "\\ ")
