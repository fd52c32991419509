"""Two values are the same if their data is, and never because one of them says so."""

import pytest
import torch

from labsupport.grading.compare import difference

ONE = torch.tensor([1.0])


@pytest.mark.parametrize(
    "expected, got",
    [
        (ONE, torch.tensor([1.0 + 1e-6])),
        (torch.tensor([1e6]), torch.tensor([1e6 + 8])),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        (torch.tensor([float("inf")]), torch.tensor([float("inf")])),
        (ONE, torch.nn.Parameter(ONE)),
        ((ONE, 2), [ONE, 2]),
        (0.1 + 0.2, 0.3),
        (0.54166668, 0.54166667),
        (1.0, 1),
        (1.0, True),
        (True, 1),
        (0.5, torch.tensor(0.5)),
        (torch.tensor(0.5), 0.5),
        (True, torch.tensor(True)),
        (ONE, torch.tensor([1.0], dtype=torch.float64)),
        (ONE.double(), torch.tensor([1.0 + 1e-6])),
        (torch.tensor([1 / 3]).double(), torch.tensor([1 / 3], dtype=torch.float64)),
        (ONE, torch.tensor([1])),
        (ONE, torch.tensor([True])),
        (torch.tensor([1, 2]), torch.tensor([1, 2], dtype=torch.int32)),
        ({"a": ONE}, {"a": ONE}),
        ("healthy", "healthy"),
        (None, None),
        (True, True),
    ],
)
def test_same(expected, got):
    assert difference(expected, got) is None


@pytest.mark.parametrize(
    "expected, got, kind",
    [
        (ONE, torch.tensor([1.001]), "value"),
        (ONE.double(), torch.tensor([1.0 + 1e-5], dtype=torch.float64), "value"),
        (ONE.double(), torch.tensor([1.001]), "value"),
        (torch.tensor(0.5), 0.4, "value"),
        (0.5, torch.tensor(0.4), "value"),
        (torch.tensor([float("inf")]), torch.tensor([-float("inf")]), "value"),
        (ONE, torch.tensor([float("nan")]), "nan"),
        (ONE, torch.tensor(1.0), "shape"),
        (ONE, torch.tensor([2]), "value"),
        (ONE, torch.tensor([1j]), "dtype"),
        (torch.tensor([1, 2]), torch.tensor([0.5, 2.0]), "dtype"),
        (ONE, 1.0, "type"),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), "value"),
        (torch.tensor([1j]), torch.tensor([-1j]), "value"),
        ((ONE, 2), (ONE,), "length"),
        ((ONE, 2), (ONE, 3), "value"),
        (0.3, 0.4, "value"),
        (0.3, ONE, "type"),
        (2, True, "value"),
        (True, 2, "value"),
        (True, False, "value"),
        (0.5, "0.5", "type"),
        ({"a": ONE}, {"b": ONE}, "length"),
        ("healthy", "sick", "value"),
        ("healthy", b"healthy", "type"),
        (ONE, None, "none"),
    ],
)
def test_different(expected, got, kind):
    found = difference(expected, got)
    assert found is not None and found.kind == kind


def test_exact_leaves_no_room_for_rounding():
    close = torch.tensor([1.0 + 1e-6])
    assert difference(ONE, close) is None
    assert difference(ONE, close, exact=True).kind == "value"


def test_a_word_that_is_right_but_for_its_spelling_is_told_so():
    assert "spelling" in difference("no_decay", "No decay").words
    assert "spelling" not in difference("no_decay", "healthy").words


@pytest.mark.parametrize(
    "expected, got, kind",
    [
        (ONE, ONE.double(), "dtype"),
        (ONE, torch.tensor([1]), "dtype"),
        (torch.tensor(0.5), 0.5, "type"),
        (0.5, torch.tensor(0.5), "type"),
        (True, 1, "type"),
        (ONE.double(), torch.tensor([1.0 + 1e-6], dtype=torch.float64), "value"),
    ],
)
def test_where_the_dtype_is_asked_for_another_one_is_different(expected, got, kind):
    assert difference(expected, got) is None
    assert difference(expected, got, keeps_dtype=True).kind == kind


@pytest.mark.parametrize("keeps_dtype", [False, True])
def test_values_where_indices_are_asked_for_are_told_so(keeps_dtype):
    words = difference(
        torch.tensor([2, 0]), torch.tensor([0.7, 0.1]), keeps_dtype=keeps_dtype
    ).words
    assert "integers are asked for, such as indices" in words
    assert "dtype of the inputs" not in words
