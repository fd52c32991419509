"""Show an outcome: a card in a notebook, plain text in a terminal, Markdown for nbgrader.

The status stands in words on every one of them. The HTML brings its own colours for light and dark
(Jupyter, VS Code, the built book) and asks nothing of the network.
"""

from __future__ import annotations

from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an outcome shows itself with this file
    from labsupport.grading.exercise import Outcome

_PRINTED_LINES = 20
_WIDTH = 96
_EXAMPLE = "The smallest input found that goes wrong:"

_DARK = (
    'html[data-theme="dark"] .lab-check',
    '[data-jp-theme-light="false"] .lab-check',
    ".vscode-dark .lab-check",
)
_STYLE = """
.lab-check { --ink: #1c2128; --soft: #4a5460; --paper: #ffffff; --inset: #f1f3f6; --line: #c3cad3;
  --mark: #b3261e; --on-mark: #ffffff; box-sizing: border-box; max-width: 46rem; margin: .25rem 0;
  padding: .8rem 1rem .9rem; border: 1px solid var(--line); border-left: .4rem solid var(--mark);
  border-radius: .35rem; background: var(--paper) !important; color: var(--ink) !important;
  font: 400 .95rem/1.5 system-ui, sans-serif; text-align: left; }
.lab-check.is-correct { --mark: #17683a; }
.lab-check.is-waiting { --mark: #55606d; }
DARK { --ink: #e8ebef; --soft: #b4bdc8; --paper: #1b1f25; --inset: #272d35; --line: #4a535f;
  --mark: #ff9d94; --on-mark: #2a0806; }
DARK_CORRECT { --mark: #7ad79f; --on-mark: #04210f; }
DARK_WAITING { --mark: #b4bdc8; --on-mark: #1b1f25; }
.lab-check p { margin: .5rem 0 0; color: inherit; }
.lab-check .lab-head { display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline;
  margin: 0; }
.lab-check .lab-status { padding: .05rem .55rem; border-radius: .25rem; background: var(--mark);
  color: var(--on-mark); font-weight: 600; }
.lab-check .lab-points { margin-left: auto; color: var(--soft); }
.lab-check .lab-hint { margin-top: .7rem; padding: .5rem .75rem; background: var(--inset);
  border-radius: .25rem; }
.lab-check .lab-hint p:first-child { margin: 0; }
.lab-check .lab-soft { color: var(--soft); }
.lab-check a { color: inherit !important; text-decoration: underline; }
.lab-check dl { margin: .35rem 0 0; display: grid; grid-template-columns: auto minmax(0, 1fr);
  gap: .25rem .8rem; align-items: baseline; }
.lab-check dt { margin: 0; color: var(--soft); font-weight: 400; }
.lab-check dd { margin: 0; }
.lab-check .lab-code { display: block; margin: 0; padding: .1rem .4rem;
  background: var(--inset) !important;
  color: var(--ink) !important; border: 0; border-radius: .2rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 400 .85rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
.cell_output .text_html:has(.lab-check) { background: transparent !important;
  padding: 0 !important; }
"""


def as_html(outcome: Outcome) -> str:
    """Write an outcome as an HTML card for a notebook."""
    state = {"correct": "is-correct", "incorrect": "is-wrong"}.get(outcome.status, "is-waiting")
    parts = [
        _head(outcome),
        f"<p>{escape(outcome.message)}</p>",
        _lines_html(outcome),
        _hint_html(outcome),
        _example_html(outcome),
        _printed_html(outcome),
    ]
    return (
        f"<style>{_style()}</style>"
        f'<div class="lab-check {state} tex2jax_ignore mathjax_ignore" role="group" '
        f'aria-label="Check of {escape(outcome.exercise)}: {outcome.status}">{"".join(parts)}</div>'
    )


def as_text(outcome: Outcome) -> str:
    """Write an outcome as plain text for a terminal."""
    blocks = [
        [*wrap(outcome.message, _WIDTH), *(f"  {line}" for line in outcome.lines)],
        wrap(f"What probably happened: {outcome.hint}", _WIDTH) if outcome.hint else [],
        wrap(_read_again(outcome), _WIDTH),
    ]
    rows = [f"  {label}  {value}" for label, value in _example_rows(outcome)]
    blocks.append([_EXAMPLE, *rows] if rows else [])
    printed = _printed(outcome)
    blocks.append(["Your function printed:", *(f"  {line}" for line in printed)] if printed else [])
    body = "\n\n".join("\n".join(f"  {line}" for line in block) for block in blocks if block)
    return f"{_title(outcome)}\n{body}"


def as_markdown(outcome: Outcome) -> str:
    """Write an outcome as Markdown, the feedback that nbgrader keeps with the grade."""
    lines = as_text(outcome).splitlines()
    return f"**{lines[0]}**\n\n" + "\n".join(f"    {line}" for line in lines[1:])


def _title(outcome: Outcome) -> str:
    return f"{outcome.exercise}: {outcome.status}, {outcome.points:g} of {outcome.of} points"


def _head(outcome: Outcome) -> str:
    return (
        f'<p class="lab-head"><span class="lab-status">{outcome.status.capitalize()}</span>'
        f"<strong>{escape(outcome.title)}</strong>"
        f'<span class="lab-points">{outcome.points:g} of {outcome.of} points</span></p>'
    )


def _read_again(outcome: Outcome) -> str:
    if not outcome.section:
        return ""
    page, _, heading = outcome.section.rpartition("#")
    return f'See the section "{heading}"{f" of {page}" if page else ""}.'


def _link_html(section: str) -> str:
    """Link to a section's heading, as JupyterLab names it; the book's script renames it."""
    page, _, heading = section.rpartition("#")
    target = f"{page}.ipynb#" if page else "#"
    link = f'<a href="{escape(target + heading.replace(" ", "-"))}">{escape(heading)}</a>'
    return f"See the section {link}{f' of {escape(page)}' if page else ''}."


def _example_rows(outcome: Outcome) -> list[tuple[str, str]]:
    example = outcome.counterexample
    if example is None:
        return []
    rows = [("input", example.call), ("right", example.expected)]
    return rows + ([("yours", example.yours)] if example.yours is not None else [])


def _printed(outcome: Outcome) -> list[str]:
    lines = [line[:200] for line in outcome.printed.splitlines()]
    if len(lines) <= _PRINTED_LINES:
        return lines
    return [*lines[:_PRINTED_LINES], f"... and {len(lines) - _PRINTED_LINES} more lines"]


def _code(text: str) -> str:
    return f'<code class="lab-code">{escape(text)}</code>'


def _lines_html(outcome: Outcome) -> str:
    return f"<p>{_code(chr(10).join(outcome.lines))}</p>" if outcome.lines else ""


def _hint_html(outcome: Outcome) -> str:
    again = f'<p class="lab-soft">{_link_html(outcome.section)}</p>' if outcome.section else ""
    if not outcome.hint:
        return again
    return (
        '<div class="lab-hint"><p><strong>What probably happened.</strong>'
        f" {escape(outcome.hint)}</p>{again}</div>"
    )


def _example_html(outcome: Outcome) -> str:
    rows = "".join(
        f"<dt>{label}</dt><dd>{_code(value)}</dd>" for label, value in _example_rows(outcome)
    )
    return f"<p>{_EXAMPLE}</p><dl>{rows}</dl>" if rows else ""


def _printed_html(outcome: Outcome) -> str:
    lines = _printed(outcome)
    return f"<p>Your function printed:</p><p>{_code(chr(10).join(lines))}</p>" if lines else ""


def _style() -> str:
    style = _STYLE.replace("DARK_CORRECT", ", ".join(f"{s}.is-correct" for s in _DARK))
    style = style.replace("DARK_WAITING", ", ".join(f"{s}.is-waiting" for s in _DARK))
    return " ".join(style.replace("DARK", ", ".join(_DARK)).split())
