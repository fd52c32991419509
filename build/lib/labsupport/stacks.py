"""R copies of the same parameters in one block of memory, and hyperparameters that differ between
the copies.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
ALIGN = 16


class Stack(Mapping[str, Tensor]):
    """The parameters of R runs by name, each (R, ...), all of them views of one tensor ``flat``,
    (R, P).

    A rule that treats all parameters alike updates ``flat`` in one operation; a network reads the
    views. Each parameter begins on a 64-byte boundary, so ``flat`` has unused columns; they stay
    zero.
    """

    def __init__(self, flat: Tensor, shapes: Mapping[str, Sequence[int]]):
        self.flat = flat
        self.shapes = dict(shapes)
        self.spans = _spans(self.shapes)
        self._views = {
            name: flat[:, span].unflatten(1, self.shapes[name])
            if self.shapes[name]
            else flat[:, span.start]
            for name, span in self.spans.items()
        }
        self.transposed = {name: view.mT for name, view in self._views.items() if view.dim() == 3}
        """Matrices (R, out, in) as (R, in, out): views made once, for loops in which every
        operation counts.
        """

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """A stack that holds a copy of these tensors, each (R, ...)."""
        first = next(iter(tensors.values()))
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        stack = cls(first.new_zeros(len(first), width(shapes)), shapes)
        for name, tensor in tensors.items():
            stack[name].copy_(tensor)
        return stack

    def like(self) -> Self:
        """A stack of zeros of the same shape: for gradients, velocities, moments."""
        return type(self)(torch.zeros_like(self.flat), self.shapes)

    def __reduce__(self):
        """Sent to another process as the one block that it is; each view would take the whole block
        along once more.
        """
        return type(self), (self.flat, self.shapes)

    def __getitem__(self, name: str) -> Tensor:
        return self._views[name]

    def __iter__(self):
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


def width(shapes: Mapping[str, Sequence[int]]) -> int:
    """Columns of ``flat`` for parameters of these shapes."""
    return max(span.stop for span in _spans(shapes).values()) + ALIGN - 1 & -ALIGN


def _spans(shapes: Mapping[str, Sequence[int]]) -> dict[str, slice]:
    spans, start = {}, 0
    for name, shape in shapes.items():
        stop = start + torch.Size(shape).numel()
        spans[name] = slice(start, stop)
        start = stop + ALIGN - 1 & -ALIGN
    return spans


def hyperparameters(item: Any) -> dict[str, float]:
    """The float fields of a model or a rule: what may differ between runs of one stack."""
    fields = dataclasses.fields(item) if dataclasses.is_dataclass(item) else ()
    return {f.name: getattr(item, f.name) for f in fields if f.type in (float, "float")}


def _inner(item: Any) -> dict[str, Any]:
    """The records inside a record."""
    fields = dataclasses.fields(item) if dataclasses.is_dataclass(item) else ()
    return {
        f.name: getattr(item, f.name)
        for f in fields
        if dataclasses.is_dataclass(getattr(item, f.name))
    }


def structure(item: T) -> T:
    """The same item with its float fields blanked, and those of the records in it: what has one
    structure can be stacked.
    """
    changed = dict.fromkeys(hyperparameters(item), 0.0) | {
        name: structure(part) for name, part in _inner(item).items()
    }
    return _replace_unchecked(item, changed) if changed else item


def stacked(items: Sequence[T], device: torch.device) -> T:
    """One item for R runs: a float field in which the runs differ, its own or of a record in it,
    becomes a tensor (R,).

    Raises:
        ValueError: if the items differ in more than float fields.
    """
    if any(structure(item) != structure(items[0]) for item in items):
        raise ValueError(
            f"{items[0]} and others differ in more than float fields and cannot share a stack"
        )
    columns = {name: [getattr(item, name) for item in items] for name in hyperparameters(items[0])}
    varied = {
        name: torch.tensor(values, dtype=torch.float64, device=device)
        for name, values in columns.items()
        if len(set(values)) > 1
    }
    varied |= {
        name: stacked([getattr(item, name) for item in items], device) for name in _inner(items[0])
    }
    return _replace_unchecked(items[0], varied) if varied else items[0]


def column(value: float | Tensor, like: Tensor) -> Tensor:
    """A hyperparameter as a column (R, 1) that multiplies ``like``, (R, P)."""
    if isinstance(value, Tensor):
        return value.to(like.dtype)[:, None]
    return like.new_full((len(like), 1), value)


def _replace_unchecked(item: T, columns: Mapping[str, Any]) -> T:
    """A copy with other values; those that it replaces were checked when the items were made."""
    copy = object.__new__(type(item))
    for f in dataclasses.fields(item):
        object.__setattr__(copy, f.name, columns.get(f.name, getattr(item, f.name)))
    return copy
