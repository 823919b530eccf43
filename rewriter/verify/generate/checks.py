"""CHECK constraints evaluated on generated rows with SQL's three-valued logic.

Good enough to throw most violating rows away while generating; whether a database that is to count as a counterexample
really satisfies them is asked of an engine (``violations``).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from rewriter.records import Value
from rewriter.verify.generate.constants import Unknown, constant
from rewriter.verify.generate.domains import Kind, domain_of

_COMPARISONS: dict[type[exp.Expr], Callable[[Value, Value], bool]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
}
_ARITHMETIC: dict[type[exp.Expr], Callable[[Value, Value], Value]] = {
    exp.Add: operator.add,
    exp.Sub: operator.sub,
    exp.Mul: operator.mul,
}


def parse_check(text: str, dialect: str) -> exp.Expr | None:
    """The condition of a CHECK, written with or without the word; None when it cannot be parsed."""
    body = re.sub(r"^\s*CHECK\s*(?=\()", "", text, flags=re.IGNORECASE)
    body = re.sub(r"\)\s*(NOT VALID|NO INHERIT)\s*$", ")", body, flags=re.IGNORECASE)
    try:
        return parse_one(body, dialect=dialect)
    except SqlglotError:
        return None


def holds(condition: exp.Expr, row: Mapping[str, Value]) -> bool:
    """Whether a row (lower-case column names) may pass: True also for NULL, as SQL says, and for what this module
    cannot evaluate."""
    try:
        return _evaluate(condition, row) is not False
    except (Unknown, TypeError, ArithmeticError):
        return True


def violations(condition: exp.Expr, table: exp.Table) -> exp.Select:
    """The query that returns a row for each row of ``table`` that breaks the CHECK."""
    return exp.select("1").from_(table.copy()).where(exp.Not(this=exp.Paren(this=condition.copy())))


def _evaluate(node: exp.Expr, row: Mapping[str, Value]) -> Value:
    match node:
        case exp.Paren():
            return _evaluate(node.this, row)
        case exp.Column():
            return _read(node, row)
        case exp.And() | exp.Or():
            return _connect(node, row)
        case exp.Not():
            value = _evaluate(node.this, row)
            return None if value is None else not value
        case exp.Is():
            value = _evaluate(node.this, row)
            other = _evaluate(node.expression, row)
            return value is None if other is None else value is other
        case exp.In() if not node.args.get("query") and not node.args.get("unnest"):
            return _member(_evaluate(node.this, row), [_evaluate(item, row) for item in node.expressions])
        case exp.EQ() if isinstance(node.expression, exp.Any):
            return _any(node, row)
        case exp.Between():
            value = _evaluate(node.this, row)
            return _and(
                _compare(operator.ge, value, _evaluate(node.args["low"], row)),
                _compare(operator.le, value, _evaluate(node.args["high"], row)),
            )
        case exp.Length():
            value = _evaluate(node.this, row)
            return None if value is None else len(value)
        case exp.Upper() | exp.Lower():
            value = _evaluate(node.this, row)
            return None if value is None else value.upper() if isinstance(node, exp.Upper) else value.lower()
        case exp.Like():
            value, pattern = _evaluate(node.this, row), _evaluate(node.expression, row)
            if value is None or pattern is None:
                return None
            return like(value, pattern) != bool(node.args.get("negate"))
        case exp.Cast() if isinstance(node.this, exp.Column):
            value, domain = _evaluate(node.this, row), domain_of(node.to.sql(), "")
            if domain.kind is Kind.OTHER:
                raise Unknown
            return domain.coerce(value)
    if type(node) in _COMPARISONS:
        return _compare(_COMPARISONS[type(node)], _evaluate(node.this, row), _evaluate(node.expression, row))
    if type(node) in _ARITHMETIC:
        left, right = _evaluate(node.this, row), _evaluate(node.expression, row)
        return None if left is None or right is None else _ARITHMETIC[type(node)](left, right)
    return constant(node)


def _read(node: exp.Column, row: Mapping[str, Value]) -> Value:
    try:
        return row[node.name.lower()]
    except KeyError:
        raise Unknown from None


def _connect(node: exp.Expr, row: Mapping[str, Value]) -> Value:
    decisive = isinstance(node, exp.Or)
    sides: list[Value] = []
    for side in (node.this, node.expression):
        try:
            sides.append(_evaluate(side, row))
        except Unknown:
            sides.append(Unknown)
    if decisive in sides:
        return decisive
    if Unknown in sides:
        raise Unknown
    return None if None in sides else not decisive


def _compare(test: Callable[[Value, Value], bool], left: Value, right: Value) -> Value:
    if left is None or right is None:
        return None
    if hasattr(left, "year") and isinstance(right, str):
        right = domain_of("timestamp" if hasattr(left, "hour") else "date", "").coerce(right)
    return test(left, right)


def _and(left: Value, right: Value) -> Value:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def _member(value: Value, items: list[Value]) -> Value:
    if value is None:
        return None
    if any(item is not None and _compare(operator.eq, value, item) for item in items):
        return True
    return None if None in items else False


def _any(node: exp.EQ, row: Mapping[str, Value]) -> Value:
    items = node.expression.this
    while isinstance(items, (exp.Paren, exp.Cast)):
        items = items.this
    if not isinstance(items, exp.Array):
        raise Unknown
    return _member(_evaluate(node.this, row), [_evaluate(item, row) for item in items.expressions])


def like(text: str, pattern: str) -> bool:
    """SQL LIKE with ``%`` and ``_`` and no escape."""
    regex = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch(regex, text, re.DOTALL) is not None
