"""What the chapter's pictures and small worlds show is what they say they show."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

from labsupport import plots, train
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.batch_norm import domains, faults, norm_runs
from labsupport.topics.batch_norm import figures as toy
from labsupport.topics.batch_norm import reference as bn
from labsupport.types import Arm, Recipe, Result

matplotlib.use("agg")
RECIPE = Recipe(
    MLP((40, 12, 9, 10), norm="batch"),
    SGD(lr=0.3),
    train_size=200,
    batch_size=20,
    epochs=1,
    dtype="float64",
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_in_a_batch_of_two_only_the_order_is_left():
    titles = [toy.company(2, batch).axes[1].get_title("left") for batch in (1, 2, 3, 4)]
    assert {title.split()[-1] for title in titles} == {"1.00", "-1.00"}


def test_in_a_large_batch_our_signal_lands_near_where_all_the_data_put_it():
    z = toy.unit()
    settled = ((toy.OURS - z.mean()) / z.std()).item()
    for batch in (1, 2, 3):
        shown = float(toy.company(1000, batch).axes[1].get_title("left").split()[-1])
        assert abs(shown - settled) < 0.15


def test_the_two_maps_show_the_epoch_that_was_asked_for():
    arms = [
        Arm(f"{norm}, lr={lr}, gain={gain}", RECIPE, {"lr": lr, "gain": gain})
        for norm in ("none", "batch")
        for lr in (0.1, 1.0)
        for gain in (1.0, 3.0)
    ]
    rows = [(arm.name, 0, epoch, "test_accuracy", epoch / 100) for arm in arms for epoch in (5, 10)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "epoch", "metric", "value"])
    fig = toy.two_maps(Result(table, table.iloc[:0], tuple(arms), (0,), 0.0), "test_accuracy", 5)
    assert [ax.get_title("left") for ax in fig.axes] == [
        "no norm, epoch 5: best test accuracy 0.05",
        "batch norm, epoch 5: best test accuracy 0.05",
    ]


def test_a_width_counts_half_decades_seed_by_seed():
    arms = [Arm(name, RECIPE, {"lr": 10 ** (k / 2)}) for k, name in enumerate("abc")]
    trains = pd.DataFrame({"a": [True, False], "b": [True, True], "c": [True, False]})
    assert toy.widths(trains, arms, "lr").tolist() == [1.5, 0.5]
    with pytest.raises(ValueError, match="each step must be 0.5"):
        toy.widths(trains, arms[::2], "lr")


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
    table = toy.log_ratios({"one": surveyed(4.0), "other": surveyed(1.0)}, "one", "other", metric)
    assert table.shape == (2, 2) and np.allclose(table, np.log(4))


def test_the_landscape_has_a_panel_for_each_probe():
    fig = toy.draw_landscape({"a": surveyed(1.0), "b": surveyed(2.0)})
    assert [len(ax.lines) for ax in fig.axes] == [4, 4, 2]
    assert fig.axes[0].lines[1].get_ydata().tolist() == [3.0, 3.0]


def test_the_patients_have_what_they_are_said_to_have():
    for name, log in toy.patients().items():
        assert faults.diagnose(*log) == toy.PATIENTS[name]
    assert len(toy.draw_patients(toy.patients()).axes[0].lines) == 3


def test_batch_norm_holds_a_unit_still_and_noise_behind_it_shakes_it():
    made = [
        norm_runs.movement(
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
    table = norm_runs.theorem(RECIPE, [0, 1], every=5)
    assert len(table) == 2 * 2 * 2 and set(table["units"]) == {12, 9}
    assert table["error"].max() < 1e-12 and table["broken"].sum() == 0
    assert table["slide"].max() > 1e-3 and 0 < table["literal"].sum() < table["units"].sum()


def test_the_gradients_behind_the_theorem_are_those_of_the_network_that_trains():
    step = next(train.iterate_steps([RECIPE], [0]))
    _, batch = next(train.batches([RECIPE], [0], train.load(RECIPE)))
    y, z, _, dz = norm_runs._gradients(step.params, batch, RECIPE.model.depth, 2)
    aside = {name: buffer.clone() for name, buffer in step.buffers.items()}
    hidden = RECIPE.model.layers(step.params, aside, batch.x, training=True)
    torch.testing.assert_close(z.relu(), hidden[1][0], rtol=1e-3, atol=1e-3)
    assert (dz[z < 0] == 0).all() and y.shape == (20, 9)


# -- two domains -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", domains.KINDS)
def test_half_of_the_samples_of_every_class_come_from_the_second_domain(kind):
    dataset = domains.two_domains(kind, train_size=200)
    for x, y in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        assert torch.equal(y[x[:, 0] == 1].bincount(), y[x[:, 0] == 0].bincount())


def test_an_unknown_domain_or_share_is_named():
    with pytest.raises(ValueError, match="kind is 'colour'"):
        domains.two_domains("colour")
    with pytest.raises(ValueError, match="own is 'mean'"):
        domains.DomainNet(own="mean")


def layer(own, x, training=True, steps=1):
    """One conditional batch norm after an identity layer, what it puts out, and its buffers."""
    net = domains.DomainNet((3, 3, 3), own=own)
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
    recipe = Recipe(domains.DomainNet((41, 8, 10)), SGD(lr=0.3), epochs=1)
    arms = [
        Arm(own, Recipe(domains.DomainNet((41, 8, 10), own=own), recipe.rule, epochs=1))
        for own in domains.OWN
    ]
    result = domains.domain_study(arms, "sensor", [3, 4])
    assert set(result.table["arm"]) == set(domains.OWN) and set(result.table["seed"]) == {3, 4}
    again = domains.domain_study(arms[:1], "sensor", [4])
    one, other = (
        r.table.query("arm == 'nothing' and seed == 4 and metric == 'test_loss'")["value"].item()
        for r in (result, again)
    )
    assert one == pytest.approx(other, rel=1e-5)
