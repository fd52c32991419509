"""Units along training, the theorem on every unit, two domains, three codes to diagnose."""

import numpy as np
import pandas as pd
import pytest
import torch

from labsupport import train
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.batch_norm import experiments, faults
from labsupport.topics.batch_norm import reference as bn
from labsupport.types import Arm, Recipe

RECIPE = Recipe(
    MLP((40, 12, 9, 10), norm="batch"),
    SGD(lr=0.3),
    train_size=200,
    batch_size=20,
    epochs=1,
    dtype="float64",
)


def test_a_width_counts_half_decades_seed_by_seed():
    arms = [Arm(name, RECIPE, {"lr": 10 ** (k / 2)}) for k, name in enumerate("abc")]
    trains = pd.DataFrame({"a": [True, False], "b": [True, True], "c": [True, False]})
    assert experiments.decades(trains, arms, "lr").tolist() == [1.5, 0.5]
    with pytest.raises(ValueError, match="each step must be 0.5"):
        experiments.decades(trains, arms[::2], "lr")


def surveyed(scale):
    rows = [
        (step, seed, metric, value * scale)
        for step in (0, 20)
        for seed in (0, 1)
        for metric, value in (
            ("loss_low", 1.0),
            ("loss_high", 3.0),
            ("smoothness", 2.0),
            ("shift2", 1.0),
            ("shift3", 3.0),
            ("predictiveness_low", 1.0),
            ("predictiveness_high", 2.0),
        )
    ]
    return pd.DataFrame(rows, columns=["step", "seed", "metric", "value"])


@pytest.mark.parametrize("metric", ["loss_range", "smoothness", "shift"])
def test_a_log_ratio_compares_seed_by_seed_and_step_by_step(metric):
    table = experiments.log_ratios(
        {"one": surveyed(4.0), "other": surveyed(1.0)}, "one", "other", metric
    )
    assert table.shape == (2, 2) and np.allclose(table, np.log(4))


def test_the_runs_to_diagnose_have_what_they_are_said_to_have():
    for name, log in experiments.faulty_runs().items():
        assert faults.diagnose(*log) == experiments.FAULTY_RUNS[name]


def test_batch_norm_holds_a_unit_still_and_noise_behind_it_shakes_it():
    made = [
        experiments.movement(
            RECIPE.__class__(**{**RECIPE.__dict__, "model": MLP((40, 12, 9, 10), **fields)}), [0, 1]
        )
        for fields in (
            {"norm": "batch"},
            {"norm": "noisy_batch", "noise": 0.5},
            {"norm": "noisy_batch", "noise": 2.0},
        )
    ]
    still, shaken, more = made
    assert (still < shaken).all() and (shaken < more).all()


def test_the_theorem_holds_along_a_run_and_the_slides_term_does_not():
    table = experiments.theorem(RECIPE, [0, 1], every=5)
    assert len(table) == 2 * 2 * 2 and set(table["units"]) == {12, 9}
    assert table["error"].max() < 1e-12 and table["broken"].sum() == 0
    assert table["slide"].max() > 1e-3 and 0 < table["literal"].sum() < table["units"].sum()


def test_the_gradients_behind_the_theorem_are_those_of_the_network_that_trains():
    step = next(train.iterate_steps([RECIPE], [0]))
    _, batch = next(train.batches([RECIPE], [0], train.load(RECIPE)))
    y, z, _, dz = experiments._gradients(step.params, batch, RECIPE.model.depth, 2)
    aside = {name: buffer.clone() for name, buffer in step.buffers.items()}
    hidden = RECIPE.model.layers(step.params, aside, batch.x, training=True)
    torch.testing.assert_close(z.relu(), hidden[1][0], rtol=1e-3, atol=1e-3)
    assert (dz[z < 0] == 0).all() and y.shape == (20, 9)


@pytest.mark.parametrize("kind", experiments.KINDS)
def test_half_of_the_samples_of_every_class_come_from_the_second_domain(kind):
    dataset = experiments.two_domains(kind, train_size=200)
    for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        assert torch.equal(y[x[:, 0] == 1].bincount(), y[x[:, 0] == 0].bincount())


def test_an_unknown_domain_or_share_is_named():
    with pytest.raises(ValueError, match="kind is 'colour'"):
        experiments.two_domains("colour")
    with pytest.raises(ValueError, match="own is 'mean'"):
        experiments.DomainNet(own="mean")


def layer(own, x, training=True, steps=1):
    """One conditional batch norm after an identity layer, what it puts out, and its buffers."""
    net = experiments.DomainNet((3, 3, 3), own=own)
    params, buffers = net.init([torch.Generator().manual_seed(0)])
    params = {name: p.double() for name, p in params.items()} | {
        "weight1": torch.eye(3).double()[None],
        "weight2": torch.eye(3).double()[None],
    }
    buffers = {name: b.double() for name, b in buffers.items()}
    for _ in range(steps):
        out = net.forward(params, buffers, x, training=training)
    return out, buffers


def samples():
    x = torch.randn(1, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[..., 0] = torch.arange(12) % 2
    x[:, 1::2, 1:] = 4 * x[:, 1::2, 1:] + 7
    return x


def test_own_statistics_are_the_layers_of_each_domain_by_itself():
    x = samples()
    out, buffers = layer("all", x)
    theirs = bn.BatchNorm(3, domains=2).double()
    for domain in (0, 1):
        expected = theirs(x[0, domain::2], domain=domain).relu()
        torch.testing.assert_close(out[0, domain::2], expected.detach())
    torch.testing.assert_close(buffers["mean1"][0], theirs.mean)
    torch.testing.assert_close(buffers["var1"][0], theirs.var)


@pytest.mark.parametrize("own", ["nothing", "scale"])
def test_shared_statistics_are_those_of_the_whole_batch(own):
    x = samples()
    out, buffers = layer(own, x)
    theirs = bn.BatchNorm(3).double()
    torch.testing.assert_close(out[0], theirs(x[0]).relu().detach())
    torch.testing.assert_close(buffers["var1"][0], theirs.var)


def test_in_eval_mode_the_running_statistics_normalize_and_stay():
    x = samples()
    _, before = layer("all", x, training=False)
    assert not before["mean1"].any() and (before["var1"] == 1).all()


def test_a_domain_study_is_paired_by_seed_and_names_its_arms():
    recipe = Recipe(experiments.DomainNet((41, 8, 10)), SGD(lr=0.3), epochs=1)
    arms = [
        Arm(own, Recipe(experiments.DomainNet((41, 8, 10), own=own), recipe.rule, epochs=1))
        for own in experiments.OWN
    ]
    result = experiments.domain_study(arms, "sensor", [3, 4])
    assert set(result.table["arm"]) == set(experiments.OWN) and set(result.table["seed"]) == {3, 4}
    again = experiments.domain_study(arms[:1], "sensor", [4])
    one, other = (
        r.table.query("arm == 'nothing' and seed == 4 and metric == 'test_loss'")["value"].item()
        for r in (result, again)
    )
    assert one == pytest.approx(other, rel=1e-5)
