"""Claims: a statement of the lecture, its measurement, its computed verdict, and their ledger.

A verdict is computed from the interval and from a criterion given before the run:

- *reproduced*: the whole interval is on the side that the statement names;
- *contradicted*: the whole interval is on the other side;
- *not reproduced here*: the interval holds the threshold, so the runs cannot tell.

A statement that two things are equal names a range instead of a side: the whole interval must lie
within it.
"""

import dataclasses
import html
import json
import math
import os
import tomllib
from pathlib import Path

from labsupport import profiles, runtime, storage
from labsupport.types import Claim, Interval

FEWEST_RUNS = 10
FRAME = "border-inline-start: .25rem solid #7a7f87; padding-inline-start: .9rem"
VERDICTS = ("reproduced", "not reproduced here", "contradicted")


def _statements() -> dict[str, dict[str, str]]:
    """Read the statements of every topic's folder by id, in the order of the chapters."""
    folders = (Path(__file__).parent / "topics").glob("*/statements.toml")
    topics = {path.parent.name: tomllib.loads(path.read_text("utf8")) for path in folders}
    in_order = sorted(topics.items(), key=lambda item: item[1]["chapter"])
    return {
        id: {"chapter": topic, **entry}
        for topic, entries in in_order
        for id, entry in entries.items()
        if id != "chapter"
    }


STATEMENTS = _statements()


_entered: dict[tuple[str, str], Claim] = {}
"""What this process has claimed, by id and measure: the ledger of a chapter is what its last
execution says.
"""


class Card(Claim):
    """A claim that shows itself in a notebook."""

    def __repr__(self) -> str:
        return (
            f"{self.id} ({self.kind}): {self.verdict}\n  {self.statement}\n  {self.measure}:"
            f" {format_estimate(self)}, wanted {self.criterion}; {self.budget}"
        )

    def _repr_html_(self) -> str:
        text = {name: html.escape(str(value)) for name, value in dataclasses.asdict(self).items()}
        return (
            f'<div class="claim" data-verdict="{text["verdict"]}"'
            f' style="{FRAME}"><p><strong>{text["id"]}</strong> '
            f"({text['kind']}): <strong>{text['verdict']}</strong>. {text['statement']}</p>"
            f"<p>{_sentence(text['measure'])}: {html.escape(format_estimate(self))}. Wanted:"
            f" {text['criterion']}. "
            f"{_sentence(text['budget'])}.</p></div>"
        )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def claim(
    id: str,
    measured: Interval,
    *,
    measure: str,
    above: float | None = None,
    below: float | None = None,
    within: tuple[float, float] | None = None,
    budget: str,
) -> Claim:
    """Compare an interval over seeds with a statement and write the verdict to the ledger.

    Args:
        id: of the statement: "wd-2".
        measured: the estimate with its interval.
        measure: what the estimate is, in words: "test accuracy, AdamW minus Adam + L2".
        above, below, within: exactly one: the side of which number, or the range, that the
            statement puts the measured quantity in.
        budget: data, epochs, regime: what the verdict rests on.

    Raises:
        ValueError: for an unknown id, fewer than ten runs an arm, or not exactly one of above,
            below and within.
    """
    if measured.runs < FEWEST_RUNS:
        raise ValueError(f"{id}: {measured.runs} runs an arm; a claim needs at least {FEWEST_RUNS}")
    if sum(side is not None for side in (above, below, within)) != 1:
        raise ValueError(
            f"{id}: give exactly one of above, below and within, not above={above}, below={below}, "
            f"within={within}"
        )
    floor, ceiling = within or (
        -math.inf if above is None else above,
        math.inf if below is None else below,
    )
    inside = floor < measured.low and measured.high < ceiling
    outside = measured.high < floor or measured.low > ceiling
    verdict = VERDICTS[0] if inside else VERDICTS[2] if outside else VERDICTS[1]
    words = (
        f"within {floor:g} to {ceiling:g}"
        if within
        else f"above {floor:g}"
        if below is None
        else f"below {ceiling:g}"
    )
    criterion = words + measured.unit
    return _enter(id, "study", measured, verdict, measure, criterion, budget)


def exact(
    id: str, error: float, *, measure: str, tolerance: float = 1e-10, runs: int, budget: str
) -> Claim:
    """Check an identity: the largest error found must be within the tolerance.

    Args:
        id, measure, budget: as in ``claim``.
        error: the largest relative error over all cases, at least 0.
        tolerance: the most that rounding may leave.
        runs: how many runs or cases were compared.

    Raises:
        ValueError: for an unknown id, or an error that is negative or not finite.
    """
    if not 0 <= error < float("inf"):
        raise ValueError(f"{id}: error is {error}; it must be a finite number of at least 0")
    measured = Interval(error, error, error, runs)
    verdict = VERDICTS[0] if error <= tolerance else VERDICTS[2]
    return _enter(id, "exact", measured, verdict, measure, f"at most {tolerance:g}", budget)


def format_estimate(entry: Claim) -> str:
    """Write the estimate with its interval and its runs as text."""
    if entry.kind == "exact":
        return f"{entry.estimate:.2g} ({entry.runs} runs)"
    return (
        f"{entry.estimate:.3g}, 95 % interval {entry.low:.3g} to {entry.high:.3g} ({entry.runs}"
        " runs)"
    )


def _enter(
    id: str, kind: str, measured: Interval, verdict: str, measure: str, criterion: str, budget: str
) -> Claim:
    if id not in STATEMENTS:
        raise ValueError(f"no statement {id!r}; there are {', '.join(STATEMENTS)}")
    chapter, statement = (
        STATEMENTS[id]["chapter"],
        STATEMENTS[id].get(kind, STATEMENTS[id]["statement"]),
    )
    entry = Card(
        id,
        chapter,
        kind,
        statement,
        measured.estimate,
        measured.low,
        measured.high,
        measured.runs,
        verdict,
        measure,
        criterion,
        f"{budget}; {profiles.WORDS[runtime.profile()]}",
    )
    _entered[(id, measure)] = entry
    rows = [dataclasses.asdict(e) for e in _entered.values() if e.chapter == chapter]
    written = storage.write(folder() / f"{chapter}.json", json.dumps(rows, indent=1).encode())
    if not written and os.environ.get("LABSUPPORT_CLAIMS"):
        # whoever names a folder for the ledger, as the book's build does, reads it afterwards
        raise OSError(
            f"the verdict on {id} cannot be written to {folder()}, which LABSUPPORT_CLAIMS names; "
            "make that folder writable, or name another"
        )
    return entry


def folder() -> Path:
    """Find the ledger's folder: LABSUPPORT_CLAIMS, else one below the book's home.

    It holds one file a chapter.
    """
    return Path(os.environ.get("LABSUPPORT_CLAIMS") or runtime.home() / "claims")


def _load(path: Path) -> list[Claim]:
    stored = storage.read(path)
    return [Claim(**row) for row in json.loads(stored)] if stored else []


def ledger(where: Path | None = None) -> list[Claim]:
    """Read every claim that executed chapters have written, in the order of the statements."""
    order = list(STATEMENTS)
    found = [entry for path in sorted((where or folder()).glob("*.json")) for entry in _load(path)]
    return sorted(
        (e for e in found if e.id in STATEMENTS), key=lambda e: (order.index(e.id), e.kind)
    )


def page(where: Path | None = None) -> str:
    """Write the book's page of claims in MyST: one table a chapter, rows linked to the chapters."""
    entries = ledger(where)
    lines = ["# Claims", "", PREFACE, ""]
    for chapter in dict.fromkeys(s["chapter"] for s in STATEMENTS.values()):
        rows = [e for e in entries if e.chapter == chapter]
        lines += [
            f"## {chapter.replace('_', ' ').capitalize()}",
            "",
            _counts(rows),
            "",
            "| claim | statement | measured | verdict |",
            "|---|---|---|---|",
        ]
        lines += [
            _row(
                f"{{ref}}`{e.id} <claim-{e.id}>` ({e.kind})",
                e.statement,
                f"{_sentence(e.measure)}: {format_estimate(e)}; wanted {e.criterion}."
                f" {_sentence(e.budget)}.",
                e.verdict,
            )
            for e in rows
        ]
        lines += [
            f"| {id} | {s['statement']} | | not measured in this build |"
            for id, s in STATEMENTS.items()
            if s["chapter"] == chapter and id not in {e.id for e in rows}
        ] + [""]
    return "\n".join(lines)


def _row(*cells: str) -> str:
    """Write a row of a markdown table, with bars inside a cell escaped."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


PREFACE = """Every statement of fact in the lecture, what this build of the book measured, and the
verdict. The page is written by the chapters as they execute: no number and no verdict on it was
typed. *Exact* is an identity, checked in float64. *Study* is a comparison over paired seeds, at
least ten runs an arm, with a 95 % interval; it is *reproduced* when the whole interval lies where
the statement puts it, *contradicted* when the whole interval lies on the other side, and *not
reproduced here* when the interval cannot tell."""


def _counts(rows: list[Claim]) -> str:
    counts = {verdict: sum(e.verdict == verdict for e in rows) for verdict in VERDICTS}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "."
