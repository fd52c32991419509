"""Dropout against torch.nn, against enumeration and against cases worked by hand, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labsupport.models import MLP
from labsupport.streams import Streams
from labsupport.topics.dropout import reference as do

KEEPS = (0.2, 0.5, 0.8, 1.0)


def drawn(*shape, seed=1, kind=torch.randn):
    return kind(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def seeded():
    return torch.Generator().manual_seed(3)


# -- one layer -------------------------------------------------------------------------------------


def test_three_units_by_hand():
    """r = 1/2: the unit with u = 0.3 goes, the others are doubled; the lecture leaves them as they
    are.
    """
    h, u = (torch.tensor(row, dtype=torch.float64) for row in ([1.0, -2.0, 3.0], [0.5, 0.3, 0.9]))
    same(do.inverted_dropout(h, u, drop=0.5), torch.tensor([2.0, 0.0, 6.0], dtype=torch.float64))
    same(do.lecture_dropout(h, u, keep=0.5), torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64))


@pytest.mark.parametrize("drop", [0.0, 0.2, 0.5, 0.9])
def test_inverted_dropout_with_torchs_own_mask_is_torch_dropout(drop):
    h = drawn(50, 8)
    torch.manual_seed(0)
    theirs = nn.Dropout(drop)(h)
    u = torch.where(theirs == 0, 0.0, 0.999).double()
    same(do.inverted_dropout(h, u, drop=drop), theirs)


@pytest.mark.parametrize("drop", [0.1, 0.3, 0.5, 0.8])
def test_the_share_of_dropped_units_is_the_rate(drop):
    mask = do.keep_mask(drawn(100_000, kind=torch.rand), drop)
    assert 1 - mask.mean().item() == pytest.approx(
        drop, abs=5 * math.sqrt(drop * (1 - drop) / 100_000)
    )


def test_the_two_conventions_differ_by_the_factor_p():
    h, u = drawn(6, 4), drawn(6, 4, kind=torch.rand)
    same(do.lecture_dropout(h, u, keep=0.8), 0.8 * do.inverted_dropout(h, u, drop=1 - 0.8))


def test_weights_trained_with_inverted_dropout_are_p_times_the_lectures():
    """(pW)(m h / p) = W (m h): one network, written twice."""
    weight, bias, h = drawn(3, 4), drawn(3, seed=2), drawn(5, 4, seed=3)
    same(do.lecture_linear(weight, bias, h, keep=0.8), F.linear(h, 0.8 * weight, bias))


def test_a_step_on_the_lectures_weights_is_a_step_with_p_squared_the_rate_on_the_inverted_ones():
    h, u, target, keep, lr = (
        drawn(5, 4),
        drawn(5, 4, kind=torch.rand),
        drawn(5, 3, seed=2),
        0.8,
        0.1,
    )
    lecture = drawn(3, 4, seed=3).requires_grad_()
    inverted = (keep * lecture).detach().requires_grad_()
    for weight, thinned in (
        (lecture, do.lecture_dropout(h, u, keep=keep)),
        (inverted, do.inverted_dropout(h, u, drop=1 - keep)),
    ):
        F.mse_loss(thinned @ weight.T, target).backward()
    same(keep * (lecture - lr * lecture.grad), inverted - keep**2 * lr * inverted.grad)


def test_the_gradient_flows_through_kept_units_alone_and_is_scaled():
    h, u = (
        drawn(2, 3).requires_grad_(),
        torch.tensor([[0.1, 0.6, 0.9], [0.7, 0.2, 0.3]], dtype=torch.float64),
    )
    do.inverted_dropout(h, u, drop=0.5).sum().backward()
    same(h.grad, torch.tensor([[0.0, 2.0, 2.0], [2.0, 0.0, 0.0]], dtype=torch.float64))


def test_the_books_network_drops_the_units_that_the_reference_drops():
    """The MLP draws one number a unit and drops it where that number is below the rate."""
    net = MLP((3, 6, 2), dropout=0.25)
    params, buffers = net.init([torch.Generator().manual_seed(0)])
    x = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(1))
    hidden = net.layers(params, buffers, x)[0]
    u = Streams([2], "noise").uniform(24, x).view(1, 4, 6)
    trained = net.layers(params, buffers, x, training=True, streams=Streams([2], "noise"))[0]
    torch.testing.assert_close(trained, do.inverted_dropout(hidden, u, drop=0.25))


# -- the modules -----------------------------------------------------------------------------------


def test_in_eval_mode_inverted_dropout_is_the_identity_and_the_lectures_multiplies_by_p():
    h = drawn(5, 4)
    assert torch.equal(do.InvertedDropout(0.2).eval()(h), h)
    same(do.LectureDropout(0.8).eval()(h), 0.8 * h)


def test_in_train_mode_the_modules_are_the_functions_on_drawn_numbers():
    h = drawn(5, 4)
    u = torch.rand(5, 4, dtype=torch.float64, generator=seeded())
    same(do.InvertedDropout(0.2, seeded())(h), do.inverted_dropout(h, u, drop=0.2))
    same(do.LectureDropout(0.8, seeded())(h), do.lecture_dropout(h, u, keep=0.8))


def test_the_mode_of_a_network_reaches_the_modules_inside():
    net = nn.Sequential(
        nn.Linear(4, 4), do.InvertedDropout(0.5), nn.Sequential(do.LectureDropout(0.5))
    )
    net.eval()
    assert not net[1].training and not net[2][0].training
    net.train()
    assert net[1].training and net[2][0].training


def test_two_passes_in_train_mode_differ_and_two_in_eval_mode_do_not():
    h, module = drawn(5, 4), do.InvertedDropout(0.5, seeded())
    assert not torch.equal(module(h), module(h))
    module.eval()
    assert torch.equal(module(h), module(h))


# -- the ensemble ----------------------------------------------------------------------------------


def test_the_masks_of_two_units_by_hand():
    assert do.all_masks(2).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    same(
        do.mask_probability(do.all_masks(2), keep=0.8),
        torch.tensor([0.04, 0.16, 0.16, 0.64], dtype=torch.float64),
    )


@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("keep", KEEPS)
def test_the_probabilities_of_all_masks_add_up_to_one(n, keep):
    masks = do.all_masks(n)
    assert len(masks.unique(dim=0)) == 2**n
    assert do.mask_probability(masks, keep=keep).sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("keep", KEEPS)
def test_the_geometric_mean_of_all_sub_networks_is_the_network_with_scaled_inputs(keep):
    weight, bias, x = drawn(3, 8), drawn(3, seed=2), drawn(5, 8, seed=3)
    mean = do.geometric_mean(*do.sub_networks(weight, bias, x, keep=keep))
    same(mean, do.lecture_linear(weight, bias, x, keep=keep).softmax(-1))


def test_their_arithmetic_mean_is_another():
    weight, bias, x = drawn(3, 8), drawn(3, seed=2), drawn(5, 8, seed=3)
    logs, weights = do.sub_networks(weight, bias, x, keep=0.5)
    arithmetic = torch.tensordot(weights, logs.exp(), dims=1)
    assert (arithmetic - do.geometric_mean(logs, weights)).abs().max() > 0.01


def test_the_geometric_mean_of_two_distributions_by_hand():
    """√(0.9·0.5) : √(0.1·0.5) = 3 : 1."""
    logs = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64).log()
    same(
        do.geometric_mean(logs, torch.tensor([0.5, 0.5]).double()),
        torch.tensor([0.75, 0.25], dtype=torch.float64),
    )


def test_the_geometric_mean_survives_probabilities_whose_product_is_zero_in_floating_point():
    logs = torch.tensor([[-800.0, -801.0], [-800.0, -801.0]], dtype=torch.float64)
    assert logs.exp().sum() == 0
    same(
        do.geometric_mean(logs, torch.full((2,), 0.5).double()),
        torch.tensor([0.0, -1.0]).double().softmax(0),
    )


# -- Monte Carlo -----------------------------------------------------------------------------------


def test_two_passes_that_contradict_each_other_by_hand():
    """One pass is sure of class 0, the other of class 1: the mean is a coin, its entropy ln 2."""
    mean, entropy = do.mc_dropout(torch.tensor([[[60.0, 0.0]], [[0.0, 60.0]]], dtype=torch.float64))
    same(mean, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    same(entropy, torch.tensor([math.log(2)], dtype=torch.float64))


def test_the_entropy_is_that_of_torch_distributions():
    logits = drawn(7, 5, 4)
    mean, entropy = do.mc_dropout(logits)
    same(mean.sum(-1), torch.ones(5).double())
    same(entropy, torch.distributions.Categorical(probs=mean).entropy())


def test_a_certain_prediction_has_entropy_zero_and_not_nan():
    _, entropy = do.mc_dropout(torch.tensor([[[2000.0, 0.0, 0.0]]], dtype=torch.float64))
    assert entropy.item() == 0


def test_updating_pass_by_pass_gives_what_all_passes_at_once_give():
    logits = drawn(7, 5)
    mean = torch.full((5,), 0.123, dtype=torch.float64)
    for t, logit in enumerate(logits, start=1):
        mean, entropy = do.mc_update(mean, logit, t)
    expected, expected_entropy = do.mc_dropout(torch.stack([logits, torch.zeros_like(logits)], -1))
    same(mean, expected[:, 0])
    same(entropy, expected_entropy)


# -- the log ---------------------------------------------------------------------------------------


H = torch.tensor([[1.0, 2.0, 0.0, 3.0], [2.0, 1.0, 5.0, 4.0]], dtype=torch.float64)
U = torch.tensor([[0.9, 0.1, 0.8, 0.7], [0.1, 0.9, 0.6, 0.8]], dtype=torch.float64)
LOGS = {
    "inverted": (do.inverted_dropout(H, U, drop=0.2), H),
    "lecture": (do.lecture_dropout(H, U, keep=0.8), 0.8 * H),
    "scale_missing": (do.lecture_dropout(H, U, keep=0.8), H),
    "scaled_twice": (do.inverted_dropout(H, U, drop=0.2), 0.8 * H),
    "swapped": (do.inverted_dropout(H, U, drop=0.8), H),
    "eval_drops": (
        do.inverted_dropout(H, U, drop=0.2),
        do.inverted_dropout(H, U.flip(0), drop=0.2),
    ),
    "one_mask": (do.inverted_dropout(H, U[:1].expand(2, 4), drop=0.2), H),
}


@pytest.mark.parametrize("name", LOGS)
def test_each_implementation_is_recognized_by_its_log(name):
    assert do.diagnose(H, *LOGS[name], 0.2) == name


@pytest.mark.parametrize("drop", [0.2, 0.8])
def test_torchs_own_module_is_recognized_as_inverted(drop):
    torch.manual_seed(0)
    h, module = drawn(20, 10).relu(), nn.Dropout(drop)
    assert do.diagnose(h, module(h), module.eval()(h), drop) == "inverted"


def test_one_sample_alone_cannot_show_that_all_share_a_mask():
    assert do.diagnose(H[:1], LOGS["one_mask"][0][:1], H[:1], 0.2) == "inverted"


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [-0.1, 1.0, 1.5])
def test_a_rate_outside_its_range_is_named(drop):
    for call in (lambda: do.inverted_dropout(H, U, drop=drop), lambda: do.InvertedDropout(drop)):
        with pytest.raises(ValueError, match=rf"drop is {drop}.*\[0, 1\)"):
            call()


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.1])
def test_a_keep_probability_outside_its_range_is_named(keep):
    calls = (
        lambda: do.lecture_dropout(H, U, keep=keep),
        lambda: do.LectureDropout(keep),
        lambda: do.lecture_linear(H, H[:, 0], H, keep=keep),
        lambda: do.mask_probability(U, keep=keep),
    )
    for call in calls:
        with pytest.raises(ValueError, match=rf"keep is {keep}.*\(0, 1\]"):
            call()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: do.inverted_dropout(H, U[:1], drop=0.5), r"shape \(2, 4\) and u \(1, 4\)"),
        (lambda: do.inverted_dropout(H.long(), U, drop=0.5), "torch.int64"),
        (lambda: do.keep_mask(2 * U, 0.5), "u reaches from"),
        (lambda: do.all_masks(0), "n is 0"),
        (lambda: do.all_masks(17), "n is 17"),
        (lambda: do.geometric_mean(H.log_softmax(1), torch.ones(2).double()), "add up to 2"),
        (lambda: do.mc_dropout(torch.empty(0, 3)), "no pass"),
        (lambda: do.mc_update(U[0], H[0], 0), "t is 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
