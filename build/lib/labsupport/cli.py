"""The command line: labsupport lab | exercises | claims | doctor."""

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

NEEDED_BYTES = 2**30


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
    """Say of each thing the book needs whether it is OK, or what to do."""
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


def _device() -> tuple[bool, str]:
    from labsupport import runtime

    return True, f"{runtime.device()} (LABSUPPORT_DEVICE overrides)"


def _cuda() -> tuple[bool, str]:
    import torch

    if torch.cuda.is_available():
        return True, f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    if torch.version.cuda is None:
        return True, "not used: this PyTorch is built without CUDA; everything runs on the CPU"
    return True, "not used: PyTorch sees no CUDA device or driver; everything runs on the CPU"


def _profile() -> tuple[bool, str]:
    from labsupport import runtime

    return True, f"{runtime.profile()} (LABSUPPORT_PROFILE overrides)"


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
    "device": _device,
    "cuda": _cuda,
    "profile": _profile,
    "data": _data,
    "full": _full,
    "disk": _disk,
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
