"""Each faulty code against autograd of what it promises, and the diagnosis of all of them."""

import pytest
import torch

from labsupport.topics.weight_norm import faults


def made(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_code_that_holds_the_norm_constant_is_what_autograd_makes_of_a_detached_norm():
    v, g, dw = made(4, 5).requires_grad_(), made(4, seed=1).requires_grad_(), made(4, 5, seed=2)
    grads = torch.autograd.grad(v * (g / v.norm(dim=1).detach())[:, None], (v, g), dw)
    for mine, theirs in zip(
        faults.faulty_gradients()["norm_constant"](dw, v.detach(), g.detach()), grads, strict=True
    ):
        same(mine, theirs)


def test_a_code_with_one_norm_for_the_matrix_is_differentiated_correctly():
    v, g, dw = made(4, 5).requires_grad_(), made(4, seed=1).requires_grad_(), made(4, 5, seed=2)
    grads = torch.autograd.grad(g[:, None] * v / v.norm(), (v, g), dw)
    for mine, theirs in zip(
        faults.faulty_gradients()["matrix_norm"](dw, v.detach(), g.detach()), grads, strict=True
    ):
        same(mine, theirs)


@pytest.mark.parametrize("fault", faults.faulty_gradients())
def test_every_fault_is_diagnosed_from_one_step_even_with_some_rounding(fault):
    v, g, dw = made(4, 5), made(4, seed=1), made(4, 5, seed=2)
    dv, dg = faults.faulty_gradients()[fault](dw, v, g)
    assert faults.diagnose(v, g, dw, dv, dg) == fault
    assert faults.diagnose(v, g, dw, dv.float().double(), dg.float().double()) == fault
