"""Executable form of semi_join_before_grouping.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.cte.filters import semi_joins
from rules.cte.push import pushed
from rules.facts import Facts
from rules.sites import copied, find_cte, references, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A grouped derived table, or CTE read once, groups only the keys that a filtered table joined to it has."""
    for select in selects(query):
        for item in relations(select):
            body = facts.definition(item)
            if body is None or not any(part.args.get("group") for part in body.find_all(exp.Select)):
                continue
            cte = find_cte(item)
            if cte is not None and (len(references(query, cte)) != 1 or cte.args["alias"].columns):
                continue
            alias = item.args.get("alias")
            if (alias is not None and alias.columns) or not facts.deterministic(body):
                continue
            filters = semi_joins(item, facts)
            restricted = pushed(body, filters, facts) if filters else None
            if restricted is None or restricted.sql() == body.sql():
                continue
            copy, (site,) = copied(query, body)
            site.replace(restricted)
            yield copy
