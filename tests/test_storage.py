"""Kept files save time and nothing else: what the machine does to them loses no result."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
import warnings

import pytest

from labsupport import storage
from tools import layout

as_root = pytest.mark.skipif(
    not hasattr(os, "setuid") or os.getuid() != 0, reason="root alone can become another user"
)


@pytest.fixture(autouse=True)
def nothing_warned(monkeypatch):
    monkeypatch.setattr(storage, "_warned", set())


def quietly(function, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*arguments)


def test_what_was_written_is_read(tmp_path):
    assert storage.read(tmp_path / "a") is None
    assert storage.write(tmp_path / "new" / "a", b"content") is True
    assert quietly(storage.read, tmp_path / "new" / "a") == b"content"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_is_readable_for_whom_the_umask_allows(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        storage.write(tmp_path / "a", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.parametrize("damage", [b"", b"short", b"0" * 32 + b"content"])
def test_a_damaged_file_counts_as_none_and_can_be_made_again(tmp_path, damage):
    path = tmp_path / "a"
    path.write_bytes(damage)
    with pytest.warns(UserWarning, match="^Kept files: a is damaged and is made again"):
        assert storage.read(path) is None
    assert storage.write(path, b"content") and storage.read(path) == b"content"


def test_a_file_in_the_place_of_the_folder_is_said_once_and_nothing_is_lost(tmp_path):
    (tmp_path / "results").write_text("a file")
    path = tmp_path / "results" / "a"
    with pytest.warns(UserWarning, match=r"results cannot be read or written \(.*LABSUPPORT_HOME"):
        assert storage.read(path) is None
    assert quietly(storage.write, path, b"content") is False
    assert (tmp_path / "results").read_text() == "a file"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_full_or_read_only_disk_is_said_once_and_leaves_no_half_file(
    tmp_path, monkeypatch, number
):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage.os, "replace", fails)
    with pytest.warns(UserWarning, match=os.strerror(number)):
        assert storage.write(tmp_path / "a", b"content") is False
    assert quietly(storage.write, tmp_path / "b", b"content") is False
    assert list(tmp_path.iterdir()) == []
    with pytest.warns(UserWarning, match="elsewhere cannot be"):
        assert storage.write(tmp_path / "elsewhere" / "a", b"content") is False


AS_ANOTHER = """
import os, sys, warnings
from pathlib import Path
from labsupport import storage
os.setgroups([]); os.setgid(12345); os.setuid(12345)
folder = Path(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(storage.read(folder / "a"), storage.write(folder / "a", b"new"), len(caught))
    print(storage.trouble(folder))
"""


@as_root
@pytest.mark.parametrize(
    ("mode", "outcome"),
    [(0o777, "b'old' True 0"), (0o755, "b'old' False 1"), (0o700, "None False 1")],
)
def test_a_folder_of_somebody_else_is_read_if_it_may_be_and_said_once_if_not(
    tmp_path_factory, mode, outcome
):
    folder = tmp_path_factory.mktemp("shared")
    for path in folder.parents[: len(folder.relative_to(tempfile.gettempdir()).parts) - 1]:
        path.chmod(0o755)  # pytest's own folders are closed to others
    storage.write(folder / "a", b"old")
    folder.chmod(mode)
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(folder)],
        capture_output=True,
        text=True,
        cwd=layout.ROOT,
    )
    said, trouble = done.stdout.splitlines()
    assert said == outcome, done.stderr
    assert trouble == "None" if mode == 0o777 else "Permission denied" in trouble


MANY = """
import sys
from pathlib import Path
from labsupport import storage
path, letter = Path(sys.argv[1]), sys.argv[2].encode()
for _ in range(200):
    assert storage.write(path, letter * 100_000)
    assert storage.read(path) in (b"a" * 100_000, b"b" * 100_000)
"""


def test_two_processes_that_write_one_file_lose_nothing(tmp_path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", MANY, str(tmp_path / "new" / "one"), letter],
            cwd=layout.ROOT,
        )
        for letter in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    storage.write(tmp_path / "a", b"old")
    monkeypatch.setattr(storage.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        storage.write(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert storage.read(tmp_path / "a") == b"old"


def test_a_folder_in_which_files_can_be_kept_has_no_trouble_and_is_left_as_it_was(tmp_path):
    assert storage.trouble(tmp_path / "new") is None
    assert list((tmp_path / "new").iterdir()) == []
