"""Every exercise on the shelf: right answers pass, known mistakes are told apart, the catalogue is
data.
"""

import itertools
import json
import re
import sys
from functools import cache

import pytest
import torch
from torch.utils._pytree import tree_leaves

from labsupport.exercises import UnknownExercise, catalogue, check, load, topics
from labsupport.grading.battery import battery, behaviours
from labsupport.grading.compare import difference
from labsupport.grading.values import fresh
from tools.layout import CHAPTERS

EXERCISES = [load(entry["id"]) for entry in catalogue()]
MISTAKES = [(e, m) for e in EXERCISES for m in e.misconceptions]
ALTERNATIVES = [(e, answer) for e in EXERCISES for answer in e.alternatives]
SMALL = 6
"""Numbers in a tensor that one can check by hand: a matrix of two by two shows that it was
transposed, three samples of two classes that an order was inverted.
"""


def names(pairs):
    return [f"{e.id}-{getattr(x, 'name', None) or x.__name__}" for e, x in pairs]


every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)


@every_exercise
def test_the_reference_earns_full_points(exercise):
    outcome = check(exercise.id, exercise.reference)
    assert (outcome.status, outcome.points) == ("correct", exercise.points)


@pytest.mark.parametrize("exercise, answer", ALTERNATIVES, ids=names(ALTERNATIVES))
def test_a_right_answer_written_differently_earns_full_points(exercise, answer):
    outcome = check(exercise.id, answer)
    assert (outcome.status, outcome.points) == ("correct", exercise.points), repr(outcome)


@pytest.mark.parametrize("exercise, mistake", MISTAKES, ids=names(MISTAKES))
def test_a_known_mistake_is_named_and_shown_on_an_input_that_can_be_checked_by_hand(
    exercise, mistake, monkeypatch
):
    outcome = check(exercise.id, mistake.answer)
    if not is_small(exercise, outcome):  # the search has its seconds, and the processor may be slow
        monkeypatch.setattr(sys.modules[battery.__module__], "_PATIENCE", 10.0)
        outcome = check(exercise.id, mistake.answer)
    the_answer_is_rejected_with_name_hint_and_section(outcome, mistake)
    assert is_small(exercise, outcome), outcome.counterexample.call
    the_counterexample_can_be_pasted_and_shows_the_difference(exercise, mistake, outcome)
    assert f">{mistake.section.rpartition('#')[2]}</a>" in outcome._repr_html_()


def the_answer_is_rejected_with_name_hint_and_section(outcome, mistake):
    assert (outcome.status, outcome.points) == ("incorrect", 0.0)
    assert (outcome.misconception, outcome.hint) == (mistake.name, mistake.hint)
    assert mistake.hint.startswith("You ") and len(mistake.hint) > 30
    assert mistake.section and f'"{mistake.section.rpartition("#")[2]}"' in repr(outcome)


def is_small(exercise, outcome):
    """Whether each tensor of the counterexample has few numbers."""
    inputs = evaluated(outcome.counterexample.call, exercise, lambda **inputs: inputs)
    sizes = [leaf.numel() for leaf in tree_leaves(inputs) if isinstance(leaf, torch.Tensor)]
    return bool(sizes) and max(sizes) <= SMALL


def the_counterexample_can_be_pasted_and_shows_the_difference(exercise, mistake, outcome):
    example = outcome.counterexample
    assert example.expected != example.yours
    right = evaluated(example.call, exercise, exercise.reference)
    if example.yours is None:
        with pytest.raises(Exception):  # noqa: B017
            evaluated(example.call, exercise, mistake.answer)
    else:
        assert difference(right, evaluated(example.call, exercise, mistake.answer))


def evaluated(call, exercise, function):
    return eval(call, {"torch": torch, exercise.function: function})


@every_exercise
def test_no_two_known_mistakes_look_the_same_on_the_battery(exercise):
    for (one, answers), (other, others) in itertools.combinations(behaviours(exercise).items(), 2):
        apart = sum(
            bool(difference(a, b, keeps_dtype=exercise.keeps_dtype))
            for a, b in zip(answers, others, strict=True)
        )
        assert apart >= 2, f"{one} and {other} part on {apart} inputs"


@every_exercise
def test_the_battery_is_of_fair_size_and_varies_every_argument(exercise):
    inputs = battery(exercise)
    assert 20 <= len(inputs) <= 40
    for name in inputs[0]:
        seen = {str(case[name]) for case in inputs}
        assert len(seen) >= 2, f"{name} is {seen} throughout"


@every_exercise
def test_the_reference_leaves_its_inputs_alone(exercise):
    for inputs in battery(exercise):
        given = fresh(inputs)
        exercise.reference(**given)
        assert difference(inputs, given, exact=True) is None


@every_exercise
def test_an_exercise_is_named_after_its_topic_and_has_points(exercise):
    assert exercise.topic in topics() and exercise.function.isidentifier()
    assert exercise.points > 0 and exercise.title and exercise.section


@every_exercise
def test_every_section_that_is_named_is_a_heading_of_the_book(exercise):
    own = next(CHAPTERS.glob(f"*_{exercise.topic}.ipynb")).stem
    for section in {exercise.section, *(m.section for m in exercise.misconceptions)}:
        page, _, heading = section.rpartition("#")
        assert heading in headings(page or own), f"{section!r} is no heading of {page or own}"


@cache
def headings(page):
    cells = json.loads((CHAPTERS / f"{page}.ipynb").read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    return {heading for text in texts for heading in re.findall(r"^#+ +(.+?) *$", text, re.M)}


def test_the_catalogue_is_plain_data_with_unique_ids():
    entries = json.loads(json.dumps(catalogue()))
    assert len({entry["id"] for entry in entries}) == len(entries) >= 4
    for entry in entries:
        assert set(entry) == {"id", "chapter", "points", "misconceptions", "alternatives"}
        assert len(set(entry["misconceptions"])) == len(entry["misconceptions"]) >= 3
        assert len(entry["alternatives"]) >= 1


@pytest.mark.parametrize(
    "wrong, near",
    [
        ("weight_decay.sgd_stp", "weight_decay.sgd_step"),
        ("weightdecay.adamw_step", "weight_decay.adamw_step"),
        ("sgd_step", "weight_decay.sgd_step"),
        (None, "weight_decay.sgd_step"),
    ],
)
def test_an_unknown_id_is_answered_with_the_ids_near_it(wrong, near):
    with pytest.raises(UnknownExercise) as error:
        load(wrong)
    assert repr(wrong) in str(error.value) and near in str(error.value)
