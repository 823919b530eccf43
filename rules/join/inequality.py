"""Questions of the form "is there another row with another value": what the rules about them share."""

from __future__ import annotations

from sqlglot import exp

from rules.facts import Facts

_ORDERED = exp.DataType.NUMERIC_TYPES | exp.DataType.TEXT_TYPES | exp.DataType.TEMPORAL_TYPES


def has_extremes(value: exp.Expr, facts: Facts) -> bool:
    """Whether MIN and MAX exist for the type of ``value`` and order it by the same equality as ``<>``."""
    return facts.type(value).is_type(*_ORDERED)


def extremes(value: exp.Expr) -> tuple[exp.Min, exp.Max]:
    """``MIN(value)`` and ``MAX(value)``."""
    return exp.Min(this=value.copy()), exp.Max(this=value.copy())


def is_known(value: exp.Expr) -> exp.Not:
    """``value IS NOT NULL``."""
    return exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))
