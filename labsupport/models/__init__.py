"""The networks of the book: R copies are evaluated at once, weights shaped as in torch.nn.

A model is a frozen record of its structure. Its ``init`` draws the parameters of every run from
that run's generator alone; its ``forward`` is a pure function of the parameters, but for buffers in
training.

    layers     activations, masks, norms
    layered    what all networks share
    mlp        fully connected
    cnn        convolutional, for signals and images
    resnet     residual networks for images
    resnet9    the residual network of the speed records
    modules    both as plain torch modules
    local      fully connected, with a head on every hidden layer
    vmapped    any torch module
    patches    layers as matrix products, for backward passes by hand
"""

from labsupport.models.cnn import CNN
from labsupport.models.layers import ACTIVATIONS
from labsupport.models.local import LocalMLP
from labsupport.models.mlp import MLP
from labsupport.models.resnet import ResNet
from labsupport.models.resnet9 import ResNet9
from labsupport.models.vmapped import Vmapped

__all__ = ["ACTIVATIONS", "CNN", "MLP", "LocalMLP", "ResNet", "ResNet9", "Vmapped"]
