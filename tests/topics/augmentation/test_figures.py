"""What the augmentation chapter draws and runs: the photograph, a small CIFAR-10 on disk, traps of
a loader.
"""

import numpy as np
import pytest
import torch

from labsupport import datasets, plots
from labsupport.topics.augmentation import figures as toy
from labsupport.topics.augmentation import loader as loading
from labsupport.topics.augmentation.reference import count_distinct, seen_versions


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_torchvision_finds_the_small_data_set_whole_and_downloads_nothing(tmp_path):
    data = loading.small_cifar(tmp_path, each=12)(root=tmp_path, train=True, download=True)
    assert len(data) == 60 and data.data.shape == (60, 32, 32, 3)
    assert data.classes == list(loading.CLASSES)


def test_torchvision_refuses_a_damaged_file_of_it(tmp_path):
    small = loading.small_cifar(tmp_path, each=12)
    with (tmp_path / "cifar-10-batches-py" / "data_batch_3").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="corrupted"):
        small(root=tmp_path, train=True)


def test_the_batched_functions_are_torchvision_s_one_by_one():
    assert max(toy.differences().values()) < 1e-10


def test_both_pipelines_draw_all_162_versions_alike():
    drawn = toy.drawn_offsets(2000)
    assert (drawn.sum() == 2000).all() and len(drawn) == 162
    assert toy.same_distribution(drawn) > 0.001


def test_a_pipeline_that_mirrors_too_often_is_found_out():
    drawn = toy.drawn_offsets(2000)
    drawn["batched"] = drawn["batched"] * np.tile([1.6, 0.4], 81)
    assert toy.same_distribution(drawn) < 1e-6


@pytest.mark.parametrize(
    "padding, mirrored, versions", [(0, False, 1), (1, False, 9), (2, True, 50)]
)
def test_all_crops_of_the_photograph_differ(padding, mirrored, versions):
    assert count_distinct(toy.all_crops(toy.photograph(), padding, mirrored)) == versions


def test_an_empty_image_has_one_version_only():
    assert count_distinct(toy.all_cutouts(torch.zeros(1, 6, 6), 2)) == 1


def test_the_simulated_share_of_repeats_is_the_expected_one():
    expected = 1 - seen_versions(torch.tensor([162.0]).double(), 50)[0].item() / 50
    assert toy.repeats(162, 50, range(10)).estimate == pytest.approx(expected, abs=0.01)


def test_a_generator_in_a_field_repeats_itself_in_every_worker_and_epoch():
    first, second = loading.drawn(own=True)
    assert first == second and first[:2] == first[2:4]
    assert first != loading.drawn(own=False)[0] != loading.drawn(own=False)[1]


def test_torchvision_moves_a_whole_batch_alike_and_ours_does_not():
    assert loading.distinct_shifts(loading.torchvision_on_a_batch) == 1
    assert loading.distinct_shifts(loading.ours_on_a_batch) > 30


def test_the_explorer_counts_the_versions_in_its_title():
    assert "162 versions" in toy.versions(4, 0.0, 0).get_suptitle()
    assert "angles without number" in toy.versions(4, 10.0, 8).get_suptitle()


def test_the_border_of_zero_is_not_black():
    fill_value, grey = (ax.get_title("left") for ax in toy.borders().axes)
    assert (
        f"{float(datasets.load('mnist5k', train_size=10).fill_value):.2f}" in fill_value
        and grey.endswith("0.00")
    )


def test_every_way_through_the_pipeline_is_timed(tmp_path):
    data = loading.small_cifar(tmp_path, each=4)(
        root=tmp_path, train=True, transform=lambda image: torch.zeros(3)
    )
    rates = loading.throughput(data, batch_size=10, workers=(0,))
    assert list(rates.index) == ["DataLoader, 0 workers", "batched, this process"]
