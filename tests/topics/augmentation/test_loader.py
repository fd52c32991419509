"""A small CIFAR-10 on disk, the time of a pipeline, and traps of a loader."""

import pytest
import torch

from labsupport.topics.augmentation import loader


def test_torchvision_finds_the_small_data_set_whole_and_downloads_nothing(tmp_path):
    data = loader.small_cifar(tmp_path, each=12)(root=tmp_path, train=True, download=True)
    assert len(data) == 60 and data.data.shape == (60, 32, 32, 3)
    assert data.classes == list(loader.CLASSES)


def test_torchvision_refuses_a_damaged_file_of_it(tmp_path):
    small = loader.small_cifar(tmp_path, each=12)
    with (tmp_path / "cifar-10-batches-py" / "data_batch_3").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="corrupted"):
        small(root=tmp_path, train=True)


def test_a_generator_in_a_field_repeats_itself_in_every_worker_and_epoch():
    first, second = loader.drawn_shifts(own=True)
    assert first == second and first[:2] == first[2:4]
    assert first != loader.drawn_shifts(own=False)[0] != loader.drawn_shifts(own=False)[1]


def test_torchvision_moves_a_whole_batch_alike_and_ours_does_not():
    assert loader.distinct_shifts(loader.torchvision_on_a_batch) == 1
    assert loader.distinct_shifts(loader.ours_on_a_batch) > 30


def test_every_way_through_the_pipeline_is_timed(tmp_path):
    data = loader.small_cifar(tmp_path, each=4)(
        root=tmp_path, train=True, transform=lambda image: torch.zeros(3)
    )
    rates = loader.throughput(data, batch_size=10, workers=(0,))
    assert list(rates.index) == ["DataLoader, 0 workers", "batched, this process"]
