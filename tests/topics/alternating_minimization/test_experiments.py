"""What the chapter on alternating minimization runs and measures."""

from dataclasses import replace

import torch

from labsupport import datasets, runtime
from labsupport.models import MLP
from labsupport.rules import SGD
from labsupport.topics.alternating_minimization import experiments
from labsupport.topics.alternating_minimization import reference as am
from labsupport.types import Recipe


def test_no_update_of_the_batch_form_raises_the_objective():
    run = experiments.batch_run(0.3, size=50, sweeps=10, seeds=range(3))
    rise, updates = experiments.largest_rise(run.log)
    assert rise < 1e-12 and updates == 10 * 5 * 3
    assert (run.log[-1, -1] < run.log[0, 0]).all()


def test_a_rise_is_seen():
    assert experiments.largest_rise(torch.tensor([[[2.0], [3.0], [1.0]]]))[0] == 0.5


def test_every_faulty_run_is_named_by_the_reference_as_what_it_is():
    assert {
        name: am.diagnose(*log) for name, log in experiments.faulty_runs().items()
    } == experiments.FAULTY_RUNS


def test_a_low_penalty_wakes_a_dead_unit_and_a_high_one_does_not():
    assert experiments.unit_path(0.5, -0.5)[1] and not experiments.unit_path(10.0, -0.5)[1]


def test_the_first_pass_is_measured_where_it_is_asked():
    recipe = Recipe(MLP((40, 8, 10)), SGD(), train_size=500, epochs=1)
    seen = experiments.first_pass(recipe, (0, 1), (1, 5))
    assert set(seen) == {1, 5} and seen[5].shape == (2,)


def test_in_the_full_profile_the_first_pass_is_measured_at_the_same_shares(monkeypatch):
    recipe = Recipe(MLP((40, 8, 10)), SGD(), train_size=500, epochs=1)
    monkeypatch.setattr(
        experiments.profiles, "sized", lambda given: replace(given, train_size=2000)
    )
    whole = experiments.first_pass(recipe, (0, 1), (1, 5))
    monkeypatch.undo()
    assert torch.equal(
        whole[5], experiments.first_pass(replace(recipe, train_size=2000), (0, 1), (4, 20))[20]
    )


def test_codes_of_linear_units_pass_on_half_of_what_they_get_at_most():
    rng = torch.Generator().manual_seed(0)
    for scale in (0.1, 1.0, 10.0):
        ws = [
            scale * torch.randn(n, m, generator=rng).double() for n, m in ((6, 4), (6, 6), (3, 6))
        ]
        bs = [torch.zeros(len(w)).double() for w in ws]
        x, y = torch.randn(5, 4, generator=rng).double(), torch.randint(3, (5,), generator=rng)
        codes = am.encode(ws, bs, x, "linear")
        low, top = (
            new - old
            for new, old in zip(
                am.update_codes(ws, bs, codes, x, y, 2.0, "linear", steps=50), codes, strict=True
            )
        )
        assert (low.norm(dim=1) <= 0.5 * top.norm(dim=1) + 1e-12).all() and low.abs().max() > 1e-3


def test_the_gradient_that_fades_is_autograds():
    share = experiments.layer_shares(depth=3, size=20, seeds=[4])["gradient by backpropagation"][
        :, 0
    ]
    params, _ = MLP((40, 64, 64, 64, 10), initializer="kaiming_normal").init(
        [runtime.generator(4, "init")]
    )
    dataset, codes = datasets.load("mnist1d", train_size=20), []
    h = dataset.x_train.flatten(1).double()
    for i in (1, 2, 3):
        codes.append(
            (
                h @ params[f"weight{i}"][0].double().T + params[f"bias{i}"][0].double()
            ).requires_grad_()
        )
        h = codes[-1].relu()
    logits = h @ params["weight4"][0].double().T + params["bias4"][0].double()
    sizes = torch.stack(
        [
            g.norm()
            for g in torch.autograd.grad(
                torch.nn.functional.cross_entropy(logits, dataset.y_train), codes
            )
        ]
    )
    assert torch.allclose(share, sizes / sizes[-1], rtol=1e-6)
