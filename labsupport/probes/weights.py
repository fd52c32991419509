"""The norm of the weights, and of the Jacobian of the outputs in the inputs."""

import torch
from torch import Tensor

from labsupport.stacks import Stack
from labsupport.types import Dataset, Net

JACOBIAN_ROWS = 100


def weight_norms(
    net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    r"""Measure the squared norm :math:`\lVert W_l\rVert^2` of each weight matrix and of all."""
    squared = {
        name: p.square().flatten(1).sum(1)
        for name, p in params.items()
        if name.startswith("weight")
    }
    return {
        **{f"norm2_{name}": value for name, value in squared.items()},
        "norm2": sum(squared.values(), params.flat.new_zeros(len(params.flat))),
    }


def jacobian_norm(
    net: Net, params: Stack, buffers: dict[str, Tensor], dataset: Dataset
) -> dict[str, Tensor]:
    r"""Measure the Frobenius norm of :math:`\partial z/\partial x`, averaged over test samples.

    z are the logits; the first JACOBIAN_ROWS test samples are taken, which hold all classes
    equally.
    """
    x = dataset.x_test[:JACOBIAN_ROWS].to(params.flat.dtype)
    x = x.expand(len(params.flat), *x.shape).clone().requires_grad_()
    with torch.enable_grad():
        logits = net.forward(params, buffers, x)
        rows = [
            torch.autograd.grad(logits[..., k].sum(), x, retain_graph=True)[0].flatten(2)
            for k in range(logits.shape[-1])
        ]
    return {"jacobian": torch.stack([row.square().sum(2) for row in rows]).sum(0).sqrt().mean(1)}
