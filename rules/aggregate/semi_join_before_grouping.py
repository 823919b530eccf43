"""Executable form of semi_join_before_grouping.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.cte.filters import semi_joins
from rules.cte.push import with_pushed
from rules.facts import Facts
from rules.set_operation.branches import read_alone
from rules.sites import relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A grouped derived table, or CTE read once, groups only the keys that a filtered table joined to it has."""
    for select in selects(query):
        for item in relations(select):
            body = read_alone(query, item, facts)
            if body is None or not any(part.args.get("group") for part in body.find_all(exp.Select)):
                continue
            made = with_pushed(query, body, semi_joins(item, facts), facts)
            if made is not None:
                yield made
