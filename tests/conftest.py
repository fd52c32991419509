"""Every test keeps its data, results and claims in a folder of its own."""

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
