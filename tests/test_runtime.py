"""What the machine allows and where results go, on machines of every kind."""

import os
import subprocess
import sys

import pytest

from labsupport import machine, runtime
from tools import layout

as_root = pytest.mark.skipif(
    not hasattr(os, "setuid") or os.getuid() != 0, reason="root alone can become another user"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package as it is outside of a checkout, with no setting of its own."""
    monkeypatch.delenv("LABSUPPORT_HOME", raising=False)
    monkeypatch.setattr(runtime, "__file__", str(tmp_path / "site" / "labsupport" / "runtime.py"))


def test_the_cache_is_where_xdg_says(installed, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runtime.home() == tmp_path / "labsupport"


@pytest.mark.parametrize("ignored", ["", "relative", None])
def test_an_empty_or_relative_cache_counts_as_none(installed, monkeypatch, tmp_path, ignored):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if ignored is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
    assert runtime.home() == tmp_path / ".cache" / "labsupport"


NOBODY = """
import os
from labsupport import runtime
runtime.__file__ = "/site/labsupport/runtime.py"
os.setgroups([]); os.setgid(12345); os.setuid(12345)
print(runtime.home())
"""


@as_root
@pytest.mark.parametrize("settings", [{"XDG_CACHE_HOME": "/cache"}, {}])
def test_a_user_whom_nobody_knows_has_a_folder(settings):
    left_out = ("HOME", "XDG_CACHE_HOME", "LABSUPPORT_HOME", "TMPDIR")
    done = subprocess.run(
        [sys.executable, "-c", NOBODY],
        env={k: v for k, v in os.environ.items() if k not in left_out} | settings,
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
    )
    wanted = "/cache/labsupport" if settings else "/tmp/cache-12345/labsupport"
    assert done.stdout.strip() == wanted, done.stderr


@pytest.fixture
def bound():
    """This process on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@on_linux
def test_cpus_that_a_process_is_not_bound_to_do_not_count(bound, monkeypatch):
    monkeypatch.delenv("LABSUPPORT_THREADS", raising=False)
    monkeypatch.setenv("LABSUPPORT_DEVICE", "cpu")
    monkeypatch.setattr(runtime.torch, "get_num_threads", lambda: 2)
    assert machine.cpus() == 1 and runtime.workers() == 1


@on_linux
@pytest.mark.parametrize(
    ("own", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "max 100000"}, 8),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/of/the/host\n", {"cpu.max": "400000 100000"}, 4),
        (
            "4:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"},
            2,
        ),
        (
            "4:cpu,cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            8,
        ),
        ("0::/\n", {}, 8),
        ("no groups", {}, 8),
    ],
)
def test_a_container_has_the_cpus_of_its_quota(tmp_path, monkeypatch, own, files, cpus):
    (tmp_path / "own").write_text(own)
    for name, content in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "tree")
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.cpus() == cpus


@on_linux
def test_a_process_whose_parent_is_gone_already_ends_at_once():
    code = "import os; from labsupport import machine; machine.end_with_parent(1); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], cwd=layout.ROOT, capture_output=True)
    assert done.returncode == -9 and done.stdout == b""
