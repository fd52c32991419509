"""The wheel holds all that the package needs: it works where there is no checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import layout

BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy: the build leaves files of its own beside the sources."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(
        layout.PACKAGE, source / "labsupport", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in BUILT_FROM:
        shutil.copy(layout.ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--wheel-dir", source / "dist", source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Run code outside the checkout, with the unpacked wheel in the place of the package."""
    outside = tmp_path_factory.mktemp("outside")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(outside / "site")

    def run_code(code: str) -> str:
        env = {name: value for name, value in os.environ.items() if "LABSUPPORT" not in name}
        env |= {"PYTHONPATH": str(outside / "site"), "LABSUPPORT_HOME": str(outside / "home")}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=outside, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run_code("import labsupport; print(labsupport.__file__)").strip()
    assert where == str(outside / "site" / "labsupport" / "__init__.py")
    return run_code


def test_the_wheel_holds_every_file_of_the_package_and_the_licences(wheel):
    files = {p for p in layout.PACKAGE.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    packed = zipfile.ZipFile(wheel).namelist()
    assert {str(path.relative_to(layout.ROOT)) for path in files} <= set(packed)
    licences = {Path(name).name for name in packed if "/licenses/" in name}
    assert licences == {"LICENSE", "LICENSE-text"}


def test_an_answer_is_checked(run):
    said = run(
        "from labsupport.exercises import check, load\n"
        "exercise = load('weight_decay.sgd_step')\n"
        "print(check(exercise.id, exercise.reference).status)\n"
        "print(check(exercise.id, exercise.misconceptions[0].answer).misconception)\n"
        "print(exercise.misconceptions[0].name)"
    )
    right, found, known = said.split()
    assert (right, found) == ("correct", known)


def test_statements_exercises_and_the_explorer_find_their_files(run):
    said = run(
        "import matplotlib; matplotlib.use('agg')\n"
        "import matplotlib.pyplot as plt\n"
        "from labsupport import claims, cli\n"
        "from labsupport.explore import explore\n"
        "def draw(k):\n"
        "    figure, ax = plt.subplots()\n"
        "    ax.plot([0, k])\n"
        "    ax.set_title(f'A line from 0 to {k}')\n"
        "    return figure\n"
        "page = explore(draw, k=[1, 2]).html\n"
        "print(len(claims.STATEMENTS), '<style' in page and '<script' in page)\n"
        "cli.main(['exercises', '--json'])"
    )
    first, listed = said.split("\n", 1)
    statements, drawn = first.split()
    assert int(statements) > 40 and drawn == "True" and len(json.loads(listed)) > 50


def test_a_chapter_runs_up_to_its_first_claim(run):
    said = run(FIRST_CELLS.format(path=str(layout.chapters()[0])))
    assert "reproduced" in said


FIRST_CELLS = """
import json, matplotlib
matplotlib.use("agg")
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.load(open({path!r}))["cells"]:
    if cell["cell_type"] == "code":
        source = "".join(cell["source"])
        result = shell.run_cell(source)
        result.raise_error()
        if "claims.claim(" in source or "claims.exact(" in source:
            break
print(result.result.verdict)
"""
