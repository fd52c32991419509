"""Build the book: execute what has changed, render what has changed, say what to open.

python -m tools.book
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from labsupport import machine
from tools import keys, layout
from tools.execute import ChapterFailed, Record, execute, kept

AT_ONCE = 2
STOPPING = ("SIGTERM", "SIGINT", "SIGHUP")


def say(line: str) -> None:
    print(line, flush=True)


def run_chapters(chapters: list[Path], wanted: dict[Path, str]) -> dict[Path, Record]:
    """Records of all chapters; those whose key has changed are executed, two at a time."""
    folders = {chapter: layout.EXECUTED / chapter.stem for chapter in chapters}
    records = {chapter: kept(chapter, folders[chapter], wanted[chapter]) for chapter in chapters}
    stale = [chapter for chapter, record in records.items() if record is None]
    if not stale:
        return records
    # imported here, for a build with nothing to do needs none of it
    from labsupport import runtime, storage
    from tools import kernels

    if trouble := storage.trouble(runtime.home()):
        say(f"Note: {trouble}.")
    kernels.prepare()
    remove_leftovers()
    say(f"Executing {', '.join(chapter.stem for chapter in stale)} ...")
    workers = min(AT_ONCE, len(stale), machine.cpus())
    threads = machine.cpus() // workers
    failures = []
    with processes(workers) as pool:
        jobs = {pool.submit(execute, c, folders[c], wanted[c], threads): c for c in stale}
        for job in as_completed(jobs):
            try:
                records[jobs[job]] = job.result()
                say(f"  {summary(jobs[job], job.result())}")
            except ChapterFailed as failure:
                failures.append(str(failure))
            except BrokenProcessPool:
                raise ChapterFailed(
                    "a process that executes chapters was killed; perhaps memory ran out"
                ) from None
    if failures:
        raise ChapterFailed("\n\n".join(failures))
    return records


@contextlib.contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of so many processes, of which none is left, whatever happens.

    They are killed, not asked: an executor hands a process that answers the next chapter, and
    nbclient lets it survive a signal. Their kernels end with them, their temporary files are
    removed here.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="book-") as folder:
        pool = ProcessPoolExecutor(count, spawn, begin, (os.getpid(), folder))
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            pool.shutdown()


def begin(parent: int, folder: str) -> None:
    """In a new process: gone when the build is gone, deaf to the terminal, temporary files in
    folder.
    """
    machine.end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the build hears it too, and kills
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def remove_leftovers() -> None:
    """Remove what a killed build has left of chapters that it did not finish."""
    for folder in layout.EXECUTED.glob(".*"):
        shutil.rmtree(folder)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside, a signal raises SystemExit(128 + its number), so that everything is closed on the
    way out.
    """

    def stop(number: int, _: object) -> None:
        for other in heard:
            signal.signal(other, signal.SIG_IGN)
        print(f"Stopped by {signal.Signals(number).name}.", file=sys.stderr)
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in STOPPING if hasattr(signal, name)]
    # what is ignored stays so: nohup wants the build to outlive its terminal
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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

    if "MAKELEVEL" in os.environ:
        machine.end_with_parent(os.getppid(), signal.SIGTERM)  # make may be killed itself
    try:
        with stopped_by_signals(), layout.only_one_build():
            records = build()
    except (ChapterFailed, RenderFailed, FileNotFoundError, ValueError) as error:
        print(f"{error}\nThe book was not built.", file=sys.stderr)
        return 1
    took = "; ".join(summary(*item) for item in records.items())
    say(f"Open {(layout.HTML / 'index.html').relative_to(layout.ROOT)} (executed in: {took})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
