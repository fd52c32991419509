"""The factor on the learning rate that directions feel."""

import pytest
import torch

from labsupport import datasets, runtime
from labsupport.models import MLP
from labsupport.stacks import Stack
from labsupport.topics.weight_norm import reference as wn
from labsupport.topics.weight_norm.probes import direction_rates


def probed(net, change=lambda params: None):
    params, buffers = net.init([runtime.generator(seed, "init") for seed in (0, 1)])
    params = Stack.of(params)
    change(params)
    return params, direction_rates(net, params, buffers, datasets.load("mnist1d", train_size=200))


def test_at_the_start_of_weight_norm_every_direction_feels_the_rate_itself():
    _, found = probed(MLP((40, 8, 10), norm="weight"))
    assert set(found) == {"direction1", "direction2"}
    torch.testing.assert_close(found["direction1"], torch.ones(2))


def test_it_is_the_mean_over_units_of_the_references_effective_rate():
    params, found = probed(
        MLP((40, 8, 10), norm="weight"), lambda params: params["length1"].mul_(3)
    )
    assert found["direction1"].tolist() == pytest.approx([9.0, 9.0])
    rates = wn.effective_rate(params["weight2"][1], params["length2"][1], 1.0)
    assert found["direction2"][1].item() == pytest.approx(rates.mean().item())


@pytest.mark.parametrize("norm", [None, "batch"])
def test_without_weight_norm_the_direction_feels_the_rate_itself(norm):
    _, found = probed(MLP((40, 8, 10), norm=norm))
    assert found["direction1"].tolist() == [1.0, 1.0]
