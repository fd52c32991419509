"""Sums over masks, layers with a log, and the lecture's loop."""

import pytest
import torch

from labsupport.topics.dropout import experiments
from labsupport.topics.dropout import reference as do


@pytest.mark.parametrize("units", [2, 8])
@pytest.mark.parametrize("drop", [0.1, 0.75])
def test_the_units_add_up_to_one_and_their_thinned_sums_to_p_on_average(units, drop):
    values, likely = experiments.sums(units, drop)
    assert experiments.contributions(units).sum().item() == pytest.approx(1)
    assert (values * likely).sum().item() == pytest.approx(1 - drop)


def test_in_both_healthy_layers_training_and_evaluation_agree_on_average():
    h = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64).expand(50_000, 3)
    u = torch.rand(50_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name in ("inverted", "lecture"):
        trained = experiments.LAYERS[name](h, u, 0.2, True).mean(0)
        torch.testing.assert_close(
            trained, experiments.LAYERS[name](h, u, 0.2, False)[0], rtol=0.02, atol=0
        )


def test_every_run_to_diagnose_has_learned_something_and_its_log_names_its_layer():
    found = experiments.faulty_runs(epochs=6)
    for name, run in found.items():
        assert run.losses[-1] < run.losses[0]
        assert do.diagnose(*run.log) == experiments.FAULTY_RUNS[name]


def test_the_lectures_network_drops_in_train_mode_alone():
    model, x = experiments.NN(), torch.randn(3, 784)
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
    model, loader = experiments.NN().eval(), batches()
    counted = experiments.slide_loop(model, loader, epochs=15)
    assert len(counted) == 15 and counted[-1] > 0.9 and not model.training


def test_measuring_accuracy_leaves_the_weights_alone_and_the_dropout_off():
    model, loader = experiments.NN().train(), batches()
    before = [p.clone() for p in model.parameters()]
    assert experiments.accuracy(model, loader) == experiments.accuracy(model, loader)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_slides_study_is_the_same_twice_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    one, two = (experiments.slide_study(seeds=[3], epochs=1) for _ in range(2))
    assert one.equals(two) and list(one.columns) == ["honest", "fresh_before", "reported", "fresh"]
    assert torch.equal(torch.get_rng_state(), state)
