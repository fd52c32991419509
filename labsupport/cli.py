"""The command line: labsupport lab | exercises | claims | doctor."""

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

NEEDED_BYTES = 2**30
DRAWS_INTO_FILES = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
"""Matplotlib's backends that show nothing in a notebook."""
LEFT_OUT = (
    "PYTHON",
    "PIP_",
    "UV_",
    "IPYTHON",
    "JUPYTER",
    "MATPLOTLIB",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
)
"""How the names of variables begin that the book is built without."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 when all is well."""
    parser = argparse.ArgumentParser(
        prog="labsupport", description="The package behind the lab book."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (run, help) in COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help)
        command.set_defaults(run=run)
        if name in ("exercises", "claims"):
            command.add_argument("--json", action="store_true", help="print a list of objects")
    given = parser.parse_args(arguments)
    return given.run(given)


def doctor(given: argparse.Namespace) -> int:
    """Report for each thing the book needs that it is OK, or what to do."""
    findings = [(name, *_examine(look)) for name, look in EXAMINED.items()]
    for name, fine, words in findings:
        print(f"{'OK  ' if fine else 'FIX '} {name:8} {words}")
    return 0 if all(fine for _, fine, _ in findings) else 1


def _examine(look: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
    try:
        return look()
    except Exception as error:
        return False, str(error)


def _python() -> tuple[bool, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    fine = sys.version_info >= (3, 11)
    return (
        fine,
        (
            version
            if fine
            else f"{version}; the book needs 3.11 or newer: make it with another PYTHON=..."
        ),
    )


def _torch() -> tuple[bool, str]:
    import torch

    return True, f"{torch.__version__}, {torch.get_num_threads()} threads"


def _cuda() -> tuple[bool, str]:
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        there = torch.cuda.is_available()
    if there:
        return True, f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    if torch.version.cuda is None:
        return True, "not used: this PyTorch is built without CUDA; everything runs on the CPU"
    if said:
        reason = " ".join(str(said[-1].message).split())
        return True, (
            f"not used: {reason} Everything runs on the CPU; to use the GPU, bring its driver up to"
            f" date for CUDA {torch.version.cuda}"
        )
    return True, "not used: PyTorch sees no CUDA device or driver; everything runs on the CPU"


def _device() -> tuple[bool, str]:
    from labsupport import runtime

    return True, f"{runtime.device()} (LABSUPPORT_DEVICE overrides)"


def _profile() -> tuple[bool, str]:
    from labsupport import runtime

    return True, f"{runtime.profile()} (LABSUPPORT_PROFILE overrides)"


def _cpus() -> tuple[bool, str]:
    from labsupport import machine, runtime

    return True, (
        f"{machine.cpus()} of {os.cpu_count()} may be used; {runtime.workers()} stacks of runs"
        " train side by side (LABSUPPORT_THREADS overrides)"
    )


def _home() -> tuple[bool, str]:
    from labsupport import runtime, storage

    folder = runtime.home()
    if trouble := storage.trouble(folder):
        return False, trouble
    umask = os.umask(0o022)
    os.umask(umask)
    readers = "others may read them" if not umask & 0o004 else "others may not read them"
    return True, f"results are kept in {folder}; {readers} (umask {umask:03o})"


def _user() -> tuple[bool, str]:
    """Locate the user's folders of JupyterLab, IPython and Matplotlib."""
    from labsupport import storage

    try:
        folders = {"HOME": Path.home()}
    except RuntimeError:
        return False, (
            "HOME is not set and the user has no entry in the list of users; the book is built all"
            " the same, JupyterLab needs a folder: set HOME to one that is writable"
        )
    if given := os.environ.get("MPLCONFIGDIR"):
        folders["MPLCONFIGDIR"] = Path(given)
    for name, folder in folders.items():
        if storage.trouble(folder):
            return False, (
                f"{name}={folder} cannot be written; the book is built all the same, JupyterLab and"
                f" plots in it need it: make it writable or set {name} to another folder"
            )
    return True, f"{' and '.join(map(str, folders.values()))} can be written"


def _temp() -> tuple[bool, str]:
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        return False, f"{error.strerror}; make one of them writable or set TMPDIR to another"
    wanted = os.environ.get("TMPDIR")
    if wanted and os.path.abspath(wanted) != folder:
        return True, f"{folder}, for TMPDIR={wanted} cannot be written"
    return True, folder


def _plots() -> tuple[bool, str]:
    backend = os.environ.get("MPLBACKEND", "")
    if backend.lower() in DRAWS_INTO_FILES:
        return False, (
            f"MPLBACKEND={backend}: the book has its figures, but a chapter opened in JupyterLab"
            " shows none: unset MPLBACKEND"
        )
    return True, "are shown in notebooks" + (f" (MPLBACKEND={backend})" if backend else "")


def _settings() -> tuple[bool, str]:
    """Locate the user's settings of Python, pip, IPython and Jupyter."""
    names = sorted(name for name in os.environ if name.startswith(LEFT_OUT))
    profile = Path(os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython"))
    files = [
        str(file)
        for pattern in ("ipython*_config.py", "startup/*.py", "startup/*.ipy")
        for file in sorted((profile / "profile_default").glob(pattern))
    ]
    if not names and not files:
        return True, "none of the user's for Python, pip, IPython or Jupyter"
    return True, (
        f"{', '.join([*names, *files])}: make and the built book leave them out, or take of pip's"
        " and uv's only where packages come from; JupyterLab heeds them"
    )


def _data() -> tuple[bool, str]:
    from labsupport import datasets

    splits = [datasets.load(name) for name in datasets.SOURCES]
    return True, ", ".join(
        f"{s.name} {len(s.y_train)}+{len(s.y_test)} ({s.digest.split('/')[0]})" for s in splits
    )


def _full() -> tuple[bool, str]:
    from labsupport import published, runtime

    for name in published.PUBLISHED:
        published.refuse_damaged(name)
    lacking = [name for name in published.PUBLISHED if published.missing(name)]
    if not lacking:
        return True, f"{' and '.join(published.PUBLISHED)} are there, checksums verified"
    if runtime.profile() == "quick":
        return True, f"{' and '.join(lacking)} not there; the quick profile needs none"
    return False, "the first run fetches what is missing. " + " ".join(
        published.advice(name) for name in lacking
    )


def _disk() -> tuple[bool, str]:
    from labsupport import runtime

    folder = runtime.home()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    words = f"{free / 2**30:.1f} GiB free for results in {folder}"
    return (
        free >= NEEDED_BYTES,
        words if free >= NEEDED_BYTES else f"{words}; free 1 GiB or set LABSUPPORT_HOME",
    )


EXAMINED = {
    "python": _python,
    "torch": _torch,
    "cuda": _cuda,  # before the device, which would print what the driver says
    "device": _device,
    "profile": _profile,
    "cpus": _cpus,
    "home": _home,
    "disk": _disk,
    "temp": _temp,
    "user": _user,
    "plots": _plots,
    "settings": _settings,
    "data": _data,
    "full": _full,
}


def exercises(given: argparse.Namespace) -> int:
    """List the exercises of every chapter."""
    from labsupport.exercises import catalogue

    rows = catalogue()
    if given.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(
                f"{row['id']:40} {row['points']:>3} points, {len(row['misconceptions'])}"
                " misconceptions known"
            )
    return 0


def claims(given: argparse.Namespace) -> int:
    """List what the executed chapters have claimed."""
    from labsupport import claims as ledger

    entries = ledger.ledger()
    keys = ("id", "chapter", "kind", "statement", "estimate", "low", "high", "runs", "verdict")
    if given.json:
        print(
            json.dumps([{key: getattr(entry, key) for key in keys} for entry in entries], indent=1)
        )
    elif entries:
        print("\n".join(repr(entry) for entry in entries))
    else:
        print(f"no claims in {ledger.folder()}; execute a chapter first")
    return 0


def lab(given: argparse.Namespace) -> int:
    """Open JupyterLab on the chapters."""
    chapters = Path(__file__).resolve().parents[1] / "chapters"
    folder = chapters if chapters.exists() else Path.cwd()
    try:
        importlib.metadata.version("jupyterlab")
    except importlib.metadata.PackageNotFoundError:
        print("JupyterLab is not installed; run: pip install jupyterlab", file=sys.stderr)
        return 1
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(folder)])


COMMANDS = {
    "lab": (lab, "open JupyterLab on the chapters"),
    "exercises": (exercises, "list the exercises"),
    "claims": (claims, "list what executed chapters claimed, with verdicts"),
    "doctor": (doctor, "say of each thing the book needs whether it is OK, or what to do"),
}

if __name__ == "__main__":
    sys.exit(main())
