"""Atomic, checksummed files, keyed by digests of what made them.

A stored file saves time and nothing else. Where it cannot be read or written, the machine is to
blame and not the reader: one warning names the folder and what to do, and the work goes on without.
"""

import contextlib
import hashlib
import os
import uuid
import warnings
from pathlib import Path

SAYS = "Kept files"
"""How every warning of this module begins, so that a book can be built without them."""
_warned: set[Path] = set()
"""The folders that this process has warned of."""


def write(path: Path, content: bytes) -> bool:
    """Write content with its checksum to path atomically; of two writers the later one wins.

    The file may be read by whom the umask allows.

    Returns:
        Whether it is there now; if not, a warning has been given, once for a folder.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(_checksum(content) + content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        _warn(path.parent, error)
        return False
    return True


def read(path: Path) -> bytes | None:
    """Read the content at path; None if there is none, or, with a warning, if it is damaged."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _warn(path.parent, error)
        return None
    if whole[:32] == _checksum(whole[32:]):
        return whole[32:]
    warnings.warn(f"{SAYS}: {path.name} is damaged and is made again", stacklevel=2)
    return None


def trouble(folder: Path) -> str | None:
    """Explain why a folder cannot hold files and what to do; None if it can."""
    probe = folder / f".probe.{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.listdir(folder)
        try:
            probe.write_bytes(bytes(4096))  # on a full disk an empty file can still be made
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return _advice(folder, error)
    return None


def _advice(folder: Path, error: OSError) -> str:
    return (
        f"{folder} cannot be read or written ({error.strerror or error}), so what would be kept"
        " there is computed each time. Make the folder readable and writable, or name another with"
        " LABSUPPORT_HOME"
    )


def _warn(folder: Path, error: OSError) -> None:
    if folder not in _warned:
        _warned.add(folder)
        warnings.warn(f"{SAYS}: {_advice(folder, error)}", stacklevel=3)


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()
