"""The leaderboard has every rule of the book, on the same data."""

from dataclasses import replace

import pytest

from labsupport import rules
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.study import study
from labsupport.topics.alternating_minimization import figures, leaderboard
from labsupport.types import Arm, Recipe


@pytest.mark.parametrize("data", [leaderboard.SIGNALS, leaderboard.DIGITS])
def test_the_leaderboard_has_a_look_for_every_rule_and_a_search_of_three_settings_at_least(data):
    arms = leaderboard.contenders(data)
    assert set(arms) == set(figures.LOOKS) and len(set(figures.LOOKS.values())) == len(arms)
    assert all(len(rivals) >= 3 for rivals in arms.values())


def test_the_leaderboard_has_every_rule_and_gradient_source_of_the_book():
    entered = {
        type(part)
        for data in (leaderboard.SIGNALS, leaderboard.DIGITS)
        for arms in leaderboard.contenders(data).values()
        for part in (arms[0].recipe.rule, getattr(arms[0].recipe.rule, "gradient", None))
    }
    named = {getattr(rules, name) for name in rules.__all__}
    assert {item for item in named if isinstance(item, type)} - entered == {rules.EffectiveLRReplay}


def test_in_the_full_profile_all_rules_of_the_leaderboard_learn_the_same_data(monkeypatch):
    monkeypatch.setattr(
        leaderboard.profiles,
        "sized",
        lambda given: replace(given, data="mnist5k", model=MLP((784, 16, 10)), train_size=400),
    )
    recipes = [arms[0].recipe for arms in leaderboard.contenders(leaderboard.SIGNALS).values()]
    assert {(r.data, r.train_size, r.model.sizes) for r in recipes} == {
        ("mnist5k", 400, (784, 16, 10))
    }


def test_the_standings_are_sorted_by_accuracy_and_say_what_a_run_took():
    recipe = Recipe(MLP((40, 8, 10)), SGD(lr=0.3), train_size=300, epochs=3)
    results = {
        name: study([Arm(name, item)], (0, 1))
        for name, item in {"none": replace(recipe, rule=SGD(lr=0.0)), "SGD": recipe}.items()
    }
    table = leaderboard.standings({"signals": results})
    assert list(table.index) == ["SGD", "none"] and list(table) == [
        "signals: accuracy",
        "signals: seconds",
    ]
    assert (
        float(table.loc["SGD", "signals: seconds"]) > 0
        and "±" in table.loc["SGD", "signals: accuracy"]
    )
