"""Executable form of quantified_to_aggregate.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import aggregates
from rules.facts import Facts
from rules.pattern_conditions import in_filter
from rules.sites import copied, grouping_sets

_GREATER, _LESS = (exp.GT, exp.GTE), (exp.LT, exp.LTE)
_ORDERED = (*exp.DataType.NUMERIC_TYPES, *exp.DataType.TEXT_TYPES, *exp.DataType.TEMPORAL_TYPES)


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A comparison with ANY or ALL values of a subquery becomes one with the smallest or the largest of them."""
    for node in query.find_all(*_GREATER, *_LESS):
        quantifier = node.expression
        if not isinstance(quantifier, (exp.Any, exp.All)) or not in_filter(node):
            continue
        select = _select(quantifier)
        if select is None or not _plain(select):
            continue
        value = select.selects[0].unalias()
        if facts.type(value).this not in _ORDERED or not facts.deterministic(select):
            continue
        if isinstance(quantifier, exp.All) and facts.nullable(value):
            continue
        copy, (site,) = copied(query, node)
        yield _rewritten(copy, site)


def _select(quantifier: exp.Any | exp.All) -> exp.Select | None:
    inner = quantifier.this
    while isinstance(inner, (exp.Subquery, exp.Paren)):
        inner = inner.this
    return inner if isinstance(inner, exp.Select) else None


def _plain(select: exp.Select) -> bool:
    """Whether the subquery returns one value for each of its joined rows."""
    if len(select.selects) != 1 or grouping_sets(select):
        return False
    clauses = ("group", "having", "limit", "offset", "qualify", "windows", "with_")
    if any(select.args.get(clause) for clause in clauses) or (select.args.get("distinct") or exp.Distinct()).args.get(
        "on"
    ):
        return False
    value = select.selects[0]
    return not aggregates(value) and value.find(exp.Window, exp.Query, exp.Anonymous) is None


def _rewritten(copy: exp.Query, site: exp.Expr) -> exp.Query:
    quantifier = site.expression
    select = _select(quantifier)
    assert select is not None
    smallest = isinstance(site, _GREATER) == isinstance(quantifier, exp.Any)
    inner = select.copy()
    value = inner.selects[0]
    call = (exp.Min if smallest else exp.Max)(this=value.unalias())
    inner.set("expressions", [exp.alias_(call, value.alias_or_name)])
    inner.set("distinct", None)
    inner.set("order", None)
    bound = exp.Subquery(this=inner)
    compared = type(site)(this=site.this.copy(), expression=bound)
    if isinstance(quantifier, exp.All):
        # Compared with all values of nothing, everything is true.
        empty = exp.Is(this=bound.copy(), expression=exp.Null())
        site.replace(exp.Paren(this=exp.Or(this=empty, expression=compared)))
    else:
        site.replace(compared)
    return copy
