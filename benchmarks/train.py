"""How fast labsupport trains beside its peers and beside the machine's own limit.

Every contender does the same work; a contender whose accuracy says otherwise is refused. After a
warm-up, each repetition runs ours, the peers and the bare matrix products one after the other, in
an order that turns from repetition to repetition, and a ratio is taken within its repetition: what
else the machine does then weighs on both sides. What is printed is the median. The peers run with
PyTorch's default threads, because that is what their users get. For networks this small one thread
often serves them better, the more so on a busy machine: ``--peer-threads 1`` shows what ours is
worth beside users who know that. Ours and the limit share out the default threads by themselves.

    seconds      ours
    peers        the peer's seconds over ours: 5 means that ours takes a fifth of the time;
                 null: not installed
    limit_share  seconds of the bare matrix products over ours: 1 would be the machine's limit
    peak_mb      the most memory, in MB, that a fresh process which does the job once with ours and
                 the processes that it starts hold together, torch included, looked at fifty times
                 a second
"""

import argparse
import contextlib
import gc
import json
import multiprocessing
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from tqdm.auto import tqdm

if not __package__:  # started as a file, whose folder is then on the path instead of the checkout
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.jobs import JOBS, Job
from benchmarks.limit import Limit
from benchmarks.peers import PEERS, Contender, installed, ours

Times = dict[str, float]
"""Seconds of each contender, and of the limit, in one repetition."""
SAMPLE_SECONDS = 0.02


def check_same_work(accuracies: dict[str, float], tolerance: float) -> None:
    """Hold each contender's accuracy to ours.

    Raises:
        ValueError: if one is farther than ``tolerance`` away, or not a number.
    """
    wrong = {
        name: accuracy
        for name, accuracy in accuracies.items()
        if not abs(accuracy - accuracies["ours"]) <= tolerance
    }
    if wrong:
        raise ValueError(
            f"not the same work: ours has a mean test accuracy of {accuracies['ours']:.3f}, "
            + ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in wrong.items())
            + f"; at most {tolerance} apart is allowed"
        )


def repetition(
    job: Job, contenders: dict[str, Contender], order: Sequence[str], threads: dict[str, int]
) -> Times:
    """Every contender once in this order, each on a clean start; the limit, a contender too, says
    its own seconds.
    """
    times, accuracies = {}, {}
    for name in order:
        torch.set_num_threads(threads[name])
        gc.collect()
        start = perf_counter()
        found = contenders[name](job)
        times[name] = perf_counter() - start
        if name == "limit":
            times[name] = found
        else:
            accuracies[name] = found
    check_same_work(accuracies, job.tolerance)
    return times


def repetitions(
    job: Job, peers: dict[str, Contender], runs: int, peer_threads: int | None = None
) -> list[Times]:
    """A warm-up, which is thrown away, then ``runs`` repetitions of ours, the peers and the
    limit.
    """
    default, limit = torch.get_num_threads(), Limit(job)
    contenders = {"ours": ours, **peers, "limit": lambda job: limit()}
    names = list(contenders)
    threads = dict.fromkeys(names, default) | dict.fromkeys(peers, peer_threads or default)
    times = []
    for i in tqdm(range(runs + 1), unit="repetition", delay=2, leave=False):
        turn = i % len(names)
        times.append(repetition(job, contenders, names[turn:] + names[:turn], threads))
    torch.set_num_threads(default)
    return times[1:]


def peak_mb(job: Job) -> float:
    """Peak memory of a fresh process that runs ours alone, together with whatever processes it
    starts.

    Raises:
        RuntimeError: if that process fails.
    """
    process = multiprocessing.get_context("spawn").Process(target=ours, args=(job,))
    process.start()
    peak = 0.0
    while process.is_alive():
        peak = max(peak, held_mb(process.pid))
        process.join(SAMPLE_SECONDS)
    if process.exitcode:
        raise RuntimeError(
            f"the process that was to be weighed ended with exit code {process.exitcode}"
        )
    return peak or resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def held_mb(pid: int) -> float:
    """What a process and its descendants hold now, in MB; 0 where there is no /proc, or the process
    has ended.

    Memory that forked processes share is counted once (Pss). ru_maxrss would not do: it sees one
    process, and on Linux it begins at what the parent held.
    """
    total = 0.0
    with contextlib.suppress(OSError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("utf8")
        total += (
            next(
                (int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0
            )
            / 1024
        )
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(
                held_mb(int(child)) for child in (task / "children").read_text("utf8").split()
            )
    return total


def measure(
    job: Job, peers: Sequence[str], runs: int, peer_threads: int | None = None
) -> dict[str, Any]:
    """What is reported of one job."""
    present = {peer: PEERS[peer] for peer in peers if installed(peer)}
    for peer in peers:
        if peer not in present:
            print(
                f"{peer} is not installed and is left out; to install it: pip install -e"
                " '.[bench]'",
                file=sys.stderr,
            )
    memory = peak_mb(job)
    times = repetitions(job, present, runs, peer_threads)
    ratios = {
        peer: round(median(t[peer] / t["ours"] for t in times), 2) if peer in present else None
        for peer in peers
    }
    return {
        "seconds": round(median(t["ours"] for t in times), 4),
        "peers": ratios,
        "limit_share": round(median(t["limit"] / t["ours"] for t in times), 3),
        "peak_mb": round(memory, 1),
    }


def table(jobs: dict[str, dict[str, Any]]) -> str:
    """The same for people."""
    lines = []
    for name, found in jobs.items():
        lines.append(
            f"{name}: {found['seconds']:.3f} s, {found['limit_share']:.0%} of the matrix-product"
            f" limit, {found['peak_mb']:.0f} MB at most"
        )
        lines += [
            f"    {peer:10}"
            + (f"{ratio:6.1f} times as long" if ratio is not None else "   not installed")
            for peer, ratio in found["peers"].items()
        ]
    return "\n".join(lines)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, then print a table or JSON; whatever a peer prints goes to standard error."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--job", action="append", choices=JOBS, help="only this job (repeatable)")
    parser.add_argument(
        "--peer", action="append", choices=PEERS, help="only this peer (repeatable)"
    )
    parser.add_argument("--runs", type=positive, default=5, help="paired repetitions (default: 5)")
    parser.add_argument(
        "--peer-threads",
        type=positive,
        help="threads of PyTorch for the peers (default: PyTorch's)",
    )
    options = parser.parse_args(arguments)
    with contextlib.redirect_stdout(sys.stderr):
        jobs = {
            name: measure(
                JOBS[name], options.peer or list(PEERS), options.runs, options.peer_threads
            )
            for name in options.job or JOBS
        }
    print(json.dumps({"jobs": jobs}, indent=2) if options.json else table(jobs))


if __name__ == "__main__":
    os.environ["LABSUPPORT_DEVICE"] = "cpu"  # the peers and the limit are measured there
    main()
