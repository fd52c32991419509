"""The command line, as its user types it."""

import errno
import json
import os
import subprocess
import sys
import tempfile
import warnings

import pytest
import torch

from labsupport import cli, runtime


@pytest.fixture
def row(capsys, monkeypatch):
    """What the doctor says in one row of its report, other rows left aside."""

    def examine(name):
        monkeypatch.setattr(cli, "EXAMINED", {name: cli.EXAMINED[name]})
        status = cli.main(["doctor"])
        said = capsys.readouterr().out
        assert said.startswith("FIX " if status else "OK ") and said.split()[1] == name
        return said

    return examine


def test_the_doctor_finds_nothing_to_fix_here(capsys, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    assert cli.main(["doctor"]) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(cli.EXAMINED)
    assert all(line.startswith("OK ") for line in lines.values())
    assert torch.__version__ in lines["torch"] and "mnist1d 4000+1000" in lines["data"]


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("LABSUPPORT_DEVICE", "tpu", "device"),
        ("LABSUPPORT_PROFILE", "slow", "profile"),
        ("LABSUPPORT_THREADS", "many", "cpus"),
        ("MPLBACKEND", "agg", "plots"),
        ("MPLBACKEND", "Agg", "plots"),
    ],
)
def test_the_doctor_says_what_is_wrong_with_a_setting(row, monkeypatch, variable, value, name):
    monkeypatch.setenv(variable, value)
    said = row(name)
    assert said.startswith("FIX ") and variable in said and value in said


def test_the_doctor_says_when_the_disk_is_full(row, monkeypatch):
    monkeypatch.setattr(cli.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    assert "free 1 GiB or set LABSUPPORT_HOME" in row("disk")


def test_the_doctor_says_where_results_cannot_be_kept(row, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABSUPPORT_HOME", str(tmp_path / "file"))
    said = row("home")
    assert said.startswith("FIX ") and f"{tmp_path}/file cannot be read or written" in said
    assert "or name another with LABSUPPORT_HOME" in said


@pytest.mark.parametrize(("umask", "words"), [(0o022, "others may"), (0o077, "others may not")])
def test_the_doctor_says_who_may_read_results(row, fresh_home, umask, words):
    before = os.umask(umask)
    try:
        assert f"{words} read them (umask {umask:03o})" in row("home")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


@pytest.mark.parametrize("variable", ["HOME", "MPLCONFIGDIR"])
def test_the_doctor_says_which_of_the_users_folders_cannot_be_written(
    row, monkeypatch, tmp_path, variable
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    said = row("user")
    assert said.startswith("FIX ") and f"{variable}={tmp_path}/file cannot be written" in said
    assert "the book is built all the same" in said


def test_the_doctor_says_when_there_is_no_home(row, monkeypatch):
    monkeypatch.setattr(cli.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    said = row("user")
    assert said.startswith("FIX ") and "set HOME to one that is writable" in said


def test_the_doctor_says_which_folder_for_temporary_files_is_used(row, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    said = row("temp")
    assert said.startswith("OK ") and f"TMPDIR={tmp_path}/missing cannot be written" in said


def test_the_doctor_says_when_there_is_no_folder_for_temporary_files(row, monkeypatch):
    def none():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(cli.tempfile, "gettempdir", none)
    said = row("temp")
    assert said.startswith("FIX ") and "set TMPDIR to another" in said


def test_the_doctor_names_the_users_own_settings_and_that_the_book_leaves_them_out(
    row, monkeypatch, tmp_path
):
    (tmp_path / "profile_default").mkdir()
    (tmp_path / "profile_default" / "ipython_config.py").touch()
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    for name in ("PIP_USER", "PYTHONSAFEPATH", "UV_PYTHON"):
        monkeypatch.setenv(name, "1")
    said = row("settings")
    assert said.startswith("OK ") and "the built book leave them out" in said
    for name in ("PIP_USER", "PYTHONSAFEPATH", "UV_PYTHON", "profile_default/ipython_config.py"):
        assert name in said


def test_the_doctor_names_a_driver_that_is_too_old(row, monkeypatch, recwarn):
    def old():
        warnings.warn("CUDA initialization: The NVIDIA driver is too old.", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", old)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    said = row("cuda")
    assert said.startswith("OK ") and "driver is too old. Everything runs on the CPU" in said
    assert "up to date for CUDA 12.8" in said and not recwarn.list


@pytest.mark.skipif(sys.platform != "linux", reason="processes are bound to CPUs on Linux only")
def test_the_doctor_counts_the_cpus_that_may_be_used(row, monkeypatch):
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert f"1 of {os.cpu_count()} may be used; 1 stacks" in row("cpus")
    finally:
        os.sched_setaffinity(0, before)


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


@pytest.mark.parametrize("value", ["0", "two", "-1", "²"])
def test_a_bad_number_of_workers_is_named(monkeypatch, value):
    monkeypatch.setenv("LABSUPPORT_THREADS", value)
    with pytest.raises(ValueError, match=f"LABSUPPORT_THREADS is '{value}'"):
        runtime.workers()
