"""The exercises of the chapter on alternating minimization: the cost, a code, weights from a
memory, the order, a diagnosis.
"""

import torch
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, NONZERO, POSITIVE, one_of, tensor
from labsupport.ops import alternating_minimization as am
from labsupport.topics.alternating_minimization import faults, reference

_MUS = (1.0, 2.0, 0.25, 3.0)


@st.composite
def _objective_inputs(draw):
    size, dtype = one_of(draw, 2, 1, 3), one_of(draw, *DTYPES)
    return {
        "x": tensor(draw, (size,), dtype, NONZERO),
        "y": tensor(draw, (size,), dtype, NONZERO),
        "c": tensor(draw, (size,), dtype, NONZERO),
        "w": tensor(draw, (), dtype, NONZERO),
        "v": tensor(draw, (), dtype, NONZERO),
        "mu": one_of(draw, 2.0, 0.25, 3.0),
    }


@st.composite
def _code_inputs(draw):
    size, dtype = one_of(draw, 1, 2, 3), one_of(draw, *DTYPES)
    return {
        "wanted": tensor(draw, (size,), dtype, (1.0, 3.0, -1.0, 0.5, 6.0)),
        "predicted": tensor(draw, (size,), dtype, (-1.0, 2.0, -0.25, 0.5, -3.0)),
        "stiffness": one_of(draw, 2.0, 4.0, 1.0, 7.0),
        "mu": one_of(draw, *_MUS),
    }


@st.composite
def _weight_inputs(draw):
    into, out, dtype = one_of(draw, 2, 1), one_of(draw, 1, 2), torch.float64
    root = tensor(draw, (into, into), dtype, (1.0, 2.0, 0.5, -1.0))
    return {
        "A": root.mT @ root,
        "B": tensor(draw, (out, into), dtype, NONZERO),
        "old": tensor(draw, (out, into), dtype, NONZERO),
        "ridge": one_of(draw, 1.0, 0.5, 2.0, 3.0),
    }


@st.composite
def _sweep_inputs(draw):
    size, dtype = one_of(draw, 2, 1, 3), one_of(draw, *DTYPES)
    return {
        "x": tensor(draw, (size,), dtype, POSITIVE),
        "y": tensor(draw, (size,), dtype, POSITIVE),
        "w": tensor(draw, (), dtype, POSITIVE),
        "v": tensor(draw, (), dtype, (2.0, 0.5, 3.0, 1.5)),
        "mu": one_of(draw, *_MUS),
    }


# -- small_objective
# ---------------------------------------------------------------------------------


def summed(x, y, c, w, v, mu):
    """You added up the samples. Here the cost is the mean over them, so that it does not grow with
    the batch.
    """
    return reference.small_objective(x, y, c, w, v, mu) * len(x)


def mu_missing(x, y, c, w, v, mu):
    """You left out mu. It says what a squared residual costs beside a squared error."""
    return reference.small_objective(x, y, c, w, v, 1.0)


def mu_on_the_error(x, y, c, w, v, mu):
    """You gave mu to the error of the output. It multiplies the residual of the code, c - w x."""
    return (mu * (y - v * c).square() + (c - w * x).square()).mean()


def output_from_the_input(x, y, c, w, v, mu):
    """You computed the output from w x. The layer above sees the code c and nothing else; that is
    the point of codes.
    """
    return ((y - v * w * x).square() + mu * (c - w * x).square()).mean()


def residual_not_squared(x, y, c, w, v, mu):
    """You took the residual's magnitude. The penalty is its square."""
    return ((y - v * c).square() + mu * (c - w * x).abs()).mean()


def penalty_subtracted(x, y, c, w, v, mu):
    """You subtracted the penalty. A residual costs something: add it."""
    return ((y - v * c).square() - mu * (c - w * x).square()).mean()


def weights_swapped(x, y, c, w, v, mu):
    """You mixed up the weights. w is below the code and makes it from x; v is above and makes the
    output from it.
    """
    return reference.small_objective(x, y, c, v, w, mu)


def halved(x, y, c, w, v, mu):
    """You halved the squares. That is a habit from other losses; this cost has no 1/2."""
    return reference.small_objective(x, y, c, w, v, mu) / 2


def objective_by_parts(x, y, c, w, v, mu):
    """Two means, then their sum."""
    error, residual = v * c - y, w * x - c
    return (error @ error + mu * (residual @ residual)) / len(x)


# -- best_code
# ---------------------------------------------------------------------------------------


def _positive(wanted, predicted, stiffness, mu):
    return (stiffness * wanted + 2 * mu * predicted) / (stiffness + 2 * mu)


def by_the_predicted_side(wanted, predicted, stiffness, mu):
    """You stayed on the side of 0 on which the prediction lies. Work out what both candidates cost,
    and take the cheaper.
    """
    return torch.where(
        predicted > 0, _positive(wanted, predicted, stiffness, mu).clamp_min(0), predicted
    )


def as_if_linear(wanted, predicted, stiffness, mu):
    """You solved it for a linear unit. Below 0 a ReLU puts out 0 whatever the code is, and only the
    prediction counts.
    """
    return _positive(wanted, predicted, stiffness, mu)


def always_positive(wanted, predicted, stiffness, mu):
    """You took the candidate at or above 0 every time. The other one may be cheaper: min(m, 0)."""
    return _positive(wanted, predicted, stiffness, mu).clamp_min(0)


def halves_mixed_up(wanted, predicted, stiffness, mu):
    """You weighed u and m by K and mu. The cost has K/2 and mu, so their slopes have K and 2 mu."""
    high = ((stiffness * wanted + mu * predicted) / (stiffness + mu)).clamp_min(0)
    return _cheaper(high, predicted.clamp_max(0), wanted, predicted, stiffness, mu)


def mu_forgotten(wanted, predicted, stiffness, mu):
    """You left out mu. The smaller it is, the further a code may go from what is predicted."""
    return am.best_code(wanted, predicted, stiffness, 1.0)


def dearer(wanted, predicted, stiffness, mu):
    """You took the dearer of the two candidates. Turn the comparison round."""
    high, low = _positive(wanted, predicted, stiffness, mu).clamp_min(0), predicted.clamp_max(0)
    return torch.where(am.best_code(wanted, predicted, stiffness, mu) == high, low, high)


def activation_returned(wanted, predicted, stiffness, mu):
    """You returned the activation. A code is what goes into the ReLU, and may be negative."""
    return am.best_code(wanted, predicted, stiffness, mu).relu()


def right_of_zero_is_enough(wanted, predicted, stiffness, mu):
    """You took the right candidate wherever it lies right of 0. It may still be the dearer one:
    compare the costs.
    """
    high = _positive(wanted, predicted, stiffness, mu)
    return torch.where(high > 0, high, predicted.clamp_max(0))


def left_cost_without_the_relu(wanted, predicted, stiffness, mu):
    """You worked out the left candidate's cost as if its output were the code. Left of 0 the ReLU
    puts out 0: that costs K/2 u^2.
    """
    low, high = predicted.clamp_max(0), _positive(wanted, predicted, stiffness, mu).clamp_min(0)
    costs = [stiffness / 2 * (c - wanted) ** 2 + mu * (c - predicted) ** 2 for c in (low, high)]
    return torch.where(costs[1] < costs[0], high, low)


def one_choice_for_all(wanted, predicted, stiffness, mu):
    """You added up the costs and chose one side for all units. Each unit has a choice of its own:
    torch.where, without a sum.
    """
    low, high = predicted.clamp_max(0), _positive(wanted, predicted, stiffness, mu).clamp_min(0)
    costs = [
        (stiffness / 2 * (c.relu() - wanted) ** 2 + mu * (c - predicted) ** 2).sum()
        for c in (low, high)
    ]
    return high if costs[1] < costs[0] else low


def _cheaper(high, low, wanted, predicted, stiffness, mu):
    costs = [
        stiffness / 2 * (c.relu() - wanted) ** 2 + mu * (c - predicted) ** 2 for c in (high, low)
    ]
    return torch.where(costs[0] < costs[1], high, low)


def code_by_cases(wanted, predicted, stiffness, mu):
    """Both candidates side by side, and the index of the smaller cost."""
    both = torch.stack(
        [predicted.clamp_max(0), _positive(wanted, predicted, stiffness, mu).clamp_min(0)]
    )
    costs = stiffness / 2 * (both.relu() - wanted) ** 2 + mu * (both - predicted) ** 2
    return both.gather(0, costs.argmin(0, keepdim=True))[0]


# -- ridge_weights
# -----------------------------------------------------------------------------------


def _eye(A):
    return torch.eye(A.shape[-1], dtype=A.dtype)


def pulled_to_zero(A, B, old, ridge):
    """You held the weights near 0. The memory is a few batches long, so hold them near the old
    weights: B + lambda W_old.
    """
    return B @ torch.linalg.inv(A + ridge * _eye(A))


def ridge_left_out(A, B, old, ridge):
    """You forgot lambda beside A. Without it A has no inverse when a unit is silent, and the pull
    has no scale.
    """
    return (B + ridge * old) @ torch.linalg.pinv(A)


def ridge_on_every_entry(A, B, old, ridge):
    """You added lambda to every entry of A. It belongs on the diagonal: lambda times the
    identity.
    """
    return (B + ridge * old) @ torch.linalg.pinv(A + ridge)


def old_unscaled(A, B, old, ridge):
    """You added the old weights without lambda. They count as much as the pull does: lambda
    W_old.
    """
    return (B + old) @ torch.linalg.inv(A + ridge * _eye(A))


def step_instead_of_minimum(A, B, old, ridge):
    """You took one gradient step of length 1. The minimum is known in closed form: multiply by the
    inverse.
    """
    return old + B - old @ A


def old_added_afterwards(A, B, old, ridge):
    """You added the old weights to the solution. They belong to the right-hand side: (B + lambda
    W_old), and then the inverse.
    """
    return old + B @ torch.linalg.inv(A + ridge * _eye(A))


def weights_by_step(A, B, old, ridge):
    """From the old weights, by what they leave unexplained."""
    return old + torch.linalg.solve(A + ridge * _eye(A), (B - old @ A).mT).mT


# -- sweep
# -------------------------------------------------------------------------------------------


def _code(x, y, w, v, mu):
    return (v * y + mu * w * x) / (v.square() + mu)


def weights_before_codes(x, y, w, v, mu):
    """You updated the weights before the codes. From the forward pass's codes the first weight
    learns nothing at all.
    """
    v = (w * x * y).sum() / (w * x).square().sum()
    return _code(x, y, w, v, mu), w, v


def codes_not_updated(x, y, w, v, mu):
    """You left the codes where the forward pass put them. First move them, then fit both weights to
    them.
    """
    c = w * x
    return c, w, (c * y).sum() / c.square().sum()


def weights_from_old_codes(x, y, w, v, mu):
    """You fitted both weights to the codes of the forward pass. They are fitted to the new codes;
    from the old ones w learns nothing.
    """
    return _code(x, y, w, v, mu), w, (w * x * y).sum() / (w * x).square().sum()


def second_weight_from_old_codes(x, y, w, v, mu):
    """You fitted the second weight to the old codes, w x. Both weights are fitted to the new
    codes.
    """
    c, new, _ = reference.sweep(x, y, w, v, mu)
    return c, new, (w * x * y).sum() / (w * x).square().sum()


def second_weight_from_new_forward_pass(x, y, w, v, mu):
    """You sent x through the new first weight to fit the second. The codes are variables: fit the
    second weight to c itself.
    """
    c, new, _ = reference.sweep(x, y, w, v, mu)
    return c, new, (new * x * y).sum() / (new * x).square().sum()


def code_without_mu(x, y, w, v, mu):
    """You let the code do as the layer above wants, y / v. mu holds it to what the layer below
    predicts.
    """
    c = y / v
    return c, (x * c).sum() / x.square().sum(), (c * y).sum() / c.square().sum()


def second_weight_inverted(x, y, w, v, mu):
    """You fitted the code to the target. The second weight predicts y from c: divide by the sum of
    c squared.
    """
    c, new, _ = reference.sweep(x, y, w, v, mu)
    return c, new, y.square().sum() / (c * y).sum()


def mu_missing_below(x, y, w, v, mu):
    """You divided the code by v^2. The mean is weighted, by v^2 and by mu, so divide by their
    sum.
    """
    c = (v * y + mu * w * x) / v.square()
    return c, (x * c).sum() / x.square().sum(), (c * y).sum() / c.square().sum()


def square_of_the_sum(x, y, w, v, mu):
    """You squared the sum. Least squares divides by the sum of the squares."""
    c = _code(x, y, w, v, mu)
    return c, (x * c).sum() / x.sum() ** 2, (c * y).sum() / c.sum() ** 2


def codes_updated_twice(x, y, w, v, mu):
    """You updated the codes again after the first weight. In one sweep the codes move once, and
    both weights see the same ones.
    """
    new = reference.sweep(x, y, w, v, mu)[1]
    c = _code(x, y, new, v, mu)
    return c, new, (c * y).sum() / c.square().sum()


def sweep_by_lstsq(x, y, w, v, mu):
    """The two regressions by inner products."""
    c = w * x + v * (y - v * w * x) / (v * v + mu)
    return c, (x @ c) / (x @ x), (y @ c) / (c @ c)


# -- diagnose
# ----------------------------------------------------------------------------------------


@st.composite
def _logs(draw):
    """A log with one fault or none: in one sweep only where one is enough, with others below it in
    the table, with rounding.
    """
    name, sweeps, top = (
        one_of(draw, *reference.FAULTS),
        one_of(draw, 2, 3),
        one_of(draw, 8.0, 16.0, 12.0),
    )
    codes, weights = ([one_of(draw, 0.5, 1.0, 1.5) for _ in range(sweeps)] for _ in range(2))
    seams, one, too = [0.0] * sweeps, draw(st.integers(0, sweeps - 1)), one_of(draw, False, True)
    if name == "healthy" and too:
        codes[one] = weights[one - 1] = 0.0
    if name == "codes_frozen" or (name == "codes_lost" and too):
        codes = [0.0] * sweeps
    if name == "weights_frozen":
        weights = [0.0] * sweeps
    if name == "codes_rise":
        codes[one] *= -1
    if name == "weights_rise" or (name == "codes_rise" and too):
        weights[one] *= -1
    if name == "codes_lost":
        seams[max(one, 1)] = one_of(draw, 0.25, -0.25)
    return faults.log(top, codes, weights, seams, one_of(draw, 0.0, 2.0**-18, -(2.0**-18)))


def diagnose_by_steps(start, coded, ended):
    """All changes in a row."""
    slack = 1e-6 * max(start.abs().max(), coded.abs().max(), ended.abs().max())
    steps = {"codes": coded - start, "weights": ended - coded}
    rises = [f"{part}_rise" for part, step in steps.items() if step.max() > slack]
    lost = ["codes_lost"] * bool((start[1:] - ended[:-1]).abs().max() > slack)
    still = [f"{part}_frozen" for part, step in steps.items() if step.abs().max() <= slack]
    return [*rises, *lost, *still, "healthy"][0]


# -- the shelf
# ---------------------------------------------------------------------------------------


def _exercise(name, title, points, function, inputs, section, mistakes, alternative, returns=()):
    return Exercise(
        id=f"alternating_minimization.{name}",
        title=title,
        points=points,
        section=section,
        reference=function,
        inputs=inputs,
        returns=returns,
        misconceptions=known(section, *mistakes),
        alternatives=(alternative,),
    )


EXERCISES = (
    _exercise(
        "small_objective",
        "The cost of weights and codes",
        1,
        reference.small_objective,
        _objective_inputs(),
        "Idea",
        (
            summed,
            mu_missing,
            mu_on_the_error,
            output_from_the_input,
            residual_not_squared,
            penalty_subtracted,
            weights_swapped,
            halved,
        ),
        objective_by_parts,
    ),
    _exercise(
        "best_code",
        "The best code of a ReLU",
        3,
        am.best_code,
        _code_inputs(),
        "Idea",
        (
            by_the_predicted_side,
            as_if_linear,
            always_positive,
            halves_mixed_up,
            mu_forgotten,
            dearer,
            activation_returned,
            right_of_zero_is_enough,
            left_cost_without_the_relu,
            one_choice_for_all,
        ),
        code_by_cases,
    ),
    _exercise(
        "ridge_weights",
        "Weights from a memory",
        2,
        am.ridge_weights,
        _weight_inputs(),
        "Idea",
        (
            pulled_to_zero,
            ridge_left_out,
            ridge_on_every_entry,
            old_unscaled,
            step_instead_of_minimum,
            old_added_afterwards,
        ),
        weights_by_step,
    ),
    _exercise(
        "sweep",
        "One sweep, in the right order",
        3,
        reference.sweep,
        _sweep_inputs(),
        "Idea",
        (
            weights_before_codes,
            codes_not_updated,
            weights_from_old_codes,
            second_weight_from_old_codes,
            second_weight_from_new_forward_pass,
            code_without_mu,
            second_weight_inverted,
            mu_missing_below,
            square_of_the_sum,
            codes_updated_twice,
        ),
        sweep_by_lstsq,
        ("c", "w", "v"),
    ),
    _exercise(
        "diagnose",
        "Diagnose a log",
        3,
        reference.diagnose,
        _logs(),
        "How it fails",
        faults.WRONG_DIAGNOSES,
        diagnose_by_steps,
    ),
)
