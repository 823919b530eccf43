"""What the conditions of a SELECT say about the rows that pass them, outer joins thought of."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from rules.aggregate.rows import plain_relations
from rules.build import COMPARISONS, column, conjunction, conjuncts, set_where
from rules.sites import owner, relation_name, relations

# Joins that may bring back, filled with NULL, rows of relations before them.
_UNDOING = ("RIGHT", "FULL")

# What constants may be made of: none of it reads rows or fails on other values.
_CONSTANT = (exp.Literal, exp.Cast, exp.Neg, exp.Add, exp.Sub, exp.Interval, exp.Parameter, exp.Placeholder, exp.Paren)
_CONSTANT_PARTS = (*_CONSTANT, exp.DataType, exp.DataTypeParam, exp.Var, exp.Identifier)


def joins_of(select: exp.Select) -> list[exp.Join]:
    """The joins of a SELECT, in order."""
    return list(select.args.get("joins") or [])


def is_comma(join: exp.Join) -> bool:
    """Whether a relation is joined by a comma."""
    return not any(join.args.get(key) for key in ("side", "kind", "on", "using", "method"))


def readable(select: exp.Select) -> bool:
    """Whether the joins may be read from left to right, each joining its relation to all before it.

    Commas bind less tightly than JOIN; that makes a difference to RIGHT and FULL joins only.
    """
    joins = joins_of(select)
    if any(is_comma(join) for join in joins) and any(join.side in _UNDOING for join in joins):
        return False
    if not plain_relations(select):
        return False
    if any(item.args.get("sample") or item.args.get("only") or _renamed(item) for item in relations(select)):
        return False
    return all(
        node.table or not isinstance(node.this, exp.Identifier)
        for root in (select.args.get("where"), *joins)
        if root is not None
        for node in root.find_all(exp.Column)
        if owner(node) is select
    )


def _renamed(item: exp.Expr) -> bool:
    """Whether the columns of a table have other names here than the catalog gives them."""
    alias = item.args.get("alias")
    return isinstance(item, exp.Table) and alias is not None and bool(alias.columns)


def holding(select: exp.Select) -> list[exp.Expr]:
    """The conjuncts that are true for every row which WHERE lets through: its own, and those of inner joins that no
    later join undoes."""
    found = conjuncts(select.args.get("where"))
    joins = joins_of(select)
    for at, join in enumerate(joins):
        if not join.side and not any(later.side in _UNDOING for later in joins[at + 1 :]):
            found.extend(conjuncts(join.args.get("on")))
    return found


def null_extended(select: exp.Select) -> set[str]:
    """Names of the relations whose columns an outer join of the SELECT may fill with NULL."""
    found: set[str] = set()
    before: set[str] = {relation_name(item) for item in relations(select)[:1]}
    for join in joins_of(select):
        name = relation_name(join.this)
        if join.side in _UNDOING:
            found |= before
        if join.side in ("LEFT", "FULL"):
            found.add(name)
        before.add(name)
    return found


def plain(part: exp.Expr, select: exp.Select) -> bool:
    """Whether a condition reads columns of the SELECT's own relations alone, without nested queries or aggregates."""
    if part.find(exp.Query, exp.AggFunc, exp.Window, exp.Lambda) is not None:
        return False
    return all(node.table and owner(node) is select for node in part.find_all(exp.Column))


def column_pair(part: exp.Expr, select: exp.Select) -> tuple[exp.Column, exp.Column] | None:
    """The sides of an equality of columns of two relations of the SELECT."""
    if not isinstance(part, exp.EQ) or not plain(part, select):
        return None
    left, right = part.this, part.expression
    if not isinstance(left, exp.Column) or not isinstance(right, exp.Column) or left.table == right.table:
        return None
    return left, right


def comparing(node: exp.Expr) -> bool:
    """Whether a condition consists of comparisons of columns with constants alone.

    Such a condition fails on no value, and treats equal values of one type alike.
    """
    if isinstance(node, (exp.And, exp.Or)):
        return comparing(node.this) and comparing(node.expression)
    if isinstance(node, (exp.Paren, exp.Not)):
        return comparing(node.this)
    if isinstance(node, COMPARISONS):
        sides = (node.this, node.expression)
        return any(isinstance(one, exp.Column) and constant(other) for one, other in (sides, sides[::-1]))
    if isinstance(node, exp.Like):
        pattern = node.expression
        plain_pattern = isinstance(pattern, exp.Literal) and "\\" not in pattern.name
        return isinstance(node.this, exp.Column) and plain_pattern
    if isinstance(node, exp.Between):
        bounds = (node.args["low"], node.args["high"])
        return isinstance(node.this, exp.Column) and not node.args.get("symmetric") and all(map(constant, bounds))
    if isinstance(node, exp.In):
        listed = node.expressions
        plain_list = bool(listed) and not any(node.args.get(key) for key in ("query", "unnest", "field", "is_global"))
        return isinstance(node.this, exp.Column) and plain_list and all(map(constant, listed))
    return False


def constant(node: exp.Expr) -> bool:
    """Whether an expression is made of literals and parameters."""
    return isinstance(node, _CONSTANT) and all(isinstance(part, _CONSTANT_PARTS) for part in node.walk())


def named(select: exp.Select, name: str) -> exp.Expr:
    """The FROM/JOIN item of that name."""
    return next(item for item in relations(select) if relation_name(item) == name)


def uses(select: exp.Select, name: str) -> list[exp.Column]:
    """All columns of a relation of the SELECT, at any depth."""
    return [node for node in select.find_all(exp.Column) if node.table == name and owner(node) is select]


def droppable(select: exp.Select, name: str) -> bool:
    """Whether ``drop_relation`` may be asked to drop a relation that is joined by comma, CROSS or INNER JOIN."""
    joins = joins_of(select)
    if not joins or any(join.side in _UNDOING for join in joins):
        return False
    if relation_name(relations(select)[0]) == name:
        return not joins[0].side
    return not named(select, name).parent.side  # type: ignore[union-attr]


def drop_relation(select: exp.Select, name: str, dropped: Iterable[exp.Expr]) -> None:
    """Take a relation and the ``dropped`` conjuncts out of a SELECT, in place; no others may read its columns. What
    else its ON says goes to WHERE."""
    gone = {id(part) for part in dropped}
    kept = [part for part in conjuncts(select.args.get("where")) if id(part) not in gone]
    joins = joins_of(select)
    removed: exp.Join | None = None
    if relation_name(relations(select)[0]) == name:
        removed = joins[0]
        select.set("from_", exp.From(this=removed.this))
    for join in joins:
        condition = conjuncts(join.args.get("on"))
        parts = [part for part in condition if id(part) not in gone]
        if relation_name(join.this) == name and removed is None:
            removed = join
        if join is removed:
            kept.extend(parts)
        elif len(parts) != len(condition):
            join.set("on", conjunction(parts) if parts or not join.side else exp.true())
            if not parts and not join.side:
                join.set("kind", "CROSS")
    select.set("joins", [join for join in joins if join is not removed])
    set_where(select, kept)


def spell_crosses(select: exp.Select) -> None:
    """Turn commas into CROSS JOIN where other joins stand besides, in place: then an ON may read every relation before
    it. RIGHT and FULL joins must not be among them."""
    joins = joins_of(select)
    if not all(map(is_comma, joins)):
        for join in filter(is_comma, joins):
            join.set("kind", "CROSS")


def not_null(node: exp.Column) -> exp.Not:
    """``column IS NOT NULL``."""
    return exp.Not(this=exp.Is(this=column(node.table, node.name), expression=exp.Null()))


def texts(parts: Iterable[exp.Expr]) -> set[str]:
    """The conditions as text, for comparing them."""
    return {part.sql() for part in parts}
