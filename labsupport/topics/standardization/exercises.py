"""Exercises on standardization: the pipeline, its effect on a bowl, and a pipeline to diagnose."""

import math

import torch
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, POSITIVE, evenly, one_of, tensor
from labsupport.topics.standardization import faults, reference

_TABLE = (0.0, 1.0, 2.0, -1.0, 4.0, -3.0)


def _varied(draw, rows, columns, dtype):
    """Draw a table in which no column has one value throughout."""
    x = tensor(draw, (rows, columns), dtype, _TABLE)
    assume(not bool(reference.constant_columns(x).any()))
    return x


@st.composite
def _two_parts(draw):
    """Draw two parts of a table; the test part may be a single sample, as in deployment.

    Some tables are in tiny units, and some lie far from zero: there every digit of the mean counts.
    An even number of rows represents it exactly.
    """
    columns, dtype = one_of(draw, 1, 2), one_of(draw, *DTYPES)
    units = evenly(draw, "", "", "tiny", "far")
    x_train = _varied(draw, one_of(draw, 2, 3, 4) if units != "far" else 2, columns, dtype)
    x_test = tensor(draw, (one_of(draw, 1, 2, 3), columns), dtype, _TABLE)
    scale = 1e-9 if units == "tiny" else 1.0
    offset = (1e8 if dtype == torch.float64 else 1e4) if units == "far" else 0.0
    return {"x_train": scale * x_train + offset, "x_test": scale * x_test + offset}


@st.composite
def _tables(draw):
    """Draw tables with more rows than columns and with linearly independent columns.

    So the condition number is finite.
    """
    columns = one_of(draw, 1, 2)
    x = tensor(draw, (columns + one_of(draw, 1, 2), columns), torch.float64, _TABLE)
    assume(float(reference.condition_number(x)) < 1e4)
    return {"x": x}


@st.composite
def _bowls(draw):
    return {
        "curvature": tensor(
            draw, (one_of(draw, 1, 2, 3),), torch.float64, (*POSITIVE, 16.0, 1000.0, 0.01)
        ),
        "factor": one_of(draw, 10.0, 2.0, 100.0, 1000.0),
    }


@st.composite
def _logs(draw):
    """What one of the eight pipelines made of two small parts in which all eight differ."""
    columns = one_of(draw, 1, 2)
    x_train = _varied(draw, one_of(draw, 2, 3), columns, torch.float64)
    x_test = _varied(draw, one_of(draw, 2, 3), columns, torch.float64)
    made = faults.pipelines(x_train, x_test)
    pairs = list(made.values())
    # with one column the table's statistics are the column's: then there is nothing to tell apart
    apart = [faults.distance(a, b) for i, a in enumerate(pairs) for b in pairs[:i]]
    name = one_of(draw, *made)
    assume(sum(gap < 1e-2 for gap in apart) == (columns == 1))
    assume(columns > 1 or name != "one_for_the_table")
    return {"x_train": x_train, "x_test": x_test, "z_train": made[name][0], "z_test": made[name][1]}


# -- standardize -----------------------------------------------------------------------------------


def each_by_its_own(x_train, x_test):
    """You standardized the test part by its own statistics. Keep those of the training part: a
    model knows no others.
    """
    return tuple((x - x.mean(0)) / x.std(0, correction=0) for x in (x_train, x_test))


def statistics_of_all(x_train, x_test):
    """You took the statistics of both parts together, so the test part has a say in training. Use
    the training part alone.
    """
    return _by(reference.fit(torch.cat([x_train, x_test])), x_train, x_test)


def statistics_from_test(x_train, x_test):
    """You took the statistics from the test part. They come from the training part, for both."""
    mean, std = x_test.mean(0), x_test.std(0, correction=0)
    return (x_train - mean) / std, (x_test - mean) / std


def variance_for_std(x_train, x_test):
    """You divided by the variance. Divide by its root, which has the unit of the column."""
    mean, std = reference.fit(x_train)
    return _by(reference.Statistics(mean, std**2), x_train, x_test)


def one_for_the_table(x_train, x_test):
    """You took one mean and one standard deviation for the whole table: mean() forgot its axis.
    Each column has its own.
    """
    mean, std = x_train.mean(), x_train.std(correction=0)
    return (x_train - mean) / std, (x_test - mean) / std


def row_by_row(x_train, x_test):
    """You standardized every sample across its columns. The mean runs over the samples, axis 0, one
    for each column.
    """
    return tuple(
        (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True, correction=0)
        for x in (x_train, x_test)
    )


def divided_by_n_minus_one(x_train, x_test):
    """You divided by N - 1, the default of torch.std. A convention, and harmless; the one asked for
    divides by N.
    """
    return _by(reference.fit(x_train, correction=1), x_train, x_test)


def scaled_before_centring(x_train, x_test):
    """You divided by the standard deviation first and then subtracted the mean of the undivided
    column. Centre first, then scale.
    """
    mean, std = reference.fit(x_train)
    return x_train / std - mean, x_test / std - mean


def not_centred(x_train, x_test):
    """You divided, but subtracted no mean. An offset couples a column to the bias: centre it."""
    std = reference.fit(x_train).std
    return x_train / std, x_test / std


def not_scaled(x_train, x_test):
    """You subtracted the mean, but did not divide. The columns still have their units."""
    mean = reference.fit(x_train).mean
    return x_train - mean, x_test - mean


def test_untouched(x_train, x_test):
    """You gave the test part back as it was. The model has learnt on standardized inputs and needs
    them at test time too.
    """
    return reference.apply(x_train, reference.fit(x_train)), x_test


def squeezed_between_0_and_1(x_train, x_test):
    """You scaled to the range from 0 to 1. That is min-max scaling: one extreme sample decides. Use
    mean and deviation.
    """
    low, high = x_train.amin(0), x_train.amax(0)
    return (x_train - low) / (high - low), (x_test - low) / (high - low)


def variance_by_mean_of_squares(x_train, x_test):
    """You took the variance for the mean of squares minus the square of the mean. Far from zero
    these are two huge numbers whose difference is rounding: subtract the mean first.
    """
    mean = x_train.mean(0)
    std = ((x_train**2).mean(0) - mean**2).sqrt()
    return (x_train - mean) / std, (x_test - mean) / std


def constant_added_to_std(x_train, x_test):
    """You added 1e-8 to the standard deviation. In a column of tiny units that is more than the
    deviation itself: leave it out.
    """
    mean, std = reference.fit(x_train)
    return (x_train - mean) / (std + 1e-8), (x_test - mean) / (std + 1e-8)


def constant_added_to_sample_std(x_train, x_test):
    """You divided by x.std(0) + 1e-8. The constant swallows a column of tiny units, and torch.std
    divides by N - 1; here it is N.
    """
    mean, std = reference.fit(x_train, correction=1)
    return (x_train - mean) / (std + 1e-8), (x_test - mean) / (std + 1e-8)


def constant_added_to_variance(x_train, x_test):
    """You added 1e-5 to the variance, as batch norm does. It changes every result a little and
    swallows a column of tiny units: leave it out.
    """
    mean, std = reference.fit(x_train)
    std = (std**2 + 1e-5).sqrt()
    return (x_train - mean) / std, (x_test - mean) / std


def sum_for_mean(x_train, x_test):
    """You took the root of the sum of squares. Divide the sum by N first: the deviation is a root
    mean square.
    """
    mean = x_train.mean(0)
    std = ((x_train - mean) ** 2).sum(0).sqrt()
    return (x_train - mean) / std, (x_test - mean) / std


def _by(statistics, *parts):
    return tuple(reference.apply(x, statistics) for x in parts)


def by_moments(x_train, x_test):
    """The standard deviation as the root of a mean square, written out."""
    centred = x_train - x_train.mean(0)
    std = (centred * centred).mean(0) ** 0.5
    return centred / std, (x_test - x_train.mean(0)) / std


# -- condition_number ------------------------------------------------------------------------------


def constant_forgotten(x):
    """You left out the bias. It is a weight too: the design has a last column of ones."""
    return reference.condition_number(x, constant=False)


def of_the_design(x):
    """You took the ratio of the singular values of A. The curvatures are their squares: the Hessian
    is AᵀA/N.
    """
    return reference.condition_number(x).sqrt()


def of_the_inputs(x):
    """You took the condition number of x itself. Append the column of ones, then square: a
    curvature is a squared singular value.
    """
    return torch.linalg.cond(x)


def upside_down(x):
    """You divided the smallest curvature by the largest. A condition number is at least 1."""
    return 1 / reference.condition_number(x)


def centred_first(x):
    """You centred the columns, so you measured another table. Take the Hessian of the inputs as
    they come.
    """
    return reference.condition_number(x - x.mean(0))


def read_off_the_diagonal(x):
    """You compared the entries on the diagonal. Those are curvatures along the axes; the steepest
    way may lie across.
    """
    diagonal = reference.hessian(x).diagonal()
    return diagonal.max() / diagonal.min()


def largest_alone(x):
    """You returned the largest curvature. A condition number is a ratio: divide by the smallest."""
    return reference.curvatures(x)[-1]


def squared_twice(x):
    """You squared the ratio of the curvatures. They are squared singular values already: divide
    them as they are.
    """
    return reference.condition_number(x) ** 2


def standardized_first(x):
    """You standardized the columns, so you measured another table. Take the Hessian of the inputs
    as they come.
    """
    return reference.condition_number((x - x.mean(0)) / x.std(0, correction=0))


def bias_as_a_row(x):
    """You appended a row of ones. The bias is one more weight, so it is one more column."""
    return reference.condition_number(torch.cat([x, torch.ones_like(x[:1])]), constant=False)


def between_samples(x):
    """You formed AAᵀ, samples by samples. The Hessian has a row for each weight: AᵀA."""
    a = reference.design(x)
    found = torch.linalg.eigvalsh(a @ a.T)
    return found[-1] / found[-len(a)].abs().clamp(min=1e-3)


def by_eigenvalues(x):
    """The Hessian without its factor 1/N, which cancels, and its eigenvalues."""
    a = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    found = torch.linalg.eigvalsh(a.T @ a)
    return found.max() / found.min()


def by_cond(x):
    """The square of the design's own condition number."""
    return torch.linalg.cond(reference.design(x)) ** 2


# -- plan ------------------------------------------------------------------------------------------


def rate_of_the_steepest(curvature, factor):
    """You took 1/λmax. That lands in one step along the steepest way and is safe, but only half of
    the best rate.
    """
    return 1 / curvature.max().item(), reference.plan(curvature, factor)[1]


def rate_at_the_edge(curvature, factor):
    """You took 2/λmax, where the steepest direction bounces for ever. The smallest curvature
    belongs into the sum.
    """
    return 2 / curvature.max().item(), reference.plan(curvature, factor)[1]


def rate_of_the_mean(curvature, factor):
    """You took the mean of all curvatures. Only the two extremes limit the rate: 2/(λmax +
    λmin).
    """
    return 1 / curvature.mean().item(), reference.plan(curvature, factor)[1]


def steps_for_the_loss(curvature, factor):
    """You squared the contraction, so you counted steps for the loss. The distance shrinks by
    (κ-1)/(κ+1) in a step.
    """
    rate, steps = reference.plan(curvature, factor)
    return rate, max(1.0, steps / 2)


def logarithm_of_base_ten(curvature, factor):
    """You mixed two logarithms: log10 above and ln below. Take the same one for both."""
    rate, steps = reference.plan(curvature, factor)
    return rate, max(1.0, steps / math.log(10))


def half_kappa(curvature, factor):
    """You used κ/2 ln F. That is the limit for a large κ; the formula has a logarithm below,
    too.
    """
    rate, _ = reference.plan(curvature, factor)
    return rate, max(1.0, (curvature.max() / curvature.min()).item() / 2 * math.log(factor))


def steps_of_the_safe_rate(curvature, factor):
    """You took 1 - 1/κ, what the rate 1/λmax leaves of an error. At the best rate it is
    (κ-1)/(κ+1).
    """
    rate, _ = reference.plan(curvature, factor)
    left = 1 - (curvature.min() / curvature.max()).item()
    return rate, max(1.0, math.log(factor) / -math.log(left)) if left else 1.0


def less_than_one_step(curvature, factor):
    """You allowed less than one step. If all curvatures are equal, one step lands: the answer is 1,
    not 0.
    """
    rate, steps = reference.plan(curvature, factor)
    left = reference.contraction((curvature.max() / curvature.min()).item())
    return rate, (math.log(factor) / -math.log(left) if left else 0.0)


def rate_of_the_flattest(curvature, factor):
    """You took 2/λmin. At that rate the steepest direction explodes: the largest curvature belongs
    into the sum.
    """
    return 2 / curvature.min().item(), reference.plan(curvature, factor)[1]


def rate_without_the_two(curvature, factor):
    """You took 1/(λmax + λmin). The best rate is twice that."""
    rate, steps = reference.plan(curvature, factor)
    return rate / 2, steps


def steps_rounded_up(curvature, factor):
    """You rounded the steps up. They are asked for as they are, without rounding."""
    rate, steps = reference.plan(curvature, factor)
    return rate, float(math.ceil(steps))


def steps_first(curvature, factor):
    """You returned the steps first. The order asked for is (rate, steps)."""
    return reference.plan(curvature, factor)[::-1]


def plan_by_logs(curvature, factor):
    """The two formulas, with the contraction read off the flattest direction."""
    steep, flat = float(curvature.max()), float(curvature.min())
    rate = 2 / (steep + flat)
    left = 1 - rate * flat
    return rate, max(1.0, -math.log(factor) / math.log(left)) if left > 1e-12 else 1.0


# -- diagnose --------------------------------------------------------------------------------------


def _nearest(suspects, z_train, z_test):
    return min(suspects, key=lambda name: faults.distance(suspects[name], (z_train, z_test)))


def training_part_alone(x_train, x_test, z_train, z_test):
    """You looked at the training part alone. It is in order even where the test part went by its
    own statistics: compare both.
    """
    suspects = {name: (a, a) for name, (a, _) in faults.pipelines(x_train, x_test).items()}
    return _nearest(suspects, z_train, z_train)


def test_part_alone(x_train, x_test, z_train, z_test):
    """You looked at the test part alone. By its own statistics, or all by the test part's? The
    training part tells.
    """
    suspects = {name: (b, b) for name, (_, b) in faults.pipelines(x_train, x_test).items()}
    return _nearest(suspects, z_test, z_test)


def test_part_must_be_standard(x_train, x_test, z_train, z_test):
    """You asked for mean 0 and standard deviation 1 in the test part too. A healthy pipeline does
    not give it that.
    """
    found = faults.diagnose(x_train, x_test, z_train, z_test)
    return {"healthy": "statistics_of_all", "each_by_its_own": "healthy"}.get(found, found)


def means_alone(x_train, x_test, z_train, z_test):
    """You compared means alone. A pipeline that divides by the variance has the right means:
    compare every entry.
    """
    suspects = {
        name: tuple(part.mean(0, keepdim=True) for part in pair)
        for name, pair in faults.pipelines(x_train, x_test).items()
    }
    return _nearest(suspects, z_train.mean(0, keepdim=True), z_test.mean(0, keepdim=True))


def leak_overlooked(x_train, x_test, z_train, z_test):
    """You call a pipeline healthy that learnt from the test samples as well. A small difference is
    a leak all the same.
    """
    found = faults.diagnose(x_train, x_test, z_train, z_test)
    return "healthy" if found == "statistics_of_all" else found


def sample_std_expected(x_train, x_test, z_train, z_test):
    """You expected a division by N - 1 and call everything else variance_for_std. Here a healthy
    pipeline divides by N.
    """
    found = faults.diagnose(x_train, x_test, z_train, z_test)
    return "variance_for_std" if found == "healthy" else found


def diagnose_by_replay(x_train, x_test, z_train, z_test):
    """Replay each suspect and see which one gives both parts."""
    for name, (a, b) in faults.pipelines(x_train, x_test).items():
        if torch.allclose(a, z_train) and torch.allclose(b, z_test):
            return name


# -- the shelf -------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="standardization.standardize",
        title="Standardize a training and a test part",
        points=2,
        section="Idea",
        reference=reference.standardize,
        inputs=_two_parts(),
        returns=("z_train", "z_test"),
        misconceptions=(
            *known(
                "Idea",
                variance_for_std,
                one_for_the_table,
                row_by_row,
                divided_by_n_minus_one,
                scaled_before_centring,
                not_centred,
                not_scaled,
                squeezed_between_0_and_1,
                variance_by_mean_of_squares,
                constant_added_to_std,
                constant_added_to_sample_std,
                constant_added_to_variance,
                sum_for_mean,
            ),
            *known(
                "How it fails",
                each_by_its_own,
                statistics_of_all,
                statistics_from_test,
                test_untouched,
            ),
        ),
        alternatives=(by_moments,),
    ),
    Exercise(
        id="standardization.condition_number",
        title="The condition number of linear regression",
        points=2,
        section="Idea",
        reference=reference.condition_number,
        inputs=_tables(),
        returns=(),
        misconceptions=known(
            "Idea",
            constant_forgotten,
            of_the_design,
            of_the_inputs,
            upside_down,
            centred_first,
            standardized_first,
            squared_twice,
            bias_as_a_row,
            read_off_the_diagonal,
            largest_alone,
            between_samples,
        ),
        alternatives=(by_eigenvalues, by_cond),
    ),
    Exercise(
        id="standardization.plan",
        title="The best rate and the steps it needs",
        points=2,
        section="Idea",
        reference=reference.plan,
        inputs=_bowls(),
        returns=("rate", "steps"),
        misconceptions=known(
            "Idea",
            rate_of_the_steepest,
            rate_at_the_edge,
            rate_of_the_mean,
            steps_for_the_loss,
            logarithm_of_base_ten,
            half_kappa,
            steps_of_the_safe_rate,
            less_than_one_step,
            rate_of_the_flattest,
            rate_without_the_two,
            steps_rounded_up,
            steps_first,
        ),
        alternatives=(plan_by_logs,),
    ),
    Exercise(
        id="standardization.diagnose",
        title="Diagnose a pipeline",
        points=3,
        section="How it fails",
        reference=faults.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "How it fails",
            training_part_alone,
            test_part_alone,
            test_part_must_be_standard,
            means_alone,
            leak_overlooked,
            sample_std_expected,
        ),
        alternatives=(diagnose_by_replay,),
    ),
)
