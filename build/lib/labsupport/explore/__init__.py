"""Sliders over a figure: live in Jupyter, pre-rendered in a static page with no kernel and no
network.

`explore` draws one frame for every combination of the values, and hands back an object that carries
the
same explorer twice: as widgets, which a running kernel redraws, and as plain HTML, in which every
frame lies ready. A front end takes the form that it can use.
"""

import base64
import hashlib
import html
import inspect
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from numbers import Integral, Real

import ipywidgets
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tqdm.auto import tqdm

MAX_FRAMES = 400
MAX_BYTES = 1_500_000  # of one explorer's HTML; a page should not weigh more
PIXELS_PER_INCH = 100  # CSS pixels: a figure of 6.4 inches is 640 wide, its 10-point text 14 high
DENSITY = 2  # image pixels per CSS pixel
COLOURS = 128  # of a frame's palette; text and lines stay crisp, the file shrinks to a third
MAX_TICKS = 25  # a slider with more stops shows none of them


def explore(draw: Callable[..., Figure], caption: str = "", /, **values: Sequence) -> "Explorer":
    """Show the figure that `draw` makes, with one slider for each of its arguments.

    The sliders start at the defaults in the signature of `draw`, or in the middle. The titles of a
    frame tell what it shows to those who cannot see it, so `draw` puts what is *seen*, with
    numbers, into them.

    Args:
        draw: called as ``draw(lr=0.1, weight_decay=0.0)``, returns a matplotlib Figure with a
            title.
        caption: one plain sentence below the sliders; none if empty.
        values: for each argument of `draw` a sequence of at least two values, in the order of the
            slider.

    Returns:
        An Explorer; as the last line of a cell it shows itself.

    Raises:
        TypeError: if `draw` is no function or returns no Figure, or values are no sequence (nor a
            str).
        ValueError: if there is no slider, one with fewer than two values or with the same one
            twice, a figure without a title, more than 400 frames, or more than 1.5 MB of them.
        RuntimeError: if `draw` fails; it names the values at which it did.
    """
    if not callable(draw):
        raise TypeError(
            f"draw is a {type(draw).__name__}; give a function that returns a matplotlib Figure"
        )
    if not values:
        raise ValueError(
            "there is no slider: give at least one argument of draw, as in lr=[0.01, 0.1]"
        )
    return Explorer(
        draw, caption, tuple(_slider(draw, name, given) for name, given in values.items())
    )


class Explorer:
    """One figure under sliders: `html` for a static page, `widget` for a live one.

    Attributes:
        stops: a Slider for each argument of draw.
        frames: a Frame for each combination of values, the last argument running fastest.
        html: the figure element of a static page, complete with its style, script and frames.
    """

    def __init__(self, draw: Callable[..., Figure], caption: str, stops: "tuple[Slider, ...]"):
        self.draw, self.caption, self.stops = draw, caption, stops
        self.frames = _frames(draw, stops)
        self.html = _page(self.frames, stops, caption)
        _check_size(len(self.html.encode()), len(self.frames), len(self.frames))

    def __repr__(self) -> str:
        names = ", ".join(stop.label for stop in self.stops)
        return f"Explorer of {names}: {len(self.frames)} frames, {len(self.html) / 1e6:.2f} MB"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {**self.widget._repr_mimebundle_(), "text/html": self.html, "text/plain": repr(self)}

    @cached_property
    def sliders(self) -> dict[str, ipywidgets.SelectionSlider]:
        """The live sliders, by argument of draw."""
        width = f"{max(len(stop.label) for stop in self.stops) + 2}ch"
        sliders = {stop.name: _live_slider(stop, width) for stop in self.stops}
        for slider in sliders.values():
            slider.observe(self._redraw, names="value")
        return sliders

    @cached_property
    def image(self) -> ipywidgets.HTML:
        """The live figure."""
        return ipywidgets.HTML(_img(self.frames[_start(self.stops)]))

    @cached_property
    def widget(self) -> ipywidgets.VBox:
        """The live figure with its sliders, for a front end with a kernel."""
        caption = [ipywidgets.HTML(html.escape(self.caption))] if self.caption else []
        return ipywidgets.VBox([self.image, *self.sliders.values(), *caption])

    def _redraw(self, change=None) -> None:
        at = tuple(slider.index for slider in self.sliders.values())
        try:
            self.image.value = _img(_frame(self.draw, self.stops, at, {}))
        except (RuntimeError, TypeError, ValueError) as error:  # a callback shows no traceback
            self.image.value = f'<pre role="alert">{html.escape(str(error))}</pre>'


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


def _slider(draw: Callable, name: str, given: Sequence) -> Slider:
    values = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        kind = type(given).__name__
        raise TypeError(f"{name} is a {kind}; give a sequence of values, as in {name}=[0.01, 0.1]")
    if len(values) < 2:
        raise ValueError(f"{name} has {len(values)} value(s); a slider needs at least 2")
    texts = [_text(value) for value in values]
    if len(set(texts)) < len(texts):
        texts = [str(value) for value in values]
    if len(set(texts)) < len(texts):
        raise ValueError(
            f"{name} lists a value twice: {', '.join(texts)}; each stop of a slider must differ"
        )
    default = _default(draw, name)
    start = texts.index(default) if default in texts else (len(texts) - 1) // 2
    return Slider(name, tuple(values), tuple(texts), start)


def _text(value) -> str:
    """0.30000000000000004 is written 0.3, a function by its name."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{value:.4g}"
    return getattr(value, "__name__", str(value))


def _default(draw: Callable, name: str) -> str | None:
    try:
        return _text(inspect.signature(draw).parameters[name].default)
    except (KeyError, TypeError, ValueError):  # **arguments, or a callable without a signature
        return None


def _start(stops: tuple[Slider, ...]) -> int:
    """Index, among all frames, of the one shown first."""
    return int(
        np.ravel_multi_index([stop.start for stop in stops], [len(stop.values) for stop in stops])
    )


def _frames(draw: Callable[..., Figure], stops: tuple[Slider, ...]) -> list[Frame]:
    count = math.prod(len(stop.values) for stop in stops)
    if count > MAX_FRAMES:
        raise ValueError(
            f"{count} frames are more than {MAX_FRAMES}: give fewer values, or fewer sliders"
        )
    # A backend first loaded within a style of draw's would lose its settings at the end of that
    # style.
    plt.switch_backend(plt.get_backend())
    every = itertools.product(*(range(len(stop.values)) for stop in stops))
    frames, encoded = [], {}
    for at in tqdm(every, total=count, desc="drawing frames", delay=2, leave=False):
        frames.append(_frame(draw, stops, at, encoded))
        _check_size(
            sum(map(len, encoded.values())), len(frames), count
        )  # before the others are drawn in vain
    return frames


def _check_size(size: int, drawn: int, count: int) -> None:
    if size > MAX_BYTES:
        fit = int(0.9 * drawn * MAX_BYTES / size)
        raise ValueError(
            f"the explorer is too large: {drawn} of its {count} frames take {size / 1e6:.2f} MB,"
            f" and a page carries at most {MAX_BYTES / 1e6:.2f} MB. Give fewer values (about {fit}"
            " frames in all), or draw a smaller or simpler figure"
        )


def _frame(
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


def _figure(draw: Callable[..., Figure], chosen: dict, where: str) -> Figure:
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
    """All titles of a figure, in one line of plain words."""
    titles = [part.get_suptitle() for part in (figure, *figure.subfigs)]
    titles += [
        axes.get_title(loc=loc) for axes in figure.axes for loc in ("left", "center", "right")
    ]
    plain = [re.sub(r"[$\\{}]", "", title) if title.count("$") > 1 else title for title in titles]
    return "; ".join(" ".join(title.split()).rstrip(".;") for title in plain if title.strip())


def _pixels(figure: Figure) -> np.ndarray:
    """RGBA, shape (height, width, 4); the figure gets its own canvas and density back."""
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
    """Lossless WebP of a palette: of plots a little over half the size of an 8-bit PNG."""
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


def _img(frame: Frame) -> str:
    return (
        f'<img src="{frame.src}" alt="{html.escape(frame.alt)}" width="{frame.width}" '
        f'height="{frame.height}" decoding="sync" style="max-width:100%;height:auto">'
    )


def _live_slider(stop: Slider, width: str) -> ipywidgets.SelectionSlider:
    return ipywidgets.SelectionSlider(
        options=list(zip(stop.texts, stop.values, strict=True)),
        index=stop.start,
        description=stop.label,
        style={"description_width": width},
        layout={"width": "auto", "max_width": "640px"},
    )


def _page(frames: list[Frame], stops: tuple[Slider, ...], caption: str) -> str:
    """The static form. It has no ids, so the same explorer may stand on a page twice."""
    first = frames[_start(stops)]
    distinct = list(dict.fromkeys(frame.src for frame in frames))
    index = {src: i for i, src in enumerate(distinct)}
    data = {
        "frames": [
            None if src == first.src else src for src in distinct
        ],  # null: the one in the <img>
        "shown": [index[frame.src] for frame in frames],
        "alts": [frame.alt for frame in frames],
        "texts": [stop.texts for stop in stops],
    }
    parts = [
        (
            '<figure class="explore"'
            f' style="max-width:{first.width}px"><style>{_asset("explore.css")}</style>'
        ),
        _img(first),
        f'<div class="explore-sliders" hidden>{"".join(map(_row, stops))}</div>',
        '<p class="explore-says" role="status"></p>',
        f"<figcaption>{html.escape(caption)}</figcaption>" if caption else "",
        (
            "<script"
            f' type="application/json">{json.dumps(data).replace("<", chr(92) + "u003c")}</script>'
        ),
        f"<script>{_asset('explore.js')}</script></figure>",
    ]
    return "\n".join(part for part in parts if part)


def _row(stop: Slider) -> str:
    label, text, last = (
        html.escape(stop.label),
        html.escape(stop.texts[stop.start]),
        len(stop.texts) - 1,
    )
    ticks = "<i></i>" * len(stop.texts) if len(stop.texts) <= MAX_TICKS else ""
    return (
        f'<div class="explore-row"><label><span class="explore-name">{label}</span><input'
        f' type="range" min="0" max="{last}" step="1" value="{stop.start}" aria-valuetext="{text}"'
        f' autocomplete="off"></label><output aria-live="off">{text}</output><span'
        f' class="explore-ticks" aria-hidden="true">{ticks}</span></div>'
    )


@cache
def _asset(name: str) -> str:
    return resources.files("labsupport.explore").joinpath(name).read_text(encoding="utf-8").strip()
