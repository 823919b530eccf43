"""Executable form of intersect_to_semi_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.facts import Facts
from rules.set_operation.matching import matched


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """INTERSECT becomes SELECT DISTINCT with EXISTS."""
    yield from matched(query, facts, exp.Intersect, wanted=True)
