"""What an expression without columns is worth, as far as steering test data needs to know."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from rewriter.records import Value
from rewriter.verify.generate.domains import Kind, domain_of, shifted


class Unknown(Exception):
    """The expression is not a constant that this module can work out."""


def constant(node: exp.Expr) -> Value:
    """The value of a constant expression; None is SQL's NULL. Raises Unknown."""
    match node:
        case exp.Paren() | exp.Alias():
            return constant(node.this)
        case exp.Null():
            return None
        case exp.Boolean():
            return bool(node.this)
        case exp.Literal():
            return str(node.this) if node.is_string else _number(str(node.this))
        case exp.Neg():
            return -_numeric(node.this)
        case exp.Cast() | exp.TryCast():
            return _cast(constant(node.this), node.to)
        case exp.Date() | exp.TsOrDsToDate():
            return _cast(constant(node.this), exp.DataType.build("date"))
        case exp.Add() | exp.Sub():
            return _sum(node)
        case exp.DateAdd() | exp.TsOrDsAdd() | exp.DateSub():
            return _moved(
                node.this, node.expression, str(node.args.get("unit") or "day"), isinstance(node, exp.DateSub)
            )
        case exp.DPipe() | exp.Concat():
            parts = [constant(part) for part in (node.expressions or (node.this, node.expression))]
            return None if None in parts else "".join(map(str, parts))
        case exp.Mul():
            return _numeric(node.this) * _numeric(node.expression)
        case exp.Div():
            divisor = _numeric(node.expression)
            if divisor == 0:
                raise Unknown
            return Decimal(_numeric(node.this)) / Decimal(divisor)
    raise Unknown


def interval(node: exp.Expr) -> tuple[int, str]:
    """(amount, unit) of an INTERVAL. Raises Unknown."""
    if isinstance(node, exp.Interval):
        text = node.this.name if node.this is not None else ""
        unit = node.args.get("unit")
        if unit is None:
            found = re.fullmatch(r"\s*(-?\d+)\s*([a-zA-Z]+)\s*", text)
            if found:
                return int(found[1]), found[2]
        elif re.fullmatch(r"\s*-?\d+\s*", text):
            return int(text), str(unit.name)
    raise Unknown


def _sum(node: exp.Binary) -> Value:
    left, right = node.this, node.expression
    negative = isinstance(node, exp.Sub)
    if isinstance(right, exp.Interval):
        return _moved(left, right, "day", negative)
    first, second = constant(left), constant(right)
    if hasattr(first, "year") and isinstance(second, int):
        return _known(shifted(first, -second if negative else second, "day"))
    if isinstance(first, (int, Decimal)) and isinstance(second, (int, Decimal)):
        return first - second if negative else first + second
    raise Unknown


def _moved(base: exp.Expr, by: exp.Expr, unit: str, negative: bool) -> Value:
    moment = constant(base)
    if isinstance(moment, str):
        moment = _cast(moment, exp.DataType.build("timestamp"))
    if not hasattr(moment, "year"):
        raise Unknown
    if isinstance(by, exp.Interval):
        amount, unit = interval(by)
    else:
        amount = int(_numeric(by))
    return _known(shifted(moment, -amount if negative else amount, unit))


def _cast(value: Value, to: exp.DataType) -> Value:
    if value is None:
        return None
    domain = domain_of(to.sql(), "")
    if domain.kind is Kind.OTHER:
        raise Unknown
    return _known(domain.coerce(value))


def _known(value: Value) -> Value:
    if value is None:
        raise Unknown
    return value


def _numeric(node: exp.Expr) -> int | Decimal:
    value = constant(node)
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, (int, Decimal)):
        return value
    raise Unknown


def _number(text: str) -> int | Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Unknown from None
    if not number.is_finite():
        raise Unknown
    return int(number) if number == number.to_integral_value() and abs(number) < 10**18 else number
