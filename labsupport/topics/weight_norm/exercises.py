"""Exercises on weight norm: the weight, its gradients, its first lengths, a code to diagnose."""

import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, VALUES, one_of, tensor
from labsupport.topics.weight_norm import faults, reference

_ROWS = {
    1: ((1.0,), (2.0,), (-1.0,), (0.5,), (-3.0,)),
    2: ((3.0, 4.0), (1.0, 0.0), (0.0, -2.0), (-6.0, 8.0), (4.0, 3.0)),
    3: ((1.0, 2.0, 2.0), (0.0, 3.0, -4.0), (2.0, -1.0, 2.0), (2.0, 0.0, 0.0)),
}
"""Directions by their number of inputs; each has a norm that one can take on paper."""
_FAR = (300_000.1, 300_001.3, 299_999.7, 300_002.9)
"""With a mean so much larger than the standard deviation, the mean of squares minus the square of
the mean is wrong from the sixth digit on, in float64.
"""
_LENGTHS = (1.0, 10.0, 2.0, -1.0, 0.5, 5.0, -3.0, 0.0)


def _directions(draw, outputs, inputs, dtype):
    return torch.tensor([one_of(draw, *_ROWS[inputs]) for _ in range(outputs)], dtype=dtype)


def _layer(draw, dtype, scale):
    outputs, inputs = one_of(draw, 1, 2, 3), one_of(draw, 1, 2, 3)
    return {
        "v": scale * _directions(draw, outputs, inputs, dtype),
        "g": tensor(draw, (outputs,), dtype, _LENGTHS),
    }


@st.composite
def _layers(draw):
    """Some v are so long or so short that their squares leave float32."""
    scale = one_of(draw, 1.0, 1e20, 1e-30, 1.0)
    return _layer(draw, one_of(draw, *DTYPES) if scale == 1 else torch.float32, scale)


@st.composite
def _backward_inputs(draw):
    """Short and long v in float64: the gradient of a short one is large, and so is its rounding."""
    scale = one_of(draw, 1.0, 0.01, 100.0, 1.0)
    layer = _layer(draw, one_of(draw, *DTYPES) if scale == 1 else torch.float64, scale)
    return {"dw": tensor(draw, layer["v"].shape, layer["v"].dtype), **layer}


@st.composite
def _batches(draw):
    """Draw a layer and a batch for which no unit is constant; some are far from zero."""
    outputs, inputs, samples = one_of(draw, 1, 2, 3), one_of(draw, 1, 2, 3), one_of(draw, 2, 3, 4)
    far = one_of(draw, False, True, False)
    dtype = torch.float64 if far else one_of(draw, *DTYPES)
    v = _directions(draw, outputs, inputs, dtype)
    x = tensor(draw, (samples, inputs), dtype, _FAR if far else VALUES)
    assume(bool(((x @ v.T).var(0, correction=0) > 0.01).all()))
    return {"v": v, "x": x}


# -- weight ----------------------------------------------------------------------------------------


def one_norm_for_the_matrix(v, g):
    """You divided by one norm for the whole matrix. Every row has a norm of its own, and a length g
    of its own.
    """
    return g[:, None] * v / v.norm()


def norm_of_columns(v, g):
    """You took norms down the columns. A unit's weights are a row: sum over the last axis."""
    norm = v.norm(dim=0)
    return g[:, None] * v / torch.where(norm > 0, norm, 1.0)


def norm_squared(v, g):
    """You divided by ‖v‖², the sum of squares. The norm is its root; without it w has the length
    g/‖v‖.
    """
    return g[:, None] * v / v.square().sum(1, keepdim=True)


def norm_forgotten(v, g):
    """You multiplied v by g and divided by nothing: then ‖v‖ still stretches w. Divide by the
    norm.
    """
    return g[:, None] * v


def length_forgotten(v, g):
    """You normalized v and left it there: every row of w has the length 1. Multiply by g."""
    return v / v.norm(dim=1, keepdim=True)


def sum_of_absolutes(v, g):
    """You divided by the sum of absolute values. Weight norm uses the Euclidean norm, the root of
    the sum of squares.
    """
    return g[:, None] * v / v.abs().sum(1, keepdim=True)


def length_made_positive(v, g):
    """You took the absolute value of g. Nothing keeps g positive: a negative one turns w around."""
    return g.abs()[:, None] * v / v.norm(dim=1, keepdim=True)


def only_shortened(v, g):
    """You shortened the rows that are longer than g and kept the others. Weight norm also stretches
    the short ones.
    """
    return v * (g / v.norm(dim=1)).clamp(max=1.0)[:, None]


def squares_leave_the_range(v, g):
    """You squared the elements of v as they are. In float32 the square of 1e20 is infinite and that
    of 1e-30 is 0: divide each row by its largest entry first.
    """
    return (g / v.norm(dim=1))[:, None] * v


def normalized_by_torch(v, g):
    """You left the norm to F.normalize. It divides by 1e-12 where the norm is smaller, and a norm
    of
    1e20 overflows in it: divide each row by its largest entry first.
    """
    return g[:, None] * F.normalize(v, dim=1)


def weight_by_normalize(v, g):
    """The unit vectors from torch, once the rows are of ordinary length."""
    return g[:, None] * F.normalize(v / v.abs().amax(1, keepdim=True), dim=1)


def weight_row_by_row(v, g):
    """A loop over the units, in float64."""
    rows = [length * row / row.dot(row).sqrt() for row, length in zip(v.double(), g, strict=True)]
    return torch.stack(rows).to(v.dtype)


# -- gradients -------------------------------------------------------------------------------------


def _faulty(name):
    return faults.faulty_gradients()[name]


def not_projected(dw, v, g):
    """You treated ‖v‖ as a constant, so dv keeps a part along v. Differentiate through the norm:
    project it away.
    """
    return _faulty("norm_constant")(dw, v, g)


def scale_left_out(dw, v, g):
    """You projected dw and stopped. The factor g/‖v‖ stands in front of the projection."""
    return _faulty("scale_forgotten")(dw, v, g)


def length_not_divided(dw, v, g):
    """You returned dw·v for dg. Divide it by ‖v‖: the length sees only the direction of v."""
    return _faulty("length_undivided")(dw, v, g)


def matrix_norm_differentiated(dw, v, g):
    """You differentiated a norm of the whole matrix, which ties the rows together. Each row has its
    own norm.
    """
    return _faulty("matrix_norm")(dw, v, g)


def projected_with_long_v(dw, v, g):
    """You subtracted (dw·v) v, which is right for a v of length 1 alone. Divide it by ‖v‖²."""
    _, dg = reference.gradients(dw, v, g)
    return (g / v.norm(dim=1))[:, None] * (dw - (dw * v).sum(1, keepdim=True) * v), dg


def projected_divided_once(dw, v, g):
    """You divided (dw·v) v by ‖v‖ once. There are two v in it: divide by ‖v‖²."""
    _, dg = reference.gradients(dw, v, g)
    return (g / v.norm(dim=1))[:, None] * (dw - dg[:, None] * v), dg


def projected_onto(dw, v, g):
    """You kept the part of dw along v. M takes that part away and keeps the rest."""
    along, dg = reference.gradients(dw, v, g)
    return (g / v.norm(dim=1))[:, None] * dw - along, dg


def scale_squared(dw, v, g):
    """You put g/‖v‖² in front. One norm is enough there: g/‖v‖. The square belongs to the
    projection.
    """
    dv, dg = reference.gradients(dw, v, g)
    return dv / v.norm(dim=1, keepdim=True), dg


def length_first(dw, v, g):
    """You returned (dg, dv). The order asked for is (dv, dg)."""
    return reference.gradients(dw, v, g)[::-1]


def length_from_w(dw, v, g):
    """You took dw·w/‖v‖ for dg, with the finished weight. It is dw·v/‖v‖: g itself is not in it."""
    dv, dg = reference.gradients(dw, v, g)
    return dv, dg * g / v.norm(dim=1)


def gradients_by_autograd(dw, v, g):
    """The chain rule, left to autograd."""
    leaves = v.detach().requires_grad_(), g.detach().requires_grad_()
    w = leaves[1][:, None] * leaves[0] / leaves[0].norm(dim=1, keepdim=True)
    return torch.autograd.grad(w, leaves, dw)


def gradients_by_matrices(dw, v, g):
    """The projection as a matrix, unit by unit."""
    unit = v / v.norm(dim=1, keepdim=True)
    matrices = torch.eye(v.shape[1], dtype=v.dtype) - unit[:, :, None] * unit[:, None, :]
    return (g / v.norm(dim=1))[:, None] * (matrices @ dw[:, :, None])[:, :, 0], (dw * unit).sum(1)


# -- data_dependent_init ---------------------------------------------------------------------------


def _moments(v, x, correction=0):
    t = x @ (v / v.norm(dim=1, keepdim=True)).T
    return t.mean(0), t.std(0, correction=correction)


def divided_by_variance(v, x):
    """You divided by the variance. Divide by the standard deviation, its root: g has to undo a
    stretch, not a squared one.
    """
    mean, std = _moments(v, x)
    return 1 / std**2, -mean / std**2


def std_as_length(v, x):
    """You set g to the standard deviation. That doubles the stretch; g is one over it."""
    mean, std = _moments(v, x)
    return std, -mean / std


def bias_not_divided(v, x):
    """You set b to -μ. It is added after g has scaled the sum, so it has to be scaled as well:
    -μ/σ.
    """
    mean, std = _moments(v, x)
    return 1 / std, -mean


def bias_adds_mean(v, x):
    """You set b to +μ/σ, which moves the mean to twice where it was. Subtract it: -μ/σ."""
    mean, std = _moments(v, x)
    return 1 / std, mean / std


def divided_by_samples_less_one(v, x):
    """You took the standard deviation with B - 1, torch's default. The batch's own variance,
    divided by B, is to become 1.
    """
    mean, std = _moments(v, x, correction=1)
    return 1 / std, -mean / std


def sums_of_long_v(v, x):
    """You took the statistics of x·v. The layer multiplies with v/‖v‖: divide by the norm first."""
    t = x @ v.T
    return 1 / t.std(0, correction=0), -t.mean(0) / t.std(0, correction=0)


def one_length_for_the_layer(v, x):
    """You took one mean and one standard deviation for the whole layer. Every unit has its own,
    over the samples.
    """
    t = x @ (v / v.norm(dim=1, keepdim=True)).T
    ones = torch.ones_like(v[:, 0])
    return ones / t.std(correction=0), -ones * t.mean() / t.std(correction=0)


def variance_by_squares(v, x):
    """You took the variance as the mean of squares minus the square of the mean. Where the mean is
    large, two large numbers cancel and rounding is left: take t.std(0, correction=0).
    """
    t = x @ (v / v.norm(dim=1, keepdim=True)).T
    std = (t.square().mean(0) - t.mean(0).square()).sqrt()
    return 1 / std, -t.mean(0) / std


def bias_first(v, x):
    """You returned (b, g). The order asked for is (g, b)."""
    return reference.data_dependent_init(v, x)[::-1]


def init_by_moments(v, x):
    """The statistics of the plain sums, divided by the norm afterwards."""
    t, norm = x @ v.T, v.norm(dim=1)
    mean, var = t.mean(0), (t - t.mean(0)).square().mean(0)
    return norm / var.sqrt(), -mean / var.sqrt()


# -- diagnose --------------------------------------------------------------------------------------


@st.composite
def _logs(draw):
    """Draw one step of one of the five codes, on two units for which all of them differ."""
    v, g = _directions(draw, 2, 2, torch.float64), tensor(draw, (2,), torch.float64, _LENGTHS)
    dw = tensor(draw, (2, 2), torch.float64)
    codes = faults.faulty_gradients()
    computed = {name: codes[name](dw, v, g) for name in codes}
    name = one_of(draw, *codes)
    assume(all(_apart(computed[name], other) for key, other in computed.items() if key != name))
    return {"v": v, "g": g, "dw": dw, "dv": computed[name][0], "dg": computed[name][1]}


def _apart(one, other):
    return max((a - b).abs().max() for a, b in zip(one, other, strict=True)) > 0.05


def _computed(v, g, dw):
    return {name: code(dw, v, g) for name, code in faults.faulty_gradients().items()}


def looked_at_dv_alone(v, g, dw, dv, dg):
    """You compared dv alone. A code can get it right and still send a wrong gradient to the
    length.
    """
    suspects = {name: (found, dg) for name, (found, _) in _computed(v, g, dw).items()}
    return faults.nearest(dv, dg, suspects)


def looked_at_dg_alone(v, g, dw, dv, dg):
    """You compared dg alone. Two of the faults are in dv and leave dg right."""
    suspects = {name: (dv, found) for name, (_, found) in _computed(v, g, dw).items()}
    return faults.nearest(dv, dg, suspects)


def looked_at_right_angles(v, g, dw, dv, dg):
    """You asked only whether dv is perpendicular to v. A code that forgets the factor g/‖v‖ passes
    that too.
    """
    upright = bool(((dv * v).sum(1).abs() < 1e-9).all())
    return "healthy" if upright else "norm_constant"


def looked_at_direction(v, g, dw, dv, dg):
    """You compared directions. The factor g/‖v‖ and the division by ‖v‖ change lengths: compare the
    numbers.
    """

    def units(pair):
        return tuple(F.normalize(part, dim=-1) for part in pair)

    suspects = {name: units(pair) for name, pair in _computed(v, g, dw).items()}
    return faults.nearest(*units((dv, dg)), suspects)


def looked_at_first_unit(v, g, dw, dv, dg):
    """You looked at the first unit alone. Where its v has the length 1, some faults do not show:
    use all rows.
    """
    suspects = {name: (a[:1], b[:1]) for name, (a, b) in _computed(v, g, dw).items()}
    return faults.nearest(dv[:1], dg[:1], suspects)


def took_v_for_a_unit_vector(v, g, dw, dv, dg):
    """You expected dv to be g M dw, as if ‖v‖ were 1. The healthy factor is g/‖v‖."""
    norm = v.norm(dim=1, keepdim=True)
    suspects = _computed(v, g, dw)
    suspects["healthy"] = suspects["healthy"][0] * norm, suspects["healthy"][1]
    return faults.nearest(dv, dg, suspects)


def diagnose_by_questions(v, g, dw, dv, dg):
    """Ask one thing after another: is dg right, is dv perpendicular, is its length right?"""
    norm = v.norm(dim=1)
    along = (dw * v).sum(1)
    if torch.allclose(dg, along) and not torch.allclose(dg, along / norm):
        return "length_undivided"
    if torch.allclose(dv, (g / norm)[:, None] * dw):
        return "norm_constant"
    projected = dw - (along / norm**2)[:, None] * v
    if torch.allclose(dv, projected) and torch.allclose(dg, along / norm):
        return "scale_forgotten"
    healthy = torch.allclose(dv, (g / norm)[:, None] * projected) and torch.allclose(
        dg, along / norm
    )
    return "healthy" if healthy else "matrix_norm"


# -- the shelf -------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="weight_norm.weight",
        title="The weight from its direction and its length",
        points=1,
        section="Idea",
        reference=reference.weight,
        inputs=_layers(),
        returns=(),
        misconceptions=known(
            "Idea",
            one_norm_for_the_matrix,
            norm_of_columns,
            norm_squared,
            norm_forgotten,
            length_forgotten,
            sum_of_absolutes,
            length_made_positive,
            only_shortened,
            squares_leave_the_range,
            normalized_by_torch,
        ),
        alternatives=(weight_by_normalize, weight_row_by_row),
    ),
    Exercise(
        id="weight_norm.gradients",
        title="The gradients in direction and length",
        points=3,
        section="Idea",
        reference=reference.gradients,
        inputs=_backward_inputs(),
        returns=("dv", "dg"),
        misconceptions=known(
            "Idea",
            not_projected,
            scale_left_out,
            length_not_divided,
            matrix_norm_differentiated,
            projected_with_long_v,
            projected_divided_once,
            projected_onto,
            scale_squared,
            length_first,
            length_from_w,
        ),
        alternatives=(gradients_by_autograd, gradients_by_matrices),
    ),
    Exercise(
        id="weight_norm.data_dependent_init",
        title="A first length and bias from a batch",
        points=2,
        section="Idea",
        reference=reference.data_dependent_init,
        inputs=_batches(),
        returns=("g", "b"),
        misconceptions=known(
            "Idea",
            divided_by_variance,
            std_as_length,
            bias_not_divided,
            bias_adds_mean,
            divided_by_samples_less_one,
            sums_of_long_v,
            one_length_for_the_layer,
            variance_by_squares,
            bias_first,
        ),
        alternatives=(init_by_moments,),
    ),
    Exercise(
        id="weight_norm.diagnose",
        title="Diagnose a hand-written weight norm",
        points=2,
        section="How it fails",
        reference=faults.diagnose,
        inputs=_logs(),
        returns=(),
        misconceptions=known(
            "How it fails",
            looked_at_dv_alone,
            looked_at_dg_alone,
            looked_at_right_angles,
            looked_at_direction,
            looked_at_first_unit,
            took_v_for_a_unit_vector,
        ),
        alternatives=(diagnose_by_questions,),
    ),
)
