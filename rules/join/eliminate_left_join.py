"""Executable form of eliminate_left_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.aggregate.rows import aggregates_from_within, multiplies
from rules.build import conjuncts
from rules.core import own_aggregates
from rules.facts import Facts
from rules.join.conditions import joins_of, plain, readable, uses
from rules.sites import copied, relation_name, selects


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """A left join whose right side nothing reads is dropped when it can repeat no row, or repeated rows make no
    difference."""
    for select in selects(query):
        if not readable(select):
            continue
        for at, join in enumerate(joins_of(select)):
            if join.side != "LEFT" or not _unread(select, join) or not facts.deterministic(join):
                continue
            if not _found_once(select, join, facts) and not _ignores_duplicates(select, facts):
                continue
            copy, (site,) = copied(query, select)
            site.set("joins", [other for index, other in enumerate(joins_of(site)) if index != at])
            yield copy


def _unread(select: exp.Select, join: exp.Join) -> bool:
    """Whether only the join's own condition reads the columns of its relation."""
    condition = join.args.get("on")
    inside = {id(node) for node in condition.find_all(exp.Column)} if condition is not None else set()
    return all(id(node) in inside for node in uses(select, relation_name(join.this)))


def _found_once(select: exp.Select, join: exp.Join, facts: Facts) -> bool:
    """Whether ON fixes a key of the joined relation for each row before it."""
    name, fixed = relation_name(join.this), set()
    for part in conjuncts(join.args.get("on")):
        if not isinstance(part, exp.EQ) or not plain(part, select):
            continue
        for one, other in ((part.this, part.expression), (part.expression, part.this)):
            outside = all(node.table != name for node in other.find_all(exp.Column))
            if isinstance(one, exp.Column) and one.table == name and outside:
                fixed.add(one.name)
    return facts.unique(join.this, fixed)


def _ignores_duplicates(select: exp.Select, facts: Facts) -> bool:
    """Whether the SELECT gives the same rows when some of its joined rows repeat."""
    distinct = select.args.get("distinct")
    calls = own_aggregates(select)
    if (distinct is None and select.args.get("group") is None and not calls) or aggregates_from_within(select):
        return False
    if (distinct is not None and distinct.args.get("on")) or not facts.deterministic(select):
        return False
    if any(select.args.get(clause) for clause in ("qualify", "windows")):
        return False
    outside = [node for key, node in select.args.items() if key not in ("from_", "joins", "with_")]
    roots = [part for node in outside for part in (node if isinstance(node, list) else [node])]
    read = [part for part in roots if isinstance(part, exp.Expr)]
    # A function that is not known may be an aggregate or give several rows.
    if any(part.find(exp.Window, exp.Anonymous, exp.AnonymousAggFunc) is not None for part in read):
        return False
    return not multiplies(select) and all(map(_ignores, calls))


def _ignores(call: exp.AggFunc) -> bool:
    """Whether an aggregate gives the same when values repeat."""
    if call.expressions:  # MIN(x, n) lists several values
        return False
    if isinstance(call, (exp.Min, exp.Max)):
        return True
    return isinstance(call, (exp.Count, exp.Sum, exp.Avg)) and isinstance(call.this, exp.Distinct)
