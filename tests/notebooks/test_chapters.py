"""What every chapter has to be, read off the notebook as it is committed."""

import ast
import json
import re

import nbformat
import pytest
from nbgrader.nbgraderformat.v3 import MetadataValidatorV3

from labsupport import claims, exercises
from tests.notebooks import cells
from tools import layout

SECTIONS = (
    "Question",
    "Setup",
    "Idea",
    "Code",
    "See it",
    "Measure it",
    "Reading it",
    "How it fails",
    "Your turn",
    "Sources",
)
MAX_LINES = 15
MAX_COLUMNS = 88
"""What fits beside the page's list of contents; a longer line scrolls out of sight."""
MAX_SETUP_LINES = 6
MIN_EXERCISES = 3
STUB_OR_CHECK = {
    "schema_version",
    "grade",
    "solution",
    "locked",
    "grade_id",
    "task",
    "points",
    "cell_type",
}


def test_a_chapter_is_a_valid_notebook(chapter):
    nbformat.validate(json.loads(chapter.read_text()))


def test_a_chapter_is_committed_without_outputs(chapter):
    for cell in cells.code_cells(cells.read(chapter)):
        assert cell.outputs == [], cell.source
        assert cell.execution_count is None, cell.source


def test_a_chapter_has_its_sections_in_order(chapter):
    headings = re.findall(r"^## +(.+?) *$", cells.prose(cells.read(chapter)), re.MULTILINE)
    found = [section for heading in headings for section in SECTIONS if heading.startswith(section)]
    assert list(dict.fromkeys(found)) == list(SECTIONS), headings


def test_code_cells_are_short(chapter):
    long = [
        cell.source
        for cell in cells.code_cells(cells.read(chapter))
        if cells.lines_of_code(cell) > MAX_LINES
    ]
    assert long == []


def test_the_first_code_cell_is_a_short_set_up_and_imports_all_that_is_ours(chapter):
    setup, *others = cells.lesson_cells(cells.read(chapter))
    assert cells.lines_of_code(setup) <= MAX_SETUP_LINES, setup.source
    assert "labsupport" in setup.source
    assert [cell.source for cell in others if cells.imports(cell, "labsupport")] == []


def test_a_chapter_begins_with_the_cell_that_installs_what_is_missing(chapter):
    """The same in every chapter; on the page it is left out, for there is nothing to install."""
    first = cells.code_cells(cells.read(chapter))[0]
    assert first.metadata.tags == ["install", "remove-cell"]
    assert first.source == cells.INSTALL


def test_code_fits_on_the_page(chapter):
    lines = [
        line for cell in cells.code_cells(cells.read(chapter)) for line in cell.source.splitlines()
    ]
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


def test_prose_outweighs_code(chapter):
    notebook = cells.read(chapter)
    code = "\n".join(cell.source for cell in cells.code_cells(notebook))
    assert len(cells.prose(notebook).split()) > len(code.split())


def test_functions_are_defined_in_stubs_only(chapter):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for cell in cells.code_cells(cells.read(chapter)):
        if not cells.is_stub(cell):
            defined = [node.name for node in ast.walk(cells.tree(cell)) if isinstance(node, kinds)]
            assert defined == [], "this belongs in labsupport"


def test_a_stub_holds_imports_and_one_function_that_says_it_is_not_written_yet(chapter):
    for cell in filter(cells.is_stub, cells.read(chapter).cells):
        body = cells.tree(cell).body
        assert all(
            isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef)) for node in body
        ), cell.source
        assert len(cells.functions(cells.tree(cell))) == 1, cell.source
        assert "raise NotImplementedError" in cell.source


def test_the_grading_metadata_is_valid(chapter):
    notebook = cells.read(chapter)
    MetadataValidatorV3().validate_nb(notebook)
    for cell in filter(cells.grading, notebook.cells):
        assert set(cells.grading(cell)) <= STUB_OR_CHECK
        assert cells.grading(cell)["schema_version"] == 3


def test_every_stub_is_followed_by_its_locked_check_with_points(chapter):
    graded = [
        cell for cell in cells.read(chapter).cells if cells.is_stub(cell) or cells.is_check(cell)
    ]
    stubs, checks = graded[::2], graded[1::2]
    assert len(stubs) == len(checks) >= MIN_EXERCISES
    for stub, check in zip(stubs, checks, strict=True):
        assert (
            cells.is_stub(stub) and not cells.is_check(stub) and not cells.grading(stub)["locked"]
        )
        assert cells.is_check(check) and not cells.is_stub(check) and cells.grading(check)["locked"]
        assert cells.grading(check)["points"] > 0
        name = cells.functions(cells.tree(stub))[0]
        assert re.search(rf'check\("\w+\.\w+", {name}\)\s*$', check.source), check.source


def test_a_chapter_asks_every_exercise_of_its_topic_for_all_its_points(chapter):
    shelf = {
        row["id"]: row["points"]
        for row in exercises.catalogue()
        if row["chapter"] == layout.topic(chapter)
    }
    asked = {
        re.search(r'check\("([\w.]+)"', cell.source)[1]: cells.grading(cell)["points"]
        for cell in cells.read(chapter).cells
        if cells.is_check(cell)
    }
    assert asked == shelf


def test_a_hint_names_a_section_that_the_chapter_has(chapter):
    headings = re.findall(r"^##+ +(.+?) *$", cells.prose(cells.read(chapter)), re.MULTILINE)
    for row in exercises.catalogue():
        if row["chapter"] == layout.topic(chapter):
            exercise = exercises.load(row["id"])
            named = {exercise.section, *(wrong.section for wrong in exercise.misconceptions)}
            assert named <= set(headings), exercise.id


def test_every_statement_of_a_topic_is_claimed_where_the_claims_page_links_to(chapter):
    text = cells.prose(cells.read(chapter))
    code = "\n".join(cell.source for cell in cells.code_cells(cells.read(chapter)))
    for id, statement in claims.STATEMENTS.items():
        if statement["chapter"] == layout.topic(chapter):
            assert f"(claim-{id})=" in text and re.search(
                rf'claims\.(claim|exact)\("{id}"', code
            ), id


@pytest.fixture
def executed(chapter, book):
    """The chapter as the book shows it."""
    return cells.read(layout.EXECUTED / chapter.stem / "notebook.ipynb")


def test_a_cell_shows_at_most_one_figure_and_says_what_is_seen_in_it(executed):
    for cell in cells.code_cells(executed):
        figures = [
            o for o in cell.outputs if any(kind.startswith("image/") for kind in o.get("data", {}))
        ]
        assert len(figures) <= 1, f"two figures would share one alt text:\n{cell.source}"
        if figures:
            shown = cell.metadata.get("mystnb", {})
            assert shown.get("image", {}).get("alt"), f"no mystnb.image.alt:\n{cell.source}"
            assert shown.get("figure", {}).get("caption"), (
                f"no mystnb.figure.caption:\n{cell.source}"
            )


def test_an_unsolved_exercise_is_called_not_attempted(executed):
    for cell in filter(cells.is_check, executed.cells):
        assert "not attempted" in cells.text_of(cell).lower()
