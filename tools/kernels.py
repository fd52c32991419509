"""How a notebook's kernel is reached.

Over TCP a port is chosen first and bound later, by the kernel: on a busy machine another process
takes it in between, and the kernel dies. A Unix socket has a name of its own from the start.
"""

import os
import tempfile
import uuid

from traitlets.config import Config


def own_sockets() -> Config:
    """Settings of a kernel manager for one kernel; where there are no Unix sockets, the usual
    ones.
    """
    if os.name != "posix":
        return Config()
    return Config(
        KernelManager={
            "transport": "ipc",
            "ip": f"{tempfile.gettempdir()}/kernel-{uuid.uuid4().hex}",
        }
    )
