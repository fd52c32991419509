"""Alternating minimization as a rule: its cost never rises, runs alone equal runs in a stack,
clear errors.
"""

from dataclasses import replace

import pytest
import torch

from labsupport import models, rules, runtime, train
from labsupport.ops import alternating_minimization as am
from labsupport.rules.alternating import _layers
from labsupport.stacks import Stack
from labsupport.types import Batch, Recipe
from tests.test_device import CUDA, dataset

NET = models.MLP((40, 16, 12, 10))
RULES = [
    rules.AlternatingMinimization(),
    rules.AlternatingMinimization(mu=0.5, memory=5.0, code_steps=2),
    rules.Adam(lr=0.01, gradient=rules.CodeGradient()),
]
RECIPES = [
    Recipe(NET, rule, train_size=200, epochs=2, batch_size=50, dtype="float64") for rule in RULES
]


def last(recipes, seeds):
    *_, step = train.iterate_steps(recipes, seeds)
    return step


@pytest.mark.parametrize("recipe", RECIPES)
def test_run_4_alone_is_run_4_among_others(recipe):
    alone, together = last([recipe], [4]), last([recipe] * 6, range(6))
    assert torch.allclose(alone.params.flat[0], together.params.flat[4], atol=1e-9)


def test_penalties_memories_and_ridges_may_differ_within_a_stack():
    varied = [
        replace(RECIPES[1], rule=rules.AlternatingMinimization(mu=mu, memory=memory, ridge=ridge))
        for mu, memory, ridge in ((0.1, 1.0, 0.1), (1.0, 3.0, 0.3), (10.0, 9.0, 1.0))
    ]
    together = last(varied, (0, 0, 0))
    for r, recipe in enumerate(varied):
        assert torch.allclose(
            last([recipe], [0]).params.flat[0], together.params.flat[r], atol=1e-9
        )


def fresh(rule, batch=50, seed=0):
    params, _ = NET.init([runtime.generator(seed, "init")])
    params = Stack.of({name: p.double() for name, p in params.items()})
    rng = torch.Generator().manual_seed(seed)
    x, y = (
        torch.randn(1, batch, 40, generator=rng).double(),
        torch.randint(10, (1, batch), generator=rng),
    )
    return params, Batch(x, y, 1, 1.0, [rng])


@pytest.mark.parametrize("mu", [0.01, 1.0, 20.0])
def test_without_a_memory_a_whole_step_lowers_the_objective_of_its_batch(mu):
    rule = rules.AlternatingMinimization(mu=mu, memory=1.0)
    params, batch = fresh(rule)
    weights, biases = _layers(NET, params)
    codes = am.encode(weights, biases, batch.x)
    before = am.objective(weights, biases, codes, batch.x, batch.y, mu)
    codes = am.update_codes(weights, biases, codes, batch.x, batch.y, mu)
    between = am.objective(weights, biases, codes, batch.x, batch.y, mu)
    rule.step(NET, params, {}, rule.init(NET, params), batch)
    assert am.objective(*_layers(NET, params), codes, batch.x, batch.y, mu) < between < before


def test_the_gradient_is_autograds_of_the_objective_at_the_new_codes():
    source = rules.CodeGradient(mu=0.3, code_steps=2)
    params, batch = fresh(source)
    out = params.like()
    source(NET, params, {}, None, batch, out)
    weights, biases = _layers(NET, params)
    codes = am.update_codes(
        weights, biases, am.encode(weights, biases, batch.x), batch.x, batch.y, 0.3, steps=2
    )
    leaves = [t.clone().requires_grad_() for t in (*weights, *biases)]
    grads = torch.autograd.grad(
        am.objective(leaves[:3], leaves[3:], codes, batch.x, batch.y, 0.3).sum(), leaves
    )
    found = [out[f"{kind}{i}"] for kind in ("weight", "bias") for i in (1, 2, 3)]
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(grads, found, strict=True))


def test_without_code_updates_hidden_layers_stand_still():
    for rule in (
        rules.AlternatingMinimization(code_steps=0),
        rules.Adam(lr=0.1, gradient=rules.CodeGradient(code_steps=0)),
    ):
        start, end = (
            train.iterate_steps([replace(RECIPES[0], rule=rule, epochs=0)], [0]),
            last([replace(RECIPES[0], rule=rule)], [0]),
        )
        first = next(start).params
        assert torch.allclose(first["weight1"], end.params["weight1"], atol=1e-6)
        assert not torch.allclose(first["weight3"], end.params["weight3"], atol=1e-2)


def test_it_learns():
    for rule in RULES:
        recipe = Recipe(models.MLP((40, 64, 64, 10)), rule, train_size=1000, epochs=5)
        step, data = last([recipe], [0]), train.load(recipe)
        assert (
            train.evaluate(recipe.model, step.params, {}, data.x_test, data.y_test)[1].item() > 0.28
        )


@pytest.mark.parametrize("rule", RULES)
def test_a_whole_training_stays_on_the_device(fake_cuda, rule):
    steps = list(
        train.iterate_steps(
            [Recipe(models.MLP((6, 5, 4)), rule, epochs=1, batch_size=10)] * 3,
            (0, 1, 2),
            dataset(CUDA),
        )
    )
    assert {steps[-1].params.flat.device.type, steps[-1].loss.device.type} == {"cuda"}


@pytest.mark.parametrize(
    "values, words",
    [
        ({"mu": 0.0}, "mu is 0.0"),
        ({"memory": 0.5}, "memory is 0.5"),
        ({"ridge": 0.0}, "ridge is 0.0"),
        ({"code_steps": -1}, "code_steps is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        rules.AlternatingMinimization(**values)


@pytest.mark.parametrize(
    "net",
    [
        models.MLP(norm="batch"),
        models.MLP(activation="gelu"),
        models.MLP(dropout=0.5),
        models.CNN(),
    ],
)
def test_a_network_without_such_steps_is_refused(net):
    params, _ = net.init([runtime.generator(0, "init")])
    with pytest.raises(ValueError, match=type(net).__name__):
        rules.AlternatingMinimization().init(net, Stack.of(params))
