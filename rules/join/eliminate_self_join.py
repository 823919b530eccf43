"""Executable form of eliminate_self_join.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import column, conjunction, conjuncts, set_where
from rules.facts import Facts
from rules.join.conditions import (
    column_pair,
    drop_relation,
    droppable,
    holding,
    named,
    not_null,
    plain,
    readable,
    spell_crosses,
    uses,
)
from rules.sites import copied, grouping_sets, only_inner, owner, relation_name, relations, selects, with_of


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Two references to one table that are joined on its key become one; so does a row that is looked for again in its
    own table by IN."""
    for select in selects(query):
        if not readable(select):
            continue
        items = relations(select)
        for at, kept in enumerate(items):
            for dropped in items[at + 1 :]:
                merged = _merged(query, select, kept, dropped, facts)
                if merged is not None:
                    yield merged
        for part in holding(select):
            replaced = _looked_up_again(part, select, facts)
            if replaced is not None:
                copy, (site,) = copied(query, part)
                site.replace(replaced)
                yield copy


def _merged(query: exp.Query, select: exp.Select, kept: exp.Expr, dropped: exp.Expr, facts: Facts) -> exp.Query | None:
    table, old, new = facts.table(kept), relation_name(dropped), relation_name(kept)
    if table is None or table != facts.table(dropped) or not droppable(select, old) or grouping_sets(select):
        return None
    equal: dict[str, exp.Expr] = {}
    for part in holding(select):
        pair = column_pair(part, select)
        if pair is not None and {pair[0].table, pair[1].table} == {old, new} and pair[0].name == pair[1].name:
            equal[pair[0].name] = part
    if not facts.unique(kept, equal):
        return None
    inside = {id(node) for part in equal.values() for node in part.find_all(exp.Column)}
    others = [node for node in uses(select, old) if id(node) not in inside]
    if any(_shadowed(node, select, new) for node in others):
        return None
    present = [not_null(exp.column(name, table=new)) for name, part in equal.items() if _nullable(part, new, facts)]
    copy, nodes = copied(query, select, *equal.values(), *others)
    site, parts = nodes[0], nodes[1 : 1 + len(equal)]
    assert isinstance(site, exp.Select)
    for node in nodes[1 + len(equal) :]:
        node.replace(column(new, node.name))
    spell_crosses(site)
    drop_relation(site, old, parts)
    set_where(site, [*conjuncts(site.args.get("where")), *present])
    return copy


def _nullable(equality: exp.Expr, name: str, facts: Facts) -> bool:
    """Whether the kept relation's column in an equality may be NULL, also by an outer join."""
    return any(facts.nullable(side) for side in equality.find_all(exp.Column) if side.table == name)


def _shadowed(node: exp.Column, select: exp.Select, name: str) -> bool:
    """Whether ``name`` would mean another relation than the SELECT's where ``node`` stands."""
    scope = node.find_ancestor(exp.Select)
    while scope is not None and scope is not select:
        if any(relation_name(item) == name for item in relations(scope)):
            return True
        scope = scope.find_ancestor(exp.Select)
    return False


def _looked_up_again(part: exp.Expr, select: exp.Select, facts: Facts) -> exp.Expr | None:
    """What ``column IN (SELECT column FROM its table WHERE filters)`` says of the row itself."""
    if not isinstance(part, exp.In) or not isinstance(part.this, exp.Column) or owner(part.this) is not select:
        return None
    subquery = part.args.get("query")
    inner = subquery.unnest() if isinstance(subquery, exp.Subquery) else subquery
    if not isinstance(inner, exp.Select) or len(inner.selects) != 1 or not only_inner(inner) or not readable(inner):
        return None
    if with_of(inner) is not None or len(relations(inner)) != 1:
        return None
    if any(inner.args.get(clause) for clause in ("group", "having", "limit", "offset", "qualify", "windows")):
        return None
    if inner.args.get("distinct") is not None and inner.args["distinct"].args.get("on"):
        return None
    item, tested, found = relations(inner)[0], part.this, inner.selects[0].unalias()
    table = facts.table(item)
    if table is None or table != facts.table(named(select, tested.table)):
        return None
    if not isinstance(found, exp.Column) or found.name != tested.name or owner(found) is not inner:
        return None
    filters = conjuncts(inner.args.get("where"))
    if not all(plain(condition, inner) and facts.deterministic(condition) for condition in filters):
        return None
    # A filter says something of the row itself only when no other row has the same value.
    if filters and not facts.unique(item, [found.name]):
        return None
    about = [condition.copy() for condition in filters]
    for condition in about:
        for node in list(condition.find_all(exp.Column)):
            node.set("table", column(tested.table, tested.name).args["table"])
    if facts.nullable(tested):
        about.append(not_null(tested))
    return conjunction(about) if about else exp.true()
