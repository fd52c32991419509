"""A run draws the same numbers alone and among others, on a CPU and on CUDA, at any position."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from labsupport import streams
from labsupport.streams import NO_STREAMS, Streams

COUNTS = (1, 7, 8, 9, 1000, 4099)


def runs(count):
    return torch.zeros(count, 1)


@pytest.mark.parametrize("draw", ["uniform", "normal"])
@pytest.mark.parametrize("count", COUNTS)
def test_run_4_alone_is_run_4_among_fifty_bit_for_bit(draw, count):
    among, alone = Streams(range(50), "noise"), Streams([4], "noise")
    for _ in range(3):
        together = getattr(among, draw)(count, runs(50))
        assert together.shape == (50, count)
        assert torch.equal(together[4], getattr(alone, draw)(count, runs(1))[0])


def test_the_words_are_numpys():
    """Its own generator, read as 64-bit words: the lower half of each comes first."""
    made = Streams([3], "noise")
    made.uniform(5, runs(1))
    words = np.random.Philox(key=made._keys[0], counter=1).random_raw(4)
    halves = np.stack([words & 0xFFFFFFFF, words >> 32], 1).reshape(-1)
    assert made.uniform(8, runs(1))[0].tolist() == ((halves >> 8) / 2**24).tolist()


def test_normal_numbers_are_the_quantiles_of_the_uniform_ones():
    u = Streams([0], "noise").uniform(10_000, torch.zeros(1, dtype=torch.float64))[0]
    drawn = Streams([0], "noise").normal(10_000, torch.zeros(1, dtype=torch.float64))[0]
    expected = stats.norm.ppf(u.numpy() + 2.0**-25)
    np.testing.assert_allclose(drawn.numpy(), expected, rtol=2e-5, atol=2e-6)


def test_the_ends_of_the_uniform_numbers_give_finite_normal_numbers():
    ends = torch.tensor([0.0, 1 - 2.0**-24])
    streams._quantiles(ends)
    low, high = ends.tolist()
    assert -5.5 < low < -5.3 and high == -low


@pytest.mark.parametrize("draw, distribution", [("uniform", "uniform"), ("normal", "norm")])
def test_the_numbers_have_their_distribution_within_runs_and_across_them(draw, distribution):
    drawn = getattr(Streams(range(300), "noise"), draw)(300, runs(300))
    for numbers in (drawn.flatten(), drawn[:, 0], drawn[0]):
        assert stats.kstest(numbers.numpy(), distribution).pvalue > 1e-3
    correlations = np.corrcoef(drawn.numpy())[np.triu_indices(300, 1)]
    assert abs(correlations).max() < 6 / 300**0.5


def test_a_clone_goes_on_from_the_same_place_by_itself():
    made = Streams([1, 2], "noise")
    made.uniform(11, runs(2))
    first, second = (made.clone().uniform(9, runs(2)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(first, made.uniform(9, runs(2)))
    assert not torch.equal(first, made.uniform(9, runs(2)))


@pytest.mark.parametrize("given", [Streams([0], "noise"), NO_STREAMS])
def test_each_run_needs_a_stream(given):
    with pytest.raises(ValueError, match=f"there are 2 runs and {len(given)} streams"):
        given.uniform(3, runs(2))


INTERPRETED = """
import torch
from labsupport import philox
from labsupport.streams import Streams
seeds, count = [0, 7, 2**40], 8 * 700
made = Streams(seeds, "noise")
made.uniform(16, torch.zeros(3, 1))
out = torch.empty(3, count)
philox.fill(out, philox.keys(made._keys, torch.device("cpu")), 2)
assert torch.equal(out, made.uniform(count, torch.zeros(3, 1)))
"""


def test_the_kernel_for_cuda_draws_the_same_bits():
    """Triton's interpreter runs the kernel on a CPU."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("count", COUNTS)
def test_on_a_gpu_uniform_numbers_are_the_cpus_and_normal_ones_up_to_rounding(count):
    on_cpu, on_gpu = Streams(range(5), "noise"), Streams(range(5), "noise")
    for _ in range(3):
        drawn = on_gpu.uniform(count, runs(5).cuda())
        assert drawn.is_cuda and torch.equal(drawn.cpu(), on_cpu.uniform(count, runs(5)))
        torch.testing.assert_close(
            on_gpu.normal(count, runs(5).cuda()).cpu(),
            on_cpu.normal(count, runs(5)),
            rtol=1e-4,
            atol=1e-6,
        )
