"""One look at a built page in a browser: everything the tests ask about is read off in a single
load.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
AXE = HERE / "axe.min.js"
LOOK = HERE / "look.js"
LOCAL = ("file:", "data:", "blob:", "about:")
RUN_AXE = """axe.run(document, {
    resultTypes: ["violations"], preload: false,
    rules: {region: {enabled: false}},  // moderate at most, and audit reports what is serious
})"""
CONFIGURE = """axe.configure({rules: [
    {id: "color-contrast", selector: "*:not([data-alike])"},  // see look.markAlike
]})"""
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@dataclass
class Explorer:
    """One slider of an explorer: what its name is, and the picture before and after a key was
    pressed.
    """

    label: str
    before: tuple[str, str]
    after: tuple[str, str]


@dataclass
class Visit:
    """What a page did and showed."""

    left_the_machine: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    formulas: int = 0
    not_typeset: list[str] = field(default_factory=list)
    images: list[dict] = field(default_factory=list)
    explorers: list[list[Explorer]] = field(default_factory=list)
    explorer_bytes: int = 0
    solutions: list[dict] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    too_wide: list[str] = field(default_factory=list)
    page_width: int = 0


def visit(browser: Browser, path: Path, theme: str) -> Visit:
    """Open the page at ``path`` in the light or the dark theme and look at all of it."""
    seen = Visit()
    context = browser.new_context(viewport=DESKTOP, color_scheme=theme, reduced_motion="reduce")
    context.add_init_script(
        f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
    )
    page = context.new_page()
    listen(page, seen)
    page.goto(path.as_uri(), wait_until="load")
    page.evaluate(
        "async () => { await window.MathJax?.startup?.promise; await document.fonts.ready; }"
    )
    page.add_script_tag(path=LOOK)
    look(page, seen)
    context.close()
    return seen


def listen(page: Page, seen: Visit) -> None:
    """Stop every request that is not for a file of the book, and write down what goes wrong."""

    def judge(route) -> None:
        if route.request.url.startswith(LOCAL):
            route.continue_()
        else:
            seen.left_the_machine.append(route.request.url)
            route.abort()

    page.route("**/*", judge)
    page.on("websocket", lambda socket: seen.left_the_machine.append(socket.url))
    page.on("console", lambda message: message.type == "error" and seen.errors.append(message.text))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))


def look(page: Page, seen: Visit) -> None:
    """Read off everything, the narrow screen last."""
    seen.formulas, seen.not_typeset = page.evaluate("look.mathematics()")
    seen.images = page.evaluate("look.images()")
    seen.explorer_bytes = page.evaluate("look.explorerBytes()")
    seen.explorers = [
        [move(page, explorer, k) for k in range(explorer.locator("input[type=range]").count())]
        for explorer in page.locator("figure.explore").all()
    ]
    seen.solutions = open_solutions(page)
    seen.violations = audit(page, "desktop")
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(400)  # the theme looks anew at what scrolls, a moment after a resize
    seen.page_width = page.evaluate("document.scrollingElement.scrollWidth")
    seen.too_wide = page.evaluate("look.tooWide()")
    seen.violations += audit(page, "phone")


def move(page: Page, explorer, k: int) -> Explorer:
    """Press an arrow key on slider ``k`` and see whether the picture follows."""
    slider = explorer.locator("input[type=range]").nth(k)
    picture = explorer.locator("img").first
    state = "image => [image.src, image.alt]"
    before = picture.evaluate(state)
    at_end = slider.evaluate("input => Number(input.value) >= Number(input.max)")
    slider.focus()
    page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    page.wait_for_timeout(30)
    return Explorer(slider.evaluate("look.label"), tuple(before), tuple(picture.evaluate(state)))


def open_solutions(page: Page) -> list[dict]:
    """Open every folded block from the keyboard; says of each whether it was closed and then
    open.
    """
    found = []
    for handle in page.locator("button.toggle-button, main details > summary").all():
        closed = handle.evaluate("look.isFolded")
        handle.focus()
        page.keyboard.press("Enter")
        opened = not handle.evaluate("look.isFolded")
        found.append(
            {"label": handle.evaluate("look.label"), "was closed": closed, "is open": opened}
        )
    return found


def audit(page: Page, screen: str) -> list[str]:
    """What axe finds serious or critical."""
    if not page.evaluate("Boolean(window.axe)"):
        page.add_script_tag(path=AXE)
        page.evaluate(CONFIGURE)
    page.evaluate("look.markAlike()")
    found = page.evaluate(RUN_AXE)["violations"]
    return [
        f"{screen}: {rule['id']} ({rule['impact']}): {rule['help']}: {node['html'][:200]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
