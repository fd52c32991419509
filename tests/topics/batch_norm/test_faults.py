"""What a healthy layer and five faulty ones put out, and the diagnosis through noise."""

import pytest
import torch
from torch import nn

from labsupport.topics.batch_norm import faults


def made(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_healthy_suspect_is_torchs_layer_in_eval_mode_and_train_mode_its_other_mode():
    batches, x = 1 + 2 * made(5, 6, 3), made(4, 3, seed=1)
    theirs = nn.BatchNorm1d(3, momentum=0.2).double()
    swapped = nn.BatchNorm1d(3, momentum=0.8).double()
    for batch in batches:
        theirs(batch), swapped(batch)
    outputs = faults.suspects(batches, x, 0.2)
    same(outputs["healthy"], theirs.eval()(x).detach())
    same(outputs["momentum_swapped"], swapped.eval()(x).detach())
    same(outputs["train_mode"], theirs.train()(x).detach())
    same(outputs["never_updated"], nn.BatchNorm1d(3).double().eval()(x).detach())


def test_the_slides_running_standard_deviation_by_hand():
    """One batch with the values 0 and 2, momentum 1/4: mean 1/4; standard deviation 3/4 + 1/4 = 1;
    biased variance 1.
    """
    batches, x = (
        torch.tensor([[[0.0], [2.0]]], dtype=torch.float64),
        torch.tensor([[1.25], [0.25]], dtype=torch.float64),
    )
    outputs = faults.suspects(batches, x, 0.25)
    one = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    for name, var in (("std_averaged", 1.0), ("biased_variance", 1.0), ("healthy", 1.25)):
        torch.testing.assert_close(outputs[name], one / (var + 1e-5) ** 0.5)


@pytest.mark.parametrize(
    "fault",
    [
        "healthy",
        "train_mode",
        "never_updated",
        "momentum_swapped",
        "biased_variance",
        "std_averaged",
    ],
)
def test_a_diagnosis_finds_the_fault_through_noise(fault):
    batches, x = 1 + 2 * made(5, 6, 1), made(4, 1, seed=1)
    out = faults.suspects(batches, x, 0.2)[fault]
    assert faults.diagnose(batches, x, out + 1e-6 * made(4, 1, seed=2), 0.2) == fault
