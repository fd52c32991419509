"""The space of architectures, and the two searches in it."""

from random import Random

import pytest

from labsupport.topics.evolution import architectures


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
