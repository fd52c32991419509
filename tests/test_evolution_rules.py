"""Evolution as rules: stacked populations are the lecture's equations, run by run; runs are honest;
bad settings are named.
"""

import pytest
import torch

from labsupport import rules, runtime, train
from labsupport.augment import Mixup
from labsupport.models import MLP
from labsupport.rules import SGD, Adam, EvolutionStrategy, GeneticAlgorithm
from labsupport.rules.evolution import LOSSES, evaluate, ranks
from labsupport.stacks import Stack
from labsupport.streams import NO_STREAMS, Streams
from labsupport.topics.evolution import reference as ev
from labsupport.types import Batch, Dataset, Mix, Recipe

NET = MLP((40, 6, 10), activation="tanh")
ES = [
    SGD(lr=0.01, gradient=EvolutionStrategy(population=6)),
    Adam(lr=0.01, gradient=EvolutionStrategy(population=4, shaped=False)),
    SGD(lr=0.01, gradient=EvolutionStrategy(population=6, loss="zero_one")),
]
GA = [
    GeneticAlgorithm(population=5, parents=2),
    GeneticAlgorithm(population=4, parents=1, loss="zero_one", remeasure=False),
]


def recipe(rule, net=NET, **options):
    return Recipe(
        net,
        rule,
        **{"train_size": 200, "epochs": 2, "batch_size": 50, "dtype": "float64"} | options,
    )


def end(recipes, seeds):
    for step in train.iterate_steps(recipes, seeds):
        pass
    return step


def start(seeds, net=NET):
    params, _ = net.init([runtime.generator(seed, "init") for seed in seeds])
    return Stack.of({name: p.double() for name, p in params.items()})


def normal(alone, count, params):
    """The normal numbers of one run, (count, P)."""
    width = params.flat.shape[1]
    return alone.normal(count * width, params.flat[:1]).view(count, width)


def batch(runs, size=20):
    rng = torch.Generator().manual_seed(1)
    return Batch(
        torch.randn(runs, size, 40, generator=rng).double(),
        torch.randint(10, (runs, size), generator=rng),
        1,
        1.0,
        Streams(range(runs), "noise"),
    )


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", ES + GA, ids=["es", "raw adam", "es 0-1", "ga", "ga stale"])
def test_run_4_alone_is_run_4_among_others(rule):
    among, alone = end([recipe(rule)] * 3, [9, 4, 2]), end([recipe(rule)], [4])
    same(among.params.flat[1], alone.params.flat[0])
    same(among.loss[1], alone.loss[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda s: SGD(lr=0.01, gradient=EvolutionStrategy(sigma=s, population=4)),
        lambda s: GeneticAlgorithm(sigma=s, population=4, parents=2),
    ],
    ids=["es", "ga"],
)
def test_runs_of_one_stack_may_have_sigmas_of_their_own(make):
    together = end([recipe(make(0.05)), recipe(make(0.2))], [4, 4])
    same(together.params.flat[1], end([recipe(make(0.2))], [4]).params.flat[0])
    assert not torch.equal(*together.params.flat)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shaped", [True, False])
def test_the_estimate_is_the_references_for_each_run(loss, shaped):
    """The noise is drawn again from the same stream, and each individual is evaluated by
    itself.
    """
    params, source, seen = start([0, 1, 2]), EvolutionStrategy(0.3, 6, shaped, loss), batch(3)
    out = params.like()
    mean = source(NET, params, {}, source.init(NET, params, seen.streams), seen, out)
    used = _used(params)
    for r in range(3):
        noise = normal(Streams([r], "noise"), 3, params) * used
        losses = torch.stack(
            [
                _loss(params, r, params.flat[r] + sign * 0.3 * row, seen, loss)
                for sign in (1, -1)
                for row in noise
            ]
        )
        same(mean[r], losses.mean())
        u = ev.centered_ranks(losses) if shaped else losses
        same(out.flat[r], ev.es_gradient(noise, u[:3], u[3:], sigma=0.3))
    assert (out.flat[:, ~used.bool()] == 0).all()


def test_a_generation_is_the_references_for_each_run():
    params, rule, seen = (
        start([0, 1]),
        GeneticAlgorithm(sigma=0.3, population=5, parents=2),
        batch(2),
    )
    state = rule.init(NET, params, seen.streams)
    before = params.flat.clone()
    params, state, metrics = rule.step(NET, params, {}, state, seen)
    for r in range(2):
        alone = Streams([r], "noise")
        noise = normal(alone, 4, params) * _used(params)
        first = torch.cat(
            [before[r : r + 1], ev.mutate(before[r].expand_as(noise), noise, sigma=0.3)]
        )
        losses = torch.stack([_loss(params, r, w, seen, "cross_entropy") for w in first])
        picks = (alone.uniform(4, before[:1])[0] * 2).long()
        noise = normal(alone, 4, params) * _used(params)
        expected = ev.next_generation(first, losses, picks, noise, parents=2, sigma=0.3)
        same(state.population.flat.view(2, 5, -1)[r], expected)
        same(params.flat[r], expected[0])
        same(metrics["loss"][r], losses.min())


def _used(params):
    mask = torch.zeros(params.flat.shape[1], dtype=torch.float64)
    for span in params.spans.values():
        mask[span] = 1
    return mask


def _loss(params, r, w, seen, loss):
    one = Stack(w[None].clone(), params.shapes)
    logits = NET.forward(one, {}, seen.x[r : r + 1])[0]
    if loss == "zero_one":
        return (logits.argmax(-1) != seen.y[r]).double().mean()
    return torch.nn.functional.cross_entropy(logits, seen.y[r])


def test_an_elite_that_is_not_measured_anew_keeps_its_luck():
    """On one and the same batch both agree; on a hard batch after an easy one the remembered loss
    is out of date.
    """
    stale, fresh = (
        GeneticAlgorithm(1e-9, 3, 1, remeasure=remeasure) for remeasure in (False, True)
    )
    easy, hard = batch(1), batch(1)
    found = {}
    for rule in (stale, fresh):
        params = start([0])
        state = rule.init(NET, params, easy.streams)
        params, state, first = rule.step(
            NET, params, {}, state, easy._replace(y=easy.y * 0 + _said(params, easy))
        )
        params, state, second = rule.step(
            NET, params, {}, state, hard._replace(y=hard.y * 0 + 9 - _said(params, hard))
        )
        found[rule.remeasure] = (first["loss"].item(), second["loss"].item())
    assert found[False][0] == found[False][1] < found[True][1]


def _said(params, seen):
    return NET.forward(params, {}, seen.x).argmax(-1)


def test_ranks_are_the_references_with_ties():
    losses = torch.tensor([[3.0, 1.0, 1.0, 2.0], [5.0, 5.0, 5.0, 5.0]], dtype=torch.float64)
    same(ranks(losses), ev.centered_ranks(losses))


def test_the_losses_take_soft_labels():
    """A one-hot target is the label; two halves of two classes are the mean of both losses."""
    rng = torch.Generator().manual_seed(0)
    logits, y = (
        torch.randn(3, 5, 4, generator=rng).double(),
        torch.randint(4, (3, 5), generator=rng),
    )
    other = (y + 1) % 4
    hot = [torch.nn.functional.one_hot(labels, 4).double() for labels in (y, other)]
    for loss in LOSSES.values():
        same(loss(logits, y, hot[0]), loss(logits, y, None))
        same(
            loss(logits, y, (hot[0] + hot[1]) / 2),
            (loss(logits, y, None) + loss(logits, other, None)) / 2,
        )
    same(
        LOSSES["cross_entropy"](logits, y, None),
        torch.stack(
            [torch.nn.functional.cross_entropy(*pair) for pair in zip(logits, y, strict=True)]
        ),
    )
    assert LOSSES["cross_entropy"](1e4 * logits, y, None).isfinite().all()


def test_mixup_at_the_inputs_trains_and_inside_the_network_is_refused():
    assert end([recipe(ES[0], mixup=Mixup(1.0))], [0]).loss.isfinite().all()
    inside = batch(1)._replace(mix=Mix(torch.arange(20), {1: torch.ones(1)}))
    with pytest.raises(ValueError, match="not inside"):
        evaluate(NET, start([0]), inside, "cross_entropy")


@pytest.mark.parametrize("rule", [ES[0], GA[0]], ids=["es", "ga"])
def test_a_network_with_running_statistics_is_refused(rule):
    with pytest.raises(ValueError, match="mean1, var1 between steps"):
        end([recipe(rule, MLP((40, 6, 10), norm="batch"))], [0])


def test_each_run_brings_a_stream():
    params, source = start([0, 1]), EvolutionStrategy(population=4)
    with pytest.raises(ValueError, match="2 runs and 1 streams"):
        source(
            NET,
            params,
            {},
            source.init(NET, params, NO_STREAMS),
            batch(2)._replace(streams=Streams([0], "noise")),
            params.like(),
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvolutionStrategy(sigma=0.0), "sigma is 0.0"),
        (lambda: EvolutionStrategy(sigma=float("nan")), "sigma is nan"),
        (lambda: EvolutionStrategy(population=1), "population is 1;"),
        (lambda: EvolutionStrategy(population=7), "population is 7; antithetic"),
        (lambda: EvolutionStrategy(population=4.0), "population is 4.0"),
        (lambda: EvolutionStrategy(loss="hinge"), "loss is 'hinge'"),
        (lambda: GeneticAlgorithm(sigma=-0.1), "sigma is -0.1"),
        (lambda: GeneticAlgorithm(population=1, parents=1), "population is 1"),
        (
            lambda: GeneticAlgorithm(population=10, parents=11),
            "parents is 11; .* the population of 10",
        ),
        (lambda: GeneticAlgorithm(parents=0), "parents is 0"),
        (lambda: GeneticAlgorithm(loss="hinge"), "loss is 'hinge'"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rule", ES + GA, ids=["es", "raw adam", "es 0-1", "ga", "ga stale"])
def test_evolution_stays_on_the_device(fake_cuda, rule):
    """Proved without a GPU: inside FakeTensorMode a mix of devices raises."""
    cuda = runtime.device()
    x, y = torch.randn(40, 40, device=cuda), torch.zeros(40, dtype=torch.long, device=cuda)
    dataset = Dataset("made", x, y, x, y, x, y, 10, "", torch.zeros((), device=cuda))
    recipe = Recipe(NET, rule, epochs=1, batch_size=10)
    steps = list(train.iterate_steps([recipe] * 3, (0, 1, 2), dataset))
    assert len(steps) == 5 and {steps[-1].params.flat.device.type, steps[-1].loss.device.type} == {
        "cuda"
    }


def test_both_are_on_the_shelf_of_rules():
    assert {"EvolutionStrategy", "GeneticAlgorithm"} <= set(rules.__all__)
