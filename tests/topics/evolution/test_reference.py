"""Evolution against autograd, SciPy's ranks and laws of probability, in float64, and cases worked
by hand.
"""

import math

import pytest
import torch
from scipy import stats

from labsupport.topics.evolution import reference as ev


def drawn(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def row(*values):
    return torch.tensor(values, dtype=torch.float64)


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


# -- the genetic algorithm -------------------------------------------------------------------------


def test_a_generation_by_hand():
    """Losses 3, 1, 2: the second individual is the elite, the third the other parent."""
    population = row(10, 20, 30)[:, None]
    new = ev.next_generation(
        population, row(3, 1, 2), torch.tensor([1, 0]), row(1, -2)[:, None], parents=2, sigma=0.5
    )
    same(new, row(20, 30.5, 19)[:, None])


def test_on_one_batch_the_best_loss_never_rises():
    rng, population = torch.Generator().manual_seed(0), drawn(8, 5)
    best = []
    for step in range(20):
        losses = population.square().sum(1)
        best.append(losses.min().item())
        population = ev.next_generation(
            population,
            losses,
            torch.randint(3, (7,), generator=rng),
            drawn(7, 5, seed=step),
            parents=3,
            sigma=0.3,
        )
    assert best == sorted(best, reverse=True) and best[-1] < best[0]


def test_the_survivors_are_the_smallest_losses_best_first_and_of_equals_the_first():
    assert ev.survivors(row(2, 1, 3, 1), parents=3).tolist() == [1, 3, 0]


def test_selection_goes_by_the_new_losses_alone():
    assert ev.select(row(0, 9, 9), row(3, 1, 2), parents=2).tolist() == [1, 2]


def test_a_mutant_of_standard_deviation_sigma():
    mutants = ev.mutate(torch.zeros(100_000, dtype=torch.float64), drawn(100_000), sigma=0.3)
    assert mutants.std().item() == pytest.approx(0.3, rel=0.02)


# -- evolution strategies --------------------------------------------------------------------------


def test_one_pair_by_hand():
    """L = 3w at w = 0, sigma 2, eps 1: the losses are 6 and -6, the estimate is 3."""
    same(ev.es_gradient(row(1)[:, None], row(6), row(-6), sigma=2.0), row(3))


@pytest.mark.parametrize("curvature", [0.0, 10.0])
def test_with_every_axis_as_a_mutation_the_estimate_is_autograds_gradient_over_the_number_of_axes(
    curvature,
):
    """Linear and quadratic functions: mirror images cancel the curvature, for any sigma."""
    a, g = drawn(6, 6), drawn(6, seed=2)

    def loss(w):
        return w @ g + curvature * ((w @ a).square()).sum(-1)

    w = drawn(6, seed=3).requires_grad_()
    loss(w).backward()
    axes = torch.eye(6, dtype=torch.float64)
    plus, minus = (loss(w.detach() + sign * 0.7 * axes) for sign in (1, -1))
    same(6 * ev.es_gradient(axes, plus, minus, sigma=0.7), w.grad)


def test_the_mean_of_the_estimate_is_the_slope_of_the_blurred_loss():
    """A step at 0, blurred, is the normal distribution function; its slope at 0 is its density,
    1/(sigma sqrt(2 pi)).
    """
    noise = drawn(200_000, 1)
    plus, minus = ((sign * noise[:, 0] > 0).double() for sign in (1, -1))
    assert ev.es_gradient(noise, plus, minus, sigma=0.5).item() == pytest.approx(
        1 / (0.5 * math.sqrt(2 * math.pi)), rel=0.01
    )


def test_without_mirror_images_a_constant_adds_noise():
    noise = drawn(50, 3)
    one = [(noise @ row(1, 2, 3) + c) @ noise / 50 for c in (0.0, 100.0)]
    two = [
        ev.es_gradient(noise, noise @ row(1, 2, 3) + c, c - noise @ row(1, 2, 3), sigma=1.0)
        for c in (0.0, 100.0)
    ]
    same(two[0], two[1])
    assert (one[0] - one[1]).norm() > 1


def test_ranks_are_scipys_mean_ranks():
    losses = torch.tensor(
        [[3.0, 1.0, 1.0, 2.0, 1.0], [5.0, 4.0, 3.0, 2.0, 1.0]], dtype=torch.float64
    )
    ranks = torch.from_numpy(stats.rankdata(losses.numpy(), axis=1))
    same(ev.centered_ranks(losses), (ranks - 1) / 4 - 0.5)
    same(ev.centered_ranks(losses).sum(1), row(0, 0))


def test_ranks_of_float64_losses_are_not_rounded_to_float32():
    assert ev.centered_ranks(row(1, 2, 3, 4))[1].item() == 1 / 3 - 0.5


def test_one_outlier_does_not_change_the_ranks():
    same(ev.centered_ranks(row(1, 2, 3)), ev.centered_ranks(row(1, 2, 1e30)))


# -- what is known of the estimate -----------------------------------------------------------------


@pytest.mark.parametrize(("pairs", "parameters"), [(1, 5), (10, 10), (40, 7)])
def test_the_squared_cosine_is_a_beta_variable(pairs, parameters):
    g, found = drawn(parameters, seed=2), []
    for noise in drawn(2000, pairs, parameters):
        slopes = noise @ g
        found.append(
            torch.cosine_similarity(ev.es_gradient(noise, slopes, -slopes, sigma=1.0), g, dim=0)
            .square()
            .item()
        )
    law = stats.beta(pairs / 2, (parameters - 1) / 2)
    assert stats.kstest(found, law.cdf).pvalue > 0.01
    assert law.mean() == pytest.approx(ev.squared_cosine(pairs, parameters))


def test_a_single_weight_is_always_known():
    assert ev.squared_cosine(1, 1) == 1.0


@pytest.mark.parametrize("lr", [0.1, 0.4, 0.8])
def test_the_rate_on_the_bowl_is_the_mean_over_draws(lr):
    w, n, p = row(*[1] * 6), 4, 6
    noise = drawn(100_000, n, p)
    estimates = torch.einsum("rn,rnp->rp", noise @ w, noise) / n
    factors = (w - lr * estimates).square().sum(1) / w.square().sum()
    assert abs(
        factors.mean().item() - ev.quadratic_rate(lr, n, p)
    ) < 5 * factors.std().item() / math.sqrt(len(factors))


def test_the_best_rate_on_the_bowl():
    best = ev.quadratic_rate(4 / 11, 4, 6)
    assert best == pytest.approx(7 / 11)
    assert best < min(ev.quadratic_rate(4 / 11 + d, 4, 6) for d in (-0.01, 0.01))


def test_a_power_law_is_found_again():
    sizes = row(10, 100, 500)
    same(ev.exponent(sizes, torch.stack([3 * sizes**0.7, sizes**-2])), row(0.7, -2))


# -- an evolution with a fault ---------------------------------------------------------------------

HEALTHY = torch.tensor([[2.0, 3.0, 4.0], [2.0, 1.5, 3.0]])
BEST = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
ELITE = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])


def test_a_log_by_hand_for_each_name():
    used, worst = HEALTHY.clone(), torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    used[1, 2] = 1.0
    far, near = (
        torch.tensor([[2.0, 5.0, 3.0], [1.0, 1.005, 2.0]]),
        torch.tensor([[2.0, 2.01, 2.01], [1.0, 1.0, 1.01]]),
    )
    assert ev.diagnose(HEALTHY, HEALTHY, BEST) == "healthy"
    assert ev.diagnose(HEALTHY, used, BEST) == "stale_fitness"
    assert ev.diagnose(HEALTHY, HEALTHY, worst) == "worst_selected"
    assert ev.diagnose(HEALTHY, HEALTHY, torch.stack([BEST[0], worst[1]])) == "no_selection"
    assert ev.diagnose(far, far, ELITE) == "sigma_too_large"
    assert ev.diagnose(near, near, ELITE) == "sigma_too_small"


def test_one_generation_is_a_log():
    assert ev.diagnose(HEALTHY[1:], HEALTHY[1:], BEST[1:]) == "healthy"


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ev.mutate(row(1), row(1), sigma=0.0), "sigma is 0.0"),
        (lambda: ev.mutate(row(1), row(1), sigma=math.inf), "sigma is inf"),
        (lambda: ev.survivors(row(1), parents=1), "a population of 1;"),
        (lambda: ev.survivors(row(1, 2), parents=3), "parents is 3; it must be from 1 to the 2"),
        (lambda: ev.survivors(row(1, 2), parents=0), "parents is 0"),
        (
            lambda: ev.select(row(1, 2), row(1, 2, 3), parents=1),
            r"\(2,\) remembered and \(3,\) measured",
        ),
        (
            lambda: ev.es_gradient(drawn(2, 3), row(1, 2), row(1), sigma=1.0),
            "2 mutations with 2 and 1 losses",
        ),
        (lambda: ev.es_gradient(drawn(1, 3), row(1), row(1), sigma=-1.0), "sigma is -1.0"),
        (lambda: ev.centered_ranks(row(1)), "a population of 1;"),
        (lambda: ev.squared_cosine(0, 3), "0 pairs and 3 parameters"),
        (lambda: ev.quadratic_rate(0.1, 1, 0), "1 pairs and 0 parameters"),
        (lambda: ev.exponent(row(2, 2), row(1, 2)), "not all equal"),
        (lambda: ev.exponent(row(1, 2), row(0, 2)), "positive and finite"),
        (lambda: ev.diagnose(HEALTHY[:0], HEALTHY[:0], BEST[:0]), r"\(0, 3\)"),
        (lambda: ev.diagnose(HEALTHY[:, :1], HEALTHY[:, :1], BEST[:, :1]), r"\(2, 1\)"),
        (lambda: ev.diagnose(HEALTHY, HEALTHY, BEST[:1]), r"\(2, 3\), \(2, 3\) and \(1, 3\)"),
    ],
)
def test_bad_input_is_named_with_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
