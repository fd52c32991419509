"""Every test keeps its data, results and claims in a folder of its own."""

import urllib.request
from urllib.error import URLError

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory):
    """Data are made once a session; a test that stores results asks for ``fresh_home``."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LABSUPPORT_HOME", str(tmp_path_factory.mktemp("home")))
    patch.delenv("LABSUPPORT_CLAIMS", raising=False)
    yield
    patch.undo()


@pytest.fixture
def fresh_home(tmp_path, monkeypatch):
    """An empty folder for results and claims."""
    monkeypatch.setenv("LABSUPPORT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The folder of a small CIFAR-10 and a small MNIST, where there is no network."""
    from tests import small as files

    for name in ("mnist1d", "mnist5k"):
        files.made(name)
    monkeypatch.setattr(files.datasets, "_bundled", files.made)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: (_ for _ in ()).throw(URLError("there is no network")))
    monkeypatch.setenv("LABSUPPORT_HOME", str(tmp_path))
    files.write(tmp_path / "data", monkeypatch)
    files.datasets._pool.cache_clear()
    yield tmp_path / "data"
    files.datasets._pool.cache_clear()


@pytest.fixture
def full(small, monkeypatch):
    """The full profile, with the small data in the place of the real ones."""
    monkeypatch.setenv("LABSUPPORT_PROFILE", "full")
    return small
