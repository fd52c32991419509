"""Draw a photograph under a pipeline, two borders, and digits in the mirror."""

import torch
from matplotlib.figure import Figure

from labsupport import datasets, plots
from labsupport.augment import Cutout, RandomCrop, RandomFlip, RandomRotation
from labsupport.streams import Streams
from labsupport.topics.augmentation import reference as da
from labsupport.topics.augmentation.experiments import photograph

SHOWN = 5


def versions(padding: int = 4, degrees: float = 10.0, square: int = 0) -> Figure:
    """Draw a photograph, and five versions of it as a pipeline draws them."""
    photo, streams, fill_value = photograph(), Streams([0], "augment"), torch.zeros(())
    x = photo.repeat(1, SHOWN, 1, 1, 1)
    steps = [RandomCrop(padding), RandomFlip(0.5), RandomRotation(degrees)] + (
        [Cutout(square)] if square else []
    )
    for step in steps:
        x = step(x, streams, fill_value)
    fig, axes = plots.figure(SHOWN + 1, width=6.4, height=1.75)
    for ax, image, name in zip(
        axes, [photo, *x[0]], ["original", *range(1, SHOWN + 1)], strict=True
    ):
        ax.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        ax.set_axis_off()
        ax.text(0, -2, str(name), fontsize=8)
    count = 2 * (2 * padding + 1) ** 2
    changed = (x[0] - photo).abs().mean().item()
    many = f"{count} versions by crop and flip" + (
        ", times angles without number" if degrees else ""
    )
    fig.suptitle(f"{many}; mean change of a pixel {changed:.2f}", fontsize=9.5)
    return fig


def borders() -> Figure:
    """Draw a shifted digit, its border filled with black, or with zero after normalizing."""
    dataset = datasets.load("mnist5k", train_size=10)
    x, at = dataset.x_train[:1].cpu(), torch.tensor([0])
    fills = {"border of black": dataset.fill_value.cpu(), "border of 0": 0.0}
    fig, axes = plots.figure(2, width=5.5, height=2.6)
    for ax, (name, fill) in zip(axes, fills.items(), strict=True):
        ax.imshow(
            da.crop(x, at, at, padding=(6, 6), fill=fill)[0, 0].numpy(),
            cmap="gray",
            vmin=float(dataset.fill_value),
            vmax=float(x.max()),
        )
        ax.set_title(f"{name}: {float(fill):.2f}")
        ax.set_axis_off()
    return fig


def mirrored_digits() -> Figure:
    """Draw one digit of each class, and below it the same in the mirror."""
    dataset = datasets.load("mnist5k", train_size=10)
    order = dataset.y_train.argsort().cpu()
    x = dataset.x_train.cpu()[order, 0]
    fig, (ax,) = plots.figure(width=6.4, height=1.9)
    ax.imshow(
        torch.cat([torch.cat(list(row), 1) for row in (x, x.flip(-1))]).numpy(), cmap="gray_r"
    )
    ax.set_axis_off()
    return fig
