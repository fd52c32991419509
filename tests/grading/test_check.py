"""The check of an honest answer: right, wrong, not begun; and what is shown."""

import dataclasses
import json

import pytest
import torch

from labsupport.grading.check import judge
from labsupport.grading.exercise import Exercise, Misconception


def test_a_right_answer_earns_the_points_and_passes_the_public_checks(single):
    outcome = judge(single, lambda x, *, by: x * by)
    assert (outcome.status, outcome.points, outcome.of) == ("correct", 2.0, 2)
    assert "public checks passed" in outcome.message.lower()
    assert "all tests" not in repr(outcome).lower()


def test_a_stub_is_not_attempted(single):
    def scaled(x, *, by):
        raise NotImplementedError

    outcome = judge(single, scaled)
    assert (outcome.status, outcome.points) == ("not attempted", 0.0)
    assert "NotImplementedError" in outcome.message


def test_a_stub_in_one_branch_is_incorrect(single):
    def scaled(x, *, by):
        if by < 0:
            raise NotImplementedError
        return by * x

    outcome = judge(single, scaled)
    assert (outcome.status, outcome.reason) == ("incorrect", "stub")
    assert "by=-3.0" in outcome.counterexample.call


def test_what_torch_does_not_implement_is_an_error_and_not_a_stub(single):
    def scaled(x, *, by):
        return torch.bernoulli(x.to(torch.complex64))

    outcome = judge(single, scaled)
    assert (outcome.status, outcome.reason) == ("incorrect", "error")


def test_a_known_mistake_gets_its_hint_its_section_and_the_smallest_counterexample(single):
    outcome = judge(single, lambda x, *, by: x / by)
    assert (outcome.status, outcome.misconception) == ("incorrect", "divided")
    assert outcome.hint == "You divided: multiply." and outcome.section == "How it fails"
    assert outcome.counterexample.call == "scaled(x=torch.tensor([1.]), by=2.0)"
    assert outcome.counterexample.expected == "tensor([2.])"
    assert outcome.counterexample.yours == "tensor([0.5])"


def test_a_known_mistake_that_also_raises_on_some_inputs_gets_its_hint(single):
    def scaled(x, *, by):
        if x.dim() > 1:
            raise ValueError("a vector only")
        return x / by

    outcome = judge(single, scaled)
    assert (outcome.status, outcome.misconception) == ("incorrect", "divided")
    assert outcome.counterexample.yours == "tensor([0.5])"


def test_an_answer_that_raises_on_most_inputs_gets_no_hint(single):
    def scaled(x, *, by):
        if by != 2.0 or x.numel() > 1:
            raise ValueError("by 2 only")
        return x / by

    outcome = judge(single, scaled)
    assert (outcome.reason, outcome.misconception) == ("error", None)


def vector_only(x, *, by):
    """You took x for a vector: it may be a matrix."""
    if x.dim() > 1:
        raise IndexError("no vector")
    return by * x


def test_a_known_mistake_may_raise_and_is_named_where_the_answer_raises_too(single):
    mistakes = (*single.misconceptions, Misconception(vector_only, "How it fails"))
    exercise = dataclasses.replace(single, misconceptions=mistakes)

    def scaled(x, *, by):
        (size,) = x.shape
        return by * x

    outcome = judge(exercise, scaled)
    assert (outcome.reason, outcome.misconception) == ("error", "vector_only")
    assert "ValueError" in outcome.message and "[[" in outcome.counterexample.call
    assert judge(exercise, lambda x, *, by: x / by).misconception == "divided"
    assert judge(exercise, lambda x, *, by: by * x).status == "correct"


def test_the_dtype_counts_only_where_the_exercise_asks_for_it(single):
    def scaled(x, *, by):
        return (by * x).float()

    assert judge(single, scaled).status == "correct"
    outcome = judge(dataclasses.replace(single, keeps_dtype=True), scaled)
    assert (outcome.status, outcome.reason) == ("incorrect", "dtype")


def test_an_unknown_mistake_gets_no_diagnosis_but_a_counterexample(single):
    outcome = judge(single, lambda x, *, by: by * x + 5)
    assert outcome.status == "incorrect" and outcome.misconception is None and outcome.hint is None
    assert outcome.counterexample.call == "scaled(x=torch.tensor([0.]), by=1.0)"


def test_a_mistake_on_rare_inputs_is_found(single):
    outcome = judge(single, lambda x, *, by: by * x if x.numel() < 4 else x)
    assert outcome.status == "incorrect" and "[[" in outcome.counterexample.call


def test_the_same_answer_is_judged_the_same_twice(single):
    def wrong(x, *, by):
        return by * x.abs()

    assert repr(judge(single, wrong)) == repr(judge(single, wrong))


def test_the_words_of_a_pair_say_which_value_is_wrong_and_which_is_right(pair):
    outcome = judge(pair, lambda x, *, by: (by * x, x + 2))
    assert outcome.message.startswith("z has the right shape, but wrong numbers")
    assert "y is right" in outcome.message


def test_rounding_is_not_a_mistake(single):
    assert judge(single, lambda x, *, by: (x / 3) * (3 * by)).status == "correct"


def test_an_answer_with_more_arguments_that_have_defaults_is_fine(single):
    assert judge(single, lambda x, by=1.0, verbose=False: by * x).status == "correct"


def test_an_outcome_is_plain_data(single):
    outcome = judge(single, lambda x, *, by: x)
    assert json.loads(json.dumps(dataclasses.asdict(outcome)))["status"] == "incorrect"


def test_what_the_answer_prints_is_shown_in_twenty_lines_at_most(single):
    def scaled(x, *, by):
        for i in range(50):
            print("line", i)
        return by * x

    text = repr(judge(single, scaled))
    assert "line 19" in text and "line 20" not in text and "30 more lines" in text


def test_an_exercise_with_too_few_known_mistakes_is_refused(single):
    with pytest.raises(ValueError, match="2 misconceptions"):
        dataclasses.replace(single, misconceptions=single.misconceptions[:2])
    with pytest.raises(ValueError, match="0 alternatives"):
        dataclasses.replace(single, alternatives=())
    with pytest.raises(ValueError, match="topic.function"):
        Exercise(
            **{
                **{f.name: getattr(single, f.name) for f in dataclasses.fields(single)},
                "id": "scaled",
            }
        )
