"""One module of decoupled greedy learning as a process, over torch.distributed (gloo).

Module 1 reads the data. Each module trains on what the one below sends, and sends on what its layer
puts out: activations go up, no gradient comes down. ``run`` in parallel.py starts the processes on
this machine; so does torchrun::

    torchrun --nproc-per-node 3 -m labsupport.topics.local_learning.processes --folder out --job
    '{"steps": 300}'
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from labsupport import runtime, train
from labsupport.models import LocalMLP
from labsupport.rules import SGD
from labsupport.rules.local import module_gradients
from labsupport.stacks import Stack
from labsupport.streams import Streams
from labsupport.types import Batch, Recipe

LOST = 3
"""The exit code of a module whose neighbour is gone: a consequence, not the cause."""


@dataclass(frozen=True)
class Job:
    """The settings of the modules' training, on MNIST-1D with plain SGD.

    Args:
        sizes, heads, width: of the LocalMLP.
        lr, steps, batch_size, train_size, seed, dtype: of the training; each module takes ``steps``
            steps.
        buffer: batches that may wait between two modules; a module that finds the buffer full
            waits, too.
        full: train on the oldest batch of a full buffer, as ``rules.Decoupled(buffer)`` does: each
            is buffer - 1 steps old. Otherwise on each as soon as it comes.
        seconds: how long to wait for a neighbour, and for the whole.

    Raises:
        ValueError: for a buffer, a number of steps or of seconds below one.
    """

    sizes: tuple[int, ...] = (40, 64, 64, 64, 10)
    heads: int = 1
    width: int = 64
    lr: float = 0.4
    steps: int = 300
    batch_size: int = 100
    train_size: int = 3000
    seed: int = 0
    dtype: str = "float32"
    buffer: int = 4
    full: bool = False
    seconds: float = 120.0

    def __post_init__(self):
        for field in ("buffer", "steps", "seconds"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least 1")

    @property
    def net(self) -> LocalMLP:
        return LocalMLP(tuple(self.sizes), self.heads, self.width)


class Module:
    """One module with its own parameters and its own optimizer."""

    def __init__(self, job: Job, i: int):
        self.net, self.i = job.net, i
        whole, _ = self.net.init([runtime.generator(job.seed, "init")])
        names = [
            part for name in self.net.names(i) for part in (name, name.replace("weight", "bias"))
        ]
        self.params = Stack.of({name: whole[name].to(getattr(torch, job.dtype)) for name in names})
        self.rule = SGD(lr=job.lr, gradient=self)
        self.state, self.trained = self.rule.init(self.net, self.params), 0

    def init(self, net: LocalMLP, params: Stack, streams: Streams) -> None:
        """Return an empty state: a module is its own gradient estimator."""

    def __call__(self, net, params, buffers, state, batch: Batch, out: Stack) -> Tensor:
        """Compute its own gradient; it needs that of no other module."""
        return module_gradients(net, self.i, params, batch, out)

    def forward(self, batch: Batch) -> Tensor:
        """Compute its layer's output before the step, which it passes on."""
        return self.net.layer(self.params, self.i, batch.x)

    def step(self, batch: Batch) -> None:
        """Take one step on its own loss."""
        self.rule.step(self.net, self.params, {}, self.state, batch)
        self.trained += 1


def batches(job: Job) -> Iterator[Batch]:
    """Draw the batches that the first module reads, as ``train.iterate_steps`` does for one run."""
    recipe = Recipe(
        job.net, SGD(), train_size=job.train_size, batch_size=job.batch_size, dtype=job.dtype
    )
    dataset = train.load(recipe)
    epochs = -(-job.steps // train.steps_in_epoch(recipe, dataset))
    drawn = train.batches([dataclasses.replace(recipe, epochs=epochs)], [job.seed], dataset)
    return (batch for (_, batch), _ in zip(drawn, range(job.steps), strict=False))


# -- in a module's process -------------------------------------------------------------------------


def received(job: Job, rank: int) -> Iterator[Batch]:
    """Receive the batches of the module below, in order, through ``buffer`` slots.

    The labels travel in one more column.

    A slot is a receive that has been posted; a message leaves the sender when there is a slot for
    it.
    """
    behind = job.buffer - 1 if job.full else 0
    sent = job.steps - (rank - 1) * behind
    shape, dtype = (job.batch_size, job.sizes[rank] + 1), getattr(torch, job.dtype)
    slots = [torch.empty(shape, dtype=dtype) for _ in range(job.buffer)]
    # posted before they are waited for: the sender then need not wait for this module's step
    coming = [dist.irecv(slot, rank - 1) for slot in slots[:sent]]
    for t in range(sent):
        coming[t % job.buffer].wait()
        if t < behind:  # the buffer is not full yet
            continue
        slot = (t - behind) % job.buffer
        h, labels = slots[slot][None, :, :-1].clone(), slots[slot][None, :, -1].long()
        yield Batch(h, labels, t + 1, 1.0, ())
        if t - behind + job.buffer < sent:
            coming[slot] = dist.irecv(slots[slot], rank - 1)


@torch.no_grad()
def work(job: Job, rank: int, folder: Path) -> None:
    """Train module rank + 1 to the end and write its results."""
    module, last = Module(job, rank + 1), rank == job.net.modules - 1
    source = received(job, rank) if rank else batches(job)
    dist.barrier()
    (folder / f"started{rank}").touch()
    start = time.perf_counter()
    for batch in source:
        if not last:
            message = torch.cat([module.forward(batch)[0], batch.y[0, :, None]], 1)
            sending = dist.isend(message, rank + 1)  # travels while this module takes its step
        module.step(batch)
        if not last:
            sending.wait()
    seconds = time.perf_counter() - start
    found = dict(module.params), seconds, module.trained
    torch.save(found, folder / f"module{rank}.pt")
    dist.barrier()


def join(job: Job, rank: int, folder: Path, where: str) -> None:
    """Meet the other modules at ``where``, train, and end.

    If a neighbour ends before, end with LOST and a message.
    """
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            init_method=where,
            rank=rank,
            world_size=job.net.modules,
            timeout=timedelta(seconds=job.seconds),
        )
        work(job, rank, folder)
        dist.destroy_process_group()
    except RuntimeError as error:
        print(f"module {rank + 1} stops: {error}", file=sys.stderr, flush=True)
        os._exit(LOST)  # tidying up would wait for the others


def main() -> None:
    """Train one module: the one whose rank torchrun has set."""
    parser = argparse.ArgumentParser(
        description="one module of decoupled greedy learning; start it with torchrun"
    )
    parser.add_argument("--job", default="{}", help="fields of Job as JSON")
    parser.add_argument(
        "--folder", type=Path, required=True, help="where each module writes its parameters"
    )
    given = parser.parse_args()
    job, world = Job(**json.loads(given.job)), int(os.environ.get("WORLD_SIZE", 1))
    if world != job.net.modules:
        parser.error(
            f"there are {world} processes for {job.net.modules} modules; start as many: torchrun"
            f" --nproc-per-node {job.net.modules}"
        )
    given.folder.mkdir(parents=True, exist_ok=True)
    join(job, int(os.environ["RANK"]), given.folder, "env://")


if __name__ == "__main__":
    main()
