"""Recipes of the cells, what is read off them, and what noise alone shows."""

import numpy as np
import pandas as pd
import pytest
import torch
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from labsupport.augment import Mixup, RandomCrop
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.interactions import experiments
from labsupport.topics.interactions import reference as it
from labsupport.types import Arm, Recipe, Result

BASE = Recipe(MLP(), SGD())


LEVELS = {"decay": 0.01, "dropout": 0.2, "crop": 4.0, "mixup": 0.3}


def noise(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(per_cell, metric="test_accuracy", epochs=(1,)):
    """A result whose cell c has these values, one a seed, times the epoch; arms in a shuffled
    order.
    """
    names = [experiments.cell_name(cell) for cell in range(32)]
    rows = [
        (names[cell], seed, epoch, metric, value * epoch)
        for cell in reversed(range(32))
        for seed, value in enumerate(per_cell[cell])
        for epoch in epochs
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "epoch", "metric", "value"])
    return Result(table, table.iloc[:0], tuple(Arm(name, BASE) for name in names), (0, 1), 0.0)


def searched(best):
    """A search of every cell at 0.1 and 0.2, one seed, in which ``best(cell)`` says which rate
    wins; the other has 0.1.
    """
    arms = experiments.factorial(BASE, LEVELS, {False: (0.1, 0.2), True: (0.1, 0.2)})
    rows = [
        (
            arm.name,
            100,
            1,
            "valid_accuracy",
            0.5 if arm.values["lr"] == best(arm.values["cell"]) else 0.1,
        )
        for arm in arms
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "epoch", "metric", "value"])
    return Result(table, table.iloc[:0], tuple(arms), (100,), 0.0)


def test_a_cell_has_the_tricks_of_its_bits_and_no_others():
    full, none = experiments.recipe(BASE, experiments.ALL, LEVELS), experiments.recipe(BASE, 0, {})
    assert none == BASE
    assert (full.model.norm, full.rule.weight_decay, full.model.dropout) == ("batch", 0.01, 0.2)
    assert (full.augment, full.mixup) == ((RandomCrop(4),), Mixup(0.3))
    assert (
        experiments.recipe(BASE, 0b01000, LEVELS).augment
        and not experiments.recipe(BASE, 0b10111, LEVELS).augment
    )
    assert experiments.cell_name(0b01001) == "norm + crop" and experiments.cell_name(0) == "none"


def test_the_factorial_has_every_cell_at_the_rates_of_its_kind():
    arms = experiments.factorial(BASE, LEVELS, {False: (0.1, 0.2), True: (0.05,)})
    assert len({arm.name for arm in arms}) == 16 * 2 + 16
    assert all((arm.recipe.rule.lr == 0.05) == (arm.recipe.model.norm == "batch") for arm in arms)


def test_tricks_alone_come_at_every_strength_and_rate():
    arms = experiments.single_tricks(BASE, {"crop": (2, 4), "decay": (0.1,)}, (0.1, 0.2))
    assert [arm.values["strength"] for arm in arms] == [2, 2, 4, 4, 0.1, 0.1]
    assert all(arm.recipe.model.norm is None for arm in arms)


def test_cells_stand_in_standard_order_whatever_the_order_of_the_arms():
    y = experiments.cells(made([(cell / 100, cell / 100) for cell in range(32)]))
    assert y.shape == (2, 32) and torch.allclose(y[0], torch.arange(32.0).double())


@pytest.mark.parametrize("metric, guess", [("test_accuracy", 10.0), ("test_loss", 230.2585)])
def test_a_run_that_diverged_counts_as_a_guess_among_ten(metric, guess):
    y = experiments.cells(
        made([(0.5, np.nan if cell == 3 else 0.5) for cell in range(32)], metric), metric
    )
    assert y[1, 3].item() == pytest.approx(guess) and y[0, 3] == y[1, 4] == 50.0


def test_the_course_has_every_epoch_that_was_measured():
    course = experiments.by_epoch(
        made([(cell / 100, 0.0) for cell in range(32)], epochs=(1, 2)), "test_accuracy"
    )
    assert list(course) == [1, 2] and torch.allclose(course[2][0], 2 * torch.arange(32.0).double())


def test_the_search_is_read_at_one_rate_or_with_each_cell_at_its_own():
    """Cells with batch norm, the odd ones, are best at 0.2, the others at 0.1."""
    found = searched(lambda cell: 0.2 if cell & 1 else 0.1)
    assert experiments.searched_at(found, 0.2)[0].tolist() == [
        50.0 if cell & 1 else 10.0 for cell in range(32)
    ]
    assert experiments.searched_at(found).unique().tolist() == [50.0]


def test_a_cell_of_which_every_rate_diverged_is_chosen_as_a_guess():
    found = searched(lambda cell: np.nan)
    found.table.loc[found.table["arm"].str.startswith("norm, "), "value"] = np.nan
    assert (
        experiments.searched_at(found)[0, :3].tolist() == [10.0, 10.0, 10.0]
        and len(experiments.at_best_rates(found)) == 32
    )


def test_the_rates_chosen_are_counted_and_one_not_tried_is_no_zero():
    found = searched(lambda cell: 0.2 if cell in (0, 1, 3) else 0.1)
    table = experiments.rates_chosen(
        found, experiments.at_best_rates(found), {False: (0.1, 0.2, 0.4), True: (0.1, 0.2)}
    )
    assert table.loc["none"].tolist() == [15, 1, 0] and table.loc["batch norm"].tolist() == [
        14,
        2,
        "–",
    ]


def test_the_orders_of_the_analysis_of_variance_are_the_sums_of_squares():
    y = noise(4, 32)
    fitted = ols("accuracy ~ C(seed) + norm*decay*dropout*crop*mixup", experiments.tidy(y)).fit()
    table, parts, order = (
        experiments.by_order(anova_lm(fitted)),
        it.sums_of_squares(y),
        it.orders(5)[1:],
    )
    assert table["df"].tolist() == [5, 10, 10, 6, 3, 93] and table["share"].sum() == pytest.approx(
        1
    )
    for row, which in (
        ("main effects", order == 1),
        ("pairs", order == 2),
        ("four and five", order > 3),
    ):
        assert table.loc[row, "sum_sq"] == pytest.approx(parts["effects"][which].sum().item())
    assert table.loc["rest", "sum_sq"] == pytest.approx(parts["rest"].item())


def test_half_of_the_cells_shows_an_effect_with_its_alias():
    """Straight from the sixteen cells with an odd number of tricks on."""
    y = noise(5, 32)
    x = it.design(5)
    odd = (x > 0).sum(1) % 2 == 1
    crop = y[:, odd & (x[:, 3] > 0)].mean() - y[:, odd & (x[:, 3] < 0)].mean()
    assert experiments.half_fraction(it.effects(y), "crop").mean().item() == pytest.approx(
        crop.item()
    )


def test_a_switch_compares_a_cell_with_the_one_that_differs_in_one_trick():
    y = torch.arange(32.0).double().square().expand(3, 32)
    assert (
        experiments.simple_effect(y, "decay", 0b00001).tolist()
        == experiments.simple_effect(y, "decay", 0b00011).tolist()
        == [9 - 1] * 3
    )


def test_the_path_stops_at_the_first_cell_from_which_nothing_gains():
    """Crop gains 9; then norm gains 2; everything else loses. A better cell behind a worse one is
    not found.
    """
    y = torch.zeros(2, 32).double()
    y[:, 0b01000], y[:, 0b01001], y[:, 0b10110] = 9.0, 11.0, 50.0
    path = experiments.greedy_path(y)
    assert [experiments.cell_name(cell) for cell in path] == ["none", "crop", "norm + crop"]
    assert experiments.cells_tried(path) == 1 + 5 + 4 + 3


def test_the_path_goes_on_to_the_end_where_everything_gains():
    y = torch.tensor([[float(cell.bit_count()) for cell in range(32)]]).double()
    path = experiments.greedy_path(y)
    assert path[-1] == experiments.ALL and len(path) == 6 and experiments.cells_tried(path) == 16


def test_the_path_down_only_takes_out():
    """From all five the way leads over those without dropout to norm with crop; more of both would
    be better still.
    """
    y = torch.zeros(1, 32).double()
    y[:, 0b11011], y[:, 0b01011], y[:, 0b01001], y[:, 0b01101] = 1.0, 2.0, 3.0, 9.0
    assert experiments.greedy_path(y, experiments.ALL) == [0b11111, 0b11011, 0b01011, 0b01001]


def test_each_way_to_choose_ends_where_its_cells_allow():
    """Norm and mixup gain alone and lose together; decay gains only beside dropout, and that pair
    is the best of all.
    """
    y = torch.zeros(1, 32).double() - 5
    y[:, 0], y[:, 0b00001], y[:, 0b10000], y[:, 0b10001], y[:, 0b00110] = 0.0, 3.0, 2.0, -4.0, 9.0
    y[:, 0b11100] = 4.0
    found = {
        how: (cost, experiments.cell_name(cell))
        for how, (cost, cell) in experiments.selection_strategies(y).items()
    }
    assert found["no trick"] == (1, "none") and found["all five, untried"] == (
        1,
        experiments.cell_name(experiments.ALL),
    )
    assert found["each alone, keep the best"] == (6, "norm")
    assert found["each alone, keep all that gain"] == (6, "norm + mixup")
    assert found["walk up from none"] == (10, "norm")
    assert found["half of the cells, keep the best"] == (16, "dropout + crop + mixup")
    assert found["all cells, keep the best"] == (32, "decay + dropout")


def test_rivals_of_the_best_are_those_that_noise_does_not_tell_apart():
    y = noise(10, 32) * 0.1 + 40
    y[:, 5] += 10
    y[:, 9] += 10
    table = experiments.compare_with_best(y, y)
    assert set(table.index[table["p"] > 0.05]) == {
        experiments.cell_name(5),
        experiments.cell_name(9),
    }
    assert table["tricks"].is_monotonic_increasing


def test_the_largest_of_noise_looks_real_most_of_the_time():
    """1 - 0.95^26 = 0.736; two thousand experiments know it to a standard error of 0.01."""
    seen = experiments.false_alarm_rates()
    assert seen["largest"] == pytest.approx(1 - 0.95**26, abs=0.04)
    assert seen["one"] == pytest.approx(0.05, abs=0.02) and seen["holm"] == pytest.approx(
        0.05, abs=0.02
    )


def test_an_interval_is_written_with_signs():
    assert experiments.interval_text(torch.tensor([1.0, 3.0])) == "+2.0 (-10.7 to +14.7)"
