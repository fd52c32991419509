"""Copy a value and show it as code, without calling a method that a student may have written."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

PLAIN_TENSORS = (Tensor, torch.nn.Parameter)
_MOST_ELEMENTS = 48


def fresh(value: Any) -> Any:
    """Copy a value so that it shares no memory; a generator is copied with its state."""
    if type(value) in PLAIN_TENSORS:
        return value.detach().clone().requires_grad_(value.requires_grad)
    if type(value) is torch.Generator:
        return value.clone_state()
    if type(value) is dict:
        return {name: fresh(item) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(fresh(item) for item in value)
    return copy.deepcopy(value)


def plain(tensor: Tensor) -> Tensor:
    """Return the data of a tensor on the CPU, read past any method set on the object itself."""
    data = Tensor.detach(tensor)
    return Tensor.cpu(data)


def kind_of(value: Any) -> str:
    """Say what a value is, in a student's words."""
    if value is None:
        return "None"
    kind = type(value)
    if kind in PLAIN_TENSORS:
        return "a tensor"
    if kind.__module__ == "numpy":
        return "a NumPy array" if kind.__name__ == "ndarray" else f"a NumPy {kind.__name__}"
    names = {
        int: "an integer",
        float: "a number",
        bool: "True or False",
        str: "a string",
        list: "a list",
        tuple: "a tuple",
        dict: "a dictionary",
        type: "a class",
    }
    return names.get(kind, f"an object of type {kind.__name__}")


def listed(words: Sequence[str]) -> str:
    """Join words for a sentence: ``w, m and v``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def show(value: Any, digits: int = 4) -> str:
    """Write a value as code; an object of unknown type is named, not asked to describe itself."""
    kind = type(value)
    if kind in PLAIN_TENSORS:
        return _show_tensor(value, digits)
    if kind in (tuple, list):
        return _show_sequence(value, digits)
    if kind is dict:
        return (
            "{"
            + ", ".join(f"{show(k)}: {show(v, digits)}" for k, v in list(value.items())[:20])
            + "}"
        )
    if kind in (int, bool, type(None)):
        return repr(value)
    if kind is float:
        return _short_float(value, digits)
    if kind is str:
        return repr(value if len(value) <= 200 else value[:200] + "...")
    if kind is torch.Generator:
        return f"torch.Generator().manual_seed({value.initial_seed()})"
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray" and value.dtype.kind in "biuf":
        return (
            f"array({_nested(value.tolist(), digits)})"
            if value.size <= _MOST_ELEMENTS
            else "array(...)"
        )
    if kind.__module__ == "numpy" and kind.__name__.startswith(("float", "int")):
        return f"np.{kind.__name__}({value.item()!r})"
    return kind_of(value)


def show_call(function: str, arguments: dict[str, Any]) -> str:
    """Write a call that can be pasted into a cell."""

    def argument(value: Any) -> str:
        return repr(value) if type(value) is float else show(value, 17)

    return (
        f"{function}({', '.join(f'{name}={argument(value)}' for name, value in arguments.items())})"
    )


def show_apart(expected: Any, got: Any) -> tuple[str, str]:
    """Write both values with as few digits as tell them apart, or with four if none do."""

    def texts(digits: int) -> tuple[str, str]:
        one, other = (
            show(value, digits).replace("torch.tensor(", "tensor(") for value in (expected, got)
        )
        return one, other

    return next((pair for pair in map(texts, (4, 6, 8, 12, 17)) if pair[0] != pair[1]), texts(4))


def _show_sequence(values: tuple | list, digits: int) -> str:
    inside = ", ".join(show(item, digits) for item in values[:20]) + (
        ", ..." if len(values) > 20 else ""
    )
    if type(values) is list:
        return f"[{inside}]"
    return f"({inside},)" if len(values) == 1 else f"({inside})"


def _show_tensor(tensor: Tensor, digits: int) -> str:
    if tensor.layout is not torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
        return f"a {tensor.layout} tensor of shape {tuple(tensor.shape)} on {tensor.device}"
    if Tensor.numel(tensor) > _MOST_ELEMENTS:
        return f"a tensor of shape {tuple(tensor.shape)}"
    extra = ""
    if tensor.dtype not in (torch.float32, torch.int64, torch.bool):
        extra += f", dtype={tensor.dtype}"
    if tensor.device.type != "cpu":
        extra += f", device='{tensor.device}'"
    return f"torch.tensor({_nested(Tensor.tolist(plain(tensor)), digits)}{extra})"


def _nested(values: list | bool | int | float | complex, digits: int) -> str:
    if isinstance(values, list):
        return "[" + ", ".join(_nested(v, digits) for v in values) + "]"
    return _short_float(values, digits) if isinstance(values, float) else repr(values)


def _short_float(x: float, digits: int) -> str:
    """Write ``1.`` rather than ``1.0``, ``nan`` as it is, and nothing that reads as an integer."""
    text = f"{x:.{digits}g}"
    if digits >= 17 and float(repr(x)) == x:
        text = repr(x).removesuffix("0") if repr(x).endswith(".0") else repr(x)
    return text + "." if text.lstrip("-").isdigit() else text
