"""The slide's loop beside the mended one, and logs of backward passes with the right faults."""

import pytest
import torch

from labsupport.topics.activations import backprop, experiments


def test_the_mended_loop_is_autograd_and_the_printed_one_leaves_a_layer_out():
    table = experiments.loops_beside_autograd()
    assert all(float(error) < 1e-12 for error in table["mended"])
    assert table["as printed"].iloc[-1] == "no gradient"
    assert all(float(error) > 0.5 for error in table["as printed"].iloc[:-1])


def test_the_printed_loop_does_not_run_where_layers_differ_in_width():
    weights = [torch.ones(3, 2), torch.ones(4, 3), torch.ones(5, 4)]
    with pytest.raises(RuntimeError, match="size"):
        experiments.as_printed(weights, torch.ones(2), torch.ones(5), "tanh")
    shapes = [
        grad.shape
        for grad in dict(
            sorted(experiments.corrected(weights, torch.ones(2), torch.ones(5), "tanh").items())
        ).values()
    ]
    assert shapes == [w.shape for w in weights]


def test_the_runs_to_diagnose_have_the_faults_that_the_solution_names():
    names = {name: backprop.diagnose(*log) for name, log in experiments.faulty_runs().items()}
    assert names == {"A": "small_weights", "B": "healthy", "C": "small_slopes", "D": "wrong_slopes"}


def test_a_backward_log_measures_the_gradients_that_the_backward_pass_makes():
    """The bias gradient of one sample is v itself, so the sizes can be read off the reference's
    backward pass.
    """
    net = experiments.network("xavier_normal", hidden=3)
    log = experiments.backward_log(net._replace(x=net.x[:1], y=net.y[:1]), "tanh")
    _, _, by_bias = backprop.gradients(net.weights, net.biases, net.x[:1], net.y[:1], "tanh")
    sizes = torch.stack([v.square().mean().sqrt() for v in by_bias[:3]])
    torch.testing.assert_close(log.factor, torch.stack([sizes[1] / sizes[2], sizes[0] / sizes[1]]))
