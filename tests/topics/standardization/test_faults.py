"""Every pipeline is recognized by what it makes of a table."""

import torch

from labsupport.topics.standardization import faults


def table(rows=20, columns=3, seed=0):
    """Columns with units that differ by a factor of a million, and with offsets."""
    x = torch.randn(
        rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return x * 10.0 ** torch.arange(-3, 3 * columns - 3, 3) + torch.arange(columns)


def test_every_pipeline_is_diagnosed_by_its_name():
    for seed in range(5):
        x_train, x_test = table(seed=seed), table(rows=8, seed=seed + 100)
        for name, made in faults.pipelines(x_train, x_test).items():
            assert faults.diagnose(x_train, x_test, *made) == name


def test_a_pipeline_written_with_torch_alone_is_diagnosed():
    x_train, x_test = table(), table(rows=8, seed=1)
    z_train, z_test = ((x - x.mean(0)) / x.std(0, correction=0) for x in (x_train, x_test))
    assert faults.diagnose(x_train, x_test, z_train, z_test) == "each_by_its_own"


def test_a_single_precision_log_is_diagnosed_too():
    x_train, x_test = table().float(), table(rows=8, seed=1).float()
    for name, (a, b) in faults.pipelines(x_train.double(), x_test.double()).items():
        assert faults.diagnose(x_train, x_test, a.float(), b.float()) == name
