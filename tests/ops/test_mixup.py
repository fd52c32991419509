"""The coefficient and the blend of mixup."""

import pytest
import torch
from scipy import stats

from labsupport.ops.mixup import coefficient


def drawn(*shape, seed=1, kind=torch.randn):
    return kind(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("alpha", [0.1, 1.0, 5.0])
def test_coefficients_follow_the_beta_distribution_with_the_variance_that_the_chapter_states(alpha):
    u = drawn(20_000, kind=torch.rand)
    lam = coefficient(u, alpha)
    assert stats.kstest(lam.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert lam.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
