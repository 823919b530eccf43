"""Executable form of materialize_grouped.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.facts import Facts
from rules.sites import copied, references


def rewrites(query: exp.Query, _: Facts) -> Iterator[exp.Query]:
    """All CTEs of one WITH clause that group and are read once become materialised, together."""
    for clause in query.find_all(exp.With):
        if clause.args.get("recursive"):
            continue
        grouped = [cte for cte in clause.expressions if _groups(cte) and len(references(query, cte)) == 1]
        if grouped:
            copy, sites = copied(query, *grouped)
            for site in sites:
                site.set("materialized", True)
            yield copy


def _groups(cte: exp.CTE) -> bool:
    """Whether a CTE's query, or each branch of it, is a grouping, and nobody has said yet how to evaluate it."""
    pending = [cte.this]
    while pending:
        part = pending.pop()
        if isinstance(part, exp.SetOperation):
            pending.extend((part.this, part.expression))
        elif not isinstance(part, exp.Select) or part.args.get("group") is None:
            return False
    return cte.args.get("materialized") is None
