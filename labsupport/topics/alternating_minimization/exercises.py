"""Exercises on alternating minimization: cost, code, weights, order, a log to diagnose."""

from collections.abc import Callable, Sequence

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, NONZERO, POSITIVE, one_of, tensor
from labsupport.topics.alternating_minimization import reference

_MUS = (1.0, 2.0, 0.25, 3.0)
_WIDE = (*NONZERO, 0.0, 2.0**-10, 1024.0)


@st.composite
def _objective_inputs(draw):
    size, dtype = one_of(draw, 2, 1, 3), one_of(draw, *DTYPES)
    return {
        "x": tensor(draw, (size,), dtype, _WIDE),
        "y": tensor(draw, (size,), dtype, _WIDE),
        "c": tensor(draw, (size,), dtype, _WIDE),
        "w": tensor(draw, (), dtype, NONZERO),
        "v": tensor(draw, (), dtype, NONZERO),
        "mu": one_of(draw, 2.0, 0.25, 3.0),
    }


@st.composite
def _code_inputs(draw):
    """With K = 6 and mu = 1 both candidates of u = 1, m = -1 cost the same, without rounding."""
    size, dtype = one_of(draw, 1, 2, 3), one_of(draw, *DTYPES)
    if one_of(draw, False, False, False, True):
        pairs = [one_of(draw, (1.0, -1.0), (3.0, -3.0), (0.5, -0.5)) for _ in range(size)]
        wanted, predicted = (torch.tensor(part, dtype=dtype) for part in zip(*pairs, strict=True))
        return {"wanted": wanted, "predicted": predicted, "stiffness": 6.0, "mu": 1.0}
    return {
        "wanted": tensor(draw, (size,), dtype, (1.0, 3.0, -1.0, 0.5, 6.0, 0.0, 1024.0)),
        "predicted": tensor(draw, (size,), dtype, (-1.0, 2.0, -0.25, 0.5, -3.0, 0.0, -1024.0)),
        "stiffness": one_of(draw, 2.0, 4.0, 1.0, 7.0, 0.0),
        "mu": one_of(draw, *_MUS, 2.0**-10),
    }


@st.composite
def _weight_inputs(draw):
    """Draw square weights, so that a product from the wrong side still fits.

    No A is singular, but some have a unit that is nearly silent.
    """
    size = one_of(draw, 2, 1)
    root = tensor(draw, (size, size), torch.float64, (1.0, 2.0, 0.5, -1.0)).triu()
    root[0] *= one_of(draw, 1.0, 2.0**-10)
    return {
        "A": root.mT @ root,
        "B": tensor(draw, (size, size), torch.float64, NONZERO),
        "old": tensor(draw, (size, size), torch.float64, NONZERO),
        "ridge": one_of(draw, 1.0, 0.5, 2.0, 3.0),
    }


@st.composite
def _sweep_inputs(draw):
    size, dtype = one_of(draw, 2, 1, 3), one_of(draw, *DTYPES)
    given = {
        "x": tensor(draw, (size,), dtype, (*POSITIVE, -1.0, 2.0**-6, 256.0)),
        "y": tensor(draw, (size,), dtype, (*POSITIVE, -1.0, 2.0**-6, 256.0)),
        "w": tensor(draw, (), dtype, POSITIVE),
        "v": tensor(draw, (), dtype, (2.0, 0.5, 3.0, 1.5)),
        "mu": one_of(draw, *_MUS),
    }
    codes = _code(**given)
    assume((codes.abs() > 2.0**-7).all())  # by these the second weight divides
    return given


# -- small_objective -------------------------------------------------------------------------------


def summed(x, y, c, w, v, mu):
    """You added up the samples. Here the cost is the mean over them, so that it does not grow with
    the batch.
    """
    return reference.small_objective(x, y, c, w, v, mu) * len(x)


def mu_missing(x, y, c, w, v, mu):
    """You left out mu. It weighs a squared residual beside a squared error."""
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


def means_squared(x, y, c, w, v, mu):
    """You took the mean before the square. Errors of different signs would cancel: square each one
    first.
    """
    return (y - v * c).mean() ** 2 + mu * (c - w * x).mean() ** 2


def penalty_in_the_square(x, y, c, w, v, mu):
    """You squared mu with the residual. It multiplies the squared residual."""
    return reference.small_objective(x, y, c, w, v, mu**2)


def objective_by_parts(x, y, c, w, v, mu):
    """Two means, then their sum."""
    error, residual = v * c - y, w * x - c
    return (error @ error + mu * (residual @ residual)) / len(x)


# -- best_code -------------------------------------------------------------------------------------


def _positive(wanted, predicted, stiffness, mu):
    return (stiffness * wanted + 2 * mu * predicted) / (stiffness + 2 * mu)


def by_the_predicted_side(wanted, predicted, stiffness, mu):
    """You stayed on the side of 0 on which the prediction lies. Work out the cost of both
    candidates, and take the smaller one.
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
    """You took the candidate at or above 0 every time. The other one may cost less: min(m, 0)."""
    return _positive(wanted, predicted, stiffness, mu).clamp_min(0)


def halves_mixed_up(wanted, predicted, stiffness, mu):
    """You weighed u and m by K and mu. The cost has K/2 and mu, so their slopes have K and 2 mu."""
    high = ((stiffness * wanted + mu * predicted) / (stiffness + mu)).clamp_min(0)
    return _cheaper(high, predicted.clamp_max(0), wanted, predicted, stiffness, mu)


def mu_forgotten(wanted, predicted, stiffness, mu):
    """You left out mu. The smaller it is, the further a code may go from what is predicted."""
    return reference.best_code(wanted, predicted, stiffness, 1.0)


def larger_cost_taken(wanted, predicted, stiffness, mu):
    """You took the candidate with the larger cost. Turn the comparison round."""
    high, low = _positive(wanted, predicted, stiffness, mu).clamp_min(0), predicted.clamp_max(0)
    return torch.where(reference.best_code(wanted, predicted, stiffness, mu) == high, low, high)


def upper_of_equals(wanted, predicted, stiffness, mu):
    """You took the upper candidate where both cost the same. The lower one is asked for: < and not
    <=.
    """
    high, low = _positive(wanted, predicted, stiffness, mu).clamp_min(0), predicted.clamp_max(0)
    return _cheaper(low, high, wanted, predicted, stiffness, mu)


def penalty_not_compared(wanted, predicted, stiffness, mu):
    """You compared K/2 (ρ(c) - u)² alone. The cost of a candidate has a second part: mu (c - m)²
    counts as well.
    """
    high, low = _positive(wanted, predicted, stiffness, mu).clamp_min(0), predicted.clamp_max(0)
    return torch.where((high - wanted) ** 2 < wanted**2, high, low)


def activation_returned(wanted, predicted, stiffness, mu):
    """You returned the activation. A code is what goes into the ReLU, and may be negative."""
    return reference.best_code(wanted, predicted, stiffness, mu).relu()


def right_of_zero_is_enough(wanted, predicted, stiffness, mu):
    """You took the right candidate wherever it lies right of 0. It may still cost more: compare the
    costs.
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


def _cheaper(one, other, wanted, predicted, stiffness, mu):
    """The first candidate where it costs less, else the other."""
    costs = [
        stiffness / 2 * (c.relu() - wanted) ** 2 + mu * (c - predicted) ** 2 for c in (one, other)
    ]
    return torch.where(costs[0] < costs[1], one, other)


def code_by_cases(wanted, predicted, stiffness, mu):
    """Both candidates side by side, and the index of the smaller cost."""
    both = torch.stack(
        [predicted.clamp_max(0), _positive(wanted, predicted, stiffness, mu).clamp_min(0)]
    )
    costs = stiffness / 2 * (both.relu() - wanted) ** 2 + mu * (both - predicted) ** 2
    return both.gather(0, costs.argmin(0, keepdim=True))[0]


# -- ridge_weights ---------------------------------------------------------------------------------


def _eye(A):
    return torch.eye(A.shape[-1], dtype=A.dtype)


def solved_from_the_left(A, B, old, ridge):
    """You solved (A + lambda I) W = B + lambda W_old. The inverse stands on the right: solve with
    the transposes, and transpose the result.
    """
    return torch.linalg.solve(A + ridge * _eye(A), B + ridge * old)


def old_not_added_back(A, B, old, ridge):
    """You returned the change of the weights alone. What fits the rest, B - W_old A, is added to
    the old weights.
    """
    return (B - old @ A) @ torch.linalg.inv(A + ridge * _eye(A))


def pulled_to_zero(A, B, old, ridge):
    """You held the weights near 0. The memory is a few batches long, so hold them near the old
    weights: B + lambda W_old.
    """
    return B @ torch.linalg.inv(A + ridge * _eye(A))


def ridge_left_out(A, B, old, ridge):
    """You forgot lambda beside A. Without it A has no inverse when a unit is silent, and the
    weights of one that nearly is run away.
    """
    return (B + ridge * old) @ torch.linalg.inv(A)


def ridge_on_every_entry(A, B, old, ridge):
    """You added lambda to every entry of A. It belongs on the diagonal: lambda times the
    identity.
    """
    return (B + ridge * old) @ torch.linalg.inv(A + ridge)


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


# -- sweep -----------------------------------------------------------------------------------------


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


def first_weight_from_old_codes(x, y, w, v, mu):
    """You fitted the first weight to the codes of the forward pass, which it has made itself. Both
    weights are fitted to the new codes.
    """
    c, _, new = reference.sweep(x, y, w, v, mu)
    return c, w, new


def old_codes_returned(x, y, w, v, mu):
    """You returned the codes of the forward pass. The weights are right; the codes that they were
    fitted to are the first of the three.
    """
    return w * x, *reference.sweep(x, y, w, v, mu)[1:]


def order_of_the_result(x, y, w, v, mu):
    """You returned the weights before the codes. The order asked for is c, w, v."""
    c, new, second = reference.sweep(x, y, w, v, mu)
    return new, second, c


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


# -- diagnose --------------------------------------------------------------------------------------


def log(
    top: float,
    codes: Sequence[float],
    weights: Sequence[float],
    seams: Sequence[float],
    rounding: float = 0.0,
) -> dict[str, Tensor]:
    """Make the objective at three moments of T sweeps, from how far it falls at each.

    Args:
        top: where it begins.
        codes, weights, seams: T each: its fall at the update of the codes, at that of the weights,
            and before the sweep.
        rounding: is added to the falls at the codes and taken from those at the weights.

    Returns:
        start, coded and ended, each (T,) in float64.
    """
    moments, f = [], top
    for code, weight, seam in zip(codes, weights, seams, strict=True):
        for fall in (seam, code + rounding, weight - rounding):
            f -= fall
            moments.append(f)
    return dict(
        zip(
            ("start", "coded", "ended"),
            torch.tensor(moments, dtype=torch.float64).view(-1, 3).mT.contiguous(),
            strict=True,
        )
    )


_NONE, _SOME = 2.0**-17, 9 * 2.0**-20
"""Just below and just above a millionth of 8, which is where most of the logs begin."""
LOGGED = (
    (8.0, (1.0, 0.5), (0.5, 1.0), (0.0, 0.0)),
    (8.0, (0.0, 0.0), (1.0, 0.5), (0.0, 0.0)),
    (8.0, (1.0, 0.5), (0.0, 0.0), (0.0, 0.0)),
    (8.0, (-1.0, 0.5), (2.0, 0.5), (0.0, 0.0)),
    (8.0, (1.0, -0.5), (0.5, 1.0), (0.0, 0.0)),
    (8.0, (1.0, 0.5), (-0.5, 1.0), (0.0, 0.0)),
    (8.0, (0.5, 1.0), (1.0, -0.5), (0.0, 0.0)),
    (8.0, (1.0, 0.5), (0.5, 1.0), (0.0, 0.25)),
    (8.0, (1.0, 0.5), (0.5, 1.0), (0.0, -0.25)),
    (16.0, (1.0, 0.5, 1.0), (0.5, 1.0, 1.0), (0.0, 0.0, 0.25)),
    (12.0, (1.0, -0.5, 1.0), (0.5, 1.0, 0.5), (0.0, 0.0, 0.0)),
    (12.0, (1.0, 0.5, 1.0), (0.5, 1.0, -0.5), (0.0, 0.0, 0.0)),
    (8.0, (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),  # one update that stands still once
    (8.0, (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)),
    (8.0, (1.0, -0.5), (0.5, -1.0), (0.0, 0.0)),  # several faults
    (8.0, (-1.0, 0.5), (-0.5, 1.0), (0.0, 0.25)),
    (8.0, (1.0, 0.5), (0.5, -1.0), (0.0, 0.25)),
    (8.0, (-1.0, 0.5), (0.0, 0.0), (0.0, 0.0)),
    (8.0, (0.0, 0.0), (-0.5, 1.0), (0.0, 0.0)),
    (8.0, (0.0, 0.0), (1.0, 0.5), (0.0, -0.25)),
    (8.0, (1.0, 0.5), (0.0, 0.0), (0.0, 0.25)),
    (8.0, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    (8.0, (1.0, 0.0), (0.5, 1.0), (0.0, 0.0), -_NONE),  # rounding
    (8.0, (0.5, 1.0), (1.0, 0.0), (0.0, 0.0), _NONE),
    (8.0, (0.0, 0.0), (1.0, 0.5), (0.0, 0.0), _NONE),
    (8.0, (1.0, 0.5), (0.0, 0.0), (0.0, 0.0), -_NONE),
    (8.0, (1.0, 0.5), (0.5, 1.0), (0.0, -_NONE)),
    (8.0, (1.0, 0.0), (0.5, 1.0), (0.0, 0.0), -_SOME),  # a little more than rounding
    (8.0, (0.5, 1.0), (1.0, 0.0), (0.0, 0.0), _SOME),
    (8.0, (0.0, 0.0), (1.0, 0.5), (0.0, 0.0), _SOME),
    (8.0, (1.0, 0.5), (0.0, 0.0), (0.0, 0.0), -_SOME),
    (8.0, (1.0, 0.5), (0.5, 1.0), (0.0, _SOME)),
    (1e6, (10.0, 0.0), (10.0, 10.0), (0.0, 0.0), -1.0),  # a millionth, without rounding
    (1e6, (10.0, 10.0), (10.0, 0.0), (0.0, 0.0), 1.0),
    (1e6, (0.0, 0.0), (10.0, 10.0), (0.0, 0.0), 1.0),
    (1e6, (10.0, 10.0), (0.0, 0.0), (0.0, 0.0), -1.0),
    (1e6, (10.0, 10.0), (10.0, 10.0), (0.0, 1.0)),
    (1024.0, (1016.0, -(2.0**-11)), (1.0, 1.0), (0.0, 0.0)),  # the largest cost is the first
    (8.0, (-(2.0**-13), 1.0), (1.0, -1016.0), (0.0, 0.0)),  # and here it is the last
)
"""Where a log begins, its falls at the codes, at the weights and before each sweep, and rounding.
"""


@st.composite
def _logs(draw):
    """One of the logs above; so few that a check tries them all."""
    return log(*one_of(draw, *LOGGED))


def asked(
    start: Tensor,
    coded: Tensor,
    ended: Tensor,
    *,
    slack: float = 1e-6,
    rise: Callable = torch.any,
    still: Callable = torch.all,
    seam: Callable = torch.abs,
) -> str:
    """Name the first fault found in the order of the chapter's table.

    The options are where one can go wrong.
    """
    slack = slack * torch.stack([start, coded, ended]).abs().max()
    answers = {
        "codes_rise": rise(coded > start + slack),
        "weights_rise": rise(ended > coded + slack),
        "codes_lost": (seam(start[1:] - ended[:-1]) > slack).any(),
        "codes_frozen": still((start - coded).abs() <= slack),
        "weights_frozen": still((coded - ended).abs() <= slack),
    }
    return next((name for name, found in answers.items() if found), "healthy")


def sweeps_compared(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You compared sweeps with each other. Which of the two updates went wrong can be seen within a
    sweep.
    """
    return "codes_rise" if ended[-1] > start[0] else "healthy"


def rise_blamed_on_the_other(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You blamed the wrong update for a rise: from start to coded the codes move, from coded to
    ended the weights.
    """
    found = reference.diagnose(start, coded, ended)
    return {"codes_rise": "weights_rise", "weights_rise": "codes_rise"}.get(found, found)


def frozen_blamed_on_the_other(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You blamed the wrong update for standing still: from start to coded the codes move, from
    coded to ended the weights.
    """
    found = reference.diagnose(start, coded, ended)
    return {"codes_frozen": "weights_frozen", "weights_frozen": "codes_frozen"}.get(found, found)


def seam_passed_over(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You did not look at the seam between two sweeps. The codes are kept: a sweep begins where the
    one before ended.
    """
    found = reference.diagnose(start, coded, ended)
    return "healthy" if found == "codes_lost" else found


def standing_still_taken_for_health(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You called everything healthy that does not rise. An update that never changes anything is
    not being made.
    """
    found = reference.diagnose(start, coded, ended)
    return "healthy" if found.endswith("frozen") else found


def a_rise_in_every_sweep_wanted(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You called it a rise only where every sweep has one. One is enough: any, not all."""
    return asked(start, coded, ended, rise=torch.all)


def one_still_sweep_taken_for_frozen(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You called an update frozen for one sweep in which it stood still. Frozen is what never
    changes anything: all, not any.
    """
    return asked(start, coded, ended, still=torch.any)


def no_room_for_rounding(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You left no room for rounding. A change of up to a millionth of the largest cost is none."""
    return asked(start, coded, ended, slack=0.0)


def seam_upwards_only(start: Tensor, coded: Tensor, ended: Tensor) -> str:
    """You looked for a rise at the seam. A sweep that begins lower than the one before ended has
    lost its codes as well.
    """
    return asked(start, coded, ended, seam=lambda gap: gap)


def diagnose_by_steps(start, coded, ended):
    """All changes in a row."""
    slack = 1e-6 * max(start.abs().max(), coded.abs().max(), ended.abs().max())
    steps = {"codes": coded - start, "weights": ended - coded}
    rises = [f"{part}_rise" for part, step in steps.items() if step.max() > slack]
    lost = ["codes_lost"] * bool((start[1:] - ended[:-1]).abs().max() > slack)
    still = [f"{part}_frozen" for part, step in steps.items() if step.abs().max() <= slack]
    return [*rises, *lost, *still, "healthy"][0]


# -- the exercises ---------------------------------------------------------------------------------


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
            means_squared,
            penalty_in_the_square,
        ),
        objective_by_parts,
    ),
    _exercise(
        "best_code",
        "The best code of a ReLU",
        3,
        reference.best_code,
        _code_inputs(),
        "Idea",
        (
            by_the_predicted_side,
            as_if_linear,
            always_positive,
            halves_mixed_up,
            mu_forgotten,
            larger_cost_taken,
            upper_of_equals,
            penalty_not_compared,
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
        reference.ridge_weights,
        _weight_inputs(),
        "Idea",
        (
            solved_from_the_left,
            old_not_added_back,
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
            first_weight_from_old_codes,
            old_codes_returned,
            order_of_the_result,
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
        (
            sweeps_compared,
            rise_blamed_on_the_other,
            frozen_blamed_on_the_other,
            seam_passed_over,
            standing_still_taken_for_health,
            a_rise_in_every_sweep_wanted,
            one_still_sweep_taken_for_frozen,
            no_room_for_rounding,
            seam_upwards_only,
        ),
        diagnose_by_steps,
    ),
)
