"""The probes of the landscape, against the same by autograd for one run and against cases worked by
hand.
"""

import pytest
import torch
import torch.nn.functional as F

from labsupport import landscape, train
from labsupport.models import CNN, MLP
from labsupport.rules import SGD
from labsupport.stacks import Stack
from labsupport.types import Recipe

RATES = (0.1, 0.5)


def recipe(model=None, lr=0.2):
    return Recipe(
        model or MLP((40, 12, 9, 10)), SGD(lr=lr), train_size=200, epochs=3, dtype="float64"
    )


def looks(made, seeds=(0, 4)):
    return list(landscape.steps_with_batches(made, seeds))


def by_autograd(w, shapes, x, y):
    """Loss and flat gradient of one run of a plain ReLU network."""
    flat = w.clone().requires_grad_()
    params = Stack(flat[None], shapes)
    h = x
    for i in (1, 2, 3):
        h = F.linear(h, params[f"weight{i}"][0], params[f"bias{i}"][0])
        h = h.relu() if i < 3 else h
    loss = F.cross_entropy(h, y)
    return loss.detach(), torch.autograd.grad(loss, flat)[0]


def test_steps_along_the_gradient_meet_what_autograd_meets():
    made = recipe()
    step, params, batch = looks(made)[2]
    found = landscape.along_gradient(made.model, params, step.buffers, batch, RATES)
    w, shapes, x, y = params.flat[1], params.shapes, batch.x[1], batch.y[1]
    _, here = by_autograd(w, shapes, x, y)
    ahead = [by_autograd(w - rate * here, shapes, x, y) for rate in RATES]
    distances = [(gradient - here).norm() for _, gradient in ahead]
    torch.testing.assert_close(found["loss"][:, 1], torch.stack([loss for loss, _ in ahead]))
    torch.testing.assert_close(found["predictiveness"][:, 1], torch.stack(distances))
    expected = max(d / (rate * here.norm()) for d, rate in zip(distances, RATES, strict=True))
    torch.testing.assert_close(found["smoothness"][1], expected)


def test_the_shift_is_zero_where_the_layers_below_stay_and_grows_with_their_step():
    made = recipe()
    (step, before, batch), (_, after, _) = looks(made)[1:3]
    still = landscape.covariate_shift(made.model, before, before, step.buffers, batch)
    assert set(still) == {"shift2", "cosine2", "shift3", "cosine3"}
    assert still["shift3"].max() == 0 and torch.allclose(
        still["cosine3"], torch.ones(2, dtype=torch.float64)
    )
    moved = landscape.covariate_shift(made.model, before, after, step.buffers, batch)
    farther = Stack(before.flat + 3 * (after.flat - before.flat), before.shapes)
    more = landscape.covariate_shift(made.model, before, farther, step.buffers, batch)
    assert (moved["shift3"] > 0).all() and (more["shift3"] > moved["shift3"]).all()


def test_the_shift_of_a_layer_does_not_feel_the_layers_above():
    made = recipe()
    (step, before, batch), (_, after, _) = looks(made)[1:3]
    other = Stack(after.flat.clone(), after.shapes)
    other["weight2"].add_(1), other["weight3"].add_(1)
    one, two = (
        landscape.covariate_shift(made.model, before, a, step.buffers, batch)
        for a in (after, other)
    )
    assert torch.equal(one["shift2"], two["shift2"]) and not torch.equal(
        one["shift3"], two["shift3"]
    )


@pytest.mark.parametrize(
    "model",
    [
        MLP((40, 8, 10), norm="batch"),
        MLP((40, 8, 10), norm="noisy_batch", noise=0.5),
        MLP((40, 8, 10), norm="weight"),
        MLP((40, 8, 10), dropout=0.5),
        CNN(channels=(4, 4)),
    ],
    ids=["batch norm", "noisy", "weight norm", "dropout", "convolutions"],
)
def test_a_survey_changes_nothing_and_looks_at_every_network(model):
    made = recipe(model)
    table = landscape.survey(made, [0, 4], RATES, every=2)
    assert table["step"].unique().tolist() == [0, 2, 4] and table["value"].notna().all()
    wide = table.pivot_table(index=["step", "seed"], columns="metric", values="value")
    assert (wide["loss_low"] <= wide["loss_high"]).all()
    plain = [step.params.flat.clone() for step in train.iterate_steps([made] * 2, [0, 4])]
    followed = [params.flat for _, params, _ in looks(made)]
    assert (
        all(torch.equal(one, other) for one, other in zip(plain, followed, strict=False))
        and len(followed) == 6
    )


def test_a_look_leaves_buffers_and_streams_alone():
    made = recipe(MLP((40, 8, 10), norm="noisy_batch", noise=0.5))
    step, params, batch = looks(made)[0]
    before, next_draw = (
        {k: b.clone() for k, b in step.buffers.items()},
        batch.streams.clone().uniform(9, params.flat),
    )
    first = landscape.loss_and_gradient(made.model, params, step.buffers, batch)[0]
    second = landscape.loss_and_gradient(made.model, params, step.buffers, batch)[0]
    assert torch.equal(first, second)
    assert all(torch.equal(before[k], b) for k, b in step.buffers.items())
    assert torch.equal(batch.streams.uniform(9, params.flat), next_draw)


@pytest.mark.parametrize("rates", [(), (0.1, 0.0)])
def test_a_bad_rate_is_named(rates):
    made = recipe()
    step, params, batch = looks(made)[0]
    with pytest.raises(ValueError, match="rates are"):
        landscape.along_gradient(made.model, params, step.buffers, batch, rates)
