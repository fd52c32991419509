"""The initializers against torch.nn.init: the same numbers from the same generator, and the right
distribution.
"""

import dataclasses
import math

import pytest
import torch
from scipy import stats

from labsupport.models import CNN, MLP
from labsupport.models import initialization as init
from labsupport.topics.initialization import reference as prop

SHAPES = [(7, 5), (5, 7), (6, 6), (1, 4), (4, 1), (8, 3, 5), (3, 8, 1), (64, 3, 3, 3), (4, 9, 5, 5)]
DRAWN = [name for name in init.SCHEMES if name != "zero"]
TORCH = {
    "zero": lambda w, rng: torch.nn.init.zeros_(w),
    "normal": lambda w, rng: torch.nn.init.normal_(w, generator=rng),
    "xavier_uniform": lambda w, rng: torch.nn.init.xavier_uniform_(w, generator=rng),
    "xavier_normal": lambda w, rng: torch.nn.init.xavier_normal_(w, generator=rng),
    "kaiming_normal": lambda w, rng: torch.nn.init.kaiming_normal_(
        w, nonlinearity="relu", generator=rng
    ),
    "kaiming_normal_fan_out": lambda w, rng: torch.nn.init.kaiming_normal_(
        w, mode="fan_out", nonlinearity="relu", generator=rng
    ),
    "kaiming_uniform": lambda w, rng: torch.nn.init.kaiming_uniform_(
        w, nonlinearity="relu", generator=rng
    ),
    "orthogonal": lambda w, rng: torch.nn.init.orthogonal_(w, generator=rng),
    "torch_default": lambda w, rng: torch.nn.init.kaiming_uniform_(
        w, a=math.sqrt(5), generator=rng
    ),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(name, shape=(400, 300), seed=0):
    return init.SCHEMES[name](shape, generator(seed))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", TORCH)
def test_the_same_generator_gives_the_numbers_of_torch(name, shape):
    torch.testing.assert_close(
        drawn(name, shape), TORCH[name](torch.empty(shape), generator()), rtol=1e-6, atol=1e-7
    )


def test_every_scheme_but_equal_rows_has_its_counterpart_in_torch():
    assert set(init.SCHEMES) - set(TORCH) == {"equal_rows"}


def test_the_default_is_what_a_linear_layer_draws_by_itself():
    torch.manual_seed(5)
    expected = torch.nn.Linear(6, 4).weight.detach()
    torch.manual_seed(5)
    torch.testing.assert_close(
        init.torch_default((4, 6), torch.default_generator), expected, rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "equal_rows"])
def test_weights_have_mean_zero_and_the_variance_that_the_predictions_use(name):
    w = drawn(name)
    variance = prop.VARIANCES[name](400, 300)
    assert w.mean().item() == pytest.approx(0, abs=5 * math.sqrt(variance / w.numel()))
    assert w.var().item() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize(
    "name", ["normal", "xavier_normal", "kaiming_normal", "kaiming_normal_fan_out"]
)
def test_gaussian_schemes_are_gaussian(name):
    w = drawn(name).flatten().numpy() / math.sqrt(prop.VARIANCES[name](400, 300))
    assert stats.kstest(w, "norm").pvalue > 1e-3


@pytest.mark.parametrize("name", ["xavier_uniform", "kaiming_uniform", "torch_default"])
def test_uniform_schemes_are_uniform_up_to_a_bound_of_root_three_standard_deviations(name):
    bound = math.sqrt(3 * prop.VARIANCES[name](400, 300))
    assert (
        stats.kstest(drawn(name).flatten().numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue
        > 1e-3
    )


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)], ids=str)
def test_an_orthogonal_matrix_has_orthonormal_rows_or_columns_whichever_are_fewer(shape):
    w = drawn("orthogonal", shape)
    gram = w @ w.T if shape[0] < shape[1] else w.T @ w
    torch.testing.assert_close(gram, torch.eye(min(shape)), rtol=0, atol=1e-5)


def test_orthogonal_matrices_are_not_turned_to_one_side():
    """A plain QR factor has diagonal entries of one sign; the uniform distribution has both."""
    signs = torch.stack([drawn("orthogonal", (3, 3), seed).diagonal().sign() for seed in range(60)])
    assert ((signs > 0).float().mean(0) - 0.5).abs().max() < 0.25


def test_equal_rows_are_equal_and_no_two_columns_are():
    w = drawn("equal_rows", (5, 4))
    assert torch.equal(w, w[:1].expand(5, 4)) and w[0].unique().numel() == 4


def test_the_rows_of_equal_rows_can_be_written_to_one_by_one():
    w = drawn("equal_rows", (3, 2))
    w[0] += 1
    assert not torch.equal(w[0], w[1])


@pytest.mark.parametrize("name", DRAWN)
def test_another_seed_draws_other_weights_and_the_same_seed_the_same(name):
    assert torch.equal(drawn(name, (5, 4), 1), drawn(name, (5, 4), 1))
    assert not torch.equal(drawn(name, (5, 4), 1), drawn(name, (5, 4), 2))


@pytest.mark.parametrize("name", DRAWN)
def test_an_initializer_leaves_the_global_generator_alone(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    drawn(name, (3, 3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 4), (4, 6)), ((6, 4, 3), (12, 18)), ((64, 3, 3, 3), (27, 576)), ((2, 5, 7, 1), (35, 14))],
)
def test_fans_are_those_of_torch(shape, expected):
    assert init.fans(shape) == expected
    assert init.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


MODELS = [
    MLP((300, 200, 150, 10)),
    CNN((40,), channels=(40, 60), kernel=5),
    CNN((3, 16, 16), channels=(64, 48)),
]


@pytest.mark.parametrize("net", MODELS, ids=["mlp", "signals", "images"])
@pytest.mark.parametrize("name", TORCH)
def test_a_network_draws_what_torch_draws_for_each_of_its_layers(name, net):
    """Every weight of every layer, of convolutions too, and so the variance, which Kaiming's
    fan-out once had nine times too large.
    """
    found, _ = dataclasses.replace(net, initializer=name, bias="zero").init([generator(3)])
    rng = generator(3)
    for i, shape in enumerate(net.shapes, start=1):
        expected = TORCH[name](torch.empty(shape), rng)
        torch.empty(shape[0]).uniform_(0, 0, generator=rng)
        mine = found[f"weight{i}"][0].double()
        torch.testing.assert_close(mine, expected.double(), rtol=1e-5, atol=1e-6)
        assert mine.var().item() == pytest.approx(expected.double().var().item(), rel=1e-5)


@pytest.mark.parametrize("shape", [(64, 300), (64, 30, 7), (64, 30, 3, 3)], ids=str)
@pytest.mark.parametrize(
    ("name", "squared"),
    [
        ("xavier_uniform", lambda fan_in, fan_out: 6 / (fan_in + fan_out)),
        ("kaiming_uniform", lambda fan_in, fan_out: 6 / fan_in),
        ("torch_default", lambda fan_in, fan_out: 1 / fan_in),
    ],
)
def test_uniform_weights_fill_their_range_and_no_more(name, squared, shape):
    places = math.prod(shape[2:])
    bound = math.sqrt(squared(shape[1] * places, shape[0] * places))
    largest = drawn(name, shape).abs().max().item()
    assert 0.999 * bound < largest <= bound * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(5, 4, 3, 3), (70, 4, 3, 3), (6, 2, 5)], ids=str)
def test_orthogonal_filters_are_orthonormal_rows_or_columns(shape):
    w = drawn("orthogonal", shape).double().flatten(1)
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), (2, 3, 0), (2.0, 3)], ids=str)
@pytest.mark.parametrize("name", init.SCHEMES)
def test_a_shape_that_is_no_weight_is_named(name, shape):
    with pytest.raises(ValueError, match="it must be \\(fan_out, fan_in\\)"):
        init.SCHEMES[name](shape, generator())
