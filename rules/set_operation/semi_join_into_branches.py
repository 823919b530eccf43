"""Executable form of semi_join_into_branches.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.cte.filters import semi_joins
from rules.cte.push import with_pushed
from rules.facts import Facts
from rules.set_operation.branches import branches, captured, read_alone, type_of
from rules.sites import relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A UNION ALL joined to a filtered table reads, in every branch, only the rows whose key that table has."""
    for select in selects(query):
        for item in relations(select):
            body = read_alone(query, item, facts)
            parts = branches(body) if body is not None else None
            # Grouped branches are the business of aggregate/semi_join_before_grouping.
            if body is None or parts is None or any(part.find(exp.Group) for part in parts):
                continue
            filters = [part for part in semi_joins(item, facts) if _wanted(query, part, parts, facts)]
            made = with_pushed(query, body, filters, facts)
            if made is not None:
                yield made


def _wanted(query: exp.Query, part: exp.Expr, parts: Sequence[exp.Select], facts: Facts) -> bool:
    """Whether a semi-join means the same in every branch as it does above, and does not stand there yet."""
    assert isinstance(part, exp.In)
    names = parts[0].named_selects
    if names.count(part.this.name) != 1:
        return False
    position = names.index(part.this.name)
    if type_of(parts, position, facts) is None:
        return False
    # An expression could fail on rows that the branch's own filters keep from it.
    if not all(isinstance(one.selects[position].unalias(), (exp.Column, exp.Literal)) for one in parts):
        return False
    inner = part.args["query"]
    if any(inner.sql() == other.args["query"].sql() for one in parts for other in _memberships(one)):
        return False
    # The table is a base table where it is read, and has to be one inside the branches too.
    return not captured(query, inner)


def _memberships(select: exp.Select) -> list[exp.In]:
    return [node for node in select.find_all(exp.In) if node.args.get("query") is not None]
