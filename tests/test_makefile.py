"""The set-up does not depend on what its user has set for other environments."""

import os
import shutil
import subprocess

import pytest

from tools import layout

SHOW = f"include {layout.ROOT / 'Makefile'}\nshow:\n\t@env\n"


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_of_the_users_settings_only_the_source_of_packages_reaches_a_recipe(tmp_path):
    (tmp_path / "show.mk").write_text(SHOW)
    odd = {
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_TARGET": "/elsewhere",
        "PIP_USER": "1",
        "PYTHONHOME": "/elsewhere",
        "PYTHONPATH": "/elsewhere",
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "error",
        "UV_PYTHON": "/elsewhere",
        "UV_SYSTEM_PYTHON": "1",
        "VIRTUAL_ENV": "/elsewhere",
        "CONDA_PREFIX": "/elsewhere",
    }
    sources = {
        "PIP_CONFIG_FILE": "/pip.conf",
        "PIP_INDEX_URL": "the index",
        "UV_DEFAULT_INDEX": "the index",
        "UV_INDEX_OURS_USERNAME": "somebody",
        "UV_HTTP_TIMEOUT": "7",
    }
    done = subprocess.run(
        ["make", "--file", tmp_path / "show.mk", "show"],
        cwd=layout.ROOT,
        env=os.environ | odd | sources,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert {name: seen[name] for name in odd if name in seen} == {
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_USER": "0",
    }
    assert {name: seen.get(name) for name in sources} == sources
