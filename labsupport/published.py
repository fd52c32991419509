"""CIFAR-10 and MNIST as they were published: check the files, fetch missing ones, read them.

The files lie in ``data`` below the book's home, in the folders and under the names that torchvision
gives them. At every reading each is held to the checksum that torchvision knows. What is missing is
fetched into a folder aside and moved in when it is whole. No file that is there is ever written
over or removed; a damaged one is never used, but named.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labsupport import runtime


class Unavailable(RuntimeError):
    """Raised when data are missing or damaged; the message says which files belong where."""


class Files(NamedTuple):
    """What torchvision knows of a data set: its files below the folder, each with its md5."""

    dataset: Callable[..., Any]
    kept: dict[str, str]
    """The files that are read."""
    fetched: dict[str, str]
    """The files that they come from."""
    address: str


def _mnist() -> Files:
    from torchvision.datasets import MNIST

    files = {f"MNIST/raw/{file}": md5 for file, md5 in MNIST.resources}
    return Files(MNIST, files, files, MNIST.mirrors[0])


def _cifar10() -> Files:
    from torchvision.datasets import CIFAR10

    files = [
        *CIFAR10.train_list,
        *CIFAR10.test_list,
        (CIFAR10.meta["filename"], CIFAR10.meta["md5"]),
    ]
    kept = {f"{CIFAR10.base_folder}/{file}": md5 for file, md5 in files}
    return Files(CIFAR10, kept, {CIFAR10.filename: CIFAR10.tgz_md5}, CIFAR10.url)


PUBLISHED: dict[str, Callable[[], Files]] = {"mnist": _mnist, "cifar10": _cifar10}


def folder() -> Path:
    """Find the folder of the files."""
    return runtime.home() / "data"


def read(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the images (N, C, H, W), uint8, and labels (N,), int64, of "train" and "test".

    Both are in the published order.

    Raises:
        Unavailable: if files are damaged, or missing and not to be had from the network; it names
            them and their place.
    """
    files, gone = PUBLISHED[name](), missing(name)
    refuse_damaged(name)
    folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder(), prefix=".") as aside:
        _copy(files.fetched if gone else files.kept, folder(), Path(aside))
        try:
            parts = {
                part: files.dataset(aside, train=part == "train", download=True)
                for part in ("train", "test")
            }
        except (OSError, RuntimeError, HTTPException) as error:
            raise Unavailable(f"{advice(name)} Fetching them failed: {error}") from error
        _copy(gone, Path(aside), folder())
    return {
        part: (_channels_first(np.asarray(found.data)), np.asarray(found.targets, dtype=np.int64))
        for part, found in parts.items()
    }


def missing(name: str) -> list[str]:
    """List the files that are not there."""
    return [file for file in PUBLISHED[name]().kept if not (folder() / file).exists()]


def refuse_damaged(name: str) -> None:
    """Compare every file that is there, and would be used, with its checksum.

    Raises:
        Unavailable: for those that are truncated or something else; it names them.
    """
    from torchvision.datasets.utils import calculate_md5

    files, bad = PUBLISHED[name](), []
    for file, md5 in (files.kept | files.fetched if missing(name) else files.kept).items():
        path = folder() / file
        if path.exists() and (found := calculate_md5(path)) != md5:
            bad.append(
                f"{path} is truncated or another file: its md5 is {found} and should be {md5}."
            )
    if bad:
        raise Unavailable(
            " ".join(bad)
            + " Move it away, and the next run fetches it anew; or put the right file in its "
            "place. Nothing was changed; the other files are good."
        )


def advice(name: str) -> str:
    """Say which files to put where, where there is no network."""
    files, gone = PUBLISHED[name](), missing(name)
    to_fetch = {file: md5 for file, md5 in files.fetched.items() if not (folder() / file).exists()}
    return (
        f"{name} is not complete: missing are {_listed(gone, files.kept)}. On any machine with a"
        f" network get {_listed(to_fetch, files.fetched)} from {files.address} and put it into"
        f" {folder()}, under this very name; the book checks and unpacks it."
    )


def _listed(names: Iterable[str], md5s: Mapping[str, str]) -> str:
    return ", ".join(f"{name} (md5 {md5s[name]})" for name in names)


def _copy(names: Iterable[str], source: Path, target: Path) -> None:
    """Copy the files that the target lacks from the source; each arrives whole or not at all."""
    for name in names:
        if (source / name).exists() and not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            partial = (target / name).with_name(f".{Path(name).name}.partial")
            shutil.copyfile(source / name, partial)
            partial.replace(target / name)


def _channels_first(images: np.ndarray) -> np.ndarray:
    """View (N, H, W) and (N, H, W, C) as (N, C, H, W)."""
    return np.ascontiguousarray(
        images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    )
