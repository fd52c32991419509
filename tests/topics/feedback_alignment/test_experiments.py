"""The linear network of the explorer, the order in which layers leave zero, angles along a run, and
the faulty runs.
"""

import dataclasses
import itertools

import pytest
import torch

from labsupport import profiles, train
from labsupport.models import MLP
from labsupport.rules import SGD, FeedbackAlignment
from labsupport.streams import Streams
from labsupport.topics.feedback_alignment import experiments
from labsupport.topics.feedback_alignment import reference as fa
from labsupport.types import Recipe


def test_from_zero_fixed_feedback_learns_and_transposed_weights_never_move():
    fixed, transposed = (
        experiments.run_linear("fixed", 0.0),
        experiments.run_linear("transposed", 0.0),
    )
    assert fixed.losses[0] == 1 and fixed.losses[100] < 0.01
    assert transposed.losses[-1] == 1 and transposed.uppers[-1].abs().max() == 0


def test_only_fixed_feedback_is_aligned_with():
    cosines = {
        kind: fa.cosine(
            experiments.run_linear(kind, 0.5).uppers[100],
            experiments.run_linear(kind, 0.5).feedback.mT,
        ).item()
        for kind in experiments.FEEDBACKS
    }
    assert (
        cosines["fixed"] > 0.4
        and abs(cosines["transposed"]) < 0.2
        and abs(cosines["redrawn"]) < 0.2
    )


def test_all_runs_from_one_start_begin_alike():
    runs = [experiments.run_linear(kind, 0.5) for kind in experiments.FEEDBACKS]
    assert len({run.losses[0] for run in runs}) == 1 and torch.equal(
        runs[0].feedback, runs[1].feedback
    )


@pytest.mark.parametrize("rule", ["fa", "dfa"])
def test_layers_leave_zero_one_after_the_other_without_biases_and_in_two_steps_with_them(rule):
    assert experiments.first_moves("tanh", rule, False) == [1, 2, 3, 4]
    assert experiments.first_moves("tanh", rule, True) == [1, 2, 2, 2]


@pytest.mark.parametrize("biases", [False, True])
def test_backpropagation_and_relu_never_leave_zero(biases):
    for activation, rule in (
        ("tanh", "backprop"),
        ("relu", "backprop"),
        ("relu", "fa"),
        ("relu", "dfa"),
    ):
        assert experiments.first_moves(activation, rule, biases) == [None] * 4


def recipe(**source):
    return Recipe(
        MLP((40, 8, 8, 10)),
        SGD(lr=0.1, gradient=FeedbackAlignment(**source)),
        train_size=600,
        epochs=2,
        dtype="float64",
    )


def test_along_backpropagation_every_step_is_the_gradient():
    found = experiments.track_cosines(recipe(feedback="weights"), [0, 1], every=5)
    steps = found[found["metric"].str.startswith("gradient")]
    assert sorted(found["step"].unique()) == [0, 5, 10, 12] and len(steps) == 4 * 2 * 2
    assert (steps["value"] - 1).abs().max() < 1e-12


def test_the_matrices_of_a_tracked_run_are_those_of_the_run():
    r = recipe()
    found = experiments.track_cosines(r, [3, 4], every=6)
    for step in train.iterate_steps([r] * 2, [3, 4]):
        if step.t == 0:
            feedback = r.rule.gradient.init(r.model, step.params, Streams((3, 4), "rule"))
    rows = found.query("step == 12 and metric == 'matrix3'").set_index("seed")["value"]
    for i, seed in enumerate((3, 4)):
        assert rows[seed] == pytest.approx(
            fa.cosine(feedback[3][i].mT, step.params["weight3"][i]).item()
        )


def test_the_change_of_a_tracked_run_is_the_last_look_minus_the_first():
    found = experiments.track_cosines(recipe(), [0, 1, 2], every=6)
    table = found[found["metric"] == "matrix2"].pivot(index="seed", columns="step", values="value")
    assert experiments.change(found, ["matrix2"]).estimate == pytest.approx(
        (table[12] - table[0]).mean()
    )


def test_a_tracked_run_is_that_of_the_runs_which_a_study_trains_in_the_full_profile(full):
    r = dataclasses.replace(recipe(), dtype="float32", epochs=1)
    found = experiments.track_cosines(r, [0, 1], every=1000)
    last = train.steps_in_epoch(profiles.sized(r), train.load(profiles.sized(r)))
    assert set(found["step"]) == {0, last} and last != train.steps_in_epoch(r, train.load(r))


def test_a_cosine_with_nothing_is_zero():
    assert experiments.cosines(torch.zeros(2, 3), torch.ones(2, 3)).tolist() == [0, 0]


def test_the_logs_of_faulty_runs_hold_what_their_programs_compute_and_all_learn():
    found = experiments.faulty_runs()
    assert {name: fa.diagnose(*run.log) for name, run in found.items()} == experiments.FAULTY_RUNS
    assert all(run.errors[-1] < 0.2 * run.errors[0] for run in found.values())


def test_a_small_log_holds_what_its_rule_sends_up_to_rounding():
    seen = set()
    for rule, pick in itertools.product(range(8), range(4)):
        exact, rounded = (
            experiments.two_steps(rule, [pick, 2, 1, 2, 0, 1, 2, 3], rounding)
            for rounding in (0.0, 1e-12)
        )
        seen.add(exact[0])
        assert exact[0] == rounded[0] == fa.diagnose(*rounded[1])
        assert exact[0] == "last_layer" or not torch.equal(
            torch.stack(exact[1].sent), torch.stack(rounded[1].sent)
        )
        torch.testing.assert_close(exact[1].sent, rounded[1].sent)
        assert torch.equal(*exact[1].feedback) != (exact[0] == "redrawn")
    assert seen == {*fa.WAYS, "redrawn", "unknown"}
