"""Files that are whole or not there: written atomically, read with a check, keyed by digests of
what made them.
"""

import functools
import hashlib
import importlib.metadata
import os
import tempfile
import warnings
from pathlib import Path

PACKAGE = Path(__file__).parent


def write(path: Path, content: bytes) -> None:
    """Put content at path with its checksum in front, in one step: a reader sees the old file or
    the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_checksum(content) + content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: Path) -> bytes | None:
    """The content at path; None if there is no such file, or, with a warning, if the file is
    damaged.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    if whole[:32] == _checksum(whole[32:]):
        return whole[32:]
    warnings.warn(f"{path.name} is damaged and is made again", stacklevel=2)
    return None


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()


@functools.cache
def source_digest(*files: str) -> str:
    """Of the named files of this package, or of all that fit a pattern: results made by other
    source are not these.
    """
    sources = b"".join(path.read_bytes() for file in files for path in sorted(PACKAGE.glob(file)))
    return hashlib.blake2b(sources, digest_size=8).hexdigest()


def version_tag(distribution: str) -> str:
    """The installed version of a distribution as a part of a file name."""
    return "-" + importlib.metadata.version(distribution)
