"""Is this the expected value? If it is not, the first difference in plain words.

Only the data of exact tensors, numbers, strings and containers is compared, never with an operator
that the value brings along, so an object that claims to equal everything equals nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from labsupport.grading.values import PLAIN_TENSORS, kind_of, listed, plain

# Relative and absolute slack by dtype: room for another order of the same operations, far below any
# mistake.
_SLACK = {
    torch.float64: (1e-8, 1e-10),
    torch.float32: (1e-4, 1e-5),
    torch.float16: (1e-2, 1e-3),
    torch.bfloat16: (5e-2, 1e-2),
}


@dataclass(frozen=True)
class Difference:
    """How two values differ: a kind for the program, words for the student."""

    kind: str
    words: str


def difference(
    expected: Any,
    got: Any,
    *,
    what: str = "your answer",
    names: tuple[str, ...] = (),
    exact: bool = False,
) -> Difference | None:
    """The first difference between the expected value and the one that came back, None if there is
    none.

    Args:
        expected: a value of the reference.
        got: anything at all.
        what: how the value is called in the words.
        names: how the items of a tuple are called.
        exact: leave no room for rounding (NaN equals NaN all the same).
    """
    if got is None and expected is not None:
        return Difference("none", f"{what} is None.")
    if type(expected) in PLAIN_TENSORS:
        return _tensors(expected, got, what, exact)
    if issubclass(type(expected), (tuple, list)):
        return _sequences(expected, got, what, names, exact)
    if type(expected) is dict:
        return _dicts(expected, got, what, exact)
    if type(expected) in (int, float):
        return _numbers(expected, got, what, exact)
    if type(got) is not type(expected):
        return _wrong_type(expected, got, what)
    if expected == got:
        return None
    words = _spelling(expected, got, what) if type(expected) is str else f"{what} is wrong."
    return Difference("value", words)


def _tensors(expected: Tensor, got: Any, what: str, exact: bool) -> Difference | None:
    if type(got) not in PLAIN_TENSORS:
        if issubclass(type(got), Tensor):
            return Difference(
                "type",
                f"{what} is a special kind of tensor ({type(got).__name__}); return an "
                "ordinary torch.Tensor.",
            )
        return _wrong_type(expected, got, what)
    return _form(expected, got, what) or _numbers_inside(plain(expected), plain(got), what, exact)


def _form(expected: Tensor, got: Tensor, what: str) -> Difference | None:
    if got.shape != expected.shape:
        shapes = tuple(got.shape), tuple(expected.shape)
        return Difference("shape", f"{what} has shape {shapes[0]} where {shapes[1]} is right.")
    if got.dtype != expected.dtype:
        return Difference(
            "dtype",
            f"{what} has dtype {got.dtype} where {expected.dtype} is right: keep the "
            "dtype of the inputs.",
        )
    if got.device != expected.device:
        return Difference(
            "device",
            f"{what} is on device {got.device} where {expected.device} is right: the "
            "result belongs on the device of the inputs.",
        )
    if got.layout != expected.layout or got.is_quantized:
        return Difference("type", f"{what} is not a dense tensor.")
    return None


def _numbers_inside(expected: Tensor, got: Tensor, what: str, exact: bool) -> Difference | None:
    if expected.is_complex():
        expected, got = torch.view_as_real(expected), torch.view_as_real(got.resolve_conj())
    relative, absolute = (0.0, 0.0) if exact else _SLACK.get(expected.dtype, (0.0, 0.0))
    if torch.allclose(got, expected, rtol=relative, atol=absolute, equal_nan=True):
        return None
    if bool((got.isnan() & ~expected.isnan()).any()):
        return Difference(
            "nan",
            f"{what} contains NaN (0/0? the root of a negative number?) where a number is right.",
        )
    if bool((got.isinf() & ~expected.isinf()).any()):
        return Difference(
            "inf", f"{what} contains an infinity (a division by 0?) where a finite number is right."
        )
    return Difference("value", f"{what} has the right shape, but wrong numbers in it.")


def _sequences(
    expected, got: Any, what: str, names: tuple[str, ...], exact: bool
) -> Difference | None:
    labels = names or tuple(f"value number {i + 1} of {what}" for i in range(len(expected)))
    which = f" ({', '.join(names)})" if names else ""
    if not issubclass(type(got), (tuple, list)):
        return Difference(
            "type",
            f"{what} is {kind_of(got)} where {len(expected)} values{which} are right: "
            "return them all, with commas between them.",
        )
    items = list(tuple.__iter__(got) if issubclass(type(got), tuple) else list.__iter__(got))
    if len(items) != len(expected):
        return Difference(
            "length",
            f"{what} has length {len(items)} where {len(expected)} values{which} are right.",
        )
    found = [
        difference(e, g, what=label, exact=exact)
        for e, g, label in zip(expected, items, labels, strict=True)
    ]
    wrong = [d for d in found if d]
    if not wrong:
        return None
    kind = "type" if wrong[0].kind == "none" else wrong[0].kind
    bad = [label for label, d in zip(labels, found, strict=True) if d]
    good = [label for label in labels if label not in bad]
    words = " ".join(d.words for d in wrong)
    if len(wrong) > 1 and all(d.kind == "value" for d in wrong):
        words = f"{listed(bad)} have the right shapes, but wrong numbers in them."
    praise = f" {listed(good)} {'is' if len(good) == 1 else 'are'} right." if good and names else ""
    return Difference(kind, words + praise)


def _dicts(expected: dict, got: Any, what: str, exact: bool) -> Difference | None:
    if type(got) is not dict:
        return _wrong_type(expected, got, what)
    if sorted(map(repr, expected)) != sorted(repr(k) for k in got if type(k) in (str, int)):
        return Difference(
            "length", f"{what} needs exactly the keys {', '.join(map(repr, expected))}."
        )
    found = (
        difference(value, got[key], what=f"{what}[{key!r}]", exact=exact)
        for key, value in expected.items()
    )
    return next((d for d in found if d), None)


def _numbers(expected: float, got: Any, what: str, exact: bool) -> Difference | None:
    kind = type(got)
    is_numpy_number = kind.__module__ == "numpy" and kind.__name__.startswith(("float", "int"))
    if kind not in (int, float) and not is_numpy_number:
        return _wrong_type(expected, got, what)
    as_tensor = [torch.tensor(float(x), dtype=torch.float64) for x in (expected, got)]
    found = _numbers_inside(*as_tensor, what, exact)
    return (
        Difference("value", f"{what} is the wrong number.")
        if found and found.kind == "value"
        else found
    )


def _wrong_type(expected: Any, got: Any, what: str) -> Difference:
    return Difference("type", f"{what} is {kind_of(got)} where {kind_of(expected)} is right.")


def _spelling(expected: str, got: str, what: str) -> str:
    def bare(text: str) -> str:
        return "".join(c for c in text.casefold() if c.isalnum())

    if bare(expected) == bare(got):
        return f"{what} is right but for its spelling: {expected!r} is asked for, exactly so."
    return f"{what} is {got[:60]!r} where {expected!r} is right."
