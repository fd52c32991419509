"""Errors by class, and accuracy on changed samples: of networks whose answers are known."""

import torch

from labsupport import augment, datasets
from labsupport.compare import final
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.study import study
from labsupport.topics.augmentation.probes import Changed, confusions
from labsupport.types import Arm, Recipe


class Always:
    """A network that always says the same class."""

    def __init__(self, says):
        self.says = says

    def forward(self, params, buffers, x, **_):
        return torch.zeros(*x.shape[:2], 10).index_fill_(2, torch.tensor([self.says]), 1.0)


class Flat:
    flat = torch.zeros(3, 1)

    def __len__(self):
        return 3


def test_a_network_that_always_says_three_takes_every_other_digit_for_a_three():
    found = confusions(Always(3), Flat(), {}, datasets.load("mnist1d"))
    assert found["error_3"].tolist() == [0, 0, 0] and found["error_5"].tolist() == [1, 1, 1]
    assert found["5_as_3"].tolist() == [1, 1, 1] and found["5_as_4"].tolist() == [0, 0, 0]
    assert len(found) == 100


def test_class_errors_average_to_the_error_and_no_change_leaves_the_accuracy_alone():
    recipe = Recipe(MLP((40, 8, 10)), SGD(lr=0.1), train_size=200, epochs=2, measure_every=0)
    result = study(
        [Arm("plain", recipe)],
        range(2),
        [
            confusions,
            Changed("unchanged", augment.RandomCrop(0)),
            Changed("moved", augment.RandomCrop(10)),
        ],
    )
    accuracy = final(result, "test_accuracy")["plain"]
    missed = sum(final(result, f"error_{k}")["plain"] for k in range(10)) / 10
    assert (missed - (1 - accuracy)).abs().max() < 1e-5  # the test part has as many of every class
    assert (final(result, "unchanged")["plain"] - accuracy).abs().max() < 1e-6
    assert (final(result, "moved")["plain"] != accuracy).all()
