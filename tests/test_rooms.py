"""The house has an order: a file imports only from rooms above its own."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "labsupport"
ROOMS = tuple(re.findall(r"^    (\w+) {2,}", ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text("utf8")), clean=False),
                         re.MULTILINE))
"""The rooms from top to bottom, as the package's own map lists them."""


def imported(source: str) -> set[str]:
    """The rooms of labsupport that a source file imports from, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("labsupport.")}


def wrong_imports(room: str, source: str) -> set[str]:
    """Of those, the ones that are not above ``room``; a room's own files may import each other."""
    above = ROOMS[:ROOMS.index(room) + 1]
    return {name for name in imported(source) if name not in above}


def files():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_has_a_room_and_imports_from_rooms_above_only(path):
    assert room_of(path) in ROOMS, f"{path.name} has no room: add it to the map"
    assert wrong_imports(room_of(path), path.read_text("utf8")) == set()


def test_the_map_lists_every_room():
    assert {room_of(path) for path in files()} == set(ROOMS)


def test_an_upward_import_is_caught_wherever_it_hides():
    assert wrong_imports("train", "from labsupport import plots") == {"plots"}
    assert wrong_imports("models", "def f():\n    import labsupport.exercises.weight_decay") == {"exercises"}
    assert wrong_imports("reference", "from labsupport.rules import SGD") == {"rules"}
    assert wrong_imports("study", "from labsupport import train, runtime") == set()


def test_nothing_but_the_command_line_imports_the_exercises():
    guilty = [path.name for path in files() if room_of(path) not in ("exercises", "cli")
              and "exercises" in imported(path.read_text("utf8"))]
    assert guilty == []


def test_the_package_does_no_work_at_import():
    assert imported((PACKAGE / "__init__.py").read_text("utf8")) == set()


def test_files_are_short():
    long = {path.name: count for path in files() if (count := len(path.read_text("utf8").splitlines())) > 350}
    assert long == {}
