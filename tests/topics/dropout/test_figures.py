"""What the dropout chapter draws and runs: sums over masks, layers with a log, the lecture's
loop.
"""

import math

import pytest
import torch

from labsupport import plots
from labsupport.topics.dropout import figures as toy
from labsupport.topics.dropout import reference as do


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


@pytest.mark.parametrize("units", [2, 8])
@pytest.mark.parametrize("drop", [0.1, 0.75])
def test_the_units_add_up_to_one_and_their_thinned_sums_to_p_on_average(units, drop):
    values, likely = toy.sums(units, drop)
    assert toy.contributions(units).sum().item() == pytest.approx(1)
    assert (values * likely).sum().item() == pytest.approx(1 - drop)


def test_the_explorer_says_in_its_titles_what_masks_do_to_the_sum():
    """Two units of 1.25 and -0.25 at r = 1/2: the inverted sum has variance r/(1-r)·(1.25² + 0.25²)
    = 1.625.
    """
    fig = toy.all_sums(2, 0.5)
    lecture, inverted = (ax.get_title("left") for ax in fig.axes)
    assert lecture == f"lecture: mean 0.50, spread {math.sqrt(1.625) / 2:.2f}"
    assert inverted == f"inverted: mean 1.00, spread {math.sqrt(1.625):.2f}"
    assert fig.get_suptitle() == "2 units, 4 masks, drop rate 0.5"


def test_the_axes_of_the_explorer_hold_every_frame():
    for units in (2, 12):
        for ax in toy.all_sums(units, 0.75).axes:
            tops = [patch.get_height() for patch in ax.patches]
            assert sum(tops) == pytest.approx(1) and max(tops) < ax.get_ylim()[1]


def test_in_both_healthy_layers_training_and_evaluation_agree_on_average():
    h = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64).expand(50_000, 3)
    u = torch.rand(50_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name in ("inverted", "lecture"):
        trained = toy.LAYERS[name](h, u, 0.2, True).mean(0)
        torch.testing.assert_close(
            trained, toy.LAYERS[name](h, u, 0.2, False)[0], rtol=0.02, atol=0
        )


def test_every_patient_has_learned_something_and_its_log_names_its_layer():
    found = toy.patients(epochs=6)
    for name, patient in found.items():
        assert patient.course[-1] < patient.course[0]
        assert do.diagnose(*patient.log) == toy.PATIENTS[name]


def test_the_patients_are_drawn_by_name():
    made = {name: toy.Patient(None, [2.0, 1.0]) for name in "AB"}
    (ax,) = toy.draw_patients(made).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["patient A", "patient B"]


def test_the_lectures_network_drops_in_train_mode_alone():
    model, x = toy.NN(), torch.randn(3, 784)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x)) and model(x).shape == (3, 10)


def batches():
    rng = torch.Generator().manual_seed(0)
    return [
        (torch.randn(20, 784, generator=rng), torch.randint(10, (20,), generator=rng))
        for _ in range(2)
    ]


def test_eval_mode_does_not_keep_the_slides_loop_from_training():
    """The labels are noise: whoever predicts them has been trained on them."""
    model, loader = toy.NN().eval(), batches()
    counted = toy.slide_loop(model, loader, epochs=15)
    assert len(counted) == 15 and counted[-1] > 0.9 and not model.training


def test_measuring_accuracy_leaves_the_weights_alone_and_the_dropout_off():
    model, loader = toy.NN().train(), batches()
    before = [p.clone() for p in model.parameters()]
    assert toy.accuracy(model, loader) == toy.accuracy(model, loader)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_slides_study_is_the_same_twice_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    one, two = (toy.slide_study(seeds=[3], epochs=1) for _ in range(2))
    assert one.equals(two) and list(one.columns) == ["honest", "fresh_before", "reported", "fresh"]
    assert torch.equal(torch.get_rng_state(), state)
