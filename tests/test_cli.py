"""The command line, as its user types it."""

import json
import subprocess
import sys

import pytest
import torch

from labsupport import cli, runtime


def test_the_doctor_finds_nothing_to_fix_here(capsys):
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(cli.EXAMINED)
    assert all(line.startswith("OK ") for line in lines)
    assert torch.__version__ in lines[1] and "mnist1d 4000+1000" in lines[5]


@pytest.mark.parametrize(
    ("variable", "value", "row"),
    [("LABSUPPORT_DEVICE", "tpu", "device"), ("LABSUPPORT_PROFILE", "slow", "profile")],
)
def test_the_doctor_says_what_is_wrong_with_a_setting(capsys, monkeypatch, variable, value, row):
    monkeypatch.setenv(variable, value)
    assert cli.main(["doctor"]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FIX ")]
    assert any(row in line and value in line and "allowed are" in line for line in wrong)


def test_the_doctor_says_when_the_disk_is_full(capsys, monkeypatch):
    monkeypatch.setattr(cli.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    assert cli.main(["doctor"]) == 1
    assert "free 1 GiB or set LABSUPPORT_HOME" in capsys.readouterr().out


def test_the_exercises_are_listed_as_json(capsys):
    assert cli.main(["exercises", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"id", "chapter", "points", "misconceptions", "alternatives"} <= set(rows[0])
    assert "weight_decay.adamw_step" in {row["id"] for row in rows}
    assert all(
        row["points"] > 0 and len(row["misconceptions"]) >= 3 and row["alternatives"]
        for row in rows
    )


def test_an_unknown_command_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["dance"])
    assert stopped.value.code == 2 and "doctor" in capsys.readouterr().err


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, labsupport; print(sorted({'torch', 'pandas', 'matplotlib'} &"
        " set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize("value", ["0", "two", "-1"])
def test_a_bad_number_of_workers_is_named(monkeypatch, value):
    monkeypatch.setenv("LABSUPPORT_THREADS", value)
    with pytest.raises(ValueError, match=f"LABSUPPORT_THREADS is '{value}'"):
        runtime.workers()
