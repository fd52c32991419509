"""Predictions along segments, the spread of hidden states, calibration: on networks whose answers
are known.
"""

import math

import pytest
import torch

from labsupport import runtime
from labsupport.models import MLP
from labsupport.stacks import Stack
from labsupport.topics.mixup import probes
from labsupport.topics.mixup.calibration import calibration_error
from labsupport.topics.mixup.probes import Calibration
from labsupport.types import Dataset


def dataset(size=80, classes=4):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(size, 6, generator=rng), torch.randint(classes, (size,), generator=rng)
    return Dataset("made", x, y, x, y, x, y, classes, "", torch.zeros(()))


def network(seeds=(0, 1, 2), gain=2.0):
    net = MLP((6, 20, 20, 4), gain=gain)
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    return net, Stack.of(params), buffers


def answers(net, params, buffers, x):
    return net.forward(params, buffers, x.expand(len(params.flat), *x.shape)).softmax(-1)


def test_different_class_pairs_are_of_different_classes_as_many_as_asked_and_always_the_same():
    y = dataset().y_test
    first, last = probes.different_class_pairs(y, 300)
    assert len(first) == len(last) == 300 and not (y[first] == y[last]).any()
    assert torch.equal(first, probes.different_class_pairs(y, 300)[0])


def test_different_class_pairs_of_one_class_are_refused():
    with pytest.raises(ValueError, match="all 5 labels are 2"):
        probes.different_class_pairs(torch.full((5,), 2), 3)


def test_a_segment_is_measured_as_by_a_loop_over_its_pairs():
    net, params, buffers = network()
    data = dataset()
    found = probes.Segments(drawn=60, steps=4)(net, params, buffers, data)
    starts, ends = probes.different_class_pairs(data.y_test, 60)
    for run in range(3):
        bends, thirds = [], []
        for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
            way = torch.stack(
                [data.x_test[a] * (1 - k / 4) + data.x_test[b] * k / 4 for k in range(5)]
            )
            p = answers(net, params, buffers, way)[run]
            pair = [int(data.y_test[a]), int(data.y_test[b])]
            if [int(p[0].argmax()), int(p[4].argmax())] == pair:
                bends.append(
                    sum(
                        float((p[k] - p[0] * (1 - k / 4) - p[4] * k / 4).abs().sum()) / 2
                        for k in (1, 2, 3)
                    )
                    / 3
                )
                thirds.append(sum(int(p[k].argmax()) not in pair for k in (1, 2, 3)) / 3)
        assert found["pairs"][run] == len(bends) > 0
        assert found["bend"][run].item() == pytest.approx(sum(bends) / len(bends), abs=1e-5)
        assert found["third"][run].item() == pytest.approx(sum(thirds) / len(thirds), abs=1e-5)


def test_the_ends_of_a_segment_are_straight_and_name_no_third_class():
    found = probes.Segments(drawn=60, steps=4)(*network(), dataset())
    for name in ("bend0", "bend4", "third0", "third4"):
        assert found[name].abs().max() < 1e-6
    assert (found["own0"] > found["own4"]).all()


def test_the_effective_rank_counts_directions():
    energies = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]).double()
    torch.testing.assert_close(
        probes.effective_rank(energies), torch.tensor([1.0, 3.0, 0.0]).double()
    )


def test_the_spectrum_is_that_of_the_singular_values():
    h = torch.randn(3, 50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        probes.spectrum(h), torch.linalg.svdvals(h).square(), rtol=1e-10, atol=1e-12
    )


def test_ranks_and_shares_are_means_over_the_classes_of_the_hidden_states():
    net, params, buffers = network()
    data = dataset()
    found = probes.Spectrum(shown=30)(net, params, buffers, data)
    h = net.layers(params, buffers, data.x_test.expand(3, *data.x_test.shape))[1][2]
    ranks, firsts, within = [], [], 0.0
    for k in range(4):
        part = h[data.y_test == k] - h[data.y_test == k].mean(0)
        q = torch.linalg.svdvals(part.double()).square()
        within, q = within + float(q.sum()), q / q.sum()
        ranks.append(math.exp(-sum(v * math.log(v) for v in q.tolist() if v > 0)))
        firsts.append(float(q[0]))
    assert found["rank2"][2].item() == pytest.approx(sum(ranks) / 4, rel=1e-4)
    assert found["share2_1"][2].item() == pytest.approx(sum(firsts) / 4, rel=1e-4)
    assert found["within2"][2].item() == pytest.approx(
        within / float((h - h.mean(0)).square().sum()), rel=1e-4
    )
    torch.testing.assert_close(
        sum(found[f"share1_{j}"] for j in range(1, 31)), torch.ones(3).double()
    )


def test_calibration_is_that_of_the_networks_own_probabilities():
    net, params, buffers = network()
    data = dataset()
    found = Calibration(bins=7, shown=5)(net, params, buffers, data)
    sure, named = answers(net, params, buffers, data.x_test).max(-1)
    torch.testing.assert_close(found["ece"], calibration_error(sure, named == data.y_test, 7))
    torch.testing.assert_close(found["confidence"], sure.mean(1))
    pooled = sum(found[f"share{b}"] * found[f"accuracy{b}"] for b in range(1, 6))
    torch.testing.assert_close(pooled, (named == data.y_test).float().mean(1))
