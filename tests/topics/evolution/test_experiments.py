"""The staircase, the estimate on known functions and the faulty runs of evolution."""

import pytest
import torch

from labsupport import datasets, runtime
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.stacks import Stack
from labsupport.topics.evolution import experiments
from labsupport.topics.evolution import reference as ev
from labsupport.types import Batch, Recipe


def test_the_staircase_is_level_nearly_everywhere():
    w = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    assert (experiments.staircase(w) == experiments.staircase(w + 1e-9)).float().mean() > 0.99
    assert experiments.staircase(torch.tensor([1.0, -0.5])) == 0 < experiments.staircase(w).max()


def test_both_populations_come_down_the_stairs():
    for run in (experiments.run_genetic(0.4, 16), experiments.run_strategy(0.4, 16)):
        assert len(run.centres) == 17 and run.populations[0].shape == (20, 2)
        assert experiments.staircase(run.centres[-1]) < experiments.staircase(run.centres[0])


@pytest.mark.parametrize("curvature", [0.0, 5.0])
def test_the_squared_cosines_have_the_mean_of_the_law(curvature):
    found = experiments.squared_cosines(5, 20, curvature, repeats=1000)
    assert abs(found.mean() - ev.squared_cosine(5, 20)) < 4 * found.std() / 1000**0.5


def test_on_the_bowl_ten_times_the_weights_take_about_ten_times_the_evaluations():
    few, many = (experiments.evaluations_on_a_bowl(p, 5, 10).mean() for p in (20, 200))
    assert 7 < many / few < 13


def test_each_fault_is_named_by_its_log():
    for name in (
        "healthy",
        "stale_fitness",
        "worst_selected",
        "no_selection",
        "sigma_too_large",
        "sigma_too_small",
    ):
        assert ev.diagnose(*experiments.evolve(name).log) == name
    assert all(
        ev.diagnose(*run.log) == experiments.FAULTY_RUNS[name]
        for name, run in experiments.faulty_runs().items()
    )


def test_a_straight_through_slope_is_what_autograd_finds_behind_a_detached_threshold():
    """Each run of a stack by itself, in float64."""
    net = MLP((40, 5, 10), activation="sign")
    params = Stack.of(
        {
            name: p.double()
            for name, p in net.init([runtime.generator(seed, "init") for seed in (0, 1)])[0].items()
        }
    )
    rng = torch.Generator().manual_seed(0)
    seen = Batch(
        torch.randn(2, 7, 40, generator=rng).double(),
        torch.randint(10, (2, 7), generator=rng),
        1,
        1.0,
        (),
    )
    source, out = experiments.StraightThrough(), params.like()
    losses = source(net, params, {}, source.init(net, params, ()), seen, out)
    for r in range(2):
        w1, b1, w2, b2 = (
            params[name][r].clone().requires_grad_()
            for name in ("weight1", "bias1", "weight2", "bias2")
        )
        z = seen.x[r] @ w1.T + b1
        soft = z.clamp(-1, 1)
        loss = torch.nn.functional.cross_entropy(
            (soft + (z.sign() - soft).detach()) @ w2.T + b2, seen.y[r]
        )
        loss.backward()
        torch.testing.assert_close(losses[r], loss.detach(), rtol=1e-10, atol=1e-12)
        for name, leaf in (("weight1", w1), ("bias1", b1), ("weight2", w2), ("bias2", b2)):
            torch.testing.assert_close(out[name][r], leaf.grad, rtol=1e-10, atol=1e-12)


def test_weights_are_counted_at_the_size_of_the_profile(monkeypatch):
    recipe = Recipe(MLP((40, 16, 10)), SGD())
    assert experiments.parameters(recipe) == 826
    larger = Recipe(MLP((784, 128, 10)), SGD())
    monkeypatch.setattr("labsupport.profiles.sized", lambda given: larger)
    assert experiments.parameters(recipe) == sum(
        p.numel() for p in larger.model.init([torch.Generator()])[0].values()
    )


def test_hard_thresholds_have_no_slope_and_relus_do():
    dataset = datasets.load("mnist1d", train_size=100)
    hard, soft = (MLP((40, 6, 10), activation=name) for name in ("sign", "relu"))
    assert (
        experiments.largest_slope(hard, dataset, [0, 1])
        == 0
        < experiments.largest_slope(soft, dataset, [0, 1])
    )
    assert experiments.largest_slope(hard, dataset, [0, 1], layer=2) > 0
    assert (
        experiments.largest_change(hard, dataset, [0, 1])
        == 0
        < experiments.largest_change(hard, dataset, [0, 1], step=1.0)
    )


def test_steps_to_a_loss_are_those_of_the_best_rate():
    lr, steps = experiments.steps_to_loss(
        SGD(momentum=0.9), [0.1, 0.4], [100, 101], 4, target=2.2, most=30
    )
    assert lr == 0.4 and len(steps) == 10 and 1 <= steps.min() <= steps.max() < 30
    assert (
        experiments.steps_to_loss(SGD(), [1e-3], [100], 4, target=0.1, most=2)[1].tolist()
        == [2.0] * 10
    )


# -- architectures ---------------------------------------------------------------------------------
