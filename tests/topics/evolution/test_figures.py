"""The staircase, the searches and the patients of the chapter on evolution."""

import pytest
import torch

from labsupport import datasets, plots, runtime
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.stacks import Stack
from labsupport.topics.evolution import architecture_search as architectures
from labsupport.topics.evolution import experiments as runs
from labsupport.topics.evolution import figures as toy
from labsupport.topics.evolution import reference as ev
from labsupport.types import Batch, Recipe


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_staircase_is_level_nearly_everywhere():
    w = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    assert (toy.staircase(w) == toy.staircase(w + 1e-9)).float().mean() > 0.99
    assert toy.staircase(torch.tensor([1.0, -0.5])) == 0 < toy.staircase(w).max()


def test_both_populations_come_down_the_stairs():
    for walk in (toy.genetic(0.4, 16), toy.strategy(0.4, 16)):
        assert len(walk.centre) == 17 and walk.populations[0].shape == (20, 2)
        assert toy.staircase(walk.centre[-1]) < toy.staircase(walk.centre[0])


def test_the_explorer_says_in_its_titles_where_the_populations_are():
    fig = toy.populations(2, 0.2)
    walk = toy.genetic(0.2, 2)
    loss, spread = toy.staircase(walk.centre[-1]), walk.populations[-1].std(0).mean()
    assert fig.axes[0].get_title("left") == f"genetic: loss {loss:.2f}, spread {spread:.2f}"
    assert fig.get_suptitle() == "generation 2, 60 evaluations, σ = 0.2"


def test_all_frames_share_their_axes():
    limits = {
        (ax.get_xlim(), ax.get_ylim())
        for generation in (0, 16)
        for ax in toy.populations(generation, 0.8).axes
    }
    assert limits == {((-2.5, 2.5), (-2.0, 2.0))}


@pytest.mark.parametrize("curvature", [0.0, 5.0])
def test_the_squared_cosines_have_the_mean_of_the_law(curvature):
    found = toy.squared_cosines(5, 20, curvature, repeats=1000)
    assert abs(found.mean() - ev.squared_cosine(5, 20)) < 4 * found.std() / 1000**0.5


def test_on_the_bowl_ten_times_the_weights_take_about_ten_times_the_evaluations():
    few, many = (toy.evaluations_on_a_bowl(p, 5, 10).mean() for p in (20, 200))
    assert 7 < many / few < 13


def test_each_sickness_is_named_by_its_log():
    for name in (
        "healthy",
        "stale_fitness",
        "worst_selected",
        "no_selection",
        "sigma_too_large",
        "sigma_too_small",
    ):
        assert ev.diagnose(*toy.evolve(name).log) == name
    assert all(
        ev.diagnose(*patient.log) == toy.PATIENTS[name] for name, patient in toy.patients().items()
    )


def test_the_patients_are_drawn_by_name():
    fig = toy.draw_patients(toy.patients())
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [
        "patient A",
        "patient B",
        "patient C",
    ]
    assert [len(ax.lines) for ax in fig.axes] == [3, 3]


def test_a_borrowed_slope_is_what_autograd_finds_behind_a_detached_threshold():
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
    source, out = runs.StraightThrough(), params.like()
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
    assert runs.parameters(recipe) == 826
    larger = Recipe(MLP((784, 128, 10)), SGD())
    monkeypatch.setattr("labsupport.profiles.sized", lambda given: larger)
    assert runs.parameters(recipe) == sum(
        p.numel() for p in larger.model.init([torch.Generator()])[0].values()
    )


def test_hard_thresholds_have_no_slope_and_relus_do():
    dataset = datasets.load("mnist1d", train_size=100)
    hard, soft = (MLP((40, 6, 10), activation=name) for name in ("sign", "relu"))
    assert (
        runs.largest_slope(hard, dataset, [0, 1]) == 0 < runs.largest_slope(soft, dataset, [0, 1])
    )
    assert runs.largest_slope(hard, dataset, [0, 1], layer=2) > 0
    assert (
        runs.largest_change(hard, dataset, [0, 1])
        == 0
        < runs.largest_change(hard, dataset, [0, 1], step=1.0)
    )


def test_steps_to_a_loss_are_those_of_the_best_rate():
    lr, steps = runs.steps_to_loss(
        SGD(momentum=0.9), [0.1, 0.4], [100, 101], 4, target=2.2, most=30
    )
    assert lr == 0.4 and len(steps) == 10 and 1 <= steps.min() <= steps.max() < 30
    assert runs.steps_to_loss(SGD(), [1e-3], [100], 4, target=0.1, most=2)[1].tolist() == [2.0] * 10


# -- architectures ---------------------------------------------------------------------------------


def table(value):
    """A made-up table with two seeds that agree."""
    return {genome: [(value(genome), value(genome))] * 2 for genome in architectures.SPACE}


def test_what_a_search_hands_in_is_tested_from_the_next_seed():
    """Chosen by validation from the first seed, tested from the second; from the second, tested
    from the first.
    """
    known = {genome: [(genome[0], -1.0), (-genome[0], genome[0])] for genome in architectures.SPACE}
    assert architectures.search(known, 30, 0, evolved=True)[-1] == 32
    assert set(architectures.search(known, 30, 0, evolved=True, column=1)) == {-1.0}


def test_a_table_holds_both_parts_of_each_seed(monkeypatch):
    monkeypatch.setattr(architectures, "SPACE", architectures.SPACE[:2])
    found, second = architectures.tabulate((3, 4)), architectures.tabulate((4,))
    assert list(found) == list(architectures.SPACE)
    for genome, rows in found.items():
        assert len(rows) == 2 and rows[0] != rows[1] and rows[0][0] != rows[0][1]
        assert rows[1] == pytest.approx(second[genome][0])


def test_a_mutation_changes_one_gene():
    from random import Random

    rng, genome = Random(0), architectures.SPACE[100]
    for _ in range(50):
        child = architectures.mutate(genome, rng)
        assert (
            child in architectures.SPACE
            and sum(a != b for a, b in zip(genome, child, strict=True)) == 1
        )


def test_every_genome_makes_a_recipe():
    recipes = {architectures.recipe(genome) for genome in architectures.SPACE}
    assert len(recipes) == len(architectures.SPACE) == 360
    assert {len(recipe.model.sizes) for recipe in recipes} == {3, 4}


def test_where_good_genomes_lie_together_evolution_finds_them_sooner():
    places = {
        name: {v: i for i, v in enumerate(values)} for name, values in architectures.GENES.items()
    }
    smooth = table(
        lambda genome: (
            sum(places[name][gene] for name, gene in zip(places, genome, strict=True)) / 12
        )
    )
    found = architectures.courses(smooth, budget=60, repeats=10)
    assert found["evolution"][60].mean() > found["random search"][60].mean() + 0.03


def test_both_searches_begin_alike_and_never_get_worse_without_noise():
    flat = table(lambda genome: hash(genome[3]) % 7 / 7 + genome[0] / 100)
    found = architectures.courses(flat, budget=15, repeats=3)
    assert found["evolution"].loc[:, :10].equals(found["random search"].loc[:, :10])
    assert (found["evolution"].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


@pytest.mark.parametrize(
    "options", [{"population": 1}, {"population": 31}, {"tournament": 11}, {"tournament": 0}]
)
def test_a_search_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} {next(iter(options.values()))}"):
        architectures.search(table(lambda genome: 0.0), 30, 0, evolved=True, **options)
