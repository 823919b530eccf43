"""Names in pattern rules: tables, what they go by, and columns; and that no name means something else afterwards.

A replacement may put an expression under a SELECT that has a relation of the same name, or outside of the SELECT that
its columns belong to. Such a match is passed over: what a template says must hold for the meaning, not for the text.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from rules.build import fresh_name
from rules.pattern_conditions import Bound
from rules.sites import find_cte, owner, relation_name, relations

MARK = "?"
ONE, LIST = f"{MARK}one:", f"{MARK}list:"
_HOME = "home"  # marks a bound column: "inside" or "outside" of what was matched


def column_key(node: exp.Expr) -> str | None:
    """Under which the column itself is bound that ``@a.@c`` has matched first; None for other nodes."""
    if not isinstance(node, exp.Column) or not node.table.startswith(MARK) or not node.name.startswith(MARK):
        return None
    return f"{ONE}{node.table.partition(':')[2]}.{node.name.partition(':')[2]}"


def same_table(one: exp.Table, other: exp.Table) -> bool:
    """Whether two table nodes of one query read the same table or CTE."""
    return (one.name, one.db, one.catalog) == (other.name, other.db, other.catalog) and find_cte(one) is find_cte(other)


def bound_table(node: exp.Table, found: exp.Table) -> None:
    """Let ``node`` of a template read what ``found`` reads, under its own name."""
    for key in ("this", "db", "catalog"):
        value = found.args.get(key)
        node.set(key, value.copy() if isinstance(value, exp.Expr) else None)
    cte = find_cte(found)
    node.meta["cte"] = None if cte is None else cte.sql()


def filled_names(tree: exp.Expr, bindings: Mapping[str, Bound]) -> None:
    """Put the bound names into a template, in place."""
    for node in list(tree.find_all(exp.Table)):
        found = bindings.get(node.name)
        if isinstance(found, exp.Table):
            bound_table(node, found)
    for name in list(tree.find_all(exp.Identifier)):
        whole = isinstance(name.parent, exp.Column) and not name.parent.table
        found = bindings.get(name.name)
        if not whole and isinstance(found, exp.Identifier):
            name.replace(found.copy())


def freshly_named(tree: exp.Expr, find: exp.Expr, query: exp.Query) -> exp.Expr:
    """``tree`` with names of its own for the relations that it adds, where the query has those names already."""
    taken = {name.name for name in query.find_all(exp.Identifier)}
    theirs = {alias.name for alias in find.find_all(exp.TableAlias)}
    for alias in list(tree.find_all(exp.TableAlias)):
        old = alias.name
        if old.startswith(MARK) or old in theirs or old not in taken:
            continue
        new = fresh_name(query, old, taken)
        taken.add(new)
        for name in tree.find_all(exp.Identifier):
            if name.name == old and (name.parent is alias or name.arg_key == "table"):
                name.set("this", new)
    return tree


def marked(value: Bound, node: exp.Expr) -> Bound:
    """A copy of what is bound in a match at ``node``, its columns marked by where their relations stand."""
    if isinstance(value, tuple):
        return tuple(_marked(item, node) for item in value)
    return _marked(value, node)


def _marked(value: exp.Expr, node: exp.Expr) -> exp.Expr:
    copy = value.copy()
    for before, after in zip(value.find_all(exp.Column), copy.find_all(exp.Column), strict=True):
        home = owner(before)
        if before.table and home is not None and not _within(home, value):
            after.meta[_HOME] = "inside" if _within(home, node) else "outside"
    return copy


def names_kept(made: exp.Expr) -> bool:
    """Whether every name below ``made``, a part of a query that has been put there, means what it did."""
    for select in made.find_all(exp.Select):
        names = [relation_name(item) for item in relations(select)]
        if len(names) != len(set(names)):
            return False
    for table in made.find_all(exp.Table):
        if "cte" in table.meta:
            cte = find_cte(table)
            if (None if cte is None else cte.sql()) != table.meta["cte"]:
                return False
    for column in made.find_all(exp.Column):
        if not column.table:
            continue
        home = owner(column)
        if home is None:
            return False
        was = column.meta.pop(_HOME, None)
        if was is not None and was != ("inside" if _within(home, made) else "outside"):
            return False
    return True


def _within(node: exp.Expr, outer: exp.Expr) -> bool:
    above: exp.Expr | None = node
    while above is not None:
        if above is outer:
            return True
        above = above.parent
    return False
