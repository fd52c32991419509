"""Logs that are made for the exercise on diagnosis."""

import pytest

from labsupport.topics.alternating_minimization import exercises
from labsupport.topics.alternating_minimization import reference as am


@pytest.mark.parametrize(
    "name, falls",
    [
        ("healthy", ([1, 0], [0, 1], [0, 0])),
        ("codes_rise", ([1, -1], [1, 1], [0, 0])),
        ("weights_rise", ([1, 1], [-1, 1], [0, 0])),
        ("codes_lost", ([1, 1], [1, 1], [0, 1])),
        ("codes_frozen", ([0, 0], [1, 1], [0, 0])),
        ("weights_frozen", ([1, 1], [0, 0], [0, 0])),
    ],
)
def test_a_log_that_is_made_with_a_fault_is_named_after_it(name, falls):
    log = exercises.log(8.0, *falls, rounding=2.0**-18)
    assert am.diagnose(**log) == exercises.asked(**log) == name
    assert (
        log["start"][0] == 8.0
        and log["coded"][1] == 8.0 - sum(falls[0]) - falls[1][0] - falls[2][1] - 2.0**-18
    )
