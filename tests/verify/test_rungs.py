"""A certificate tells which rung it climbs, so that whoever waits can see how far it is."""

from __future__ import annotations

import pytest

from rewriter.engines import DuckDB
from rewriter.parse import parse, read_schema
from rewriter.verify import RUNGS, Verifier

SCHEMA = "CREATE TABLE t (a int PRIMARY KEY, b int)"


@pytest.mark.parametrize(
    ("candidate", "kind", "climbed"),
    [
        ("SELECT a FROM t WHERE b = 1 AND b = 1", "proved", RUNGS[:2]),
        ("SELECT a FROM t", "refuted", RUNGS[:1]),
    ],
)
def test_the_rungs_are_told_in_order_up_to_the_verdict(
    hunter: DuckDB, candidate: str, kind: str, climbed: tuple[str, ...]
) -> None:
    catalog = read_schema(SCHEMA, "postgres")
    told: list[str] = []
    verifier = Verifier(parse("SELECT a FROM t WHERE b = 1", catalog), hunter, rung=told.append)
    verdict = verifier.certify(parse(candidate, catalog).tree, seconds=5.0)
    assert verdict.kind.value == kind
    assert tuple(told) == climbed
    told.clear()
    verifier.screen(parse(candidate, catalog).tree)
    assert not told
