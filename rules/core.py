"""The relations of one SELECT split in two: a core that is joined first, in a query of its own, and the rest around it.

Only SELECTs whose relations are joined by inner joins are split, so that it does not matter which join comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from rules.build import column, identifier, inner_conjuncts, set_where
from rules.facts import Facts
from rules.sites import only_inner, outer_columns, owner, relation_name, relations


def splittable(select: exp.Select, facts: Facts) -> bool:
    """Whether relations of the SELECT may be moved into a query of their own."""
    return (
        len(relations(select)) > 1
        and only_inner(select)
        and not select.args.get("windows")
        and not select.args.get("qualify")
        and len({relation_name(item) for item in relations(select)}) == len(relations(select))
        and not outer_columns(select)
        and all(facts.deterministic(part) for part in inner_conjuncts(select))
        and all(node.table for node in select.find_all(exp.Column) if owner(node) is select)
    )


def reads(part: exp.Expr, select: exp.Select) -> frozenset[str]:
    """The relations of ``select`` whose columns stand in an expression, at any depth."""
    return frozenset(node.table for node in part.find_all(exp.Column) if node.table and owner(node) is select)


def conditions(select: exp.Select) -> list[exp.Expr]:
    """The conjuncts of WHERE and ON."""
    return inner_conjuncts(select)


def neighbours(select: exp.Select) -> dict[str, set[str]]:
    """For each relation, those that an equality of two columns joins it to."""
    found: dict[str, set[str]] = {relation_name(item): set() for item in relations(select)}
    for part in inner_conjuncts(select):
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Column):
            left, right = part.this.table, part.expression.table
            if left != right and left in found and right in found:
                found[left].add(right)
                found[right].add(left)
    return found


def filtered(select: exp.Select) -> set[str]:
    """The relations that some conjunct reads alone."""
    found: set[str] = set()
    for part in inner_conjuncts(select):
        names = reads(part, select)
        if len(names) == 1:
            found |= names
    return found


def grown(start: Iterable[str], wanted: Iterable[str], joined: dict[str, set[str]]) -> frozenset[str]:
    """``start`` and those of ``wanted`` that can be joined to it, directly or through each other."""
    core, rest = set(start), set(wanted) - set(start)
    while True:
        reached = {name for name in rest if joined[name] & core}
        if not reached:
            return frozenset(core)
        core |= reached
        rest -= reached


def connected(names: Iterable[str], joined: dict[str, set[str]]) -> bool:
    """Whether the relations hang together by equalities."""
    pending = set(names)
    first = sorted(pending)[:1]
    return grown(first, pending, joined) == frozenset(pending)


@dataclass
class Core:
    """``inner`` joins the core's relations under the conjuncts that concern them alone, and has no outputs yet.

    ``rest`` are the other conjuncts; ``names`` gives each column of the core that is read outside of it (relation,
    name) the name that it has as an output of ``inner``.
    """

    inner: exp.Select
    rest: list[exp.Expr]
    names: dict[tuple[str, str], str]

    def outputs(self) -> list[exp.Expr]:
        """The core's columns as outputs of ``inner``."""
        return [exp.alias_(column(table, name), identifier(new)) for (table, name), new in self.names.items()]

    def columns(self) -> list[exp.Expr]:
        """The core's columns as ``inner`` sees them."""
        return [column(table, name) for table, name in self.names]


def cut(select: exp.Select, core: frozenset[str], outside: Sequence[exp.Expr]) -> Core:
    """Take the core's relations out of ``select``, in place. ``outside`` are the expressions of ``select`` that stay
    around the core. The caller adds outputs to ``inner`` and a relation for it to ``select``, by ``attach``."""
    parts = inner_conjuncts(select)
    inside = [part for part in parts if reads(part, select) <= core]
    rest = [part for part in parts if not reads(part, select) <= core]
    names: dict[tuple[str, str], str] = {}
    for part in (*outside, *rest):
        for node in part.find_all(exp.Column):
            if node.table in core and owner(node) is select and (node.table, node.name) not in names:
                taken = set(names.values())
                name, number = node.name, 1
                while name in taken:
                    number += 1
                    name = f"{node.name}_{number}"
                names[node.table, node.name] = name
    inner = exp.Select(expressions=[])
    for item in relations(select):
        if relation_name(item) in core:
            if inner.args.get("from_") is None:
                inner.set("from_", exp.From(this=item.copy()))
            else:
                inner.append("joins", exp.Join(this=item.copy()))
    set_where(inner, inside)
    return Core(inner, rest, names)


def attach(select: exp.Select, core: frozenset[str], made: Core, relation: exp.Expr) -> None:
    """Put ``relation``, which gives the outputs of ``made.inner``, in the place of the core's relations, in place."""
    alias = relation_name(relation)
    late = [item for item in relations(select) if relation_name(item) not in core]
    for node in list(select.find_all(exp.Column)):
        if node.table in core and owner(node) is select:
            new = made.names.get((node.table, node.name))
            if new is not None:
                node.set("this", identifier(new))
                node.set("table", identifier(alias))
    select.set("from_", exp.From(this=relation))
    select.set("joins", [exp.Join(this=item) for item in late])
    set_where(select, made.rest)


def biggest(select: exp.Select, facts: Facts) -> str:
    """The relation with the most rows as far as these are known; among equals the one joined to the most others."""
    joined = neighbours(select)
    names = [relation_name(item) for item in relations(select)]
    rows = {relation_name(item): facts.rows(item) or 0 for item in relations(select)}
    return max(names, key=lambda name: (rows[name], len(joined[name])))


def own_aggregates(select: exp.Select) -> list[exp.AggFunc]:
    """The aggregate calls that the grouping of ``select`` computes, also those inside the arguments of window
    functions; these themselves and nested queries are left out."""
    roots = [*select.expressions, *(select.args[key] for key in ("having", "order") if select.args.get(key))]
    return [
        node
        for root in roots
        for node in root.walk(prune=lambda inner: isinstance(inner, exp.Query))
        if isinstance(node, exp.AggFunc) and not isinstance(node, exp.Grouping) and not _windowed(node)
    ]


def _windowed(node: exp.Expr) -> bool:
    """Whether an aggregate is a window function: the call before OVER, with or without FILTER."""
    parent = node.parent
    if isinstance(parent, exp.Filter) and parent.this is node:
        node, parent = parent, parent.parent
    if isinstance(parent, (exp.IgnoreNulls, exp.RespectNulls)):
        node, parent = parent, parent.parent
    return isinstance(parent, exp.Window) and parent.this is node


def around(select: exp.Select) -> list[exp.Expr]:
    """The expressions of a SELECT outside of FROM, ON and WHERE."""
    clauses = [select.args.get(key) for key in ("group", "having", "order", "distinct")]
    return [*select.expressions, *(clause for clause in clauses if isinstance(clause, exp.Expr))]
