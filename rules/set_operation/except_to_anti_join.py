"""Executable form of except_to_anti_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.facts import Facts
from rules.set_operation.matching import matched


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """EXCEPT becomes SELECT DISTINCT with NOT EXISTS."""
    yield from matched(query, facts, exp.Except, wanted=False)
