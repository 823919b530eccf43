"""Conditions of which no row passes both, as literals or the conditions themselves tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sqlglot import exp

Value = Decimal | datetime | str
Name = tuple[str, str]

_T = exp.DataType.Type
_INTEGERS = frozenset({_T.TINYINT, _T.SMALLINT, _T.INT, _T.BIGINT})
_TEXTS = frozenset({_T.TEXT, _T.VARCHAR, _T.CHAR, _T.BPCHAR})
_TIMES = frozenset({_T.DATE, _T.TIMESTAMP, _T.TIMESTAMPNTZ})
_MIRRORED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.LT: exp.GT,
    exp.GT: exp.LT,
    exp.LTE: exp.GTE,
    exp.GTE: exp.LTE,
    exp.EQ: exp.EQ,
    exp.NEQ: exp.NEQ,
}
# Comparisons of the same two operands that are not both true.
_OPPOSED = {
    frozenset(pair)
    for pair in ((exp.LT, exp.GTE), (exp.LT, exp.GT), (exp.LT, exp.EQ), (exp.GT, exp.LTE), (exp.GT, exp.EQ))
} | {frozenset((exp.EQ, exp.NEQ))}


def disjoint(
    one: Sequence[exp.Expr], other: Sequence[exp.Expr], type_of: Callable[[exp.Column], exp.DataType | None]
) -> bool:
    """Whether no row makes all of ``one`` and all of ``other`` true. Both are deterministic conjuncts on the same
    relations under the same names; ``type_of`` gives the type of a column of these, and None for any other column."""
    if any(_opposed(left.unnest(), right.unnest()) for left in one for right in other):
        return True
    allowed: dict[Name, _Allowed] = {}
    for part in (*one, *other):
        _restrict(allowed, part.unnest(), type_of)
    return any(values.none() for values in allowed.values())


def _opposed(one: exp.Expr, other: exp.Expr) -> bool:
    """``p`` and ``NOT p``; ``a < b`` and ``a >= b``."""
    for positive, negative in ((one, other), (other, one)):
        if isinstance(negative, exp.Not) and negative.this.unnest().sql() == positive.sql():
            return True
    left, right = _oriented(one), _oriented(other)
    return left is not None and right is not None and left[1:] == right[1:] and {left[0], right[0]} in _OPPOSED


def _oriented(part: exp.Expr) -> tuple[type[exp.Expr], str, str] | None:
    """A comparison with its operands in the order of their texts."""
    if type(part) not in _MIRRORED:
        return None
    left, right = part.this.unnest().sql(), part.expression.unnest().sql()
    return (type(part), left, right) if left <= right else (_MIRRORED[type(part)], right, left)


@dataclass
class _Allowed:
    """Which values of one column pass: those listed, if a list is given, that are within the bounds."""

    listed: set[Value] | None = None
    bounds: list[tuple[type[exp.Expr], Value]] = field(default_factory=list)
    null: bool = False  # only NULL passes
    known: bool = False  # NULL does not

    def none(self) -> bool:
        if self.null and self.known:
            return True
        if self.listed is not None:
            return not any(all(_within(value, *bound) for bound in self.bounds) for value in self.listed)
        lows = [(value, kind is exp.GTE) for kind, value in self.bounds if kind in (exp.GT, exp.GTE)]
        highs = [(value, kind is exp.LTE) for kind, value in self.bounds if kind in (exp.LT, exp.LTE)]
        return any(
            high < low or (high == low and not (low_too and high_too))  # type: ignore[operator]
            for low, low_too in lows
            for high, high_too in highs
        )


def _within(value: Value, kind: type[exp.Expr], bound: Value) -> bool:
    if kind is exp.NEQ:
        return value != bound
    if kind in (exp.GT, exp.GTE):
        return value > bound or (kind is exp.GTE and value == bound)  # type: ignore[operator]
    return value < bound or (kind is exp.LTE and value == bound)  # type: ignore[operator]


def _restrict(
    allowed: dict[Name, _Allowed], part: exp.Expr, type_of: Callable[[exp.Column], exp.DataType | None]
) -> None:
    """Note what one conjunct says of a column; conjuncts that are not understood say nothing."""
    if isinstance(part, exp.Is) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Null):
        if type_of(part.this) is not None:
            allowed.setdefault(_name(part.this), _Allowed()).null = True
        return
    if isinstance(part, exp.Not) and isinstance(part.this, exp.Is) and isinstance(part.this.expression, exp.Null):
        if isinstance(part.this.this, exp.Column) and type_of(part.this.this) is not None:
            allowed.setdefault(_name(part.this.this), _Allowed()).known = True
        return
    for column, kind, operands in _readings(part):
        type_ = type_of(column)
        if type_ is None:
            continue
        about = allowed.setdefault(_name(column), _Allowed())
        about.known = True  # whatever it is compared with
        known = [value for value in (_value(operand, type_) for operand in operands) if value is not None]
        if len(known) < len(operands):
            continue
        if kind is exp.EQ:
            about.listed = set(known) if about.listed is None else about.listed & set(known)
        elif kind is exp.NEQ or not isinstance(known[0], str):  # the order of texts depends on the collation
            about.bounds.append((kind, known[0]))


def _readings(part: exp.Expr) -> Iterable[tuple[exp.Column, type[exp.Expr], list[exp.Expr]]]:
    """A conjunct as comparisons of a column: with one operand, or (EQ) with any of several."""
    if type(part) in _MIRRORED:
        left, right = part.this, part.expression
        if isinstance(left, exp.Column):
            yield left, type(part), [right]
        if isinstance(right, exp.Column):
            yield right, _MIRRORED[type(part)], [left]
    elif isinstance(part, exp.In) and isinstance(part.this, exp.Column) and part.expressions:
        yield part.this, exp.EQ, list(part.expressions)
    elif isinstance(part, exp.Between) and isinstance(part.this, exp.Column) and not part.args.get("symmetric"):
        yield part.this, exp.GTE, [part.args["low"]]
        yield part.this, exp.LTE, [part.args["high"]]


def _name(column: exp.Column) -> Name:
    return column.table, column.name


def _value(operand: exp.Expr, type_: exp.DataType) -> Value | None:
    """A literal as a value of the column's type, such that different values are different in the engine too. Floating
    point is left out: its literals are rounded."""
    operand = operand.unnest()
    if type_.this in _TIMES:
        if isinstance(operand, exp.Cast) and operand.to.this in _TIMES and isinstance(operand.this, exp.Literal):
            if type_.this is _T.DATE and operand.to.this is not _T.DATE:
                return None
            operand = operand.this if operand.to.this is not _T.DATE or _day(operand.this) else operand
        if not isinstance(operand, exp.Literal) or not operand.is_string:
            return None
        return _day(operand) if type_.this is _T.DATE else _moment(operand)
    if type_.this in _TEXTS:
        # Blanks at the end do not count in CHAR, and some collations take capitals for small letters.
        return operand.name.rstrip().casefold() if isinstance(operand, exp.Literal) and operand.is_string else None
    number = operand.this if isinstance(operand, exp.Neg) else operand
    if not isinstance(number, exp.Literal) or number.is_string:
        return None
    form = r"\d+" if type_.this in _INTEGERS else r"\d+(\.\d+)?" if type_.this is _T.DECIMAL else None
    if form is None or not re.fullmatch(form, number.name):
        return None
    return -Decimal(number.name) if number is not operand else Decimal(number.name)


def _day(literal: exp.Expr) -> datetime | None:
    return _moment(literal) if re.fullmatch(r"\d{4}-\d\d-\d\d", literal.name) else None


def _moment(literal: exp.Expr) -> datetime | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", literal.name):
        return None
    try:
        return datetime.fromisoformat(literal.name)
    except ValueError:
        return None
