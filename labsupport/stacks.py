"""Parameters of R runs in one block of memory, and hyperparameters that differ between the runs.

A field of a model, a rule, a transform, or of a record inside one, that is declared with
``hyperparameter`` may differ between the runs of one stack: they train together, each with its own
number. Every other field is structure: runs that differ in it train in separate stacks.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
ALIGN = 16
"""Parameters begin at multiples of so many numbers: 64 bytes in float32, a line of the cache."""
_DECLARED = "hyperparameter"


def hyperparameter(default: float) -> float:
    """Declare a field of a frozen record that runs of one stack may differ in.

    ``lr: float = hyperparameter(0.1)``, with this default.
    """
    return dataclasses.field(default=default, metadata={_DECLARED: True})


class Stack(Mapping[str, Tensor]):
    """Parameters of R runs by name, each (R, ...), all views of one tensor ``flat`` (R, P).

    A rule that treats all parameters alike updates ``flat`` in one operation; a network reads the
    views. Each parameter begins on a 64-byte boundary, so ``flat`` has unused columns; they stay
    zero.
    """

    def __init__(self, flat: Tensor, shapes: Mapping[str, Sequence[int]]):
        self.flat = flat
        self.shapes = dict(shapes)
        """Of each parameter, without the run axis."""
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
        """Copy these tensors, each (R, ...), into a new stack."""
        first = next(iter(tensors.values()))
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
        stack = cls(first.new_zeros(len(first), width(shapes)), shapes)
        for name, tensor in tensors.items():
            stack[name].copy_(tensor)
        return stack

    def like(self) -> Self:
        """Make a stack of zeros of the same shape: for gradients, velocities, moments."""
        return type(self)(torch.zeros_like(self.flat), self.shapes)

    def __reduce__(self) -> tuple[type[Self], tuple[Tensor, dict[str, Sequence[int]]]]:
        """Send the one block to another process; each view would send it once more."""
        return type(self), (self.flat, self.shapes)

    def __getitem__(self, name: str) -> Tensor:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


def width(shapes: Mapping[str, Sequence[int]]) -> int:
    """Count the columns of ``flat`` for parameters of these shapes."""
    return max(span.stop for span in _spans(shapes).values()) + ALIGN - 1 & -ALIGN


def _spans(shapes: Mapping[str, Sequence[int]]) -> dict[str, slice]:
    spans, start = {}, 0
    for name, shape in shapes.items():
        stop = start + torch.Size(shape).numel()
        spans[name] = slice(start, stop)
        start = stop + ALIGN - 1 & -ALIGN
    return spans


def hyperparameters(item: Any) -> dict[str, Any]:
    """Read the declared hyperparameters of a record by name."""
    return {
        f.name: getattr(item, f.name) for f in _fields(item) if f.metadata.get(_DECLARED, False)
    }


def _inner(item: Any) -> dict[str, Any]:
    """Find the records inside a record."""
    values = {f.name: getattr(item, f.name) for f in _fields(item)}
    return {name: value for name, value in values.items() if _is_record(value)}


def _fields(item: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(item) if _is_record(item) else ()


def _is_record(item: Any) -> bool:
    return dataclasses.is_dataclass(item) and not isinstance(item, type)


def structure(item: T) -> T:
    """Set a record's hyperparameters to 0: records of equal structure can share a stack."""
    changed = dict.fromkeys(hyperparameters(item), 0.0) | {
        name: structure(part) for name, part in _inner(item).items()
    }
    return _replace_unchecked(item, changed) if changed else item


def stacked(items: Sequence[T], device: torch.device) -> T:
    """Make one item for R runs: a hyperparameter in which they differ becomes a tensor (R,).

    Raises:
        ValueError: if the items differ in more than hyperparameters.
    """
    if any(structure(item) != structure(items[0]) for item in items):
        raise ValueError(
            f"{items[0]} and others differ in more than hyperparameters and cannot share a stack"
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


def in_use(value: float | Tensor) -> bool:
    """Tell whether a hyperparameter is more than zero in some run."""
    return isinstance(value, Tensor) or value > 0


def column(value: float | Tensor, like: Tensor) -> Tensor:
    """Lay out a hyperparameter as a column (R, 1) that multiplies ``like``, (R, P)."""
    if isinstance(value, Tensor):
        return value.to(like.dtype)[:, None]
    return like.new_full((len(like), 1), value)


def _replace_unchecked(item: T, columns: Mapping[str, Any]) -> T:
    """Copy with other values, without ``__post_init__``.

    Each run's values were checked when it was made, and a tensor of them would not pass.
    """
    copy = object.__new__(type(item))
    for f in _fields(item):
        object.__setattr__(copy, f.name, columns.get(f.name, getattr(item, f.name)))
    return copy
