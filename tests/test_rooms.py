"""The house has an order: a file imports from rooms above its own only, no topic from another."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "labsupport"
MAP = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text("utf8")), clean=False)
ROOMS = tuple(re.findall(r"^    (\w+) {2,}", MAP, re.MULTILINE))
"""The rooms from top to bottom, as the package's own map lists them."""


def imports(source: str) -> list[tuple[str, int]]:
    """The modules of labsupport that a source file imports, wherever it does, with the lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return [(name, line) for name, line in found if name.startswith("labsupport.")]


def imported(source: str) -> set[str]:
    """The rooms that a source file imports from."""
    return {name.split(".")[1] for name, _ in imports(source)}


def wrong_imports(room: str, source: str) -> set[str]:
    """Of those, the ones that are not above ``room``; a room's own files may import each other."""
    above = ROOMS[: ROOMS.index(room) + 1]
    return {name for name in imported(source) if name not in above}


def borrowed(topic: str, source: str) -> list[str]:
    """Imports from other topics above which no comment says why."""
    lines = source.splitlines()
    return [
        name
        for name, line in imports(source)
        if name.split(".")[1] == "topics"
        and name.split(".")[2] != topic
        and not lines[line - 2].lstrip().startswith("#")
    ]


def files():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def topic_files():
    return [path for path in files() if room_of(path) == "topics" and path.parent.name != "topics"]


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_a_file_has_a_room_and_imports_from_rooms_above_only(path):
    assert room_of(path) in ROOMS, f"{path.name} has no room: add it to the map"
    assert wrong_imports(room_of(path), path.read_text("utf8")) == set()


def test_the_map_lists_every_room():
    assert {room_of(path) for path in files()} == set(ROOMS)


def test_the_core_imports_no_topic():
    core = ROOMS[: ROOMS.index("topics")]
    assert len(core) > 15
    guilty = [
        name_of(p)
        for p in files()
        if room_of(p) in core and "topics" in imported(p.read_text("utf8"))
    ]
    assert guilty == []


@pytest.mark.parametrize("path", topic_files(), ids=name_of)
def test_a_topic_borrows_from_another_only_where_a_comment_says_why(path):
    assert borrowed(path.parent.name, path.read_text("utf8")) == []


def test_an_import_without_a_reason_is_caught():
    line = "from labsupport.topics.dropout import reference\n"
    assert borrowed("mixup", "\n" + line) == ["labsupport.topics.dropout.reference"]
    assert borrowed("mixup", "# the masks are dropout's own\n" + line) == []
    assert borrowed("dropout", "\n" + line) == []


def test_an_upward_import_is_caught_wherever_it_hides():
    assert wrong_imports("train", "from labsupport import plots") == {"plots"}
    assert wrong_imports("models", "def f():\n    import labsupport.topics.mixup") == {"topics"}
    assert wrong_imports("ops", "from labsupport.rules import SGD") == {"rules"}
    assert wrong_imports("study", "from labsupport import train, runtime") == set()


def test_a_topic_has_the_files_that_the_map_names():
    for folder in sorted({path.parent for path in topic_files()}):
        names = {path.name for path in folder.iterdir()}
        assert {"__init__.py", "reference.py", "exercises.py", "statements.toml"} <= names, (
            folder.name
        )


def test_the_package_does_no_work_at_import():
    assert imported((PACKAGE / "__init__.py").read_text("utf8")) == set()
