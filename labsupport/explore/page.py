"""Write an explorer as plain HTML: a figure element in which every frame lies ready.

It asks nothing of a kernel or of the network.
"""

import html
import json
from functools import cache
from importlib import resources

from labsupport.explore.frames import Frame, Slider, first_shown

MAX_TICKS = 25  # a slider with more stops shows none of them


def static_page(frames: list[Frame], stops: tuple[Slider, ...], caption: str) -> str:
    """Write the static form. It has no ids, so the same explorer may stand on a page twice."""
    first = frames[first_shown(stops)]
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
        img(first),
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


def img(frame: Frame) -> str:
    """Write a frame as an image with its alt text."""
    return (
        f'<img src="{frame.src}" alt="{html.escape(frame.alt)}" width="{frame.width}" '
        f'height="{frame.height}" decoding="sync" style="max-width:100%;height:auto">'
    )
