"""Put sliders over a figure: widgets for a kernel and plain HTML for a page, in one object."""

import html
import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from numbers import Integral, Real

import ipywidgets
from matplotlib.figure import Figure

from labsupport.explore.frames import Slider, check_size, draw_frame, first_shown, read_or_draw
from labsupport.explore.page import img, static_page


def explore(draw: Callable[..., Figure], caption: str = "", /, **values: Sequence) -> "Explorer":
    """Show the figure that `draw` makes, with one slider for each of its arguments.

    The sliders start at the defaults in the signature of `draw`, or in the middle. The titles of a
    frame tell what it shows to those who cannot see it, so `draw` puts what is *seen*, with
    numbers, into them. The frames are kept on disk under a digest of everything that makes them,
    so the same explorer again is read, not drawn.

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

    def __init__(self, draw: Callable[..., Figure], caption: str, stops: tuple[Slider, ...]):
        self.draw, self.caption, self.stops = draw, caption, stops
        self.frames = read_or_draw(draw, stops)
        self.html = static_page(self.frames, stops, caption)
        check_size(len(self.html.encode()), len(self.frames), len(self.frames))

    def __repr__(self) -> str:
        names = ", ".join(stop.label for stop in self.stops)
        return f"Explorer of {names}: {len(self.frames)} frames, {len(self.html) / 1e6:.2f} MB"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
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
        return ipywidgets.HTML(img(self.frames[first_shown(self.stops)]))

    @cached_property
    def widget(self) -> ipywidgets.VBox:
        """The live figure with its sliders, for a front end with a kernel."""
        caption = [ipywidgets.HTML(html.escape(self.caption))] if self.caption else []
        return ipywidgets.VBox([self.image, *self.sliders.values(), *caption])

    def _redraw(self, change: object) -> None:
        at = tuple(slider.index for slider in self.sliders.values())
        try:
            self.image.value = img(draw_frame(self.draw, self.stops, at, {}))
        except (RuntimeError, TypeError, ValueError) as error:  # a callback shows no traceback
            self.image.value = f'<pre role="alert">{html.escape(str(error))}</pre>'


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


def _text(value: object) -> str:
    """Write 0.30000000000000004 as 0.3, a function as its name."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{value:.4g}"
    return getattr(value, "__name__", str(value))


def _default(draw: Callable, name: str) -> str | None:
    try:
        return _text(inspect.signature(draw).parameters[name].default)
    except (KeyError, TypeError, ValueError):  # **arguments, or a callable without a signature
        return None


def _live_slider(stop: Slider, width: str) -> ipywidgets.SelectionSlider:
    return ipywidgets.SelectionSlider(
        options=list(zip(stop.texts, stop.values, strict=True)),
        index=stop.start,
        description=stop.label,
        style={"description_width": width},
        layout={"width": "auto", "max_width": "640px"},
    )
