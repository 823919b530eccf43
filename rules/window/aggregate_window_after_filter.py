"""Executable form of aggregate_window_after_filter.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from rules.aggregate.rows import MULTIPLYING, aggregates_from_within
from rules.build import conjuncts, drop_conjunct, set_where, substitute
from rules.core import own_aggregates
from rules.cte.filters import on_outputs, own_filters, semi_joins
from rules.facts import Facts
from rules.sites import copied, find_cte, grouping_sets, own_nodes, references, relations, selects

_COMPARING = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between, exp.Is)
# Equal values of these types look the same. Of other types, such as 1.0 and 1.00, they may not: only comparing is safe.
_EXACT = (
    exp.DataType.Type.SMALLINT,
    exp.DataType.Type.INT,
    exp.DataType.Type.BIGINT,
    exp.DataType.Type.TEXT,
    exp.DataType.Type.VARCHAR,
    exp.DataType.Type.DATE,
    exp.DataType.Type.BOOLEAN,
)


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Filters that take away whole partitions are applied before window functions: once those that stand above, once
    also the keys that a filtered table joined above has."""
    for select in selects(query):
        for item in relations(select):
            body = _windowed(query, item, facts)
            if body is None:
                continue
            own = [(part, inner) for part in own_filters(item, facts) if (inner := _inside(part, body, facts))]
            given = conjuncts(body.args.get("where"))
            inners = (_inside(part, body, facts) for part in semi_joins(item, facts))
            joined = [inner for inner in inners if inner is not None and inner not in given]
            choices: list[Sequence[exp.Expr]] = [()] if own else []
            for added in [*choices, *([joined] if joined else [])]:
                copy, nodes = copied(query, body, *(part for part, _ in own))
                site, above = nodes[0], nodes[1:]
                assert isinstance(site, exp.Select)
                set_where(site, [*conjuncts(site.args.get("where")), *(inner for _, inner in own), *added])
                for part in above:
                    drop_conjunct(part)
                yield copy


def _windowed(query: exp.Query, item: exp.Expr, facts: Facts) -> exp.Select | None:
    """The SELECT behind a relation when it has window functions, is read only here, and lets filters through."""
    body = facts.definition(item)
    alias = item.args.get("alias")
    cte = find_cte(item)
    if not isinstance(body, exp.Select) or (alias is not None and alias.columns):
        return None
    if cte is not None and (cte.args["alias"].columns or len(references(query, cte)) != 1):
        return None
    if any(body.args.get(clause) for clause in ("limit", "offset", "windows", "with_", "laterals")):
        return None
    if (body.args.get("distinct") or exp.Distinct()).args.get("on") or grouping_sets(body):
        return None
    group = body.args.get("group")
    if group is None and (own_aggregates(body) or body.args.get("having")):
        return None
    if group is not None and not group.expressions:
        return None
    if aggregates_from_within(body) or any(output.find(*MULTIPLYING) is not None for output in body.selects):
        return None
    windows = list(own_nodes(body, exp.Window))
    if not windows or any(window.args.get("alias") for window in windows) or not facts.deterministic(body):
        return None
    return body if len(set(body.named_selects)) == len(body.selects) else None


def _inside(part: exp.Expr, body: exp.Select, facts: Facts) -> exp.Expr | None:
    """A filter on the outputs of ``body`` as one on the rows that it reads; None when it might split a partition."""
    outputs = {output.alias_or_name: output.unalias() for output in body.selects}
    group = body.args.get("group")
    filter_ = on_outputs(part) if part.parent is not None else part
    for node in filter_.find_all(exp.Column):
        if node.table:
            continue
        value = outputs.get(node.name)
        if value is None or value.find(exp.Query, exp.Window, exp.AggFunc) is not None:
            return None
        for window in own_nodes(body, exp.Window):
            if not any(value == key for key in window.args.get("partition_by") or []):
                return None
        if group is not None and not any(value == key for key in group.expressions):
            return None
        if facts.type(value).this not in _EXACT and not isinstance(node.parent, _COMPARING):
            return None
    return substitute(filter_, lambda node: None if node.table else outputs[node.name])
