"""Draw the frames of an explorer, and keep them under a digest of all that makes them."""

import base64
import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tqdm.auto import tqdm

from labsupport import dependencies, runtime, storage

MAX_FRAMES = 400
MAX_BYTES = 1_500_000  # of one explorer's HTML; a page should not weigh more
PIXELS_PER_INCH = 100  # CSS pixels: a figure of 6.4 inches is 640 wide, its 10-point text 14 high
DENSITY = 2  # image pixels per CSS pixel
COLOURS = 128  # of a frame's palette; text and lines stay crisp, the file shrinks to a third


@dataclass(frozen=True)
class Slider:
    """One argument of draw: its values, how each is written, and the index of the first one
    shown.
    """

    name: str
    values: tuple
    texts: tuple[str, ...]
    start: int

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Frame:
    """One picture: a data: address, its size in CSS pixels, and what is seen on it."""

    src: str
    width: int
    height: int
    alt: str


def first_shown(stops: tuple[Slider, ...]) -> int:
    """Return the index, among all frames, of the one shown first."""
    return int(
        np.ravel_multi_index([stop.start for stop in stops], [len(stop.values) for stop in stops])
    )


def read_or_draw(draw: Callable[..., Figure], stops: tuple[Slider, ...]) -> list[Frame]:
    """Read the frames, one for each combination of values, or draw and keep them."""
    count = math.prod(len(stop.values) for stop in stops)
    if count > MAX_FRAMES:
        raise ValueError(
            f"{count} frames are more than {MAX_FRAMES}: give fewer values, or fewer sliders"
        )
    # A backend first loaded within a style of draw's would lose its settings at the end of that
    # style.
    plt.switch_backend(plt.get_backend())
    path = _kept_at(draw, stops)
    kept = storage.read(path) if path else None
    if kept is not None:
        return [Frame(**frame) for frame in json.loads(kept)]
    frames = _draw_all(draw, stops, count)
    if path:
        storage.write(path, json.dumps([asdict(frame) for frame in frames]).encode())
    return frames


def _kept_at(draw: Callable[..., Figure], stops: tuple[Slider, ...]) -> Path | None:
    """Name the file of the frames, by a digest of all that makes them; None if there is none."""
    settings = str(plt.rcParams), runtime.profile(), runtime.device().type
    try:
        digest = dependencies.digest(draw, stops, _draw_all, settings)
    except (OSError, TypeError, ValueError):  # of what cannot be told apart, nothing is kept
        return None
    return runtime.home() / "frames" / f"{digest}.json"


def _draw_all(draw: Callable[..., Figure], stops: tuple[Slider, ...], count: int) -> list[Frame]:
    every = itertools.product(*(range(len(stop.values)) for stop in stops))
    frames: list[Frame] = []
    encoded: dict[bytes, str] = {}
    for at in tqdm(every, total=count, desc="drawing frames", delay=2, leave=False):
        frames.append(draw_frame(draw, stops, at, encoded))
        check_size(
            sum(map(len, encoded.values())), len(frames), count
        )  # before the others are drawn in vain
    return frames


def check_size(size: int, drawn: int, count: int) -> None:
    """Refuse frames that are too large for a page, and say how many would fit."""
    if size > MAX_BYTES:
        fit = int(0.9 * drawn * MAX_BYTES / size)
        raise ValueError(
            f"the explorer is too large: {drawn} of its {count} frames take {size / 1e6:.2f} MB,"
            f" and a page carries at most {MAX_BYTES / 1e6:.2f} MB. Give fewer values (about {fit}"
            " frames in all), or draw a smaller or simpler figure"
        )


def draw_frame(
    draw: Callable, stops: tuple[Slider, ...], at: tuple[int, ...], encoded: dict[bytes, str]
) -> Frame:
    """Draw one frame; `encoded` keeps the address of every picture so far: equal ones share
    theirs.
    """
    chosen = list(zip(stops, at, strict=True))
    where = ", ".join(f"{stop.label} = {stop.texts[i]}" for stop, i in chosen)
    with _pyplot_untouched():
        figure = _figure(draw, {stop.name: stop.values[i] for stop, i in chosen}, where)
        seen, pixels = _seen(figure), _pixels(figure)
    if not seen:
        raise ValueError(
            f"the figure at {where} has no title, and a reader who cannot see it learns nothing:"
            " let draw set one that says what is seen, with numbers (ax.set_title or"
            " figure.suptitle)"
        )
    key = hashlib.blake2b(pixels.tobytes() + repr(pixels.shape).encode()).digest()
    if key not in encoded:
        encoded[key] = _encode(pixels)
    height, width = (round(side / DENSITY) for side in pixels.shape[:2])
    return Frame(encoded[key], width, height, f"{seen}; {where}.")


def _figure(draw: Callable[..., object], chosen: dict, where: str) -> Figure:
    try:
        figure = draw(**chosen)
    except Exception as error:
        raise RuntimeError(f"draw failed at {where}: {type(error).__name__}: {error}") from error
    if not isinstance(figure, Figure):
        kind = type(figure).__name__
        raise TypeError(f"draw returned a {kind} at {where}; it must return a matplotlib Figure")
    return figure


@contextmanager
def _pyplot_untouched() -> Iterator[None]:
    """Close the figures opened inside, and make the current figure current again."""
    before = plt.get_fignums()
    current = plt.gcf() if before else None
    try:
        yield
    finally:
        for number in set(plt.get_fignums()) - set(before):
            plt.close(number)
        if current is not None and current.number in plt.get_fignums():
            plt.figure(current)


def _seen(figure: Figure) -> str:
    """Join all titles of a figure, in one line of plain words."""
    titles = [part.get_suptitle() for part in (figure, *figure.subfigs)]
    titles += [
        axes.get_title(loc=loc) for axes in figure.axes for loc in ("left", "center", "right")
    ]
    plain = [re.sub(r"[$\\{}]", "", title) if title.count("$") > 1 else title for title in titles]
    return "; ".join(" ".join(title.split()).rstrip(".;") for title in plain if title.strip())


def _pixels(figure: Figure) -> np.ndarray:
    """Draw RGBA, shape (height, width, 4); the figure gets its own canvas and density back."""
    canvas, dpi = figure.canvas, figure.dpi
    try:
        agg = FigureCanvasAgg(figure)
        figure.set_dpi(DENSITY * PIXELS_PER_INCH)
        agg.draw()
        return np.array(agg.buffer_rgba())
    finally:
        figure.set_dpi(dpi)
        figure.set_canvas(canvas)


def _encode(pixels: np.ndarray) -> str:
    """Write lossless WebP of a palette: of plots a little over half the size of an 8-bit PNG."""
    image = Image.fromarray(pixels)
    if pixels[..., 3].min() == 255:
        image = image.convert("RGB")
    few = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    white = few.convert(image.mode).point(
        lambda level: 255 if level > 252 else level
    )  # the octree says 254
    file = io.BytesIO()
    white.save(file, "WEBP", lossless=True, quality=40, method=2, exact=False)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
