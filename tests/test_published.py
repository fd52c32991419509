"""CIFAR-10 and MNIST from small files in the published formats: whole, checked, and never written
over.
"""

import gzip
import pickle
import shutil

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, MNIST

from labsupport import cli, datasets, published
from labsupport.published import Unavailable
from tests import small as files

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
VICTIMS = {
    "mnist": "MNIST/raw/train-images-idx3-ubyte.gz",
    "cifar10": "cifar-10-batches-py/data_batch_3",
}


@pytest.fixture(params=sorted(SHAPES))
def name(request):
    return request.param


def contents(folder):
    """Every file with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def again(name):
    datasets._pool.cache_clear()
    return datasets.load(name)


def test_sizes_types_and_shapes(small, name):
    dataset = datasets.load(name)
    assert dataset.x_train.shape == (files.TRAIN, *SHAPES[name]) and dataset.x_test.shape == (
        files.TEST,
        *SHAPES[name],
    )
    assert (dataset.x_train.dtype, dataset.y_train.dtype, dataset.classes) == (
        torch.float32,
        torch.int64,
        10,
    )
    assert dataset.x_train.is_contiguous() and dataset.x_test.is_contiguous()


def test_every_channel_is_scaled_by_the_training_pool_and_black_is_where_zero_went(small, name):
    dataset, raw = datasets.load(name), torch.from_numpy(published.read(name)["train"][0]).double()
    torch.testing.assert_close(
        dataset.x_train.mean((0, 2, 3)), torch.zeros(SHAPES[name][0]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        dataset.x_train.std((0, 2, 3)), torch.ones(SHAPES[name][0]), atol=1e-3, rtol=0
    )
    expected = -raw.mean((0, 2, 3)) / raw.std((0, 2, 3), correction=0)
    assert dataset.fill_value.shape == (SHAPES[name][0], 1, 1)
    torch.testing.assert_close(
        dataset.fill_value.flatten().double(), expected, atol=1e-5, rtol=1e-5
    )


def test_an_image_keeps_its_label_its_rows_and_its_part(small, name):
    dataset, parts = datasets.load(name), published.read(name)
    for part, (x, y) in parts.items():
        label_of = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
        std, mean = torch.std_mean(
            torch.from_numpy(parts["train"][0]).double(), (0, 2, 3), correction=0
        )
        back = getattr(dataset, f"x_{part}").double() * std[:, None, None] + mean[:, None, None]
        found = [label_of.pop(image.tobytes()) for image in back.round().to(torch.uint8).numpy()]
        assert found == getattr(dataset, f"y_{part}").tolist() and label_of == {}


def test_what_is_read_is_what_was_written(small):
    """Red lies before green, rows before columns, as in the published layout."""
    first = pickle.loads((small / "cifar-10-batches-py" / "data_batch_1").read_bytes())
    x, y = published.read("cifar10")["train"]
    assert (
        np.array_equal(x[:80].reshape(80, -1), first["data"]) and y[:80].tolist() == first["labels"]
    )
    raw = gzip.decompress((small / "MNIST/raw/t10k-images-idx3-ubyte.gz").read_bytes())
    assert published.read("mnist")["test"][0].tobytes() == raw[16:]


@pytest.mark.parametrize("size", [22, 100, 210])
def test_prefix_and_validation_part_have_the_shares_of_the_whole(small, name, size):
    part, whole = datasets.load(name, train_size=size, valid_size=110), datasets.load(name)
    for labels, pool in (
        (part.y_train, whole.y_train),
        (part.y_valid, whole.y_train),
        (whole.y_test[:50], whole.y_test),
    ):
        expected = pool.bincount() / len(pool) * len(labels)
        assert (labels.bincount(minlength=10) - expected).abs().max() <= 1.01
    assert torch.equal(part.x_train, whole.x_train[:size]) and torch.equal(
        part.x_valid, whole.x_train[-110:]
    )


def test_reading_writes_nothing_and_is_the_same_every_time(small, name):
    before, digest = contents(small), datasets.load(name).digest
    assert again(name).digest == digest
    assert contents(small) == before and list(small.glob(".*")) == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "another file"])
def test_a_damaged_file_is_named_and_nothing_is_touched(small, name, damage):
    victim = small / VICTIMS[name]
    good = victim.read_bytes()
    victim.write_bytes({"truncated": good[:-1], "empty": b"", "another file": good[::-1]}[damage])
    before = contents(small)
    with pytest.raises(
        Unavailable, match=f"{victim.name} is truncated or another file: its md5 is .* should be "
    ) as error:
        datasets.load(name)
    assert contents(small) == before and list(small.glob(".*")) == []
    others = {file.split("/")[-1] for file in published.PUBLISHED[name]().kept} - {victim.name}
    assert not any(other in str(error.value) for other in others)
    victim.write_bytes(good)
    assert len(datasets.load(name).y_train) == files.TRAIN


def test_every_damaged_file_is_named_at_once(small):
    for file in ("data_batch_2", "batches.meta"):
        (small / "cifar-10-batches-py" / file).write_bytes(b"")
    with pytest.raises(Unavailable, match="data_batch_2 is truncated.*batches.meta is truncated"):
        datasets.load("cifar10")


def test_without_a_network_the_error_says_which_files_to_put_where(small, name):
    shutil.rmtree(small)
    with pytest.raises(Unavailable) as error:
        datasets.load(name)
    asked = str(error.value)
    for file, md5 in (
        published.PUBLISHED[name]().kept | published.PUBLISHED[name]().fetched
    ).items():
        assert f"{file} (md5 {md5})" in asked
    assert str(small) in asked and "there is no network" in asked
    assert {"mnist": MNIST.mirrors[0], "cifar10": CIFAR10.url}[name] in asked
    assert contents(small) == {}


def test_one_missing_file_is_named_and_the_good_ones_are_kept(small, name):
    victim = small / VICTIMS[name]
    good = victim.read_bytes()
    victim.unlink()
    before = contents(small)
    with pytest.raises(
        Unavailable, match=f"missing are {VICTIMS[name]} \\(md5 [0-9a-f]+\\)\\. On any machine"
    ):
        datasets.load(name)
    assert contents(small) == before
    victim.write_bytes(good)
    assert len(datasets.load(name).y_train) == files.TRAIN


def test_the_archive_alone_will_do(small, monkeypatch):
    digest = datasets.load("cifar10").digest
    archive = files.pack(small, monkeypatch)
    assert again("cifar10").digest == digest
    assert archive.exists() and {
        path.name for path in (small / "cifar-10-batches-py").iterdir()
    } == {*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"}


def test_a_truncated_archive_is_named_and_kept(small, monkeypatch):
    archive = files.pack(small, monkeypatch)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-7])
    with pytest.raises(Unavailable, match=f"{files.ARCHIVE} is truncated"):
        datasets.load("cifar10")
    assert archive.read_bytes() == whole[:-7]
    archive.write_bytes(whole)
    assert len(datasets.load("cifar10").y_train) == files.TRAIN


def serve(monkeypatch, folder, cut=0):
    """A network that has the files of this folder, by name; ``cut`` bytes are lost at the end of
    each.
    """
    from torchvision.datasets import utils

    asked = []

    def fetch(url, path, *_):
        asked.append(url)
        content = (folder / url.split("/")[-1]).read_bytes()
        with open(path, "wb") as file:
            file.write(content[: len(content) - cut])

    monkeypatch.setattr(utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(utils, "_urlretrieve", fetch)
    return asked


def away(name, small, tmp_path, monkeypatch):
    """A folder that has what is fetched, as a server would; the book's own folder is left empty."""
    place = files.pack(small, monkeypatch) if name == "cifar10" else small / "MNIST" / "raw"
    server = tmp_path / "server"
    (server if name == "cifar10" else tmp_path).mkdir(exist_ok=True)
    shutil.move(place, server)
    shutil.rmtree(small, ignore_errors=True)
    return server


def test_what_is_missing_is_fetched_once(small, tmp_path, monkeypatch, name):
    digest = datasets.load(name).digest
    asked = serve(monkeypatch, away(name, small, tmp_path, monkeypatch))
    assert again(name).digest == digest and len(asked) == len(published.PUBLISHED[name]().fetched)
    assert again(name).digest == digest and len(asked) == len(published.PUBLISHED[name]().fetched)
    assert set(contents(small)) == set(published.PUBLISHED[name]().kept)


def test_a_fetched_file_that_lost_its_end_is_not_kept(small, tmp_path, monkeypatch, name):
    serve(monkeypatch, away(name, small, tmp_path, monkeypatch), cut=5)
    with pytest.raises(Unavailable, match="Fetching them failed"):
        datasets.load(name)
    assert contents(small) == {}


def doctor(capsys):
    """What the doctor says of the full data, and whether it is well with that."""
    cli.main(["doctor"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[1] == "full"]
    return line.startswith("OK "), line


def test_the_doctor_says_whether_the_full_data_are_there_and_fetches_nothing(
    small, monkeypatch, capsys
):
    assert doctor(capsys) == (True, "OK   full     mnist and cifar10 are there, checksums verified")
    (small / VICTIMS["mnist"]).unlink()
    fine, line = doctor(capsys)
    assert fine and line.endswith("mnist not there; the quick profile needs none")
    monkeypatch.setenv("LABSUPPORT_PROFILE", "full")
    fine, line = doctor(capsys)
    assert not fine and VICTIMS["mnist"] in line and str(small) in line and "cifar" not in line
    assert not (small / VICTIMS["mnist"]).exists()


def test_the_doctor_names_a_damaged_file(small, capsys):
    (small / VICTIMS["cifar10"]).write_bytes(b"")
    fine, line = doctor(capsys)
    assert not fine and "data_batch_3 is truncated" in line
