"""Operands of set operations, and putting another query in the place of one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from rules.build import column, derived, identifier
from rules.cte.push import same_types
from rules.facts import Facts

_CARRIED = ("with_", "order", "limit", "offset")


def operands(query: exp.SetOperation, kind: type[exp.SetOperation]) -> list[exp.Query] | None:
    """The operands of a chain ``((a OP b) OP c)`` of one kind, left to right. None when an operand has clauses of its
    own that would be lost, or the operation keeps duplicates."""
    found: list[exp.Query] = []
    node: exp.Expr = query
    while isinstance(node, kind):
        if not node.args.get("distinct") or node.args.get("by_name"):
            return None
        if node is not query and any(node.args.get(clause) for clause in _CARRIED):
            return None
        right = _unbracketed(node.expression)
        if not _plain(right):
            return None
        assert isinstance(right, exp.Query)
        found.append(right)
        node = _unbracketed(node.this)
    if not _plain(node):
        return None
    assert isinstance(node, exp.Query)
    return [node, *reversed(found)]


def _unbracketed(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Subquery) and not any(value for key, value in node.args.items() if key != "this"):
        node = node.this
    return node


def _plain(node: exp.Expr) -> bool:
    """Whether an operand is a SELECT; one with LIMIT or the like stands in brackets and is left alone."""
    if not isinstance(node, exp.Select) or any(node.args.get(clause) for clause in _CARRIED):
        return False
    names = node.named_selects
    return len(set(names)) == len(names) and all(names)


def comparable(parts: Sequence[exp.Query], facts: Facts) -> bool:
    """Whether all operands give every column the same known type, and contain nothing volatile."""
    same = all(same_types(parts[0], part, facts) for part in parts[1:])
    return same and all(facts.deterministic(part) for part in parts)


def read(query: exp.Query, alias: str, names: Sequence[str]) -> exp.Subquery:
    """``query`` as a derived table whose columns are called ``names``."""
    copy = query.copy()
    outputs = [exp.alias_(output.unalias(), identifier(name)) for output, name in zip(copy.selects, names, strict=True)]
    copy.set("expressions", outputs)
    return derived(copy, alias)


def columns(alias: str, names: Sequence[str]) -> list[exp.Expr]:
    """The columns of a derived table as outputs of the same names."""
    return [exp.alias_(column(alias, name), identifier(name)) for name in names]


def put(copy: exp.Query, site: exp.SetOperation, made: exp.Select) -> exp.Query:
    """``copy`` with ``made`` in the place of the set operation, whose WITH, ORDER BY and LIMIT it takes over."""
    for clause in _CARRIED:
        if site.args.get(clause) is not None:
            made.set(clause, site.args[clause])
    if site is copy:
        return made
    site.replace(made)
    return copy
