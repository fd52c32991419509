"""Build the book: execute what has changed, render what has changed, say what to open.

python -m tools.book
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from tools import keys, layout
from tools.execute import ChapterFailed, Record, execute, kept

AT_ONCE = 2


def say(line: str) -> None:
    print(line, flush=True)


def run_chapters(chapters: list[Path], wanted: dict[Path, str]) -> dict[Path, Record]:
    """Records of all chapters; those whose key has changed are executed, two at a time."""
    folders = {chapter: layout.EXECUTED / chapter.stem for chapter in chapters}
    records = {chapter: kept(chapter, folders[chapter], wanted[chapter]) for chapter in chapters}
    stale = [chapter for chapter, record in records.items() if record is None]
    if not stale:
        return records
    say(f"Executing {', '.join(chapter.stem for chapter in stale)} ...")
    workers = min(AT_ONCE, len(stale))
    threads = max(1, (os.cpu_count() or 1) // workers)
    failures = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(execute, c, folders[c], wanted[c], threads): c for c in stale}
        for job in as_completed(jobs):
            try:
                records[jobs[job]] = job.result()
                say(f"  {summary(jobs[job], job.result())}")
            except ChapterFailed as failure:
                failures.append(str(failure))
    if failures:
        raise ChapterFailed("\n\n".join(failures))
    return records


def summary(chapter: Path, record: Record) -> str:
    return f"{chapter.stem} {record.seconds:.0f} s, {record.peak_mb} MB"


def build() -> dict[Path, Record]:
    """Bring ``_build/html`` up to date; returns what each chapter took when it was last
    executed.
    """
    chapters = layout.chapters()
    wanted = {chapter: keys.chapter_key(chapter) for chapter in chapters}
    records = run_chapters(chapters, wanted)
    from tools import render

    digest = render.inputs_digest([asdict(record) for record in records.values()])
    if not render.is_current(digest):
        say("Rendering ...")
        render.gather_claims()
        render.assemble()
        render.render(digest)
    return records


def main() -> int:
    from tools.render import RenderFailed

    try:
        with layout.only_one_build():
            records = build()
    except (ChapterFailed, RenderFailed, FileNotFoundError, ValueError) as error:
        print(f"{error}\nThe book was not built.", file=sys.stderr)
        return 1
    took = "; ".join(summary(*item) for item in records.items())
    say(f"Open {(layout.HTML / 'index.html').relative_to(layout.ROOT)} (executed in: {took})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
