"""What the heads know is measured as the network itself is."""

import torch

from labsupport import runtime, train
from labsupport.models import LocalMLP
from labsupport.rules import SGD
from labsupport.stacks import Stack
from labsupport.topics.local_learning.probes import by_layer
from labsupport.types import Recipe


def test_the_accuracy_of_the_last_head_is_that_of_the_network():
    net = LocalMLP((40, 8, 7, 10))
    params, _ = net.init([runtime.generator(seed, "init") for seed in range(3)])
    dataset = train.load(Recipe(net, SGD()))
    measured = by_layer(net, Stack.of(params), {}, dataset)
    _, accuracy = train.evaluate(net, Stack.of(params), {}, dataset.x_test, dataset.y_test)
    assert set(measured) == {"accuracy_of_layer_1", "accuracy_of_layer_2"}
    torch.testing.assert_close(measured["accuracy_of_layer_2"], accuracy)
    assert not torch.equal(measured["accuracy_of_layer_1"], accuracy)
