"""A small CIFAR-10 and a small MNIST in the formats in which the real ones are published, and
checksums to match.
"""

import functools
import gzip
import hashlib
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10, MNIST

from labsupport import datasets

TRAIN, TEST = 400, 100
ARCHIVE = "cifar-10-python.tar.gz"

made = functools.cache(datasets._bundled)
"""The data sets that come in packages, made once for all tests."""


def write(folder: Path, patch) -> None:
    """Put the files of both into ``folder``, and let torchvision take their checksums for the
    published ones.
    """
    write_cifar10(folder, patch)
    write_mnist(folder, patch)


def write_cifar10(folder: Path, patch) -> None:
    """Five batches and a test batch, a pickled dictionary each, with the file that names the
    classes.
    """
    place = folder / CIFAR10.base_folder
    place.mkdir(parents=True)
    x, y = images(3, 32, TRAIN + TEST)
    for i, rows in enumerate(
        np.split(np.arange(TRAIN + TEST), [k * TRAIN // 5 for k in range(1, 6)])
    ):
        name = f"data_batch_{i + 1}" if i < 5 else "test_batch"
        dump(place / name, {"data": x[rows].reshape(len(rows), -1), "labels": y[rows].tolist()})
    dump(place / "batches.meta", {"label_names": [f"class {k}" for k in range(10)]})
    for table in ("train_list", "test_list"):
        patch.setattr(
            CIFAR10, table, [[name, md5(place / name)] for name, _ in getattr(CIFAR10, table)]
        )
    patch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(place / "batches.meta")})


def write_mnist(folder: Path, patch) -> None:
    """Images and labels of both parts, in the IDX format, compressed."""
    place = folder / "MNIST" / "raw"
    place.mkdir(parents=True)
    x, y = images(1, 28, TRAIN + TEST)
    for part, rows in (("train", slice(TRAIN)), ("t10k", slice(TRAIN, None))):
        idx(place / f"{part}-images-idx3-ubyte.gz", x[rows, 0])
        idx(place / f"{part}-labels-idx1-ubyte.gz", y[rows].astype(np.uint8))
    patch.setattr(MNIST, "resources", [(name, md5(place / name)) for name, _ in MNIST.resources])


def images(channels: int, side: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise over a pattern for each class, brighter from channel to channel; class 0 is twice as
    frequent as the others.
    """
    rng = np.random.default_rng(1)
    y = rng.permutation(np.arange(count) % 11 % 10)
    x = rng.integers(0, 200, (10, channels, side, side))[y] // 2 + rng.integers(
        0, 100, (count, channels, side, side)
    )
    return (x + 20 * np.arange(channels)[:, None, None]).astype(np.uint8), y


def pack(folder: Path, patch) -> Path:
    """The archive that the batches come in, in their stead."""
    archive, place = folder / ARCHIVE, folder / CIFAR10.base_folder
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(place, CIFAR10.base_folder)
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    patch.setattr(CIFAR10, "tgz_md5", md5(archive))
    return archive


def dump(path: Path, content: dict) -> None:
    path.write_bytes(pickle.dumps(content))


def idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
