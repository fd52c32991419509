"""The kernel of the book's notebooks: IPython as it comes, ended with the process that started it.

python -m tools.kernel -f CONNECTION_FILE
"""

import os

from ipykernel.kernelapp import IPKernelApp

from labsupport import machine


class Kernel(IPKernelApp):
    """A kernel that no configuration file of the user or the machine changes."""

    def load_config_file(self, *_: object, **__: object) -> None:
        """Read none."""


if __name__ == "__main__":
    machine.end_with_parent(int(os.environ["JPY_PARENT_PID"]))
    Kernel.launch_instance()
