"""The built pages in a real browser with the network cut off, as a reader on a train opens them."""

import ast
import json
import re

import pytest

from tools import api, layout

PAGES = [*layout.built_names(), "search"]
THEMES = ("light", "dark")
CHAPTERS = [f"chapters/{path.stem}" for path in sorted(layout.CHAPTERS.glob("*.ipynb"))]
MAX_EXPLORER_BYTES = 1_500_000

on_every_page = pytest.mark.parametrize("name", PAGES)
in_both_themes = pytest.mark.parametrize(
    ("name", "theme"),
    [
        (name, theme)
        for name in PAGES
        for theme in THEMES
        # one template makes the API reference: one of its pages stands for all in the dark
        if theme == "light" or not name.startswith(f"{api.INDEX}/") or name == "api/machine"
    ],
)
in_every_chapter = pytest.mark.parametrize("name", CHAPTERS)


@in_both_themes
def test_no_request_leaves_the_machine(seen, name, theme):
    assert seen(name, theme).left_the_machine == []


@in_both_themes
def test_the_console_shows_no_error(seen, name, theme):
    assert seen(name, theme).errors == []


@on_every_page
def test_all_mathematics_is_typeset(seen, name):
    assert seen(name).not_typeset == []


@in_every_chapter
def test_a_chapter_has_mathematics_to_typeset(seen, name):
    assert seen(name).formulas > 0


@on_every_page
def test_every_image_is_there_and_says_what_it_shows(seen, name):
    assert [
        image
        for image in seen(name).images
        if not image["loaded"] or not is_description(image["alt"])
    ] == []


@in_every_chapter
def test_a_chapter_has_as_many_explorers_as_its_notebook_makes(seen, name):
    assert len(seen(name).explorers) == calls_of_explore(name)


@in_every_chapter
def test_every_slider_has_a_name_and_moves_the_picture_by_keyboard(seen, name):
    for sliders in seen(name).explorers:
        assert sliders, "an explorer without a slider"
        for slider in sliders:
            assert slider.label
            assert slider.before[0] != slider.after[0], (
                f"{slider.label}: the picture stays the same"
            )
            assert slider.before[1] != slider.after[1], (
                f"{slider.label}: the alt text stays the same"
            )


@on_every_page
def test_the_explorers_of_a_page_are_light(seen, name):
    assert seen(name).explorer_bytes <= MAX_EXPLORER_BYTES


@on_every_page
def test_what_is_folded_away_opens_from_the_keyboard(seen, name):
    for block in seen(name).solutions:
        assert block["was closed"] and block["is open"], block
        assert block["label"] not in ("", "Toggle hidden content"), (
            "a handle has to say what it opens"
        )


@in_every_chapter
def test_a_chapter_folds_away_its_solutions(seen, name):
    assert sum("solution" in block["label"].lower() for block in seen(name).solutions) >= 3


@in_both_themes
def test_axe_finds_nothing_serious(seen, name, theme):
    assert seen(name, theme).violations == []


@on_every_page
def test_a_phone_never_scrolls_sideways(seen, name):
    assert seen(name).page_width <= 390
    assert seen(name).too_wide == []


def is_description(alt: str) -> bool:
    """Words that a person wrote, neither a path nor a file's name."""
    return len(alt.split()) >= 4 and not re.search(r"\.(png|svg|jpe?g|gif)\b|_images/|^\W*$", alt)


def calls_of_explore(name: str) -> int:
    """How often the notebook behind a page calls ``explore``."""
    cells = json.loads(layout.page(name).read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    calls = [node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return sum(getattr(call, "id", getattr(call, "attr", "")) == "explore" for call in calls)
