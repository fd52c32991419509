"""The API reference: every topic and all that a chapter imports have their place in it."""

import re
import subprocess
import sys

import pytest

from tools import api, layout

PAGES = api.pages(layout.PACKAGE, layout.topics())
MODULES = {
    name: re.findall(r"automodule:: ([\w.]+)", text) for name, text in PAGES.items()
}  # what each page describes


def test_the_pages_are_those_of_the_contents_and_nobody_wrote_them():
    listed = [name for name in layout.names() if name in PAGES]
    assert listed == [api.INDEX, *api.names(layout.topics())] == list(PAGES)
    assert not {path.stem for path in layout.written_pages()} & {api.INDEX, "machine", "models"}


@pytest.mark.parametrize("topic", layout.topics())
def test_a_topic_has_a_page_with_its_equations(topic):
    (module,) = MODULES[f"{api.INDEX}/{topic}"]
    assert (layout.ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert f"({api.INDEX}/{topic}.md)" in PAGES[api.INDEX]


def test_every_name_that_a_chapter_imports_is_described_on_a_page_and_listed_on_the_first():
    described = {module for modules in MODULES.values() for module in modules}
    packages = {module.rpartition(".")[0] for module in described}
    offered = api.offered(layout.PACKAGE / "notebook.py")
    assert len(offered) > 30
    for name in offered:
        assert f"~{name}\n" in PAGES[api.INDEX]
        home = name.rpartition(".")[0]
        assert name in described or home in described or home in packages, name


def test_a_room_that_is_a_folder_stands_for_all_of_its_modules():
    assert {"labsupport.rules.descent", "labsupport.rules.local"} <= set(MODULES["api/rules"])
    assert "labsupport.rules" not in MODULES["api/rules"]


def test_no_page_needs_the_core_imported_to_be_written():
    code = "import sys, tools.render; print({'torch', 'numpy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=layout.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_colon_in_the_description_of_a_field_stays_where_it_is():
    from sphinx.ext.napoleon import Config, GoogleDocstring

    def shown(shielded: bool) -> str:
        lines = ["The mean squared deviation: divided by m."]
        if shielded:
            api.shield_colons(None, "attribute", "var", None, None, lines)
        return str(GoogleDocstring(lines, Config(), what="attribute", name="var"))

    assert "deviation: divided by m" in shown(shielded=True)
    assert "deviation: divided by m" not in shown(shielded=False), "no shield is needed any more"
