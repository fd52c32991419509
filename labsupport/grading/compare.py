"""Compare a value with the expected one, and say the first difference in plain words.

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
# For float64 where no dtype is asked for: one step on the way may have been taken in float32.
_LENIENT = {**_SLACK, torch.float64: (1e-6, 2e-7)}


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
    keeps_dtype: bool = False,
    exact: bool = False,
) -> Difference | None:
    """Find the first difference between the expected value and another; None if there is none.

    Args:
        expected: a value of the reference.
        got: anything at all.
        what: how the value is called in the words.
        names: how the items of a tuple are called.
        keeps_dtype: refuse numbers in another dtype, and a number where a tensor is right.
        exact: the same, and leave no room for rounding (NaN equals NaN all the same).
    """
    rules = _Rules(keeps_dtype or exact, exact)
    return _difference(expected, got, what, names, rules)


@dataclass(frozen=True)
class _Rules:
    """How strictly values are compared."""

    keeps_dtype: bool
    exact: bool

    def slack(self, *dtypes: torch.dtype) -> tuple[float, float]:
        """Return the relative and the absolute slack of the coarsest of these dtypes."""
        if self.exact:
            return 0.0, 0.0
        slacks = _SLACK if self.keeps_dtype else _LENIENT
        return max(slacks.get(dtype, (0.0, 0.0)) for dtype in dtypes)


def _difference(
    expected: Any, got: Any, what: str, names: tuple[str, ...], rules: _Rules
) -> Difference | None:
    if got is None and expected is not None:
        return Difference("none", f"{what} is None.")
    if type(expected) in PLAIN_TENSORS:
        return _tensors(expected, got, what, rules)
    if issubclass(type(expected), (tuple, list)):
        return _sequences(expected, got, what, names, rules)
    if type(expected) is dict:
        return _dicts(expected, got, what, rules)
    if type(expected) in (int, float, bool):
        return _numbers(expected, got, what, rules)
    if type(got) is not type(expected):
        return _wrong_type(expected, got, what)
    if expected == got:
        return None
    words = _spelling(expected, got, what) if type(expected) is str else f"{what} is wrong."
    return Difference("value", words)


def _tensors(expected: Tensor, got: Any, what: str, rules: _Rules) -> Difference | None:
    if not rules.keeps_dtype and expected.dim() == 0 and _is_number(got):
        return _alone(plain(expected), _as_tensor(got), what, rules)
    if type(got) not in PLAIN_TENSORS:
        if issubclass(type(got), Tensor):
            return Difference(
                "type",
                f"{what} is a special kind of tensor ({type(got).__name__}); return an "
                "ordinary torch.Tensor.",
            )
        return _wrong_type(expected, got, what)
    return _form(expected, got, what, rules) or _numbers_inside(
        plain(expected), plain(got), what, rules
    )


def _form(expected: Tensor, got: Tensor, what: str, rules: _Rules) -> Difference | None:
    if rules.keeps_dtype and got.dtype != expected.dtype:
        return _wrong_dtype(expected, got, what)
    if got.shape != expected.shape:
        shapes = tuple(got.shape), tuple(expected.shape)
        return Difference("shape", f"{what} has shape {shapes[0]} where {shapes[1]} is right.")
    if got.is_complex() and not expected.is_complex():
        return _wrong_dtype(expected, got, what)
    if got.device != expected.device:
        return Difference(
            "device",
            f"{what} is on device {got.device} where {expected.device} is right: the "
            "result belongs on the device of the inputs.",
        )
    if got.layout != expected.layout or got.is_quantized:
        return Difference("type", f"{what} is not a dense tensor.")
    return None


def _wrong_dtype(expected: Tensor, got: Tensor, what: str) -> Difference:
    if _are_integers(expected) and not _are_integers(got):
        return Difference(
            "dtype",
            f"{what} has dtype {got.dtype} where {expected.dtype} is right: integers are asked "
            "for, such as indices or counts, not values.",
        )
    return Difference(
        "dtype",
        f"{what} has dtype {got.dtype} where {expected.dtype} is right: the exercise asks for that "
        "dtype.",
    )


def _are_integers(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)


def _numbers_inside(expected: Tensor, got: Tensor, what: str, rules: _Rules) -> Difference | None:
    relative, absolute = rules.slack(expected.dtype, got.dtype)
    wide = torch.complex128 if expected.is_complex() else torch.float64
    if expected.dtype != got.dtype:
        one, other = expected.to(wide), got.to(wide)
    else:
        one, other = expected, got
    if one.is_complex():
        one, other = torch.view_as_real(one), torch.view_as_real(other.resolve_conj())
        relative, absolute = rules.slack(one.dtype, other.dtype)
    if torch.allclose(other, one, rtol=relative, atol=absolute, equal_nan=True):
        return None
    if _are_integers(expected) and not _are_integers(got):
        return _wrong_dtype(expected, got, what)
    if bool((other.isnan() & ~one.isnan()).any()):
        return Difference(
            "nan",
            f"{what} contains NaN (0/0? the root of a negative number?) where a number is right.",
        )
    if bool((other.isinf() & ~one.isinf()).any()):
        return Difference(
            "inf", f"{what} contains an infinity (a division by 0?) where a finite number is right."
        )
    return Difference("value", f"{what} has the right shape, but wrong numbers in it.")


def _sequences(
    expected: tuple | list, got: Any, what: str, names: tuple[str, ...], rules: _Rules
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
        _difference(e, g, label, (), rules)
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


def _dicts(expected: dict, got: Any, what: str, rules: _Rules) -> Difference | None:
    if type(got) is not dict:
        return _wrong_type(expected, got, what)
    if sorted(map(repr, expected)) != sorted(repr(k) for k in got if type(k) in (str, int)):
        return Difference(
            "length", f"{what} needs exactly the keys {', '.join(map(repr, expected))}."
        )
    found = (
        _difference(value, got[key], f"{what}[{key!r}]", (), rules)
        for key, value in expected.items()
    )
    return next((d for d in found if d), None)


def _numbers(expected: int | float | bool, got: Any, what: str, rules: _Rules) -> Difference | None:
    if type(got) in PLAIN_TENSORS and not rules.keeps_dtype and Tensor.dim(got) == 0:
        return _alone(_as_tensor(expected), plain(got), what, rules)
    if not _is_number(got) or (rules.keeps_dtype and (type(expected) is bool) != _is_truth(got)):
        return _wrong_type(expected, got, what)
    return _alone(_as_tensor(expected), _as_tensor(got), what, rules)


def _alone(expected: Tensor, got: Tensor, what: str, rules: _Rules) -> Difference | None:
    found = _numbers_inside(expected, got, what, rules)
    if found and found.kind == "value":
        return Difference("value", f"{what} is the wrong number.")
    return found


def _is_truth(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")


def _is_number(value: Any) -> bool:
    kind = type(value)
    in_numpy = kind.__module__ == "numpy" and kind.__name__.startswith(("float", "int", "bool"))
    return kind in (int, float, bool) or in_numpy


def _as_tensor(number: Any) -> Tensor:
    try:
        return torch.tensor(float(number), dtype=torch.float64)
    except OverflowError:  # an integer of hundreds of digits
        return torch.tensor(float("inf"), dtype=torch.float64)


def _wrong_type(expected: Any, got: Any, what: str) -> Difference:
    return Difference("type", f"{what} is {kind_of(got)} where {kind_of(expected)} is right.")


def _spelling(expected: str, got: str, what: str) -> str:
    def bare(text: str) -> str:
        return "".join(c for c in text.casefold() if c.isalnum())

    if bare(expected) == bare(got):
        return f"{what} is right but for its spelling: {expected!r} is asked for, exactly so."
    return f"{what} is {got[:60]!r} where {expected!r} is right."
