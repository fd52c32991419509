"""Two data sets in the plane, a search in two rounds, the lecture's loop, mixups with one thing
wrong.
"""

import pytest
import torch

from labsupport import augment, compare, train
from labsupport.augment import Mixup
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.study import grid, study
from labsupport.topics.mixup import experiments, faults
from labsupport.types import Batch, Recipe


@pytest.mark.parametrize("data", experiments.DATA_SETS)
def test_a_data_set_has_as_many_samples_of_each_class_and_fits_into_its_frame(data):
    x, y = experiments.points(data)
    assert y.bincount().tolist() == [100, 100] and x.abs().max() < experiments.EDGE
    assert torch.equal(x, experiments.points(data)[0])


def test_the_disc_lies_in_the_ring():
    x, y = experiments.points("ring")
    assert x[y == 1].norm(dim=1).max() < x[y == 0].norm(dim=1).min()


def test_an_unknown_data_set_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="no data set 'spiral'; there are crescents, ring"):
        experiments.points("spiral")


def test_the_share_of_right_samples_is_read_at_the_nearest_point_of_the_grid():
    x, y = torch.tensor([[1.0, -2.0], [-1.0, 2.0], [2.0, 1.0]]), torch.tensor([1, 0, 0])
    p = torch.zeros(experiments.SIDE, experiments.SIDE)
    p[:, experiments.SIDE // 2 :] = 1.0  # the right half of the plane is class 1
    assert experiments.grid_accuracy(x, y, p) == pytest.approx(2 / 3)


def recipe(**changes):
    settings = {"train_size": 200, "epochs": 2, "dtype": "float64", "mixup": Mixup(0.4)}
    return Recipe(MLP((40, 12, 10)), SGD(lr=0.1), **settings | changes)


def test_the_lectures_loop_takes_our_steps():
    assert experiments.slide_gap(recipe(), 0) < 1e-10


def test_the_pairs_handed_to_the_lectures_loop_make_our_batches():
    ours = recipe()
    dataset = train.load(ours)
    made = train.batches([ours], [3], dataset)
    for (x1, y1, x2, y2, lam), (_, batch) in zip(
        experiments.pairs(ours, 3, dataset), made, strict=True
    ):
        torch.testing.assert_close(lam * x1 + (1 - lam) * x2, batch.x[0])
        torch.testing.assert_close(lam * y1 + (1 - lam) * y2, batch.targets[0])


def test_the_function_that_steps_for_torchs_sgd_steps_like_it():
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 5).double()) for _ in range(2)]
    for optimizer, w in zip(
        (experiments.TorchSGD(weights[:1], 0.3), torch.optim.SGD(weights[1:], lr=0.3)),
        weights,
        strict=True,
    ):
        for _ in range(3):
            optimizer.zero_grad()
            (w**4).sum().backward()
            optimizer.step()
    assert torch.equal(*weights) and not torch.equal(weights[0], torch.linspace(-1, 1, 5).double())


def test_the_best_of_a_first_round_are_judged_by_the_seeds_of_both(tmp_path, monkeypatch):
    monkeypatch.setenv("LABSUPPORT_HOME", str(tmp_path))
    arms = grid(recipe(dtype="float32", mixup=None, valid_size=200), lr=[0.001, 0.1, 0.3, 1e12])
    first, both = study(arms, range(2)), study(arms, range(4))
    assert experiments.second_round(first, range(2, 4)).name == compare.best(both).name
    early = compare.final(first, "valid_accuracy").mean()
    assert experiments.second_round(first, range(2, 4), 1).name == early.idxmax()


def faulty(fault, runs=2, size=20):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(runs, size, 3, generator=rng), torch.randint(5, (runs, size), generator=rng)
    batch = Batch(x, y, 1, 1.0, [])
    return batch, experiments.FaultyMixup(0.4, fault=fault)(
        batch, 5, augment.streams_of(range(runs))[1]
    )


def test_a_mixup_without_a_fault_is_mixup():
    batch, made = faulty("healthy")
    healthy = Mixup(0.4)(batch, 5, augment.streams_of(range(2))[1])
    torch.testing.assert_close(made.x, healthy.x)
    torch.testing.assert_close(made.targets, healthy.targets)


@pytest.mark.parametrize("fault", [name for name in faults.BLENDS if name != "healthy"])
def test_each_fault_changes_inputs_or_targets_alone_and_targets_still_add_up_to_one(fault):
    _, made = faulty(fault)
    _, healthy = faulty("healthy")
    of_inputs = fault in ("inputs_not_mixed", "lam_per_sample")
    assert torch.allclose(made.x, healthy.x) != of_inputs
    assert torch.allclose(made.targets, healthy.targets) == of_inputs
    torch.testing.assert_close(made.targets.sum(2), torch.ones(2, 20))


def test_the_study_of_faults_has_a_row_for_each_and_one_without_mixup():
    found = experiments.fault_study(recipe(epochs=1, dtype="float32"), seeds=[0, 1])
    assert list(found.index) == ["no mixup", *faults.BLENDS]


def test_every_faulty_runs_log_names_its_fault():
    found = experiments.faulty_runs()
    assert {name: faults.diagnose(*log) for name, log in found.items()} == experiments.FAULTY_RUNS
    assert experiments.log_table(found["A"]).shape == (12, 5)
