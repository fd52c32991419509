"""A browser for the tests of the built pages, and what it saw of each of them."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.book.visits import Visit, visit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere: the network is cut off
)


def chromium() -> str | None:
    """The browser to use: the one that LABSUPPORT_CHROMIUM names, or the first one on the PATH."""
    if named := os.environ.get("LABSUPPORT_CHROMIUM"):
        return named
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running browser. No longer than a module: its event loop would be in the way of the tests
    after it.
    """
    program = chromium()
    if program is None:
        missing = (
            f"no browser: none of {', '.join(NAMES)} is on the PATH and LABSUPPORT_CHROMIUM is"
            " not set"
        )
        required = os.environ.get("LABSUPPORT_REQUIRE_BROWSER") or os.environ.get("CI")
        (pytest.fail if required else pytest.skip)(missing)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def seen(browser: Browser, book: Path) -> Callable[[str, str], Visit]:
    """What a page shows in a theme; each is opened once, however many tests ask."""
    visits: dict[tuple[str, str], Visit] = {}

    def look_up(name: str, theme: str = "light") -> Visit:
        if (name, theme) not in visits:
            visits[name, theme] = visit(browser, book / f"{name}.html", theme)
        return visits[name, theme]

    return look_up
