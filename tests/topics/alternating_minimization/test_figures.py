"""What the chapter on alternating minimization draws and shows."""

from dataclasses import replace

import matplotlib
import pytest
import torch

from labsupport import plots, rules
from labsupport.models import MLP
from labsupport.ops import alternating_minimization as am
from labsupport.rules import SGD
from labsupport.study import study
from labsupport.topics.alternating_minimization import faults, leaderboard
from labsupport.topics.alternating_minimization import figures as toy
from labsupport.topics.alternating_minimization import reference as small
from labsupport.types import Arm, Recipe

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_no_update_of_the_batch_form_raises_the_objective():
    run = toy.batch_run(0.3, size=50, sweeps=10, seeds=range(3))
    rise, updates = toy.largest_rise(run.log)
    assert rise < 1e-12 and updates == 10 * 5 * 3
    assert (run.log[-1, -1] < run.log[0, 0]).all()


def test_a_rise_is_seen():
    assert toy.largest_rise(torch.tensor([[[2.0], [3.0], [1.0]]]))[0] == 0.5


def test_every_patient_is_named_by_the_reference_as_what_it_is():
    assert {name: small.diagnose(*log) for name, log in toy.patients().items()} == toy.PATIENTS


@pytest.mark.parametrize(
    "name, falls",
    [
        ("healthy", ([1, 0], [0, 1], [0, 0])),
        ("codes_rise", ([1, -1], [1, 1], [0, 0])),
        ("weights_rise", ([1, 1], [-1, 1], [0, 0])),
        ("codes_lost", ([1, 1], [1, 1], [0, 1])),
        ("codes_frozen", ([0, 0], [1, 1], [0, 0])),
        ("weights_frozen", ([1, 1], [0, 0], [0, 0])),
    ],
)
def test_a_log_that_is_made_with_a_fault_is_named_after_it(name, falls):
    log = faults.log(8.0, *falls, rounding=2.0**-18)
    assert small.diagnose(**log) == faults.asked(**log) == name
    assert (
        log["start"][0] == 8.0
        and log["coded"][1] == 8.0 - sum(falls[0]) - falls[1][0] - falls[2][1] - 2.0**-18
    )


def test_a_low_price_wakes_a_dead_unit_and_a_high_one_does_not():
    assert toy.unit_path(0.5, -0.5)[1] and not toy.unit_path(10.0, -0.5)[1]
    assert "jumps" in toy.plane(0.5, -0.5).axes[0].get_title(loc="left")


def test_the_first_pass_is_measured_where_it_is_asked():
    recipe = Recipe(MLP((40, 8, 10)), SGD(), train_size=500, epochs=1)
    seen = toy.first_pass(recipe, (0, 1), (1, 5))
    assert set(seen) == {1, 5} and seen[5].shape == (2,)


def test_in_the_full_profile_the_first_pass_is_measured_at_the_same_shares(monkeypatch):
    recipe = Recipe(MLP((40, 8, 10)), SGD(), train_size=500, epochs=1)
    monkeypatch.setattr(toy.profiles, "sized", lambda given: replace(given, train_size=2000))
    whole = toy.first_pass(recipe, (0, 1), (1, 5))
    monkeypatch.undo()
    assert torch.equal(
        whole[5], toy.first_pass(replace(recipe, train_size=2000), (0, 1), (4, 20))[20]
    )


def test_codes_of_linear_units_pass_on_half_of_what_they_get_at_most():
    rng = torch.Generator().manual_seed(0)
    for scale in (0.1, 1.0, 10.0):
        ws = [
            scale * torch.randn(n, m, generator=rng).double() for n, m in ((6, 4), (6, 6), (3, 6))
        ]
        bs = [torch.zeros(len(w)).double() for w in ws]
        x, y = torch.randn(5, 4, generator=rng).double(), torch.randint(3, (5,), generator=rng)
        codes = am.encode(ws, bs, x, "linear")
        low, top = (
            new - old
            for new, old in zip(
                am.update_codes(ws, bs, codes, x, y, 2.0, "linear", steps=50), codes, strict=True
            )
        )
        assert (low.norm(dim=1) <= 0.5 * top.norm(dim=1) + 1e-12).all() and low.abs().max() > 1e-3


def test_the_gradient_that_fades_is_autograds():
    share = toy.fading(depth=3, size=20, seeds=[4])["gradient by backpropagation"][:, 0]
    params, _ = MLP((40, 64, 64, 64, 10), initializer="kaiming_normal").init(
        [toy.runtime.generator(4, "init")]
    )
    dataset, codes = toy.datasets.load("mnist1d", train_size=20), []
    h = dataset.x_train.flatten(1).double()
    for i in (1, 2, 3):
        codes.append(
            (
                h @ params[f"weight{i}"][0].double().T + params[f"bias{i}"][0].double()
            ).requires_grad_()
        )
        h = codes[-1].relu()
    logits = h @ params["weight4"][0].double().T + params["bias4"][0].double()
    sizes = torch.stack(
        [
            g.norm()
            for g in torch.autograd.grad(
                torch.nn.functional.cross_entropy(logits, dataset.y_train), codes
            )
        ]
    )
    assert torch.allclose(share, sizes / sizes[-1], rtol=1e-6)


@pytest.mark.parametrize("data", [leaderboard.SIGNALS, leaderboard.DIGITS])
def test_the_leaderboard_has_a_look_for_every_rule_and_a_search_of_three_settings_at_least(data):
    arms = leaderboard.contenders(data)
    assert set(arms) == set(leaderboard.LOOKS) and len(set(leaderboard.LOOKS.values())) == len(arms)
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
