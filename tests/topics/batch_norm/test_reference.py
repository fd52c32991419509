"""Batch norm and its relatives against torch.nn and autograd, in float64; the trap of a large mean,
in float32.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labsupport.topics.batch_norm import reference as bn
from labsupport.topics.batch_norm.reference import Statistics

SHAPES = [(6, 3), (4, 3, 5), (4, 3, 5, 2)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["vectors", "signals", "images"])


def made(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@every_shape
def test_forward_and_backward_are_torchs(shape):
    x, gamma, beta, dy = (
        made(*shape).requires_grad_(),
        made(3, seed=1).requires_grad_(),
        made(3, seed=2).requires_grad_(),
        made(*shape, seed=3),
    )
    theirs = F.batch_norm(x, None, None, gamma, beta, training=True)
    same(bn.batch_norm(x, gamma, beta).detach(), theirs.detach())
    for mine, grad in zip(
        bn.batch_norm_backward(dy, x.detach(), gamma.detach()),
        torch.autograd.grad(theirs, (x, gamma, beta), dy),
        strict=True,
    ):
        same(mine, grad)


@every_shape
def test_the_layer_is_torchs_over_ten_batches_and_in_both_modes(shape):
    mine = bn.BatchNorm(3, momentum=0.3).double()
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](
        3, momentum=0.3
    ).double()
    for seed in range(10):
        x = 2 + 3 * made(*shape, seed=seed)
        same(mine(x).detach(), theirs(x).detach())
    same(mine.mean[0], theirs.running_mean)
    same(mine.var[0], theirs.running_var)
    same(mine.eval()(x).detach(), theirs.eval()(x).detach())


def test_the_modes_differ_by_whose_statistics_they_use():
    layer, x = bn.BatchNorm(3).double(), 5 + made(6, 3)
    trained = layer(x)
    same(trained.mean(0).detach(), torch.zeros(3, dtype=torch.float64))
    alone = layer.eval()(x[:1])
    same(alone, layer(x)[:1])
    assert not torch.allclose(layer.train()(x)[:1], layer(x[:2])[:1])


def test_a_domain_has_statistics_scale_and_shift_of_its_own():
    layer = bn.BatchNorm(3, domains=2).double()
    before = layer.mean[0].clone()
    layer(5 + made(6, 3), domain=1)
    assert torch.equal(layer.mean[0], before) and layer.mean[1].min() > 0
    layer(made(6, 3), domain=1).sum().backward()
    assert not layer.beta.grad[0].any() and layer.beta.grad[1].all()


def test_the_variance_survives_a_large_mean_in_float32():
    """The shorter form, E[x²] - E[x]², returns 0 here."""
    x = (1e4 + made(1000, 2)).float()
    var = bn.statistics(x).var
    assert torch.allclose(var.double(), x.double().var(0, correction=0), rtol=1e-5)
    ours = bn.batch_norm(x, torch.ones(2), torch.zeros(2))
    gamma, beta = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    exact = bn.batch_norm(x.double(), gamma, beta)
    assert (ours.double() - exact).abs().max() < 1e-5


def test_worked_by_hand():
    """Values 0 and 2: mean 1, variance 1; the unbiased variance is 2."""
    x = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    mean, var, size = bn.statistics(x)
    assert (mean.item(), var.item(), size) == (1.0, 1.0, 2)
    moved = bn.update_running(
        Statistics(torch.zeros(1), torch.ones(1), 0), Statistics(mean, var, size), momentum=0.25
    )
    assert (moved.mean.item(), moved.var.item()) == (0.25, 1.25)


@every_shape
def test_a_running_step_is_torchs(shape):
    mean, var, x = made(3, seed=1), made(3, seed=2).square(), 2 + made(*shape)
    theirs = mean.clone(), var.clone()
    F.batch_norm(x, *theirs, training=True, momentum=0.3)
    for mine, expected in zip(bn.running_step(mean, var, x, momentum=0.3), theirs, strict=True):
        same(mine, expected)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 2)])
def test_group_norm_is_torchs_and_one_group_is_layer_norm(shape, groups):
    x, gamma, beta = made(*shape), made(6, seed=1), made(6, seed=2)
    if len(shape) > 2 or groups < 6:
        same(bn.group_norm(x, gamma, beta, groups=groups), F.group_norm(x, groups, gamma, beta))
    if groups == 1 and len(shape) == 2:
        same(bn.group_norm(x, gamma, beta, groups=1), F.layer_norm(x, (6,), gamma, beta))


def test_the_theorem_is_an_equation():
    y, gamma, dz = made(8, 3), made(3, seed=1), made(8, 3, seed=2)
    mean, var, _ = bn.statistics(y)
    leaf = y.clone().requires_grad_()
    hat = (leaf - leaf.mean(0)) / leaf.var(0, correction=0).sqrt()
    (dy,) = torch.autograd.grad(gamma * hat, leaf, dz)
    same(bn.squared_gradient(dz, ((y - mean) / var.sqrt()), gamma, var.sqrt()), dy.square().sum(0))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: bn.statistics(torch.ones(1, 3)),
            r"\(1, 3\): 1 value of each channel has no variance",
        ),
        (lambda: bn.statistics(torch.ones(4, 3, dtype=torch.long)), "dtype torch.int64"),
        (
            lambda: bn.statistics(torch.ones(4, 3).half()),
            "x: the dtype is torch.float16, which has too few digits here; give float32 or float64",
        ),
        (lambda: bn.batch_norm(torch.ones(4, 3).bfloat16(), *torch.ones(2, 3)), "torch.bfloat16"),
        (lambda: bn.statistics(torch.ones(4)), r"shape \(4,\)"),
        (
            lambda: bn.batch_norm(torch.ones(4, 3), torch.ones(2), torch.ones(3)),
            r"gamma has the shape \(2,\)",
        ),
        (
            lambda: bn.batch_norm(torch.ones(4, 3), torch.ones(3), torch.ones(3), eps=0.0),
            "eps is 0.0",
        ),
        (
            lambda: bn.normalize(
                torch.ones(4, 1), torch.ones(1), -torch.ones(1), torch.ones(1), torch.ones(1)
            ),
            "var is -1",
        ),
        (
            lambda: bn.update_running(
                *[Statistics(torch.ones(1), torch.ones(1), 2)] * 2, momentum=1.5
            ),
            "momentum is 1.5",
        ),
        (
            lambda: bn.running_step(torch.ones(2), torch.ones(3), torch.ones(4, 3)),
            r"mean has the shape \(2,\)",
        ),
        (
            lambda: bn.batch_norm_backward(torch.ones(4, 3), torch.ones(4, 2), torch.ones(2)),
            r"dy has the shape \(4, 3\)",
        ),
        (
            lambda: bn.group_norm(torch.ones(4, 3), torch.ones(3), torch.ones(3), groups=2),
            "groups is 2",
        ),
        (lambda: bn.BatchNorm(0), "0 channels"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_channel_that_never_changes_becomes_the_shift():
    beta = torch.tensor([7.0])
    assert torch.equal(
        bn.batch_norm(torch.full((4, 1), 3.0), torch.ones(1), beta), beta.expand(4, 1)
    )
