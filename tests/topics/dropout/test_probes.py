"""Networks with units taken out, in the wrong mode, as ensembles, and how uncertain they are."""

import dataclasses

import pytest
import torch

from labsupport import runtime
from labsupport.models import MLP
from labsupport.stacks import Stack, stacked
from labsupport.streams import Streams
from labsupport.topics.dropout import probes
from labsupport.types import Dataset

SEEDS = (0, 1, 2)


def dataset(size=60):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(size, 6, generator=rng), torch.randint(4, (size,), generator=rng)
    return Dataset("made", x, y, x, y, x, y, 4, "", torch.zeros(()))


def network(dropout=0.5, seeds=SEEDS, **options):
    net = MLP((6, 20, 20, 4), dropout=dropout, gain=3.0, **options)
    params, buffers = net.init([runtime.generator(seed, "init") for seed in seeds])
    return net, Stack.of(params), buffers


def accuracy(net, params, buffers, data):
    logits = net.forward(params, buffers, data.x_test.expand(len(params.flat), *data.x_test.shape))
    return (logits.argmax(-1) == data.y_test).float().mean(1)


def test_a_network_from_which_nothing_is_taken_is_the_network():
    net, params, buffers = network()
    found = probes.Knockout((0.0, 0.9))(net, params, buffers, dataset())
    torch.testing.assert_close(
        found["accuracy_without_0"], accuracy(net, params, buffers, dataset())
    )
    assert not torch.equal(found["accuracy_without_0.9"], found["accuracy_without_0"])


def test_the_wrong_mode_of_a_network_without_dropout_is_the_right_one():
    net, params, buffers = network(dropout=0.0)
    found = probes.WrongMode(3)(net, params, buffers, dataset())
    torch.testing.assert_close(
        found["train_mode_accuracy"], accuracy(net, params, buffers, dataset())
    )
    assert found["train_mode_std"].abs().max() < 1e-6


def test_the_wrong_mode_of_a_network_with_dropout_differs_from_pass_to_pass():
    assert probes.WrongMode(5)(*network(), dataset())["train_mode_std"].min() > 0


def test_the_passes_are_those_of_the_network_itself_with_the_masks_stream():
    net, params, buffers = network()
    found = probes.passes(net, params, buffers, dataset().x_test, net.dropout, 2)
    streams = Streams([0 for _ in SEEDS], "masks")
    x = dataset().x_test.expand(3, 60, 6)
    for t in range(2):
        torch.testing.assert_close(
            found[t], net.forward(params, buffers, x, training=True, streams=streams).softmax(-1)
        )


def test_an_ensemble_of_one_is_the_mean_single_network_and_of_all_the_mean_of_all():
    net, params, buffers = network()
    data = dataset()
    found = probes.Ensemble((1, 4))(net, params, buffers, data)
    q = probes.passes(net, params, buffers, data.x_test, 0.5, 4)
    torch.testing.assert_close(
        found["accuracy_of_1"], (q.argmax(-1) == data.y_test).float().mean((0, 2))
    )
    torch.testing.assert_close(
        found["accuracy_of_4"], (q.mean(0).argmax(-1) == data.y_test).float().mean(1)
    )


@pytest.mark.parametrize(
    "probe",
    [
        probes.Ensemble((1, 3)),
        probes.Uncertainty(3),
        probes.WrongMode(3),
        probes.Knockout((0.3,), 3),
    ],
    ids=lambda probe: type(probe).__name__,
)
def test_a_run_measures_the_same_alone_and_beside_runs_with_other_rates(probe):
    net, params, buffers = network()
    mixed = stacked(
        [dataclasses.replace(net, dropout=rate) for rate in (0.2, 0.5, 0.7)], torch.device("cpu")
    )
    together = probe(mixed, params, buffers, dataset())
    alone = probe(*network(seeds=(1,)), dataset())
    for name, values in alone.items():
        torch.testing.assert_close(together[name][1:2], values, msg=name)


def test_without_dropout_the_mean_of_passes_is_as_uncertain_as_one_pass():
    found = probes.Uncertainty(2)(*network(dropout=0.0), dataset())
    for event in ("errors", "shuffled", "noise"):
        torch.testing.assert_close(found[f"{event}_mc"], found[f"{event}_single"])


def test_an_auroc_is_the_share_of_pairs_in_the_right_order():
    """Of the six pairs (happened, not) of the first run five are in order; the second run has
    nothing to rank.
    """
    score = torch.tensor([[0.9, 0.4, 0.5, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4, 0.5]])
    happened = torch.tensor([[True, True, False, False, False], [False] * 5])
    found = probes.auroc(happened, score)
    assert found[0].item() == pytest.approx(5 / 6) and found[1].isnan()


def test_out_of_distribution_inputs_are_the_same_numbers_shuffled_or_noise_like_them():
    x = 2 + 3 * torch.randn(500, 40, generator=torch.Generator().manual_seed(1))
    found = probes.out_of_distribution(x)
    assert torch.equal(found["shuffled"].sort(1).values, x.sort(1).values) and not torch.equal(
        found["shuffled"], x
    )
    assert found["noise"].mean().item() == pytest.approx(2, abs=0.1)
    assert found["noise"].std().item() == pytest.approx(3, abs=0.1)
    assert all(
        torch.equal(found[name], again) for name, again in probes.out_of_distribution(x).items()
    )


def test_a_network_with_batch_norm_is_refused():
    with pytest.raises(ValueError, match="norm is 'batch'"):
        probes.WrongMode()(*network(norm="batch"), dataset())


def test_no_pass_at_all_is_refused():
    with pytest.raises(ValueError, match="count is 0"):
        probes.WrongMode(0)(*network(), dataset())
