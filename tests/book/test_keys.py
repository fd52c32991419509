"""What an executed chapter depends on: a change that could show must run it again, any other must
not.
"""

import json

import pytest

from tools import keys


@pytest.fixture
def package(tmp_path):
    """A small package of the same shape: a core module, and two topics of which one imports the
    other.
    """
    files = {
        "__init__.py": "",
        "train.py": "def train(): ...",
        "words.toml": "a = 1",
        "reference/__init__.py": "",
        "reference/decay.py": "",
        "reference/dropout.py": "from labsupport.reference.norms import norm",
        "reference/norms.py": "def norm(): ...",
        "exercises/__init__.py": "import importlib",
        "exercises/decay.py": "from ..reference import decay",
        "exercises/dropout.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "labsupport" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "labsupport"


@pytest.fixture
def decay(tmp_path):
    return write(tmp_path / "01_decay.ipynb", code="from labsupport import train")


def write(path, code, prose="Some words."):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": prose},
        {
            "cell_type": "code",
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


def names(package, topic, code=""):
    return {str(path.relative_to(package)) for path in keys.package_files(package, topic, code)}


@pytest.mark.parametrize(
    "name", ["train.py", "words.toml", "reference/decay.py", "exercises/decay.py"]
)
def test_a_change_in_the_core_or_in_its_own_topic_runs_a_chapter_again(package, decay, name):
    before = keys.chapter_key(decay, package)
    (package / name).write_text("changed = 1")
    assert keys.chapter_key(decay, package) != before


@pytest.mark.parametrize(
    "name", ["reference/dropout.py", "exercises/dropout.py", "reference/norms.py"]
)
def test_a_change_in_another_topic_does_not(package, decay, name):
    before = keys.chapter_key(decay, package)
    (package / name).write_text("changed = 1")
    assert keys.chapter_key(decay, package) == before


def test_a_new_file_in_the_core_runs_a_chapter_again(package, decay):
    before = keys.chapter_key(decay, package)
    (package / "plots.py").write_text("")
    assert keys.chapter_key(decay, package) != before


def test_new_code_runs_a_chapter_again_and_new_prose_does_not(package, decay):
    before = keys.chapter_key(decay, package)
    write(decay, code="from labsupport import train", prose="Other words.")
    assert keys.chapter_key(decay, package) == before
    write(decay, code="from labsupport import train as t")
    assert keys.chapter_key(decay, package) != before


@pytest.mark.parametrize("name", keys.SETTINGS)
def test_a_setting_that_steers_the_run_runs_a_chapter_again(package, decay, monkeypatch, name):
    before = keys.chapter_key(decay, package)
    monkeypatch.setenv(name, "something else")
    assert keys.chapter_key(decay, package) != before


def test_a_topic_that_the_code_names_counts_with_all_that_it_imports(package):
    found = names(package, "decay", 'study("dropout")')
    assert {"reference/dropout.py", "exercises/dropout.py", "reference/norms.py"} <= found


def test_relative_imports_are_followed(package):
    (package / "reference" / "decay.py").write_text("from . import norms")
    assert "reference/norms.py" in names(package, "decay")
    (package / "reference" / "decay.py").write_text("from .norms import norm")
    assert "reference/norms.py" in names(package, "decay")


def test_compiled_files_do_not_count(package, decay):
    before = keys.chapter_key(decay, package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "train.cpython-311.pyc").write_bytes(b"")
    assert keys.chapter_key(decay, package) == before
