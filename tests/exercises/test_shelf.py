"""Every exercise on the shelf: right answers pass, known mistakes are told apart, the catalogue is
data.
"""

import itertools
import json
import sys

import pytest
import torch
from torch.utils._pytree import tree_leaves

from labsupport.exercises import UnknownExercise, catalogue, check, load, topics
from labsupport.grading.battery import battery, behaviours
from labsupport.grading.compare import difference
from labsupport.grading.values import fresh

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
def test_a_known_mistake_is_rejected_with_its_own_name_hint_and_section(exercise, mistake):
    outcome = check(exercise.id, mistake.answer)
    assert (outcome.status, outcome.points) == ("incorrect", 0.0)
    assert (outcome.misconception, outcome.hint) == (mistake.name, mistake.hint)
    assert mistake.hint.startswith("You ") and len(mistake.hint) > 30
    assert mistake.section and f'"{mistake.section}"' in repr(outcome)


@pytest.mark.parametrize("exercise, mistake", MISTAKES, ids=names(MISTAKES))
def test_a_known_mistake_is_shown_on_an_input_that_can_be_checked_by_hand(
    exercise, mistake, monkeypatch
):
    example, sizes = shown(exercise, mistake)
    if (
        max(sizes, default=0) > SMALL
    ):  # the search has 0.6 seconds by the clock, and the machine may have been busy
        monkeypatch.setattr(sys.modules[battery.__module__], "_PATIENCE", 10.0)
        example, sizes = shown(exercise, mistake)
    assert sizes and max(sizes) <= SMALL, example.call
    assert example.expected != example.yours


def shown(exercise, mistake):
    """The counterexample, and how many numbers each tensor in it has."""
    example = check(exercise.id, mistake.answer).counterexample
    given = eval(example.call, {"torch": torch, exercise.function: lambda **inputs: inputs})
    return example, [leaf.numel() for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)]


@pytest.mark.parametrize("exercise, mistake", MISTAKES, ids=names(MISTAKES))
def test_the_counterexample_can_be_pasted_and_shows_the_difference(exercise, mistake):
    call = check(exercise.id, mistake.answer).counterexample.call
    right = eval(call, {"torch": torch, exercise.function: exercise.reference})
    wrong = eval(call, {"torch": torch, exercise.function: mistake.answer})
    assert difference(right, wrong)


@every_exercise
def test_no_two_known_mistakes_look_the_same_on_the_battery(exercise):
    for (one, answers), (other, others) in itertools.combinations(behaviours(exercise).items(), 2):
        apart = sum(bool(difference(a, b)) for a, b in zip(answers, others, strict=True))
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
