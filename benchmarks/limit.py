"""The matrix-product limit: how long the machine takes for the bare products of a job, and nothing
else.

Every product is one ``torch.bmm`` over all runs, into memory that is already there. Each may have
its operands stored either way round, and the work may be shared in two ways: by one Python thread
with all of PyTorch's threads, or by as many Python threads as there are cores, each with a share of
the runs. The limit is the smallest that is found.
"""

import threading
from collections.abc import Callable
from itertools import product
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.jobs import Job, Product
from labsupport import train

Operands = tuple[Tensor, Tensor, Tensor]
TRIALS = 15


def operands(shape: Product, runs: int, transposed: tuple[bool, bool]) -> Operands:
    """Two factors and a place for the result, of R runs; a factor that is turned is stored
    transposed.
    """
    m, k, n = shape
    a = torch.randn(runs, k, m).mT if transposed[0] else torch.randn(runs, m, k)
    b = torch.randn(runs, n, k).mT if transposed[1] else torch.randn(runs, k, n)
    return a, b, torch.empty(runs, m, n)


def multiply(step: list[Operands], times: int) -> None:
    """The products of one step, again and again."""
    for _ in range(times):
        for a, b, out in step:
            torch.bmm(a, b, out=out)


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def fastest_layout(shape: Product, runs: int) -> Operands:
    """Of the four ways to store the factors, the one that multiplies fastest with the threads as
    they are set.
    """
    candidates = [
        operands(shape, runs, transposed) for transposed in product((False, True), repeat=2)
    ]

    def best(candidate: Operands) -> float:
        multiply([candidate], 3)
        return min(seconds(lambda: multiply([candidate], 5)) for _ in range(TRIALS))

    return min(candidates, key=best)


class Limit:
    """The products of a job, laid out as is fastest here; a call measures them in seconds."""

    def __init__(self, job: Job):
        self.threads = torch.get_num_threads()
        self.times = job.recipe.epochs * train.steps_in_epoch(job.recipe, train.load(job.recipe))
        shapes = job.products(job.recipe)
        self.whole = [fastest_layout(shape, job.seeds) for shape in shapes]
        shares = [
            share for share in torch.arange(job.seeds).tensor_split(self.threads) if len(share)
        ]
        torch.set_num_threads(1)
        self.shared = [[fastest_layout(shape, len(share)) for shape in shapes] for share in shares]
        torch.set_num_threads(self.threads)

    def __call__(self) -> float:
        try:
            return min(seconds(lambda: multiply(self.whole, self.times)), self.side_by_side())
        finally:
            torch.set_num_threads(self.threads)

    def side_by_side(self) -> float:
        """One Python thread a core, each with its share of the runs; timed from the moment that all
        stand ready.
        """
        ready = threading.Barrier(len(self.shared) + 1)

        def work(step: list[Operands]) -> None:
            torch.set_num_threads(1)
            multiply(step, 1)
            ready.wait()
            multiply(step, self.times)

        threads = [threading.Thread(target=work, args=(step,)) for step in self.shared]
        for thread in threads:
            thread.start()
        ready.wait()
        return seconds(lambda: [thread.join() for thread in threads])
