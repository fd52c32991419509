"""Exercises on augmentation: a crop, a cutout, repeated versions, an unfair comparison."""

import torch
import torch.nn.functional as F
from hypothesis import strategies as st

from labsupport.grading.exercise import Exercise, known
from labsupport.grading.inputs import DTYPES, one_of, tensor
from labsupport.topics.augmentation import reference

_PIXELS = (1.0, 2.0, 3.0, 5.0)
_SIDES = ((2, 2), (1, 3), (3, 1), (1, 2))


@st.composite
def _crop_inputs(draw):
    padding = one_of(draw, 1, 2, 0)
    corner = st.integers(0, 2 * padding)
    return {
        "x": tensor(draw, one_of(draw, *_SIDES), one_of(draw, *DTYPES), _PIXELS),
        "top": draw(corner),
        "left": draw(corner),
        "padding": padding,
        "fill": one_of(draw, -1.0, 0.0, -0.5),
    }


@st.composite
def _cutout_inputs(draw):
    height, width = one_of(draw, (2, 2), (1, 4), (4, 1), (1, 3), (1, 4))
    row, column = (one_of(draw, side - 1, 0, side // 2) for side in (height, width))
    return {
        "x": tensor(draw, (height, width), one_of(draw, *DTYPES), _PIXELS),
        "row": row,
        "column": column,
        "size": one_of(draw, 2, 1, 3, 4),
        "fill": one_of(draw, -1.0, 0.0, -0.5),
    }


@st.composite
def _counts(draw):
    """Among them a pipeline that changes nothing, and one with crop, flip and cutout."""
    size = one_of(draw, 1, 2, 3)
    return {
        "versions": tensor(draw, (size,), torch.float64, (2.0, 3.0, 10.0, 162.0, 1.0, 165_888.0)),
        "draws": one_of(draw, 2, 3, 1, 5, 20, 0),
    }


# -- crop_one --------------------------------------------------------------------------------------


def _padded(x, padding, fill):
    return F.pad(x, (padding,) * 4, value=fill)


def filled_with_zero(x, top, left, *, padding, fill):
    """You padded by 0. The border is what black is in the units of x: that is fill."""
    return reference.crop_one(x, top, left, padding=padding, fill=0.0)


def rows_and_columns_swapped(x, top, left, *, padding, fill):
    """You exchanged top and left. The first axis of an image counts rows, from the top down."""
    return reference.crop_one(x, left, top, padding=padding, fill=fill)


def moved_the_other_way(x, top, left, *, padding, fill):
    """You moved the image to (top, left). It is the window that is there, so the image moves the
    other way.
    """
    return reference.crop_one(x, 2 * padding - top, 2 * padding - left, padding=padding, fill=fill)


def corner_in_the_image(x, top, left, *, padding, fill):
    """You counted the corner from the image. It is counted from the padded image: (p, p) changes
    nothing.
    """
    out = torch.full_like(x, fill)
    part = x[top:, left:]
    out[: part.shape[0], : part.shape[1]] = part
    return out


def rolled(x, top, left, *, padding, fill):
    """You rolled the pixels round. What leaves on one side is lost, and fill comes in on the
    other.
    """
    return x.roll((padding - top, padding - left), (0, 1))


def size_of_the_padded(x, top, left, *, padding, fill):
    """You returned the rest of the padded image. The window has the size of the image, (H, W)."""
    return _padded(x, padding, fill)[top:, left:]


def slice_ended_at_the_side(x, top, left, *, padding, fill):
    """You ended the slices at H and at W. The window has H rows from top on: end at top + H, and at
    left + W.
    """
    return _padded(x, padding, fill)[top : x.shape[0], left : x.shape[1]]


def padding_added_to_the_corner(x, top, left, *, padding, fill):
    """You added the padding to the corner. It is counted in the padded image already: the window
    begins at (top, left).
    """
    return _padded(x, padding, fill)[top + padding :, left + padding :][: x.shape[0], : x.shape[1]]


def padded_before_only(x, top, left, *, padding, fill):
    """You padded above and on the left only. The border goes round all four sides, or the last
    windows run out of pixels.
    """
    return F.pad(x, (padding, 0, padding, 0), value=fill)[
        top : top + x.shape[0], left : left + x.shape[1]
    ]


def height_and_width_exchanged(x, top, left, *, padding, fill):
    """You exchanged height and width. x.shape is (H, W): rows first, and the window has H rows and
    W columns.
    """
    return _padded(x, padding, fill)[top : top + x.shape[1], left : left + x.shape[0]]


def crop_by_gather(x, top, left, *, padding, fill):
    """The padding by F.pad, the window by two narrow."""
    return _padded(x, padding, fill).narrow(0, top, x.shape[0]).narrow(1, left, x.shape[1])


# -- cutout_one ------------------------------------------------------------------------------------


def _square(x, rows, columns, fill):
    out = x.clone()
    for i in rows:
        for j in columns:
            if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
                out[i, j] = fill
    return out


def corner_for_middle(x, row, column, *, size, fill):
    """You took (row, column) for the corner of the square. It is its middle: begin size // 2 before
    it.
    """
    return _square(x, range(row, row + size), range(column, column + size), fill)


def pushed_inside(x, row, column, *, size, fill):
    """You began the square at 0 and kept its size, which pushes it into the image. What hangs out
    is lost: its end stays.
    """
    top, left = max(row - size // 2, 0), max(column - size // 2, 0)
    return _square(x, range(top, top + size), range(left, left + size), fill)


def wrapped_round(x, row, column, *, size, fill):
    """You let a negative index through, and Python counts it from the end. Clip the first row and
    column at 0.
    """
    out, top, left = x.clone(), row - size // 2, column - size // 2
    out[top : top + size, left : left + size] = fill
    return out


def painted_zero(x, row, column, *, size, fill):
    """You painted with 0. The paint is fill: after normalizing, 0 is grey."""
    return reference.cutout_one(x, row, column, size=size, fill=0.0)


def one_pixel_too_large(x, row, column, *, size, fill):
    """You painted from the middle size // 2 to both sides. For an even size that is one row and one
    column too many.
    """
    half = size // 2
    return _square(
        x, range(row - half, row + half + 1), range(column - half, column + half + 1), fill
    )


def odd_size_too_small(x, row, column, *, size, fill):
    """You ended the square at the middle plus size // 2. For an odd size one row and one column are
    missing.
    """
    half = size // 2
    return _square(x, range(row - half, row + half), range(column - half, column + half), fill)


def row_and_column_swapped(x, row, column, *, size, fill):
    """You exchanged row and column. The first axis of an image counts rows, from the top down."""
    return reference.cutout_one(x, column, row, size=size, fill=fill)


def cross_painted(x, row, column, *, size, fill):
    """You painted whole rows and whole columns, a cross. A pixel goes only where its row and its
    column are both in the square.
    """
    rows, columns = (
        range(row - size // 2, row - size // 2 + size),
        range(column - size // 2, column - size // 2 + size),
    )
    across = _square(x, rows, range(x.shape[1]), fill)
    return _square(across, range(x.shape[0]), columns, fill)


def outside_painted(x, row, column, *, size, fill):
    """You painted everything but the square. The square is what goes."""
    inside = reference.cutout_one(torch.zeros_like(x), row, column, size=size, fill=1.0)
    return torch.where(inside == 1, x, torch.full_like(x, fill))


def even_size_moved(x, row, column, *, size, fill):
    """You began (size - 1) // 2 before the middle. For an even size that is one too late: the first
    row is row - size // 2.
    """
    top, left = row - (size - 1) // 2, column - (size - 1) // 2
    return _square(x, range(top, top + size), range(left, left + size), fill)


def cutout_by_mask(x, row, column, *, size, fill):
    """A mask from two comparisons."""
    rows, columns = (
        torch.arange(side) - at + size // 2 for side, at in zip(x.shape, (row, column), strict=True)
    )
    inside = ((rows >= 0) & (rows < size))[:, None] & ((columns >= 0) & (columns < size))[None]
    return torch.where(inside, torch.full_like(x, fill), x)


# -- seen_versions ---------------------------------------------------------------------------------


def every_draw_new(versions, draws):
    """You took every draw for a new version, as far as there are any. Some come up twice long
    before all were seen.
    """
    return versions.clamp(max=draws), reference.seen_versions(versions, draws)[1]


def unseen_returned(versions, draws):
    """You returned how many versions were never drawn. Subtract them from V."""
    return versions * (1 - 1 / versions) ** draws, reference.seen_versions(versions, draws)[1]


def share_returned(versions, draws):
    """You returned the share of the versions that was seen. Their number is asked for: multiply by
    V.
    """
    distinct, none = reference.seen_versions(versions, draws)
    return distinct / versions, none


def repeat_returned(versions, draws):
    """You returned the probability that some version repeats. No repeat is 1 minus that."""
    distinct, none = reference.seen_versions(versions, draws)
    return distinct, 1 - none


def only_the_first(versions, draws):
    """You asked that no later draw repeats the first one. Any two may be alike: each draw must
    avoid all before it.
    """
    return reference.seen_versions(versions, draws)[0], (1 - 1 / versions) ** (draws - 1)


def product_begins_at_one(versions, draws):
    """You let the product begin at i = 1 and end at n. The first draw is always new: i runs from 0
    to n - 1.
    """
    return reference.seen_versions(versions, draws)[0], reference.seen_versions(
        versions, draws + 1
    )[1]


def rule_of_thumb(versions, draws):
    """You used the rule of thumb exp(-n(n-1)/2V). It is close where V is large; the product is
    exact.
    """
    return reference.seen_versions(versions, draws)[0], torch.exp(
        -draws * (draws - 1) / (2 * versions)
    )


def logarithm_of_a_negative(versions, draws):
    """You took the logarithm of factors below 0. With more draws than versions a repeat is certain:
    clamp at 0 first.
    """
    i = torch.arange(draws, dtype=versions.dtype)
    return reference.seen_versions(versions, draws)[0], (1 - i / versions[:, None]).log().sum(
        1
    ).exp()


def pairs_taken_as_independent(versions, draws):
    """You let each of the n(n-1)/2 pairs differ by itself. Pairs share draws: let each draw avoid
    all that came before it, and multiply.
    """
    pairs = draws * (draws - 1) // 2
    return reference.seen_versions(versions, draws)[0], (1 - 1 / versions) ** pairs


def results_exchanged(versions, draws):
    """You returned the two results in the other order. The number of distinct versions comes
    first.
    """
    return reference.seen_versions(versions, draws)[::-1]


def versions_one_by_one(versions, draws):
    """The product one factor at a time."""
    none = torch.ones_like(versions)
    for i in range(draws):
        none = none * torch.relu(1 - i / versions)
    return versions - versions * (1 - 1 / versions) ** draws, none


# -- find_the_flaw ---------------------------------------------------------------------------------


_ONE_RATE = {"tried": torch.tensor([0.1], dtype=torch.float64), "chosen": 0.1}
_ANOTHER_RATE = {"tried": torch.tensor([0.05, 0.2], dtype=torch.float64), "chosen": 0.2}
_ON_TEST, _MIRRORED = {"chosen_on": "test"}, {"test_steps": ("flip", "normalize")}
_FLAWS = (
    ({}, {}),
    ({"train_size": 30}, {}),
    ({"train_size": 30, "steps": 90}, {}),
    ({"steps": 900}, {}),
    (_ONE_RATE | {"steps": 90}, {}),
    (_ONE_RATE, {}),
    (_ANOTHER_RATE, {}),
    (_ANOTHER_RATE, _ON_TEST),
    (_ON_TEST, {}),
    (_ON_TEST, _ON_TEST),
    (_ON_TEST, _MIRRORED),
    ({"test_steps": ("crop", "normalize")}, {}),
    (_MIRRORED, _MIRRORED),
    ({"test_steps": ("rotation",)}, {}),
    ({"test_steps": ("normalize", "cutout")}, {}),
)
"""What differs on one side, and on the other, from two fair records: no flaw, one, or two."""


@st.composite
def _records(draw):
    """Draw two records, either of which may be the bad one.

    The rates were tried in different orders, which is no flaw.
    """
    flaws = one_of(draw, *_FLAWS)
    sides = one_of(draw, flaws, flaws[::-1])
    return {
        name: {
            "train_size": 100,
            "steps": 300,
            "tried": torch.tensor(order, dtype=torch.float64),
            "chosen": one_of(draw, *order),
            "chosen_on": "valid",
            "test_steps": ("normalize",),
        }
        | flaw
        for name, order, flaw in zip(
            ("plain", "augmented"), ((0.1, 0.2), (0.2, 0.1)), sides, strict=True
        )
    }


def rates_must_agree(plain, augmented):
    """You asked for the same learning rate on both sides. What must agree is the set that was
    tried: each takes its best.
    """
    return reference.find_the_flaw(
        *(run | {"tried": torch.tensor([run["chosen"]])} for run in (plain, augmented))
    )


def order_taken_for_another_grid(plain, augmented):
    """You compared the tried rates in their order. The same rates in another order are the same
    search.
    """
    found = reference.find_the_flaw(plain, augmented)
    same = plain["tried"].tolist() == augmented["tried"].tolist()
    return "tuning" if found in ("fair", "choice", "test") and not same else found


def effect_named_for_cause(plain, augmented):
    """You named the steps where the samples differ too. With fewer samples an epoch has fewer
    steps: name the data.
    """
    return (
        "steps"
        if plain["steps"] != augmented["steps"]
        else reference.find_the_flaw(plain, augmented)
    )


def one_side_read(plain, augmented):
    """You read how the augmented run was chosen and tested, and not the plain one. Either side can
    be the unfair one.
    """
    return reference.find_the_flaw(plain | {"chosen_on": "valid", "test_steps": ()}, augmented)


def crop_only(plain, augmented):
    """You looked for a crop in the test pipelines. A flip, a rotation and a cutout are drawn at
    random, too.
    """
    kept = [
        run | {"test_steps": [s for s in run["test_steps"] if s == "crop"]}
        for run in (plain, augmented)
    ]
    return reference.find_the_flaw(*kept)


def only_differences_found(plain, augmented):
    """You asked whether the sides differ. If both chose on the test part, or draw in their test
    pipelines, that is a flaw as well.
    """
    alike = {
        key: harmless
        for key, harmless in (("chosen_on", "valid"), ("test_steps", ()))
        if plain[key] == augmented[key]
    }
    return reference.find_the_flaw(plain | alike, augmented | alike)


def later_flaw_named(plain, augmented):
    """You let a later question overwrite an earlier answer. Return the first flaw of the table that
    applies.
    """
    return ["fair", *_flaws(plain, augmented)][-1]


def normalizing_called_augmentation(plain, augmented):
    """You took normalize for an augmentation. It draws nothing and belongs to the test pipeline as
    well.
    """
    found = reference.find_the_flaw(plain, augmented)
    return "test" if found == "fair" else found


def test_set_may_choose(plain, augmented):
    """You let the test part choose the learning rate. The number reported on it is then too good:
    that is a flaw.
    """
    return reference.find_the_flaw(*(run | {"chosen_on": "valid"} for run in (plain, augmented)))


def amount_of_data_passed_over(plain, augmented):
    """You did not compare train_size. A gain from 100 samples over 30 is a gain by data, not by
    augmentation.
    """
    return reference.find_the_flaw(plain | {"train_size": 1}, augmented | {"train_size": 1})


def _flaws(plain, augmented):
    differ = lambda key: plain[key] != augmented[key]  # noqa: E731
    tests = {
        "data": differ("train_size"),
        "steps": differ("steps"),
        "tuning": set(plain["tried"].tolist()) != set(augmented["tried"].tolist()),
        "choice": plain["chosen_on"] == "test" or augmented["chosen_on"] == "test",
        "test": bool({*plain["test_steps"], *augmented["test_steps"]} - {"normalize"}),
    }
    return [name for name, bad in tests.items() if bad]


def flaw_by_table(plain, augmented):
    """One predicate for each name."""
    return [*_flaws(plain, augmented), "fair"][0]


EXERCISES = (
    Exercise(
        id="augmentation.crop_one",
        title="A crop from given offsets",
        points=2,
        section="Idea",
        reference=reference.crop_one,
        inputs=_crop_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            filled_with_zero,
            rows_and_columns_swapped,
            moved_the_other_way,
            corner_in_the_image,
            rolled,
            size_of_the_padded,
            slice_ended_at_the_side,
            padding_added_to_the_corner,
            padded_before_only,
            height_and_width_exchanged,
        ),
        alternatives=(crop_by_gather,),
    ),
    Exercise(
        id="augmentation.cutout_one",
        title="Cutout at the border",
        points=2,
        section="Idea",
        reference=reference.cutout_one,
        inputs=_cutout_inputs(),
        returns=(),
        misconceptions=known(
            "Idea",
            corner_for_middle,
            pushed_inside,
            wrapped_round,
            painted_zero,
            one_pixel_too_large,
            outside_painted,
            odd_size_too_small,
            row_and_column_swapped,
            cross_painted,
            even_size_moved,
        ),
        alternatives=(cutout_by_mask,),
    ),
    Exercise(
        id="augmentation.seen_versions",
        title="How often do versions repeat?",
        points=3,
        section="Idea",
        reference=reference.seen_versions,
        inputs=_counts(),
        returns=("distinct", "no repeat"),
        misconceptions=known(
            "Idea",
            every_draw_new,
            unseen_returned,
            share_returned,
            repeat_returned,
            only_the_first,
            product_begins_at_one,
            rule_of_thumb,
            logarithm_of_a_negative,
            pairs_taken_as_independent,
            results_exchanged,
        ),
        alternatives=(versions_one_by_one,),
    ),
    Exercise(
        id="augmentation.find_the_flaw",
        title="Find the flaw",
        points=3,
        section="How it fails",
        reference=reference.find_the_flaw,
        inputs=_records(),
        returns=(),
        misconceptions=known(
            "How it fails",
            rates_must_agree,
            order_taken_for_another_grid,
            effect_named_for_cause,
            one_side_read,
            normalizing_called_augmentation,
            test_set_may_choose,
            amount_of_data_passed_over,
            crop_only,
            only_differences_found,
            later_flaw_named,
        ),
        alternatives=(flaw_by_table,),
    ),
)
