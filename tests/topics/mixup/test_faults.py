"""Every fault is named from its log."""

import pytest
import torch

from labsupport.topics.mixup import faults
from labsupport.topics.mixup.faults import BLENDS, Pairs


def drawn(*shape, seed=1, kind=torch.randn):
    return kind(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BLENDS)
def test_each_fault_is_named_from_its_log(name):
    x, y = drawn(8), torch.tensor([0.0, 1, 1, 0, 0, 1, 0, 1]).double()
    partner, other = torch.tensor([1, 2, 3, 4, 5, 6, 7, 0]), torch.tensor([4, 5, 6, 7, 0, 1, 2, 3])
    pairs = Pairs(
        x,
        y,
        x[partner],
        y[partner],
        y[other],
        torch.tensor(0.3).double(),
        drawn(8, kind=torch.rand),
    )
    assert faults.diagnose(x, y, partner, 0.3, *BLENDS[name](pairs)) == name
