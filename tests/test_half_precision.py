"""Half precision is computed wider and rounded once, or refused."""

import pytest
import torch

from labsupport.augment import RandomCrop, RandomFlip
from labsupport.models import MLP, layers
from labsupport.ops import alternating_minimization as am
from labsupport.ops import augmentation, precision, standardization
from labsupport.rules import SGD, Adam, AlternatingMinimization, GeneticAlgorithm
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.topics.batch_norm import reference as bn
from labsupport.topics.dropout import reference as dropout

HALF = {torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Twice the largest relative error of rounding once."""


def like_double(given, function, tolerance, scale=1.0):
    """The function of half-precision inputs is its float64 value, rounded to their dtype."""
    found, expected = function(given), function(given.double())
    assert found.dtype == given.dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance * scale)


def inputs(dtype, *shape, offset=0.0, spread=1.0):
    rng = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=rng) * spread + offset).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), HALF.items(), ids=str)
class TestHalf:
    def test_batch_norm_by_hand_refuses_inputs_whose_squares_overflow(self, dtype, tolerance):
        """In float16 they do, and once all outputs were zero."""
        x = inputs(dtype, 40, 3, offset=500.0, spread=300.0)
        scale, shift = torch.ones(3, dtype=dtype), torch.zeros(3, dtype=dtype)
        refused = pytest.raises(ValueError, match="too few digits here; give float32")
        with refused:
            bn.batch_norm(x, scale, shift)
        with refused:
            bn.batch_norm_backward(x.flip(0), x, scale)

    @pytest.mark.parametrize("training", [True, False])
    def test_the_norms_of_the_networks(self, dtype, tolerance, training):
        z = inputs(dtype, 2, 30, 4, offset=100.0, spread=400.0)

        def batch_norm(z):
            params = {
                "scale1": torch.full((2, 4), 2.0, dtype=z.dtype),
                "shift1": torch.ones(2, 4, dtype=z.dtype),
            }
            buffers = {
                "mean1": torch.full((2, 4), 100.0, dtype=z.dtype),
                "var1": torch.full((2, 4), 10000.0, dtype=z.dtype),
            }
            return layers.batch_norm(z, params, buffers, 1, training)

        like_double(z, batch_norm, tolerance, scale=4.0)

    def test_layer_norm(self, dtype, tolerance):
        def layer_norm(z):
            return layers.layer_norm(
                z, {"scale1": torch.ones_like(z[:, 0]), "shift1": torch.zeros_like(z[:, 0])}, 1
            )

        like_double(inputs(dtype, 2, 5, 40, spread=600.0), layer_norm, tolerance)

    def test_weight_norm(self, dtype, tolerance):
        v = inputs(dtype, 2, 3, 500, spread=200.0)

        def weight(v):
            return layers.normed_weight({"weight1": v, "length1": torch.ones_like(v[..., 0])}, 1)

        like_double(v, weight, tolerance)

    def test_dropout_drops_as_often_as_it_says(self, dtype, tolerance):
        """bfloat16 draws multiples of 1/256, of which 0.4 % are below 0.001."""
        x, count = torch.ones(1, 1000, 1000, dtype=dtype), 10**6
        (mask,) = layers.masks(0.001, Streams([0], "noise"), x, [1000])
        module = dropout.InvertedDropout(0.001, torch.Generator().manual_seed(0))
        for dropped in (mask == 0, module(x) == 0):
            assert abs(dropped.sum().item() - 0.001 * count) < 5 * (0.001 * count) ** 0.5
        assert mask.dtype == module(x).dtype == dtype

    def test_rotation_and_normalization(self, dtype, tolerance):
        images = inputs(dtype, 2, 3, 200, 200).cumsum(3).clamp(-50, 50) / 50
        degrees = torch.tensor([30.0, 77.0])
        like_double(images, lambda x: augmentation.rotate(x, degrees.to(x.dtype)), tolerance)
        mean, std = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
        like_double(images, lambda x: augmentation.normalize(x, mean, std), tolerance)

    def test_standardization(self, dtype, tolerance):
        x = inputs(dtype, 500, 4, offset=300.0, spread=400.0)
        like_double(x, lambda x: standardization.standardize(x, x[:10])[0], tolerance)
        assert standardization.fit(x).mean.dtype == torch.float32

    def test_transforms_find_no_place_outside(self, dtype, tolerance):
        """A number just below 1 became 1, and the crop began beyond its border."""
        x = inputs(dtype, 1, 20000, 3)
        for transform in (RandomCrop(1), RandomFlip(1.0)):
            changed = transform(x, Streams([0], "augment"), torch.tensor(0.0))
            assert changed.dtype == dtype and changed.shape == x.shape

    @pytest.mark.parametrize("rule", [SGD(), Adam(), GeneticAlgorithm(), AlternatingMinimization()])
    def test_rules_refuse_it(self, dtype, tolerance, rule):
        net = MLP((4, 3, 2))
        params = Stack.of(
            {k: p.to(dtype) for k, p in net.init([torch.Generator().manual_seed(0)])[0].items()}
        )
        with pytest.raises(ValueError, match=f"parameters: the dtype is {dtype}"):
            rule.init(net, params, [torch.Generator()])

    def test_alternating_minimization_refuses_it(self, dtype, tolerance):
        with pytest.raises(ValueError, match=f"weights: the dtype is {dtype}"):
            am.norm_bound(torch.ones(3, 3, dtype=dtype))
        with pytest.raises(ValueError, match="moments: the dtype is"):
            am.output_weights(*(torch.eye(3, dtype=dtype) for _ in range(3)), 0.1)


def test_full_precision_is_left_alone():
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(2, dtype=dtype)
        assert precision.widened(x) is x
        precision.require_full("x", x)
