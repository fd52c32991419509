"""The residual networks as plain torch modules, one run at a time, as a user writes them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Norm and activation before each of two convolutions, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        changes = inputs != outputs or stride > 1
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute (B, C, H, W) of (B, C, H, W)."""
        h = F.relu(self.norm1(x))
        inside = F.relu(self.norm2(self.conv1(h)))
        return (self.shortcut(h) if self.shortcut else x) + self.conv2(inside)


class ResNet(nn.Sequential):
    """``models.ResNet`` with batch norm and ReLU; the arguments are its fields."""

    def __init__(
        self, channels: tuple[int, ...] = (16, 32, 64), blocks: int = 1, classes: int = 10
    ) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 3, padding=1)]
        inputs = channels[0]
        for stage, outputs in enumerate(channels):
            for block in range(blocks):
                layers.append(Block(inputs, outputs, stride=2 if stage and not block else 1))
                inputs = outputs
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers, nn.Linear(inputs, classes))


class ResNet9(nn.Module):
    """``models.ResNet9`` with batch norm and ReLU; the arguments are its fields."""

    def __init__(self, channels: tuple[int, ...] = (64, 128, 256, 512), classes: int = 10) -> None:
        super().__init__()
        a, b, c, d = channels

        def layer(inputs: int, outputs: int) -> nn.Sequential:
            conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

        self.prepare, self.second = layer(3, a), layer(a, b)
        self.around_second = nn.Sequential(layer(b, b), layer(b, b))
        self.third, self.fourth = layer(b, c), layer(c, d)
        self.around_fourth = nn.Sequential(layer(d, d), layer(d, d))
        self.linear = nn.Linear(d, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (B, K) of images (B, 3, H, W)."""
        h = F.max_pool2d(self.second(self.prepare(x)), 2)
        h = h + self.around_second(h)
        h = F.max_pool2d(self.third(h), 2)
        h = F.max_pool2d(self.fourth(h), 2)
        h = h + self.around_fourth(h)
        return self.linear(torch.amax(h, (2, 3))) / 8
