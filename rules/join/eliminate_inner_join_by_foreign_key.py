"""Executable form of eliminate_inner_join_by_foreign_key.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from rules.build import column, conjuncts, flatten_joins, set_where
from rules.facts import Facts
from rules.join.conditions import column_pair, drop_relation, droppable, holding, not_null, readable, uses
from rules.sites import copied, grouping_sets, only_inner, relation_name, relations, selects

# Types whose equal values are the same value, also when they are shown.
_EXACT = ("int", "bigint", "smallint", "tinyint", "date", "uuid", "varchar", "text", "boolean")


@dataclass(frozen=True)
class _Parent:
    """A relation that a foreign key of another one makes superfluous: its equalities, the child's columns in them by
    the parent's column, and what else reads the parent."""

    name: str
    equalities: tuple[exp.Expr, ...]
    child: dict[str, exp.Column]
    others: tuple[exp.Column, ...]


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """An inner join to the table that a foreign key refers to is dropped when nothing else is asked of that table."""
    for select in selects(query):
        if not readable(select):
            continue
        for item in relations(select):
            parent = _parent(select, item, facts)
            if parent is None:
                continue
            nullable = [node for node in parent.child.values() if facts.nullable(node)]
            copy, nodes = copied(query, select, *parent.equalities, *parent.others)
            site, dropped = nodes[0], nodes[1 : 1 + len(parent.equalities)]
            assert isinstance(site, exp.Select)
            for node in nodes[1 + len(parent.equalities) :]:
                own = parent.child[node.name]
                node.replace(column(own.table, own.name))
            drop_relation(site, parent.name, dropped)
            if any(node.find_ancestor(exp.Join) is not None for node in parent.others):
                flatten_joins(site)  # the child may be joined after the place where the parent was read
            set_where(site, [*conjuncts(site.args.get("where")), *map(not_null, nullable)])
            yield copy


def _parent(select: exp.Select, item: exp.Expr, facts: Facts) -> _Parent | None:
    target, name = facts.table(item), relation_name(item)
    if target is None or not droppable(select, name):
        return None
    # For each other relation and each pair of columns, the equality between them.
    found: dict[str, dict[tuple[str, str], exp.Expr]] = {}
    for part in holding(select):
        pair = column_pair(part, select)
        for one, other in (pair, pair[::-1]) if pair is not None else ():
            if one.table == name:
                found.setdefault(other.table, {}).setdefault((other.name, one.name), part)
    for child in relations(select):
        table = facts.table(child)
        equalities = found.get(relation_name(child), {})
        for key in table.foreign_keys if table is not None else ():
            wanted = list(zip(key.columns, key.referenced, strict=True))
            if not all(pair in equalities for pair in wanted) or not facts.unique(item, key.referenced):
                continue
            if not facts.references(child, key.columns, item, key.referenced):
                continue
            parts = tuple(equalities[pair] for pair in wanted)
            own_columns = {referenced: _side(equalities[own, referenced], name) for own, referenced in wanted}
            inside = {id(node) for part in parts for node in part.find_all(exp.Column)}
            others = tuple(node for node in uses(select, name) if id(node) not in inside)
            if all(_same(node, own_columns, select, facts) for node in others):
                return _Parent(name, parts, own_columns, others)
    return None


def _side(equality: exp.Expr, name: str) -> exp.Column:
    """The side of an equality that is not the parent's."""
    side = equality.this if equality.this.table != name else equality.args["expression"]
    assert isinstance(side, exp.Column)
    return side


def _same(node: exp.Column, child: dict[str, exp.Column], select: exp.Select, facts: Facts) -> bool:
    """Whether another use of the parent's column may read the child's column that is equal to it instead."""
    own = child.get(node.name)
    if own is None or node.find_ancestor(exp.Select) is not select or not only_inner(select) or grouping_sets(select):
        return False
    return facts.type(node) == facts.type(own) and facts.type(own).is_type(*_EXACT)
