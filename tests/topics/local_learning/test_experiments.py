"""The table, the ring and the faulty runs show what the chapter says of them."""

import pytest
import torch

from labsupport.topics.local_learning import experiments
from labsupport.topics.local_learning import reference as ll


def test_a_split_has_every_row_of_the_table_once():
    parts = experiments.split_table(3)
    assert [len(y) for _, y in parts] == [221, 111, 110]
    rows = {tuple(row.tolist()) for x, _ in parts for row in x}
    assert len(rows) == 442


def test_a_split_is_the_same_whatever_others_are_made():
    alone = experiments.contest([4])
    together = experiments.contest([3, 4])
    assert together.loc[4].to_dict() == pytest.approx(alone.loc[4].to_dict(), rel=1e-9)


def test_r_squared_is_one_for_every_number_right_and_zero_for_the_mean():
    y = torch.tensor([1.0, 2.0, 6.0])
    assert experiments.r_squared(y, y) == 1 and experiments.r_squared(
        y.mean().expand(3), y
    ) == pytest.approx(0)


def test_the_ring_is_learned_by_layers_and_not_by_one():
    errors = [layer.error for layer in experiments.grow_on_ring(0.0)]
    assert errors[0] > 4 * errors[3]


@pytest.mark.parametrize(
    "kind", ["decoupled", "leaking", "blocked", "end_to_end", "heads_frozen", "stale"]
)
def test_every_kind_of_program_is_diagnosed_from_its_log(kind):
    assert ll.diagnose(*experiments.log(kind)) == kind
    assert ll.diagnose(*experiments.log(kind, modules=2, units=3)) == kind


def test_the_faulty_runs_are_what_the_solution_says():
    assert {
        name: ll.diagnose(*log) for name, log in experiments.faulty_runs().items()
    } == experiments.FAULTY_RUNS
