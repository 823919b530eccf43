"""Mutants: the original with one small fault each. Databases on which a query and its mutant differ would have shown
that fault in a candidate; how many mutants a set of databases kills says how good a test it is.

The faults are those of Tuya, Suárez-Cabal and de la Riva, "Mutating database queries" (Information and Software
Technology, 2007): comparison operators, constants, join types, DISTINCT, aggregate functions, NULL tests, grouping,
ordering, set operations, and conditions that are lost. A mutant may be equivalent to the original; that cannot be told
in general, so what survives is shown and never explained away.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial

from sqlglot import exp

from rules.build import conjuncts
from rules.facts import Facts
from rules.sites import copied

MOST = 60  # mutants of one query
_SHOWN = 90  # characters of a fault

_COMPARED: dict[type[exp.Expr], tuple[type[exp.Expr], ...]] = {
    exp.EQ: (exp.NEQ, exp.LTE),
    exp.NEQ: (exp.EQ,),
    exp.LT: (exp.LTE, exp.GT),
    exp.LTE: (exp.LT, exp.GTE),
    exp.GT: (exp.GTE, exp.LT),
    exp.GTE: (exp.GT, exp.LTE),
}
_AGGREGATES: dict[type[exp.Expr], tuple[type[exp.Expr], ...]] = {
    exp.Sum: (exp.Max, exp.Count),
    exp.Avg: (exp.Max, exp.Min),
    exp.Min: (exp.Max,),
    exp.Max: (exp.Min,),
    exp.Count: (exp.Max,),
}


@dataclass(frozen=True)
class Mutant:
    """``fault`` says what was changed: ``a < b became a <= b``."""

    fault: str
    tree: exp.Query


def mutants(query: exp.Query, facts: Facts, seed: int = 0, most: int = MOST) -> list[Mutant]:
    """Up to ``most`` different mutants of a qualified query, in random order by ``seed``, so that those of which there
    was time to run are a fair sample. Some may not bind."""
    found: dict[str, Mutant] = {}
    original = query.sql(comments=False)
    for fault, tree in _all(query, facts):
        text = tree.sql(comments=False)
        if text != original:
            found.setdefault(text, Mutant(fault, tree))
    every = list(found.values())
    return random.Random(seed).sample(every, min(most, len(every)))  # noqa: S311 (reproducible, not a secret)


def without_conditions(query: exp.Query) -> list[Mutant]:
    """The mutants that lost one condition each: a predicate, or a join's equality."""
    return [
        Mutant(*made)
        for node in query.find_all(exp.Where, exp.Having, exp.Join)
        if (condition := node.args.get("on" if isinstance(node, exp.Join) else "this")) is not None
        for made in _lost(query, condition)
    ]


def _all(query: exp.Query, facts: Facts) -> Iterator[tuple[str, exp.Query]]:
    for node in query.walk():
        if type(node) in _COMPARED:
            for kind in _COMPARED[type(node)]:
                yield _changed(query, node, partial(_compared, kind))
        elif type(node) in _AGGREGATES:
            yield from _aggregate(query, node)
        elif isinstance(node, exp.Literal) and not node.is_string:
            yield from _number(query, node)
        elif isinstance(node, (exp.Is, exp.Exists, exp.In, exp.Between, exp.Like, exp.ILike)):
            yield _changed(query, node, lambda old: exp.Not(this=old.copy()))
        elif isinstance(node, exp.Or):
            yield _changed(query, node, lambda old: exp.And(this=old.this, expression=old.expression))
        elif isinstance(node, exp.SetOperation):
            yield from _set_operation(query, node)
        elif isinstance(node, exp.Join):
            yield from _join(query, node)
        elif isinstance(node, (exp.Where, exp.Having)):
            yield from _lost(query, node.this)
        elif isinstance(node, exp.Select):
            yield from _distinct(query, node, facts)
        elif isinstance(node, exp.Group):
            yield from _ungrouped(query, node)
    order = query.args.get("order")
    if order is not None:
        for key in order.expressions:
            yield _changed(query, key, _reversed)


def _compared(kind: type[exp.Expr], old: exp.Expr) -> exp.Expr:
    return kind(this=old.this, expression=old.expression)


def _called(kind: type[exp.Expr], old: exp.Expr) -> exp.Expr:
    return kind(this=old.this)


def _changed(query: exp.Query, node: exp.Expr, change: Callable[[exp.Expr], exp.Expr]) -> tuple[str, exp.Query]:
    """The query with ``change`` of one of its nodes in the node's place."""
    copy, (place,) = copied(query, node)
    after = change(place.copy())
    fault = f"{_short(node)} became {_short(after)}"
    if place is copy:
        assert isinstance(after, exp.Query)
        return fault, after
    if isinstance(after, (exp.Connector, exp.Not)) and isinstance(place.parent, (exp.Binary, exp.Unary)):
        after = exp.Paren(this=after)
    place.replace(after)
    return fault, copy


def _aggregate(query: exp.Query, node: exp.Expr) -> Iterator[tuple[str, exp.Query]]:
    inner = node.this
    if isinstance(inner, exp.Distinct):
        if len(inner.expressions) == 1:
            yield _changed(query, node, lambda old: type(old)(this=old.this.expressions[0]))
        return
    if isinstance(inner, exp.Star):
        return
    if isinstance(node, exp.Count):
        yield _changed(query, node, lambda _: exp.Count(this=exp.Star()))
    for kind in _AGGREGATES[type(node)]:
        yield _changed(query, node, partial(_called, kind))
    if isinstance(node, (exp.Sum, exp.Avg, exp.Count)) and not isinstance(node.parent, exp.Window):
        yield _changed(query, node, lambda old: type(old)(this=exp.Distinct(expressions=[old.this])))


def _number(query: exp.Query, node: exp.Literal) -> Iterator[tuple[str, exp.Query]]:
    parent = node.parent
    if isinstance(parent, (exp.Ordered, exp.Group, exp.DataTypeParam, exp.Alias)):
        return
    try:
        value = Decimal(node.name)
    except InvalidOperation:
        return
    place = parent if isinstance(parent, exp.Limit) else node
    for step in (1, -1):
        if value + step >= 0:
            yield _changed(query, place, partial(_numbered, str(value + step)))


def _numbered(text: str, old: exp.Expr) -> exp.Expr:
    number = exp.Literal.number(text)
    return exp.Limit(expression=number) if isinstance(old, exp.Limit) else number


def _set_operation(query: exp.Query, node: exp.SetOperation) -> Iterator[tuple[str, exp.Query]]:
    def toggled(old: exp.Expr) -> exp.Expr:
        old.set("distinct", not old.args.get("distinct"))
        return old

    if isinstance(node, exp.Union):
        yield _changed(query, node, toggled)
    else:
        other = exp.Except if isinstance(node, exp.Intersect) else exp.Intersect
        yield _changed(query, node, lambda old: other(**old.args))


def _join(query: exp.Query, node: exp.Join) -> Iterator[tuple[str, exp.Query]]:
    def sided(side: str | None) -> Callable[[exp.Expr], exp.Expr]:
        def change(old: exp.Expr) -> exp.Expr:
            old.set("side", side)
            old.set("kind", None)
            return old

        return change

    if node.args.get("on") is None or node.args.get("method"):
        return
    if node.side:
        yield _changed(query, node, sided(None))
        if node.side == "FULL":
            yield _changed(query, node, sided("LEFT"))
    elif node.kind in ("", "INNER"):
        yield _changed(query, node, sided("LEFT"))
    yield from _lost(query, node.args["on"])


def _lost(query: exp.Query, condition: exp.Expr) -> Iterator[tuple[str, exp.Query]]:
    """Each AND operand left out."""
    for part in conjuncts(condition):
        yield _changed(query, part, lambda _: exp.true())


def _distinct(query: exp.Query, node: exp.Select, facts: Facts) -> Iterator[tuple[str, exp.Query]]:
    distinct = node.args.get("distinct")
    copy, (select,) = copied(query, node)
    if distinct is None:
        if node is query and not facts.unique(node, node.named_selects):
            select.set("distinct", exp.Distinct())
            yield f"DISTINCT added to {_short(node)}", copy
    elif not distinct.args.get("on"):
        select.set("distinct", None)
        yield f"DISTINCT taken from {_short(node)}", copy


def _ungrouped(query: exp.Query, node: exp.Group) -> Iterator[tuple[str, exp.Query]]:
    """Each grouping column left out; where it is selected as well the mutant does not bind."""
    if len(node.expressions) < 2:
        return
    for position, key in enumerate(node.expressions):
        copy, (group,) = copied(query, node)
        group.set("expressions", [other for at, other in enumerate(group.expressions) if at != position])
        yield f"GROUP BY lost {_short(key)}", copy


def _reversed(key: exp.Expr) -> exp.Expr:
    key.set("desc", not key.args.get("desc"))
    return key


def _short(node: exp.Expr) -> str:
    text = " ".join(node.sql(comments=False).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
