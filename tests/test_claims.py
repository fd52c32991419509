"""Verdicts come from intervals, never from hands; the ledger holds what the last execution said."""

import json
import re

import pytest

from labsupport import claims, cli
from labsupport.types import Interval


@pytest.fixture(autouse=True)
def empty_ledger(fresh_home, monkeypatch):
    monkeypatch.setattr(claims, "_entered", {})


def claim(low, high, runs=10, id="wd-2", **side):
    return claims.claim(
        id,
        Interval((low + high) / 2, low, high, runs),
        measure="m",
        budget="b",
        **side or {"above": 0},
    )


@pytest.mark.parametrize(
    ("low", "high", "side", "verdict"),
    [
        (0.1, 0.3, dict(above=0), "reproduced"),
        (-0.1, 0.3, dict(above=0), "not reproduced here"),
        (-0.3, -0.1, dict(above=0), "contradicted"),
        (-0.3, -0.1, dict(below=0), "reproduced"),
        (0.1, 0.3, dict(below=0), "contradicted"),
        (0.1, 0.3, dict(below=0.2), "not reproduced here"),
        (0.1, 0.3, dict(above=0.1), "not reproduced here"),
        (0.0, 0.0, dict(above=0), "not reproduced here"),
        (-0.1, 0.1, dict(within=(-0.2, 0.2)), "reproduced"),
        (-0.1, 0.3, dict(within=(-0.2, 0.2)), "not reproduced here"),
        (0.3, 0.4, dict(within=(-0.2, 0.2)), "contradicted"),
        (-0.4, -0.3, dict(within=(-0.2, 0.2)), "contradicted"),
        (-0.3, 0.3, dict(within=(-0.2, 0.2)), "not reproduced here"),
    ],
)
def test_the_verdict_follows_from_the_interval(low, high, side, verdict):
    assert claim(low, high, **side).verdict == verdict


def test_fewer_than_ten_runs_is_an_error():
    with pytest.raises(ValueError, match="9 runs an arm; a claim needs at least 10"):
        claim(0.1, 0.3, runs=9)
    assert claims.ledger() == []


@pytest.mark.parametrize(
    "side", [dict(above=0, below=1), dict(above=None), dict(above=0, within=(0, 1))]
)
def test_exactly_one_side_must_be_named(side):
    with pytest.raises(ValueError, match="exactly one of above, below and within"):
        claim(0.1, 0.3, **side)


def test_an_unknown_statement_is_named():
    with pytest.raises(ValueError, match="no statement 'wd-99'; there are wd-1"):
        claim(0.1, 0.3, id="wd-99")


@pytest.mark.parametrize(("error", "verdict"), [(1e-12, "reproduced"), (1e-9, "contradicted")])
def test_an_identity_holds_within_its_tolerance(error, verdict):
    entry = claims.exact("wd-1", error, measure="m", runs=1, budget="b")
    assert (entry.verdict, entry.kind) == (verdict, "exact")


@pytest.mark.parametrize("error", [float("nan"), float("inf"), -1.0])
def test_an_identity_needs_a_number(error):
    with pytest.raises(ValueError, match="error is"):
        claims.exact("wd-1", error, measure="m", runs=1, budget="b")


def test_the_ledger_is_written_in_the_order_of_the_statements():
    claim(0.1, 0.3, id="wd-6"), claim(0.1, 0.3, id="wd-2")
    assert [entry.id for entry in claims.ledger()] == ["wd-2", "wd-6"]


def test_a_claim_made_again_replaces_itself_and_an_old_process_is_forgotten(monkeypatch):
    claim(0.1, 0.3, id="wd-6"), claim(-0.3, -0.1, id="wd-6")
    assert [entry.verdict for entry in claims.ledger()] == ["contradicted"]
    monkeypatch.setattr(claims, "_entered", {})
    claim(0.1, 0.3, id="wd-2")
    assert [entry.id for entry in claims.ledger()] == ["wd-2"]


def test_a_statement_of_two_parts_is_told_apart():
    proved = claims.exact("wd-2", 0.0, measure="m", runs=1, budget="b")
    assert proved.statement == claims.STATEMENTS["wd-2"]["exact"] != claim(0.1, 0.3).statement


def test_a_claim_shows_its_numbers_and_escapes_them():
    entry = claims.claim(
        "wd-2", Interval(0.25, 0.125, 0.375, 10), measure="a < b", above=0, budget="b"
    )
    assert "0.25, 95 % interval 0.125 to 0.375 (10 runs)" in repr(entry)
    assert "A &lt; b" in entry._repr_html_() and "reproduced" in entry._repr_html_()


def test_the_page_lists_every_statement_and_links_to_where_it_was_measured():
    claim(0.1, 0.3, id="wd-2")
    page = claims.page()
    assert all(
        row["study" if id == "wd-2" else "statement"] in page
        for id, row in claims.STATEMENTS.items()
    )
    assert (
        "{ref}`wd-2 <claim-wd-2>`" in page
        and "1 reproduced, 0 not reproduced here, 0 contradicted." in page
    )
    assert page.count("not measured in this build") == len(claims.STATEMENTS) - 1


def test_a_bar_in_a_measure_does_not_end_its_cell():
    claims.claim(
        "wd-2", Interval(0.25, 0.125, 0.375, 10), measure="size of |r|", above=0, budget="b"
    )
    (row,) = [line for line in claims.page().splitlines() if "wd-2 <" in line]
    assert r"Size of \|r\|" in row and len(re.split(r"(?<!\\)\|", row)) == 6


def test_the_command_line_prints_the_ledger_as_json(capsys):
    claim(0.1, 0.3, id="wd-2")
    assert cli.main(["claims", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "id": "wd-2",
        "chapter": "weight_decay",
        "kind": "study",
        "verdict": "reproduced",
        "runs": 10,
        "statement": claims.STATEMENTS["wd-2"]["study"],
        "estimate": 0.2,
        "low": 0.1,
        "high": 0.3,
    }


def test_without_claims_the_command_line_says_what_to_do(capsys):
    assert cli.main(["claims"]) == 0 and "execute a chapter first" in capsys.readouterr().out
    assert cli.main(["claims", "--json"]) == 0 and json.loads(capsys.readouterr().out) == []
