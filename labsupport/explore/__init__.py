"""Put sliders over a figure: live in Jupyter, pre-rendered in a page with no kernel and no network.

`explore` draws one frame for every combination of the values, and hands back an object that carries
the same explorer twice: as widgets, which a running kernel redraws, and as plain HTML, in which
every frame lies ready. A front end takes the form that it can use.

frames    draw the frames, and keep them on disk
page      the static form: HTML, with explore.css and explore.js
explorer  `explore`, and the Explorer it returns, with the live form
"""

from labsupport.explore.explorer import Explorer, explore

__all__ = ["Explorer", "explore"]
