"""Kernels on which the machine and its user leave no mark: how they are started and reached.

What a page shows must not depend on who built it. A kernel is this interpreter, whatever kernels
are installed beside it; it reads no configuration of the user, and writes nothing below his home.
"""

import functools
import os
import subprocess
import sys
import tempfile
import uuid

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager, KernelManager

from labsupport import storage
from tools import layout

FOLDER = layout.BUILD / "kernel"
"""What kernels would else keep in the user's home."""
USERS_OWN = (
    "PYTHON",
    "IPYTHON",
    "JUPYTER",
    "JPY_",
    "MPL",
    "MATPLOTLIB",
    "TQDM_",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "COLUMNS",
    "LINES",
)
"""How the names of variables begin by which a user changes what Python, IPython or Matplotlib do or
print.
"""
NOT_THE_READERS = (storage.SAYS, "CUDA initialization")
"""How warnings begin that are about the machine; ``labsupport doctor`` says them, a page does not.
"""
LONGEST_SOCKET = 100
"""Bytes in a socket's path: Linux allows 107, macOS 103."""


def environment(**settings: str) -> dict[str, str]:
    """The variables of a kernel: those of this process without the user's own, and the settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(USERS_OWN)
    } | settings
    if given := kept.get("LABSUPPORT_HOME"):
        # a kernel runs in its notebook's folder, where a relative path would be another
        kept["LABSUPPORT_HOME"] = os.path.abspath(os.path.expanduser(given))
    return kept | {
        "IPYTHONDIR": str(FOLDER / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(FOLDER / "jupyter"),
        "MPLCONFIGDIR": str(FOLDER / "matplotlib"),
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(layout.ROOT),  # this checkout's package, wherever another is installed
        "PYTHONUTF8": "1",
        "PYTHONWARNINGS": ",".join(f"ignore:{words}" for words in NOT_THE_READERS),
    }


@functools.cache
def prepare() -> None:
    """Make the folders of the kernels, and Matplotlib's list of fonts: in a kernel that has to make
    it first, a warning would be printed on the page.
    """
    for name in ("ipython", "jupyter", "matplotlib"):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"],
        env=environment(),
        stderr=subprocess.DEVNULL,
        check=True,
    )


def socket_path() -> str | None:
    """What the names of a new kernel's Unix sockets begin with; None where they cannot be used.

    Over TCP a port is chosen first and bound later, by the kernel: on a busy machine another
    process takes it in between, and the kernel dies. A Unix socket has a name of its own from the
    start. Linux has such names outside of the file system ("@"): they are never too long, and
    nothing is left to clean up. Elsewhere the socket is a temporary file.
    """
    if os.name != "posix":
        return None
    name = f"kernel-{uuid.uuid4().hex[:16]}"
    path = f"@{name}" if sys.platform == "linux" else f"{tempfile.gettempdir()}/{name}"
    return path if len(os.fsencode(path)) < LONGEST_SOCKET else None


class _Own:
    """Start ``tools.kernel`` in an environment of its own, reached over sockets of its own."""

    kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "tools.kernel", "-f", "{connection_file}"],
        display_name="Python 3",
        language="python",
    )

    def __init__(self, **settings):
        super().__init__(**settings)
        if path := socket_path():
            self.transport, self.ip = "ipc", path

    def start_kernel(self, **settings):
        prepare()
        return super().start_kernel(**settings | {"env": environment(**settings.get("env", {}))})


class OwnKernel(_Own, KernelManager):
    """For callers that wait."""


class AsyncOwnKernel(_Own, AsyncKernelManager):
    """For callers that await."""
