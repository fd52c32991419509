"""The contenders: ours, and the same work in PyTorch, with a DataLoader, in skorch and in
Lightning.

Each takes a job and returns the mean test accuracy over its seeds, so that doing less shows. Each
shuffles every epoch anew, and ends a seed with loss and accuracy on the training and the test part.
"""

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.jobs import Job
from labsupport import train
from labsupport.types import Dataset

Contender = Callable[[Job], float]


def ours(job: Job) -> float:
    """All seeds in one call of labsupport."""
    stacks = train.train_many([(job.recipe, seed) for seed in range(job.seeds)])
    return (
        torch.cat(
            [
                values
                for _, trained in stacks
                for _, metric, values in trained.metrics
                if metric == "test_accuracy"
            ]
        )
        .mean()
        .item()
    )


@torch.no_grad()
def evaluate(module: nn.Module, dataset: Dataset) -> float:
    """Loss and accuracy on both parts, each in one forward pass; returns the accuracy on the test
    part.
    """
    module.eval()
    measured = {}
    for part, x, y in (
        ("train", dataset.x_train, dataset.y_train),
        ("test", dataset.x_test, dataset.y_test),
    ):
        z = module(x)
        measured[part] = F.cross_entropy(z, y).item(), (z.argmax(1) == y).float().mean().item()
    return measured["test"][1]


def each_seed(job: Job, one: Callable[[Job, Dataset, int], float]) -> float:
    """The mean of ``one`` over the job's seeds."""
    dataset = train.load(job.recipe)
    accuracies = []
    for seed in range(job.seeds):
        torch.manual_seed(seed)
        accuracies.append(one(job, dataset, seed))
    return fmean(accuracies)


def _sgd(job: Job, module: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(
        module.parameters(), lr=job.recipe.rule.lr, momentum=job.recipe.rule.momentum
    )


def _loader(job: Job, dataset: Dataset) -> DataLoader:
    data = TensorDataset(dataset.x_train, dataset.y_train)
    return DataLoader(data, batch_size=job.recipe.batch_size, shuffle=True, drop_last=True)


def _step(module: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    loss = F.cross_entropy(module(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def plain(job: Job) -> float:
    """A PyTorch loop over tensors that are in memory: the fastest of the usual ways."""

    def one(job: Job, dataset: Dataset, seed: int) -> float:
        module, size = job.module(), job.recipe.batch_size
        optimizer = _sgd(job, module)
        for _ in range(job.recipe.epochs):
            order = torch.randperm(len(dataset.y_train))
            for rows in order[: len(order) // size * size].split(size):
                _step(module, optimizer, dataset.x_train[rows], dataset.y_train[rows])
        return evaluate(module, dataset)

    return each_seed(job, one)


def loader(job: Job) -> float:
    """The same loop over a DataLoader."""

    def one(job: Job, dataset: Dataset, seed: int) -> float:
        module, batches = job.module(), _loader(job, dataset)
        optimizer = _sgd(job, module)
        for _ in range(job.recipe.epochs):
            for x, y in batches:
                _step(module, optimizer, x, y)
        return evaluate(module, dataset)

    return each_seed(job, one)


def skorch(job: Job) -> float:
    """skorch's classifier, with no validation split and nothing printed."""
    from skorch import NeuralNetClassifier

    def one(job: Job, dataset: Dataset, seed: int) -> float:
        rule = job.recipe.rule
        net = NeuralNetClassifier(
            job.module,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.SGD,
            lr=rule.lr,
            optimizer__momentum=rule.momentum,
            batch_size=job.recipe.batch_size,
            max_epochs=job.recipe.epochs,
            iterator_train__shuffle=True,
            iterator_train__drop_last=True,
            train_split=None,
            verbose=0,
            callbacks__print_log=None,
        )
        net.fit(dataset.x_train, dataset.y_train)
        return evaluate(net.module_, dataset)

    return each_seed(job, one)


def lightning(job: Job) -> float:
    """Lightning's Trainer, with everything off that does not train."""
    import lightning as L

    class Classifier(L.LightningModule):
        """The job's network with its loss and optimizer."""

        def __init__(self):
            super().__init__()
            self.module = job.module()

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return F.cross_entropy(self.module(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return _sgd(job, self)

    def one(job: Job, dataset: Dataset, seed: int) -> float:
        model = Classifier()
        trainer = L.Trainer(
            max_epochs=job.recipe.epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, _loader(job, dataset))
        return evaluate(model.module, dataset)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return each_seed(job, one)


PEERS: dict[str, Contender] = {
    "plain": plain,
    "loader": loader,
    "skorch": skorch,
    "lightning": lightning,
}
EXTRA = ("skorch", "lightning")
"""Peers that are packages of their own, under the same name."""


def installed(peer: str) -> bool:
    """Whether this peer can run here."""
    return peer not in EXTRA or find_spec(peer) is not None
