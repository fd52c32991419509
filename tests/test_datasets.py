"""The data: fixed, stratified, made once, and no network."""

import random
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from labsupport import datasets

SHAPES = {"mnist1d": (40,), "mnist5k": (1, 28, 28)}
TABLES = {"wine": (142, 36, 13, 3), "cancer": (456, 113, 30, 2)}


@pytest.fixture(params=sorted(SHAPES))
def name(request):
    return request.param


def test_sizes_types_and_shapes(name):
    dataset = datasets.load(name)
    assert dataset.x_train.shape == (4000, *SHAPES[name]) and dataset.x_test.shape == (
        1000,
        *SHAPES[name],
    )
    assert (dataset.x_train.dtype, dataset.y_train.dtype, dataset.classes) == (
        torch.float32,
        torch.int64,
        10,
    )
    assert abs(dataset.x_train.mean()) < 1e-4 and abs(dataset.x_train.std() - 1) < 1e-3


@pytest.mark.parametrize("size", [10, 100, 1000, 4000])
def test_every_subset_is_stratified_and_lies_in_the_larger_ones(name, size):
    part, whole = datasets.load(name, train_size=size), datasets.load(name)
    assert part.y_train.bincount().tolist() == [size // 10] * 10
    assert whole.y_test.bincount().tolist() == [100] * 10
    assert torch.equal(part.x_train, whole.x_train[:size]) and torch.equal(
        part.x_test, whole.x_test
    )


def test_a_subset_of_an_uneven_size_is_as_even_as_can_be(name):
    counts = datasets.load(name, train_size=1234).y_train.bincount()
    assert counts.sum() == 1234 and counts.max() - counts.min() <= 1


def test_no_sample_is_in_two_parts(name):
    dataset = datasets.load(name, train_size=3000, valid_size=1000)
    parts = [
        {row.numpy().tobytes() for row in x}
        for x in (dataset.x_train, dataset.x_valid, dataset.x_test)
    ]
    assert (
        parts[0].isdisjoint(parts[1])
        and parts[0].isdisjoint(parts[2])
        and parts[1].isdisjoint(parts[2])
    )


def test_the_digest_names_the_data_and_the_sizes(name):
    digests = {datasets.load(name, train_size=size).digest for size in (100, 200, 100)}
    assert len(digests) == 2 and datasets.load("mnist1d").digest != datasets.load("mnist5k").digest


def test_what_is_read_from_disk_is_what_was_made(name):
    made = datasets.load(name)
    datasets._pool.cache_clear()
    read = datasets.load(name)
    assert made.digest == read.digest and torch.equal(made.x_test, read.x_test)


def test_damaged_data_are_made_again(fresh_home):
    datasets._pool.cache_clear()
    digest = datasets.load("mnist1d").digest
    (path,) = (fresh_home / "data").glob("mnist1d*")
    path.write_bytes(path.read_bytes()[:-100])
    datasets._pool.cache_clear()
    with pytest.warns(UserWarning, match="is damaged and is made again"):
        assert datasets.load("mnist1d").digest == digest
    datasets._pool.cache_clear()


def test_making_data_leaves_the_global_generators_alone_and_needs_no_network(
    fresh_home, monkeypatch
):
    monkeypatch.setattr(socket, "socket", lambda *a, **k: pytest.fail("the network was asked"))
    datasets._pool.cache_clear()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    datasets.load("mnist1d")
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    datasets._pool.cache_clear()


def test_two_threads_that_ask_first_get_the_same_data(fresh_home):
    digest = datasets.load("mnist1d").digest
    datasets._pool.cache_clear()
    for path in (fresh_home / "data").glob("*"):
        path.unlink()
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: datasets.load("mnist1d").digest, range(4)))
    datasets._pool.cache_clear()
    assert found == {digest}


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (dict(name="cifar"), "no data set 'cifar'; there are mnist1d, mnist5k"),
        (dict(name="mnist1d", train_size=4001), "train_size 4001 and valid_size 0 do not fit"),
        (dict(name="mnist1d", train_size=5), "train_size 5"),
        (dict(name="mnist1d", valid_size=-1), "valid_size -1"),
        (dict(name="mnist1d", train_size=3500, valid_size=1000), "has 4000 samples of 10 classes"),
    ],
)
def test_a_bad_request_is_named(ask, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(**ask)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_keeps_the_units_of_its_columns(name):
    dataset, (train, test, columns, classes) = datasets.load(name), TABLES[name]
    assert (
        dataset.x_train.shape == (train, columns)
        and dataset.x_test.shape == (test, columns)
        and dataset.classes == classes
    )
    assert dataset.x_train.std(0).max() / dataset.x_train.std(0).min() > 1000


@pytest.mark.parametrize("name", TABLES)
def test_standardized_columns_have_the_statistics_of_the_training_samples_and_of_no_others(name):
    raw = datasets.load(name, train_size=60, valid_size=60)
    dataset = datasets.load(name, train_size=60, valid_size=60, standardize=True)
    mean, std = raw.x_train.mean(0), raw.x_train.std(0, correction=0)
    for part in ("x_train", "x_valid", "x_test"):
        torch.testing.assert_close(
            getattr(dataset, part), (getattr(raw, part) - mean) / std, rtol=1e-4, atol=1e-5
        )
    assert dataset.digest != raw.digest and torch.equal(dataset.y_test, raw.y_test)


def test_a_column_that_never_changes_cannot_be_standardized():
    with pytest.raises(ValueError, match=r"column \(0, 0, 0\) is .* in every one of 50 samples"):
        datasets.load("mnist5k", train_size=50, standardize=True)
