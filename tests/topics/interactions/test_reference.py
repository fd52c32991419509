"""Effects of a factorial against statsmodels, scipy, enumeration and cases worked by hand, in
float64.
"""

import math

import pandas as pd
import pytest
import torch
from scipy import linalg
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from labsupport.topics.interactions import reference as it

NAMES = ("a", "b", "c")


def drawn(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(
        torch.as_tensor(a, dtype=torch.float64),
        torch.as_tensor(b, dtype=torch.float64),
        rtol=1e-10,
        atol=1e-12,
    )


def tabled(y):
    """(n, 8) as a table with a row for every run, factors coded -1 and +1."""
    x = it.design(3)
    return pd.DataFrame(
        [
            {"y": y[i, c].item(), "seed": i, **dict(zip(NAMES, x[c].tolist(), strict=True))}
            for i in range(len(y))
            for c in range(8)
        ]
    )


# -- effects ---------------------------------------------------------------------------------------


def test_two_factors_by_hand():
    """Cells (off, off), (A), (B), (both) of 1, 3, 4, 10: A adds 2 without B and 6 with it."""
    same(it.effects(torch.tensor([1.0, 3.0, 4.0, 10.0])), [4.5, 4.0, 5.0, 2.0])


def test_the_first_factor_changes_fastest():
    assert it.design(2).tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_yates_is_the_contrast_of_cell_means(k):
    means = drawn(4, 2**k)
    expected = means @ it.contrasts(k) / 2 ** (k - 1)
    expected[:, 0] /= 2
    same(it.effects(means), expected)


def test_the_contrasts_are_orthogonal_and_up_to_signs_a_hadamard_matrix():
    signs = it.contrasts(4)
    same(signs.T @ signs, 16 * torch.eye(16, dtype=torch.float64))
    hadamard = torch.as_tensor(linalg.hadamard(16), dtype=torch.float64)
    same(signs * (-1.0) ** it.orders(4), hadamard)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_effect_is_twice_statsmodels_coefficient(seed):
    y = drawn(5, 8, seed=seed)
    fitted = ols("y ~ C(seed, Sum) + a*b*c", tabled(y)).fit()
    found = dict(zip(it.words(NAMES), it.effects(y.mean(0)).tolist(), strict=True))
    for word, effect in found.items():
        if word != "mean":
            same(2 * fitted.params[word.replace(" × ", ":")], effect)
    same(fitted.params["Intercept"], found["mean"])


def test_the_sums_of_squares_are_statsmodels_and_add_up():
    y = drawn(6, 8)
    table = anova_lm(ols("y ~ C(seed) + a*b*c", tabled(y)).fit())
    parts = it.sums_of_squares(y)
    words = [word.replace(" × ", ":") for word in it.words(NAMES)[1:]]
    same(table["sum_sq"][words].to_numpy(copy=True), parts["effects"])
    same(table["sum_sq"]["C(seed)"], parts["blocks"])
    same(table["sum_sq"]["Residual"], parts["rest"])
    same((y - y.mean()).square().sum(), parts["effects"].sum() + parts["blocks"] + parts["rest"])


def test_what_all_seeds_share_cancels_even_when_it_is_large():
    """At accuracies of 1e9 the effects keep the digits that the data have."""
    means = torch.tensor([1.0, 3.0, 4.0, 10.0], dtype=torch.float64)
    same(it.effects(means + 2.0**30)[1:], it.effects(means)[1:])


def test_words_and_orders_name_the_effects():
    assert it.words(NAMES) == ["mean", "a", "b", "a × b", "c", "a × c", "b × c", "a × b × c"]
    assert it.orders(3).tolist() == [0, 1, 1, 2, 1, 2, 2, 3]


@pytest.mark.parametrize("cells", [1, 3, 6])
def test_a_number_of_cells_that_is_no_power_of_two_is_refused(cells):
    with pytest.raises(ValueError, match=f"{cells} cells"):
        it.effects(torch.zeros(cells))


def test_a_design_needs_a_factor():
    with pytest.raises(ValueError, match="k is 0"):
        it.design(0)


def test_one_block_is_no_blocked_factorial():
    with pytest.raises(ValueError, match="at least two blocks"):
        it.sums_of_squares(torch.zeros(1, 4))


# -- shares ----------------------------------------------------------------------------------------


def test_without_noise_the_share_is_that_of_the_squares():
    """Effects 3, 4 and an interaction of 5: half of the variance between cells is interaction."""
    effect = torch.tensor([[7.0, 3.0, 4.0, 5.0]], dtype=torch.float64)
    same(it.interaction_share(effect.expand(4, 4)), 0.5)


def test_the_share_does_not_take_noise_for_interaction():
    """Main effects of 1 and noise as large: the squares of the means hold a noise of 1/n each, the
    share does not.
    """
    truth = (it.orders(3) == 1).double()
    noisy = truth + drawn(2000, 10, 8)
    shares = torch.stack([it.interaction_share(sample) for sample in noisy])
    squares = noisy.mean(1).square()
    naive = squares[:, it.orders(3) >= 2].sum(1) / squares[:, 1:].sum(1)
    assert abs(shares.mean()) < 0.02 < 0.08 < naive.mean()


def test_the_jackknife_of_a_mean_is_the_rows():
    rows = drawn(7)
    same(it.pseudo_values(lambda x: x.mean(), rows), rows)


def test_the_jackknife_of_the_variance_is_unbiased():
    """The variance with 1/n is too low; its pseudo-values average to the one with 1/(n - 1)."""
    rows = drawn(6)
    same(it.pseudo_values(lambda x: x.var(correction=0), rows).mean(), rows.var())


def test_too_few_seeds_are_refused():
    with pytest.raises(ValueError, match="at least two"):
        it.interaction_share(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="at least three"):
        it.pseudo_values(torch.mean, torch.zeros(2))


# -- two factors, and what noise does --------------------------------------------------------------


def test_the_two_by_two_functions_are_the_general_one():
    means = drawn(2, 2)
    general = it.effects(means.T.flatten())
    same(torch.stack([*it.main_effects(means), it.interaction(means)]), general[1:])


def test_two_tricks_that_each_gain_five_and_together_six():
    means = torch.tensor([[40.0, 45.0], [45.0, 46.0]])
    assert it.main_effects(means)[0].item() == 3.0
    assert it.interaction(means).item() == -2.0
    gap, _ = it.stacking_gap(
        means[0, 0].expand(2), torch.tensor([[45.0, 45.0], [45.0, 45.0]]), means[1, 1].expand(2)
    )
    assert gap.item() == 2 * it.interaction(means).item()


def test_the_gap_has_the_standard_error_of_a_paired_mean():
    base, together, singles = drawn(5), drawn(5, seed=2), drawn(3, 5, seed=3)
    gap, error = it.stacking_gap(base, singles, together)
    differences = together - singles.sum(0) + 2 * base
    same(gap, differences.mean())
    same(error, differences.std() / math.sqrt(5))


@pytest.mark.parametrize("generator", [[1, 1, 1, 1], [1, 1, 0, 1]])
def test_an_effect_and_its_alias_have_the_same_column_in_the_half_that_is_run(generator):
    signs, bits = it.contrasts(4), (it.design(4) > 0).int()
    kept = signs[:, sum(bit << j for j, bit in enumerate(generator))] == 1
    assert kept.sum() == 8
    for s, word in enumerate(bits):
        other = it.alias(word, torch.tensor(generator))
        t = sum(int(bit) << j for j, bit in enumerate(other))
        assert t != s and torch.equal(signs[kept, s], signs[kept, t])


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.9, 0.02], [0.2, 0.2]])
def test_holm_is_statsmodels(p):
    same(it.holm(torch.tensor(p, dtype=torch.float64)), multipletests(p, method="holm")[1])


@pytest.mark.parametrize(
    "means, name",
    [
        ([[40, 45], [45, 50]], "unclear"),
        ([[40, 45], [45, 54]], "unclear"),
        ([[40, 45], [45, 56]], "synergy"),
        ([[40, 45], [45, 45]], "redundancy"),
        ([[40, 45], [45, 41]], "antagonism"),
        ([[40, 42], [50, 45]], "antagonism"),
    ],
)
def test_the_names_at_a_standard_error_of_one(means, name):
    """An interaction counts above 2, a loss to the better single above 2√2 = 2.83."""
    assert it.diagnose(torch.tensor(means, dtype=torch.float64), 1.0) == name


def test_wrong_input_is_named():
    flat = torch.zeros(4)
    for wrong, words in (
        (lambda: it.main_effects(flat), r"\(4,\)"),
        (lambda: it.interaction(flat), r"\(4,\)"),
        (lambda: it.diagnose(torch.zeros(2, 2), 0.0), "error is 0.0"),
        (lambda: it.holm(torch.tensor([0.5, 1.5])), "1.5"),
        (lambda: it.alias(torch.tensor([0, 2]), torch.tensor([1, 1])), "zeros and ones"),
        (lambda: it.alias(torch.tensor([0]), torch.tensor([1, 1])), "must agree"),
        (lambda: it.stacking_gap(flat, torch.zeros(2, 3), flat), r"\(2, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
