"""The linear network of the explorer, the order in which layers leave zero, angles along a run, and
the patients.
"""

import dataclasses
import itertools

import matplotlib
import pytest
import torch

from labsupport import plots, profiles, runtime, train
from labsupport.models import MLP
from labsupport.rules import SGD, FeedbackAlignment
from labsupport.topics.feedback_alignment import experiments as runs
from labsupport.topics.feedback_alignment import figures as toy
from labsupport.topics.feedback_alignment import reference as fa
from labsupport.types import Recipe

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_from_zero_fixed_feedback_learns_and_transposed_weights_never_move():
    fixed, transposed = toy.walk("fixed", 0.0), toy.walk("transposed", 0.0)
    assert fixed.losses[0] == 1 and fixed.losses[100] < 0.01
    assert transposed.losses[-1] == 1 and transposed.uppers[-1].abs().max() == 0


def test_only_fixed_feedback_is_aligned_with():
    cosines = {
        kind: fa.cosine(toy.walk(kind, 0.5).uppers[100], toy.walk(kind, 0.5).feedback.mT).item()
        for kind in toy.FEEDBACKS
    }
    assert (
        cosines["fixed"] > 0.4
        and abs(cosines["transposed"]) < 0.2
        and abs(cosines["redrawn"]) < 0.2
    )


def test_all_walks_from_one_start_begin_alike():
    walks = [toy.walk(kind, 0.5) for kind in toy.FEEDBACKS]
    assert len({walk.losses[0] for walk in walks}) == 1 and torch.equal(
        walks[0].feedback, walks[1].feedback
    )


def test_the_picture_says_its_cosine_and_its_error():
    walk, axes = toy.walk("fixed", 0.0), toy.align(10, "fixed", 0.0).axes
    cos = fa.cosine(walk.uppers[10], walk.feedback.mT).item()
    assert axes[0].get_title("left") == f"step 10: cosine {cos:.2f}, angle {fa.degrees(cos):.0f}°"
    assert axes[1].get_title("left") == f"error {walk.losses[10]:.3f}"


@pytest.mark.parametrize("rule", ["fa", "dfa"])
def test_layers_leave_zero_one_after_the_other_without_biases_and_in_two_steps_with_them(rule):
    assert toy.first_moves("tanh", rule, False) == [1, 2, 3, 4]
    assert toy.first_moves("tanh", rule, True) == [1, 2, 2, 2]


@pytest.mark.parametrize("biases", [False, True])
def test_backpropagation_and_relu_never_leave_zero(biases):
    for activation, rule in (
        ("tanh", "backprop"),
        ("relu", "backprop"),
        ("relu", "fa"),
        ("relu", "dfa"),
    ):
        assert toy.first_moves(activation, rule, biases) == [None] * 4


def recipe(**source):
    return Recipe(
        MLP((40, 8, 8, 10)),
        SGD(lr=0.1, gradient=FeedbackAlignment(**source)),
        train_size=600,
        epochs=2,
        dtype="float64",
    )


def test_along_backpropagation_every_step_is_the_gradient():
    found = runs.course(recipe(feedback="weights"), [0, 1], every=5)
    steps = found[found["metric"].str.startswith("gradient")]
    assert sorted(found["step"].unique()) == [0, 5, 10, 12] and len(steps) == 4 * 2 * 2
    assert (steps["value"] - 1).abs().max() < 1e-12


def test_the_matrices_of_a_course_are_those_of_the_run():
    r = recipe()
    found = runs.course(r, [3, 4], every=6)
    for step in train.iterate_steps([r] * 2, [3, 4]):
        if step.t == 0:
            state = r.rule.gradient.init(
                r.model, step.params, [runtime.generator(seed, "rule") for seed in (3, 4)]
            )
    rows = found.query("step == 12 and metric == 'matrix3'").set_index("seed")["value"]
    for i, seed in enumerate((3, 4)):
        assert rows[seed] == pytest.approx(
            fa.cosine(state[3][i].mT, step.params["weight3"][i]).item()
        )


def test_the_change_of_a_course_is_the_last_look_minus_the_first():
    found = runs.course(recipe(), [0, 1, 2], every=6)
    table = found[found["metric"] == "matrix2"].pivot(index="seed", columns="step", values="value")
    assert runs.change(found, ["matrix2"]).estimate == pytest.approx((table[12] - table[0]).mean())
    fig = runs.draw({"one": found, "two": found}, {"a": "matrix2", "b": "gradient1"})
    assert [len(ax.lines) for ax in fig.axes] == [3, 3] and fig.axes[1].get_title("left") == "two"


def test_a_course_is_that_of_the_runs_which_a_study_trains_in_the_full_profile(full):
    r = dataclasses.replace(recipe(), dtype="float32", epochs=1)
    found = runs.course(r, [0, 1], every=1000)
    last = train.steps_in_epoch(profiles.sized(r), train.load(profiles.sized(r)))
    assert set(found["step"]) == {0, last} and last != train.steps_in_epoch(r, train.load(r))


def test_a_cosine_with_nothing_is_zero():
    assert runs.cosines(torch.zeros(2, 3), torch.ones(2, 3)).tolist() == [0, 0]


def test_the_patients_logs_hold_what_their_codes_compute_and_all_learn():
    found = toy.patients()
    assert {name: fa.diagnose(*patient.log) for name, patient in found.items()} == toy.PATIENTS
    assert all(patient.course[-1] < 0.2 * patient.course[0] for patient in found.values())
    assert len(toy.draw_patients(found).axes[0].lines) == 4


def test_a_small_log_holds_what_its_rule_sends_up_to_rounding():
    seen = set()
    for rule, pick in itertools.product(range(8), range(4)):
        exact, rounded = (
            toy.two_steps(rule, [pick, 2, 1, 2, 0, 1, 2, 3], rounding) for rounding in (0.0, 1e-12)
        )
        seen.add(exact[0])
        assert exact[0] == rounded[0] == fa.diagnose(*rounded[1])
        assert exact[0] == "last_layer" or not torch.equal(
            torch.stack(exact[1].sent), torch.stack(rounded[1].sent)
        )
        torch.testing.assert_close(exact[1].sent, rounded[1].sent)
        assert torch.equal(*exact[1].feedback) != (exact[0] == "redrawn")
    assert seen == {*fa.WAYS, "redrawn", "unknown"}
