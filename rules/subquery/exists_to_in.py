"""Executable form of exists_to_in.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import set_where
from rules.correlation import correlation
from rules.facts import Facts
from rules.sites import copied


def rewrites(query: exp.Query, _: Facts) -> Iterator[exp.Query]:
    """``EXISTS (SELECT ... WHERE inner = outer AND p)`` to ``outer IN (SELECT inner ... WHERE p)`` in a filter."""
    for found in query.find_all(exp.Exists):
        inner = found.this
        outer = found.find_ancestor(exp.Select)
        if not isinstance(inner, exp.Select) or not isinstance(outer, exp.Select) or not filters(found, outer):
            continue
        if any(inner.args.get(clause) for clause in ("group", "having", "limit", "offset", "qualify", "distinct")):
            continue
        if inner.find(exp.AggFunc, exp.Window) is not None:
            continue
        tied = correlation(inner, outer)
        if tied is None or len(tied.ties) != 1:
            continue
        copy, (site,) = copied(query, found)
        tie = tied.ties[0]
        selected = inner.copy()
        selected.set("expressions", [tie.inner.copy()])
        selected.set("order", None)
        set_where(selected, tied.own)
        site.replace(exp.In(this=tie.outer.copy(), query=exp.Subquery(this=selected)))
        yield copy


def filters(condition: exp.Expr, select: exp.Select) -> bool:
    """Whether a condition stands in the WHERE of ``select`` under AND and OR alone: there NULL does what FALSE does."""
    node: exp.Expr | None = condition.parent
    while isinstance(node, (exp.And, exp.Or, exp.Paren)):
        node = node.parent
    return isinstance(node, exp.Where) and node.parent is select
