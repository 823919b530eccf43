"""Executable form of scalar_aggregate_to_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import (
    COMPARISONS,
    NULL_WHEN_EMPTY,
    add_left_join,
    add_relation,
    aggregates,
    column,
    conjunction,
    conjuncts,
    derived,
    fresh_name,
    is_single_row,
    set_where,
    strict,
)
from rules.correlation import Correlation, correlation
from rules.facts import Facts
from rules.sites import copied, only_inner, outer_columns, own_nodes, relation_name, relations, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """One rewrite for each correlated scalar aggregate in a WHERE comparison, with and without a restriction of the
    grouped table to the keys that the outer query can ask for."""
    for outer in selects(query):
        for subquery in correlated_aggregates(outer):
            inner = subquery.this
            if not facts.deterministic(inner):
                continue
            tied = correlation(inner, outer)
            if tied is None or not tied.ties:
                continue
            yield _rewritten(query, outer, subquery, restrict=False)
            if _restriction(outer, tied) is not None:
                yield _rewritten(query, outer, subquery, restrict=True)


def correlated_aggregates(outer: exp.Select) -> Iterator[exp.Subquery]:
    """Scalar subqueries of one aggregate each that stand in a comparison among the conjuncts of WHERE."""
    where = outer.args.get("where")
    if where is None or any(join.side in ("RIGHT", "FULL") for join in outer.args.get("joins") or []):
        return
    for part in conjuncts(where):
        if not isinstance(part, COMPARISONS):
            continue
        for subquery in own_nodes(where, exp.Subquery):
            inner = subquery.this
            if not is_single_row(inner) or len(inner.expressions) != 1 or not _inside(subquery, part):
                continue
            value = inner.expressions[0].unalias()
            known_when_empty = null_when_empty(value) or isinstance(value, exp.Count)
            if known_when_empty and strict(part, subquery) and outer_columns(inner):
                yield subquery


def _inside(node: exp.Expr, ancestor: exp.Expr) -> bool:
    current: exp.Expr | None = node
    while current is not None and current is not ancestor:
        current = current.parent
    return current is ancestor


def null_when_empty(value: exp.Expr) -> bool:
    """Whether an expression over aggregates is NULL when there is no row to aggregate."""
    found = aggregates(value)
    return any(isinstance(call, NULL_WHEN_EMPTY) and strict(value, call) for call in found)


def _restriction(outer: exp.Select, tied: Correlation) -> exp.Select | None:
    """``SELECT key FROM r WHERE filters``: the values that the first tie's outer column can have, when filters on its
    own relation narrow them."""
    key = tied.ties[0].outer
    if not isinstance(key, exp.Column) or not only_inner(outer):
        return None
    for item in relations(outer):
        if relation_name(item) != key.table or not isinstance(item, exp.Table):
            continue
        local = [
            part
            for part in conjuncts(outer.args.get("where"))
            if part.find(exp.Query) is None and {node.table for node in part.find_all(exp.Column)} == {key.table}
        ]
        if local:
            select = exp.Select(expressions=[key.copy()])
            select.set("from_", exp.From(this=item.copy()))
            set_where(select, local)
            return select
    return None


def _rewritten(query: exp.Query, outer: exp.Select, subquery: exp.Subquery, *, restrict: bool) -> exp.Query:
    copy, nodes = copied(query, outer, subquery)
    new_outer, site = nodes
    assert isinstance(new_outer, exp.Select)
    assert isinstance(site, exp.Subquery)
    inner = site.this
    tied = correlation(inner, new_outer)
    assert tied is not None
    value = inner.expressions[0].unalias()
    counted = not null_when_empty(value)

    name = fresh_name(copy, "grouped")
    restriction = _restriction(new_outer, tied) if restrict else None
    own = list(tied.own)
    if restriction is not None:
        own.append(exp.In(this=tied.ties[0].inner.copy(), query=exp.Subquery(this=restriction)))
    keys = [f"key_{number}" for number in range(1, len(tied.ties) + 1)]
    grouped = inner.copy()
    grouped.set(
        "expressions",
        [
            *(exp.alias_(tie.inner.copy(), key) for tie, key in zip(tied.ties, keys, strict=True)),
            exp.alias_(value.copy(), "value"),
        ],
    )
    set_where(grouped, own)
    grouped.set("group", exp.Group(expressions=[tie.inner.copy() for tie in tied.ties]))
    condition = conjunction(
        exp.EQ(this=tie.outer.copy(), expression=column(name, key)) for tie, key in zip(tied.ties, keys, strict=True)
    )
    assert condition is not None
    result: exp.Expr = column(name, "value")
    if counted:
        result = exp.Coalesce(this=result, expressions=[exp.Literal.number(0)])
        site.replace(result)
        add_left_join(new_outer, derived(grouped, name), condition)
    else:
        site.replace(result)
        add_relation(new_outer, derived(grouped, name), condition)
    return copy
