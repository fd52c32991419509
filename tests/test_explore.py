"""An explorer is the same figure twice: as widgets for a kernel, as plain HTML for a page without
one.
"""

import base64
import io
import itertools
import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from labsupport.explore import explore
from labsupport.explore import frames as room

RATES, DECAYS = [0.01, 0.1, 1.0], [0, 1e-4]
WIDGET = "application/vnd.jupyter.widget-view+json"


def figure(title, height=1.0, size=(3.2, 2.0)):
    drawn = Figure(figsize=size)
    axes = drawn.subplots()
    axes.bar([0], [height])
    axes.set(ylim=(0, 10), title=title)
    return drawn


def draw_plane(lr, weight_decay):
    return figure(f"The loss ends at {lr + weight_decay:.4f}", lr + 1e4 * weight_decay)


def draw_bar(height):
    return figure(f"One bar, {height} high", height)


def picture(frame):
    return Image.open(io.BytesIO(base64.b64decode(frame.src.split(",")[1])))


class Tags(HTMLParser):
    """Every start tag of a piece of HTML with its attributes, and the text of each <script> by
    type.
    """

    def __init__(self, source):
        super().__init__()
        self.found, self.scripts, self.inside = [], {}, None
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.inside = dict(attributes).get("type", "text/javascript") if tag == "script" else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.scripts[self.inside] = data

    def named(self, name):
        return [attributes for tag, attributes in self.found if tag == name]

    @property
    def data(self):
        return json.loads(self.scripts["application/json"])


@pytest.fixture(scope="module")
def plane():
    return explore(draw_plane, "Move <either> one.", lr=RATES, weight_decay=DECAYS)


# ---- the frames


def test_draw_is_called_once_for_every_combination_with_its_own_values():
    calls = []

    def draw(**chosen):
        calls.append(chosen)
        return draw_plane(**chosen)

    explore(draw, lr=RATES, weight_decay=DECAYS)
    assert calls == [dict(lr=lr, weight_decay=wd) for lr, wd in itertools.product(RATES, DECAYS)]


def test_alt_text_of_each_frame_says_what_is_seen_and_at_which_values(plane):
    assert [frame.alt for frame in plane.frames][:2] == [
        "The loss ends at 0.0100; lr = 0.01, weight decay = 0.",
        "The loss ends at 0.0101; lr = 0.01, weight decay = 0.0001.",
    ]
    assert len({frame.alt for frame in plane.frames}) == 6


def test_alt_text_holds_every_title_in_plain_words():
    def draw(k):
        drawn = figure(r"width $\eta_{max} = 2$", k)
        drawn.suptitle("Two\nlines.")
        return drawn

    assert explore(draw, k=[1, 2]).frames[0].alt == "Two lines; width eta_max = 2; k = 1."


def test_equal_pictures_are_stored_once():
    same = explore(lambda a, b: figure("Always one bar"), a=[1, 2], b=[3, 4, 5])
    data = Tags(same.html).data
    assert len(same.frames) == len(data["shown"]) == len(data["alts"]) == 6
    assert data["frames"] == [None] and same.html.count("data:image/webp") == 1


def test_different_pictures_are_all_stored_and_the_first_one_shown_only_in_its_img(plane):
    data = Tags(plane.html).data
    assert sorted(data["shown"]) == list(range(6)) and data["frames"].count(None) == 1
    assert plane.html.count("data:image/webp") == 6


def test_frames_have_two_pixels_for_each_css_pixel_and_say_their_size(plane):
    image = picture(plane.frames[0])
    assert (plane.frames[0].width, plane.frames[0].height) == (320, 200) and image.size == (
        640,
        400,
    )


def test_a_frame_keeps_the_colours_of_its_figure():
    def draw(c):
        drawn = Figure(figsize=(1, 1), facecolor=c)
        drawn.suptitle("A square")
        return drawn

    corners = [
        picture(frame).convert("RGB").getpixel((2, 2))
        for frame in explore(draw, c=["red", "black", "white"]).frames
    ]
    assert np.abs(np.array(corners) - [(255, 0, 0), (0, 0, 0), (255, 255, 255)]).max() <= 2
    assert corners[2] == (255, 255, 255), "white must not show as a slab on a white page"


def test_a_transparent_figure_stays_transparent():
    def draw(k):
        drawn = figure("See through", k)
        drawn.set_facecolor("none")
        return drawn

    image = picture(explore(draw, k=[1, 2]).frames[0])
    assert image.convert("RGBA").getpixel((2, 2))[3] == 0


# ---- frames are kept


@pytest.fixture
def drawn(monkeypatch):
    """A mark for each frame that was drawn since the list was last cleared."""
    calls, canvas = [], room.FigureCanvasAgg
    draw = canvas.draw
    monkeypatch.setattr(canvas, "draw", lambda self: calls.append(1) or draw(self))
    return calls


def scaled(height):
    return lambda k: figure(f"Bar {k}", k * height)


def test_the_same_explorer_again_is_read_and_not_drawn(fresh_home, drawn):
    first = explore(scaled(1.0), "One.", k=[1, 2, 3])
    assert len(drawn) == 3
    again = explore(scaled(1.0), "One.", k=[1, 2, 3])
    assert len(drawn) == 3 and again.frames == first.frames and again.html == first.html


@pytest.mark.parametrize(
    "other",
    [
        lambda: explore(scaled(2.0), k=[1, 2, 3]),
        lambda: explore(lambda k: figure(f"Another bar {k}", k), k=[1, 2, 3]),
        lambda: explore(scaled(1.0), k=[1, 2, 4]),
    ],
    ids=["a value that draw holds", "its source", "a slider's value"],
)
def test_whatever_makes_a_frame_makes_it_anew(fresh_home, drawn, other):
    explore(scaled(1.0), k=[1, 2, 3])
    drawn.clear()
    other()
    assert len(drawn) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setitem(plt.rcParams, "axes.facecolor", "#eeeeee"),
        lambda patch: patch.setattr(room, "COLOURS", 16),
        lambda patch: patch.setenv("LABSUPPORT_PROFILE", "full"),
    ],
    ids=["the style", "the number of colours", "the profile"],
)
def test_a_setting_that_changes_a_frame_makes_it_anew(fresh_home, drawn, monkeypatch, change):
    explore(scaled(1.0), k=[1, 2])
    drawn.clear()
    change(monkeypatch)
    explore(scaled(1.0), k=[1, 2])
    assert len(drawn) == 2


def test_what_has_no_digest_is_drawn_each_time(fresh_home, drawn, monkeypatch):
    def refuse(*roots):
        raise TypeError("no digest of a ufunc")

    monkeypatch.setattr(room.dependencies, "digest", refuse)
    explore(scaled(1.0), k=[1, 2])
    explore(scaled(1.0), k=[1, 2])
    assert len(drawn) == 4 and not (fresh_home / "frames").exists()


def test_a_damaged_file_of_frames_is_drawn_again(fresh_home, drawn):
    first = explore(scaled(1.0), k=[1, 2])
    [kept] = (fresh_home / "frames").glob("*.json")
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="damaged"):
        again = explore(scaled(1.0), k=[1, 2])
    assert len(drawn) == 4 and again.frames == first.frames


# ---- the sliders' values


def test_sliders_start_at_the_defaults_of_draw_or_in_the_middle():
    def draw(a, b=20):
        return figure(f"{a} and {b}")

    assert [stop.start for stop in explore(draw, a=[1, 2, 3], b=[10, 15, 20]).stops] == [1, 2]


@pytest.mark.parametrize(
    "values, texts",
    [
        ([0.001, 1e-5, 0.1 + 0.2], ("0.001", "1e-05", "0.3")),
        ([0.123456, 0.123457], ("0.123456", "0.123457")),
        ([100000, 2], ("100000", "2")),
        (np.array([0.5, 0.25], dtype="float32"), ("0.5", "0.25")),
        (range(2), ("0", "1")),
        ([True, False], ("True", "False")),
        ([np.tanh, max], ("tanh", "max")),
        (("relu", "elu"), ("relu", "elu")),
    ],
)
def test_values_are_written_short_and_apart(values, texts):
    assert explore(lambda x: figure("x"), x=values).stops[0].texts == texts


def test_an_argument_of_draw_may_have_any_name():
    def take(draw, caption, values):
        return figure(f"{draw} {caption} {values}")

    assert len(explore(take, "A sentence.", draw=[1, 2], caption=[3, 4], values=[5, 6]).frames) == 8


# ---- what is refused


@pytest.mark.parametrize(
    "error, message, draw, values",
    [
        (ValueError, "at least one argument", draw_bar, {}),
        (ValueError, "height has 1 value", draw_bar, {"height": [1]}),
        (ValueError, "height has 0 value", draw_bar, {"height": []}),
        (ValueError, "height lists a value twice: 1, 2, 1", draw_bar, {"height": [1, 2, 1]}),
        (TypeError, "height is a str; give a sequence", draw_bar, {"height": "12"}),
        (TypeError, "height is a set; give a sequence", draw_bar, {"height": {1, 2}}),
        (TypeError, "height is a float; give a sequence", draw_bar, {"height": 0.5}),
        (TypeError, "draw is a Figure; give a function", figure("drawn"), {"height": [1, 2]}),
        (
            ValueError,
            "420 frames are more than 400",
            draw_plane,
            {"lr": range(20), "weight_decay": range(21)},
        ),
        (
            TypeError,
            "draw returned a NoneType at k = 1; it must return",
            lambda k: None,
            {"k": [1, 2]},
        ),
        (TypeError, "draw returned a Axes at k = 1", lambda k: figure("t").axes[0], {"k": [1, 2]}),
        (ValueError, "figure at k = 1 has no title", lambda k: figure(" "), {"k": [1, 2]}),
        (
            RuntimeError,
            "draw failed at k = 0: ZeroDivisionError",
            lambda k: figure(1 / k),
            {"k": [1, 0]},
        ),
        (RuntimeError, "unexpected keyword argument 'width'", draw_bar, {"width": [1, 2]}),
    ],
)
def test_refuses_and_says_what_is_allowed(error, message, draw, values):
    with pytest.raises(error, match=re.escape(message)):
        explore(draw, **values)


def test_frames_that_are_too_large_are_refused_with_size_number_and_remedy(monkeypatch):
    drawn = []

    def draw(k):
        drawn.append(k)
        return figure(f"Number {k}", k)

    monkeypatch.setattr(room, "MAX_BYTES", 20_000)
    with pytest.raises(
        ValueError,
        match=r"\d+ of its 30 frames take 0\.02 MB.*at most 0\.02 MB.*[Gg]ive fewer values",
    ):
        explore(draw, k=range(1, 31))
    assert len(drawn) < 30, "it should stop as soon as it is too large"


def test_the_limit_counts_the_whole_element_with_its_texts(monkeypatch, plane):
    monkeypatch.setattr(room, "MAX_BYTES", len(plane.html.encode()) - 1)
    with pytest.raises(ValueError, match="6 of its 6 frames take"):
        explore(draw_plane, "Move <either> one.", lr=RATES, weight_decay=DECAYS)
    monkeypatch.setattr(room, "MAX_BYTES", len(plane.html.encode()))
    assert (
        explore(draw_plane, "Move <either> one.", lr=RATES, weight_decay=DECAYS).html == plane.html
    )


# ---- the static page


def test_the_page_has_one_labelled_slider_for_each_argument(plane):
    inputs = Tags(plane.html).named("input")
    assert [(i["type"], i["min"], i["max"], i["value"]) for i in inputs] == [
        ("range", "0", "2", "1"),
        ("range", "0", "1", "0"),
    ]
    assert (
        [i["aria-valuetext"] for i in inputs]
        == re.findall(r"<output[^>]*>([^<]*)", plane.html)
        == ["0.1", "0"]
    )
    assert re.findall(r'<label><span[^>]*>([^<]*)</span><input type="range"', plane.html) == [
        "lr",
        "weight decay",
    ]


def test_without_a_script_the_page_shows_the_first_frame_and_no_dead_slider(plane):
    tags = Tags(plane.html)
    [image] = tags.named("img")
    assert image["alt"] == "The loss ends at 0.1000; lr = 0.1, weight decay = 0."
    assert (image["width"], image["height"]) == ("320", "200") and image["src"] == plane.frames[
        2
    ].src
    assert "hidden" in next(at for at in tags.named("div") if at["class"] == "explore-sliders")


def test_the_page_asks_for_nothing_and_may_stand_twice(plane):
    tags = Tags(plane.html)
    links = [at.get("src") or at.get("href") for _, at in tags.found if "src" in at or "href" in at]
    assert len(links) == 1 and links[0].startswith("data:")
    assert "http" not in plane.html and not [at for _, at in tags.found if "id" in at]


def test_words_with_markup_stay_words():
    odd = explore(lambda x: figure("</script> & <b>", x), "a <b", x=[1, 2])
    assert "<figcaption>a &lt;b</figcaption>" in odd.html and odd.html.count("</script>") == 2
    assert Tags(odd.html).data["alts"][0] == "</script> & <b>; x = 1."


def test_the_same_call_gives_the_same_page(plane):
    assert (
        explore(draw_plane, "Move <either> one.", lr=RATES, weight_decay=DECAYS).html == plane.html
    )


# ---- in Jupyter


def test_the_bundle_holds_the_widget_the_page_and_plain_words(plane):
    bundle = plane._repr_mimebundle_()
    assert bundle[WIDGET]["model_id"] == plane.widget.model_id and bundle["text/html"] == plane.html
    assert (
        bundle["text/plain"]
        == f"Explorer of lr, weight decay: 6 frames, {len(plane.html) / 1e6:.2f} MB"
    )


def test_a_live_slider_redraws_with_the_values_chosen():
    calls = []

    def draw(**chosen):
        calls.append(chosen)
        return draw_plane(**chosen)

    live = explore(draw, lr=RATES, weight_decay=DECAYS)
    assert [slider.description for slider in live.sliders.values()] == ["lr", "weight decay"]
    assert 'alt="The loss ends at 0.1000; lr = 0.1, weight decay = 0."' in live.image.value
    calls.clear()
    live.sliders["lr"].value = 1.0
    live.sliders["weight_decay"].value = 1e-4
    assert calls == [{"lr": 1.0, "weight_decay": 0}, {"lr": 1.0, "weight_decay": 1e-4}]
    assert 'alt="The loss ends at 1.0001; lr = 1, weight decay = 0.0001."' in live.image.value
    assert [child.__class__.__name__ for child in live.widget.children] == ["HTML"] + 2 * [
        "SelectionSlider"
    ]


def test_a_live_failure_is_told_where_the_figure_was():
    broken = []
    live = explore(lambda k: figure(f"k is {k / (not broken)}", k), k=[1, 2])
    broken.append(True)
    live.sliders["k"].value = 2
    assert 'role="alert">draw failed at k = 2: ZeroDivisionError' in live.image.value


def test_pyplot_is_left_as_it_was():
    mine, other = plt.subplots()[0], plt.subplots()[0]
    plt.figure(mine)

    def draw(k):
        plt.figure()  # one forgotten
        drawn, axes = plt.subplots()
        axes.set_title(f"k is {k}")
        return drawn

    try:
        explore(draw, k=[1, 2])
        assert plt.get_fignums() == [mine.number, other.number] and plt.gcf() is mine
        with pytest.raises(RuntimeError):
            explore(lambda k: plt.figure().nonsense, k=[1, 2])
        assert plt.get_fignums() == [mine.number, other.number] and plt.gcf() is mine
    finally:
        plt.close(mine)
        plt.close(other)


def test_a_figure_that_draw_keeps_for_itself_stays_whole():
    kept = figure("kept")
    canvas, dpi = kept.canvas, kept.dpi
    explore(lambda k: kept, k=[1, 2])
    assert kept.canvas is canvas and kept.dpi == dpi


# ---- in a browser

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
).split()


HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>A page</title>'
    '<meta name="viewport" content="width=device-width"><body>'
)


@pytest.fixture(scope="module")
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("LABSUPPORT_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )
    if path is None and not os.environ.get("CI"):
        pytest.skip("no chromium on PATH, and LABSUPPORT_CHROMIUM does not name one")
    assert path, "CI needs a chromium: install one, or name it in LABSUPPORT_CHROMIUM"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(plane, tmp_path_factory):
    bar = explore(draw_bar, height=[1, 2, 3])
    wide = explore(lambda k: figure(f"k is {k}", k, size=(9, 2)), k=[1, 2])
    path = tmp_path_factory.mktemp("page") / "page.html"
    body = "\n<p>Words.</p>\n".join([plane.html, bar.html, bar.html, wide.html])
    path.write_text(HEAD + body, encoding="utf-8")
    path.with_name("bare.html").write_text(HEAD, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(chromium, address):
    opened = chromium.new_page(viewport={"width": 390, "height": 800})
    said = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url))
    opened.goto(address)
    yield opened
    opened.close()
    assert [words for words in said if not words.startswith(("file:", "data:"))] == []


def state(page):
    """What each explorer shows: the image's address and alt text, and what each slider says."""
    return page.evaluate("""() => [...document.querySelectorAll("figure.explore")].map(figure => ({
        src: figure.querySelector("img").src, alt: figure.querySelector("img").alt,
        wide: figure.querySelector("img").naturalWidth,
        says: figure.querySelector("[role=status]").textContent,
        values: [...figure.querySelectorAll("output")].map(o => o.textContent),
        heard: [...figure.querySelectorAll("input")].map(i => i.getAttribute("aria-valuetext")),
    }))""")


def test_the_keyboard_moves_each_slider_to_the_frame_of_its_values(page, plane):
    lr = page.get_by_role("slider", name="lr", exact=True)
    decay = page.get_by_role("slider", name="weight decay", exact=True)
    steps = [
        (lr, "End", 2, 0),
        (decay, "ArrowRight", 2, 1),
        (lr, "Home", 0, 1),
        (lr, "ArrowRight", 1, 1),
    ]
    for slider, key, i, j in [*steps, (decay, "Home", 1, 0)]:
        slider.press(key)
        shown, frame = state(page)[0], plane.frames[2 * i + j]
        assert (shown["src"], shown["alt"], shown["says"]) == (frame.src, frame.alt, frame.alt)
        assert shown["values"] == shown["heard"] == [["0.01", "0.1", "1"][i], ["0", "0.0001"][j]]
        assert shown["wide"] == 640, "the picture should be decoded"


def test_explorers_on_one_page_do_not_disturb_one_another_even_when_they_are_the_same(page):
    before = state(page)
    page.get_by_role("slider", name="height").nth(1).press("End")
    after = state(page)
    assert after[:2] + after[3:] == before[:2] + before[3:]
    assert after[2]["alt"] == "One bar, 3 high; height = 3." and after[2]["src"] != before[2]["src"]


def test_the_scripts_leave_no_global_behind(page, address):
    names = "Object.getOwnPropertyNames(window)"
    with_explorers = set(page.evaluate(names))
    page.goto(address.replace("page.html", "bare.html"))
    assert with_explorers - set(page.evaluate(names)) == set()


def test_a_phone_shows_it_whole_with_room_for_a_finger(page):
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    boxes = page.locator("figure.explore input").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect())"
    )
    images = page.locator("figure.explore img").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect())"
    )
    assert len(boxes) == 5 and all(
        box["height"] >= 44 and 200 < box["right"] <= 390 for box in boxes
    )
    assert len(images) == 4 and all(
        abs(box["width"] / box["height"] - 1.6) < 0.02 for box in images[:3]
    )


def test_a_slider_shows_that_it_has_the_keyboard(page):
    outline = "e => getComputedStyle(e).outlineStyle + ' ' + getComputedStyle(e).outlineWidth"
    slider = page.get_by_role("slider", name="lr", exact=True)
    before = slider.evaluate(outline)
    page.keyboard.press("Tab")
    assert slider.evaluate("e => e === document.activeElement")
    assert before.startswith("none") and slider.evaluate(outline) == "solid 2px"


def test_with_scripts_off_the_first_frame_stands_alone(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.get_by_role("img").first.get_attribute("alt").startswith("The loss ends at 0.1000")
    assert page.get_by_role("img").first.is_visible() and page.get_by_role("slider").count() == 0
    context.close()
