"""What chapter 3 shows: histograms, the slide's loop beside the mended one, and patients with the
right illness.
"""

import matplotlib
import pytest
import torch

from labsupport import plots
from labsupport.topics.activations import backprop
from labsupport.topics.activations import figures as toy

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plots.plt.close("all")


def test_the_mended_loop_is_autograd_and_the_printed_one_leaves_a_layer_out():
    table = toy.loops_beside_autograd()
    assert all(float(error) < 1e-12 for error in table["mended"])
    assert table["as printed"].iloc[-1] == "no gradient"
    assert all(float(error) > 0.5 for error in table["as printed"].iloc[:-1])


def test_the_printed_loop_does_not_run_where_layers_differ_in_width():
    weights = [torch.ones(3, 2), torch.ones(4, 3), torch.ones(5, 4)]
    with pytest.raises(RuntimeError, match="size"):
        toy.as_printed(weights, torch.ones(2), torch.ones(5), "tanh")
    shapes = [
        grad.shape
        for grad in dict(
            sorted(toy.mended(weights, torch.ones(2), torch.ones(5), "tanh").items())
        ).values()
    ]
    assert shapes == [w.shape for w in weights]


def test_the_patients_have_the_illnesses_that_the_solution_names():
    names = {name: backprop.diagnose(*log) for name, log in toy.patients().items()}
    assert names == {"A": "small_weights", "B": "healthy", "C": "small_slopes", "D": "wrong_slopes"}


def test_a_descent_measures_the_gradients_that_the_backward_pass_makes():
    """The bias gradient of one sample is v itself, so the sizes can be read off the reference's
    backward pass.
    """
    net = toy.network("xavier_normal", hidden=3)
    log = toy.descent(net._replace(x=net.x[:1], y=net.y[:1]), "tanh")
    _, _, by_bias = backprop.gradients(net.weights, net.biases, net.x[:1], net.y[:1], "tanh")
    sizes = torch.stack([v.square().mean().sqrt() for v in by_bias[:3]])
    torch.testing.assert_close(log.factor, torch.stack([sizes[1] / sizes[2], sizes[0] / sizes[1]]))


def test_a_histogram_says_in_its_titles_how_much_is_saturated_and_what_is_left_of_the_gradient():
    calm, wild = toy.saturation("sigmoid", 1.0), toy.saturation("tanh", 8.0)
    assert [ax.get_title("left") for ax in calm.axes] == [f"layer {i}: 0%" for i in range(1, 6)]
    assert all(int(ax.get_title("left").split(": ")[1][:-1]) > 70 for ax in wild.axes)
    assert float(calm.get_suptitle().split("is ")[-1].split(" ")[0]) < 0.01


def test_the_curves_of_functions_and_patients_are_labelled():
    left, right = toy.draw_functions().axes
    assert (
        len(left.lines) == 6 and len(right.lines) == 7 and len(left.get_legend().get_texts()) == 6
    )
    (ax,) = toy.draw_patients(toy.patients()).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"patient {name}" for name in "ABCD"
    ]
    assert ax.get_yscale() == "log"
