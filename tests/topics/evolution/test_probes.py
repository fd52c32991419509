"""How well an estimate points along the gradient."""

import pytest
import torch

from labsupport import datasets, runtime
from labsupport.models import MLP
from labsupport.stacks import Stack
from labsupport.topics.evolution import reference as ev
from labsupport.topics.evolution.probes import Alignment


def measured(probe, seeds):
    net = MLP((40, 4, 10))
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    with torch.no_grad():
        return probe(net, Stack.of(params), buffers, datasets.load("mnist1d", train_size=100))


def test_the_cosine_follows_the_law_of_the_angle():
    found = measured(Alignment((20, 400)), range(20))
    for size in (20, 400):
        assert found[f"cosine_{size}"].square().mean().item() == pytest.approx(
            ev.squared_cosine(size / 2, 214), rel=0.4, abs=0.02
        )
    assert set(found) == {"cosine_20", "shaped_20", "cosine_400", "shaped_400"}
    assert (found["shaped_400"] > 0.4).all()


def test_a_population_much_larger_than_the_network_knows_the_gradient():
    assert (measured(Alignment((20_000,), sigma=1e-3), [0])["cosine_20000"] > 0.98).all()
