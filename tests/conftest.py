"""Every test keeps its data, results and claims in a folder of its own."""

import urllib.request
from urllib.error import URLError

import pytest
import torch
from nbval import kernel as nbval_kernel
from torch._subclasses.fake_tensor import FakeTensorMode

from labsupport import runtime
from labsupport.streams import Streams
from tools.kernels import OwnKernel


def pytest_configure():
    """nbval's kernels are the book's own, whatever kernel it asks for."""
    nbval_kernel.KernelManager = lambda **_: OwnKernel()


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    """Data are made once a session; a test that stores results asks for ``fresh_home``."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True, scope="module")
def own_home(shared_home):
    """For the tests alone: a notebook that is validated after them finds what the book has
    trained.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABSUPPORT_HOME", str(shared_home))
        patch.delenv("LABSUPPORT_CLAIMS", raising=False)
        yield


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
    monkeypatch.setattr(
        urllib.request,
        "urlopen",
        lambda *_, **__: (_ for _ in ()).throw(URLError("there is no network")),
    )
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


@pytest.fixture
def fake_cuda(monkeypatch):
    """Tensors on a GPU that is not there. Autograd cannot run on them, so its gradients are stood
    in for.

    Autograd counts the devices once, at the first backward pass of a process, and starts a thread
    for each; processes that are forked after that cannot use it. So that pass comes before a device
    is pretended.
    """
    torch.ones(1, requires_grad=True).sum().backward()
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cuda"))
    # neither NumPy nor a kernel of Triton's sees a fake tensor
    monkeypatch.setattr(
        Streams,
        "_draw",
        lambda self, count, like, *_: torch.rand(len(self), count, device=like.device),
    )
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield
