"""A small CIFAR-10 on disk, the lecture's pipeline over it, its speed, and two traps."""

import hashlib
import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import CIFAR10
from torchvision.transforms import v2

from labsupport import runtime
from labsupport.augment import RandomCrop, RandomFlip
from labsupport.streams import Streams
from labsupport.topics.augmentation import reference as da

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""The lecture's numbers, one a channel."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def small_cifar(folder: str | Path, each: int = 100) -> type[CIFAR10]:
    """Write a small data set in CIFAR-10's format; return the torchvision class that reads it.

    The pictures are pieces of two photographs, the labels are drawn: good for a pipeline, useless
    for learning.

    Args:
        folder: where ``cifar-10-batches-py`` goes.
        each: pictures in each of its six files, 10,000 in the real one.

    Returns:
        A subclass of torchvision's CIFAR10 that differs in the checksums alone.
    """
    base, rng = Path(folder) / CIFAR10.base_folder, np.random.default_rng(0)
    base.mkdir(parents=True, exist_ok=True)
    sums = {
        name: _write(
            base / name,
            {"data": _pieces(rng, each), "labels": rng.integers(10, size=each).tolist()},
        )
        for name, _ in CIFAR10.train_list + CIFAR10.test_list
    }
    meta = CIFAR10.meta | {
        "md5": _write(base / CIFAR10.meta["filename"], {CIFAR10.meta["key"]: list(CLASSES)})
    }
    lists = {
        part: [[name, sums[name]] for name, _ in getattr(CIFAR10, part)]
        for part in ("train_list", "test_list")
    }
    return type("SmallCIFAR10", (CIFAR10,), {**lists, "meta": meta})


def _write(path: Path, content: dict) -> str:
    """Pickle a record and return the file's md5."""
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _pieces(rng: np.random.Generator, count: int) -> np.ndarray:
    """Cut random windows of the photographs, (count, 3072) uint8, in CIFAR-10's order.

    Red comes first, then green, then blue, each row by row.
    """
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    rows = []
    for _ in range(count):
        photo = photos[rng.integers(2)]
        top, left = rng.integers(photo.shape[0] - 32), rng.integers(photo.shape[1] - 32)
        rows.append(photo[top : top + 32, left : left + 32].transpose(2, 0, 1).reshape(-1))
    return np.stack(rows)


@contextmanager
def quiet_workers() -> Iterator[None]:
    """Silence two warnings of a DataLoader, on few cores and on forking a busy process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*suggested max number of worker.*")
        warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*")
        yield


# -- how long it takes -----------------------------------------------------------------------------


def batched_pipeline(x: Tensor, streams: Streams) -> Tensor:
    """Apply the lecture's training pipeline to a batch of bytes (B, 3, 32, 32), at once."""
    x = x[None] / 255
    fill_value = torch.zeros(())
    x = RandomFlip()(RandomCrop(4)(x, streams, fill_value), streams, fill_value)
    return da.normalize(x[0], MEAN, STD)


def throughput(
    data: CIFAR10, batch_size: int = 100, workers: tuple[int, ...] = (0, 1, 2)
) -> pd.Series:
    """Measure images a second: through a DataLoader with some workers, and batched on tensors.

    The loader is warm: its workers have started and have handed over their first batches.
    """
    rates = {}
    with quiet_workers(), runtime.one_thread():
        for count in workers:
            loader = DataLoader(
                data, batch_size, shuffle=True, num_workers=count, persistent_workers=count > 0
            )
            rates[f"DataLoader, {count} worker{'' if count == 1 else 's'}"] = len(data) / _seconds(
                lambda loader=loader: sum(1 for _ in loader)
            )
        whole, streams = (
            torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(),
            Streams([0], "augment"),
        )
        batches = whole.split(batch_size)
        rates["batched, this process"] = len(data) / _seconds(
            lambda: [batched_pipeline(x, streams) for x in batches]
        )
    return pd.Series(rates)


def _seconds(work: Callable[[], object], times: int = 2) -> float:
    """Measure the shortest of some repetitions, after one that does not count."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


# -- two traps -------------------------------------------------------------------------------------


class Draws(Dataset):
    """A data set whose samples are the random shifts drawn for them.

    They are drawn by a generator of its own or by torch's.
    """

    def __init__(self, own: bool, size: int = 8):
        self.rng, self.size = np.random.default_rng(0) if own else None, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> int:
        return int(self.rng.integers(0, 1000)) if self.rng else int(torch.randint(0, 1000, ()))


def drawn_shifts(own: bool, workers: int = 2, epochs: int = 2) -> list[list[int]]:
    """Return what each epoch draws for samples 0 to 7, in batches of two from workers in turn."""
    rng = torch.Generator().manual_seed(0)
    loader = DataLoader(Draws(own), batch_size=2, num_workers=workers, generator=rng)
    with quiet_workers():
        return [torch.cat(list(loader)).tolist() for _ in range(epochs)]


def distinct_shifts(draw: Callable[[Tensor], Tensor], size: int = 100) -> int:
    """Count how many of a batch of equal pictures differ after a random crop."""
    picture = torch.arange(1, 32 * 32 + 1, dtype=torch.float32).view(1, 1, 32, 32)
    return len(torch.unique(draw(picture.repeat(size, 1, 1, 1)).flatten(1), dim=0))


def torchvision_on_a_batch(x: Tensor) -> Tensor:
    """Give a whole batch to torchvision's crop."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return v2.RandomCrop(32, padding=4)(x)


def ours_on_a_batch(x: Tensor) -> Tensor:
    """Give the same batch to the book's crop."""
    return RandomCrop(4)(x[None], Streams([0], "augment"), torch.zeros(()))[0]
