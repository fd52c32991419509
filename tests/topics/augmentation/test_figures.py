"""The photograph under a pipeline, and two borders."""

import pytest

from labsupport import datasets, plots
from labsupport.topics.augmentation import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_explorer_counts_the_versions_in_its_title():
    assert "162 versions" in figures.versions(4, 0.0, 0).get_suptitle()
    assert "angles without number" in figures.versions(4, 10.0, 8).get_suptitle()


def test_the_border_of_zero_is_not_black():
    fill_value, grey = (ax.get_title("left") for ax in figures.borders().axes)
    assert (
        f"{float(datasets.load('mnist5k', train_size=10).fill_value):.2f}" in fill_value
        and grey.endswith("0.00")
    )
