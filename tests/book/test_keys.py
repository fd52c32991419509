"""What an executed chapter depends on: a change that could show runs it again, no other does."""

import json

import pytest

from tools import execute, keys

FILES = {
    "__init__.py": "",
    "train.py": "STEPS = 10\n\n\ndef train():\n    return STEPS\n\n\ndef other():\n    return 1\n",
    "explore/__init__.py": "def explore(): ...\n",
    "explore/explore.css": "a { color: red; }\n",
    "topics/decay/exercises.py": "EXERCISES = ()\n",
    "topics/decay/statements.toml": "chapter = 1\n",
    "topics/dropout/reference.py": "def mask(): ...\n",
    "topics/dropout/statements.toml": "chapter = 2\n",
}
REACHED = [
    ("train.py", ""),
    ("train.py", "train"),
    ("train.py", "STEPS"),
    ("explore/__init__.py", ""),
]


@pytest.fixture
def package(tmp_path):
    """A small package of the same shape."""
    for name, text in FILES.items():
        path = tmp_path / "labsupport" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "labsupport"


@pytest.fixture
def decay(tmp_path):
    return write(tmp_path / "01_decay.ipynb", code="from labsupport import train")


def write(path, code, prose="Some words."):
    cells = [
        {"cell_type": "markdown", "id": "words", "metadata": {}, "source": prose},
        {
            "cell_type": "code",
            "id": "code",
            "metadata": {},
            "source": code,
            "outputs": [],
            "execution_count": None,
        },
    ]
    path.write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    return path


@pytest.fixture
def is_current(package, decay, tmp_path):
    """Whether the chapter, executed when the package was as it is made, still counts."""
    key = keys.chapter_key(decay)
    files = keys.files_digest(keys.package_files(package), package)
    found = keys.reached(keys.snapshot(package), "decay", REACHED)
    record = execute.Record(key, 1.0, 100, files, found)
    (tmp_path / "record.json").write_text(json.dumps(execute.asdict(record)))
    return lambda: execute.kept(decay, tmp_path, keys.chapter_key(decay), package) is not None


def edit(package, name, old, new):
    path = package / name
    assert old in path.read_text() or not old
    path.write_text(path.read_text().replace(old, new, 1) if old else new)


def test_a_chapter_counts_as_long_as_nothing_has_changed(is_current):
    assert is_current()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("train.py", "return STEPS", "return STEPS + 1"),
        ("train.py", "STEPS = 10", "STEPS = 20"),
        ("train.py", "STEPS = 10", "import math\nSTEPS = 10"),
        ("explore/explore.css", "red", "blue"),
        ("topics/decay/exercises.py", "()", "(1,)"),
        ("topics/decay/statements.toml", "1", "3"),
    ],
)
def test_a_change_in_what_it_reached_or_in_its_own_topic_runs_it_again(
    package, is_current, name, old, new
):
    edit(package, name, old, new)
    assert not is_current()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("train.py", "return 1", "return 2"),
        ("train.py", "def train():\n", "def train():\n    # a comment\n"),
        ("train.py", "def train():\n", 'def train():\n    """What it does."""\n'),
        ("train.py", "STEPS = 10\n", "# some lines\n\n\nSTEPS = 10\n"),
        ("train.py", "def other():", "NEW = 1\n\n\ndef other():"),
        ("topics/dropout/reference.py", "...", "return 1"),
        ("topics/dropout/statements.toml", "2", "3"),
        ("plots.py", "", "a new file"),
    ],
)
def test_any_other_change_does_not(package, is_current, name, old, new):
    if not old:
        (package / name).write_text(new := "def plot(): ...\n")
    else:
        edit(package, name, old, new)
    assert is_current()


def test_a_definition_that_is_gone_runs_a_chapter_again(package, is_current):
    (package / "train.py").unlink()
    assert not is_current()


def test_a_definition_written_twice_counts_with_both(package):
    edit(package, "train.py", "def other():\n    return 1\n", "def train():\n    return 3\n")
    one = keys.snapshot(package)["train.py:train"]
    edit(package, "train.py", "return 3", "return 4")
    assert keys.snapshot(package)["train.py:train"] != one


def test_new_code_runs_a_chapter_again_and_new_prose_does_not(decay):
    before = keys.chapter_key(decay)
    write(decay, code="from labsupport import train", prose="Other words.")
    assert keys.chapter_key(decay) == before
    write(decay, code="from labsupport import train as t")
    assert keys.chapter_key(decay) != before


@pytest.mark.parametrize("name", keys.SETTINGS)
def test_a_setting_that_steers_the_run_runs_a_chapter_again(decay, monkeypatch, name):
    before = keys.chapter_key(decay)
    monkeypatch.setenv(name, "something else")
    keys.environment.cache_clear()
    assert keys.chapter_key(decay) != before
    monkeypatch.undo()
    keys.environment.cache_clear()


def test_the_libraries_that_count_are_those_that_the_book_requires_and_theirs():
    names = {line.split("==")[0] for line in keys.requirements(*keys.RUNNING)}
    assert {"torch", "pandas", "numpy", "pillow", "ipykernel", "jupyter_client"} <= names
    assert not {"ruff", "pytest", "nbgrader", "skorch", "lightning", "jupyterlab"} & names
    pages = {line.split("==")[0] for line in keys.requirements(*keys.RENDERING)}
    assert {"sphinx", "jupyter-book", "torch"} <= pages and "pytest" not in pages


def test_a_requirement_that_is_not_installed_is_left_out():
    assert keys.requirements("no-such-distribution") == []


def test_compiled_files_do_not_count(package):
    before = keys.snapshot(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "train.cpython-311.pyc").write_bytes(b"")
    assert keys.snapshot(package) == before


def test_an_executed_chapter_remembers_what_its_cells_reached(tmp_path):
    code = "from labsupport import compare\n\ncompare.interval([1.0, 2.0])"
    chapter = write(tmp_path / "01_decay.ipynb", code)
    record = execute.execute(chapter, tmp_path / "executed", keys.chapter_key(chapter), threads=1)
    assert {"compare.py:", "compare.py:interval", "types.py:Interval"} <= set(record.reached)
    assert not any(name.startswith(("train.py", "plots.py")) for name in record.reached)
    assert execute.kept(chapter, tmp_path / "executed", record.key) == record
