"""Terms: what an expression says about one column of one witness row.

A term is a variable (a column of one occurrence of a base table) together with the steps that turn a wanted value of
the expression into a value of the column: ``substr(c, 1, 2) = '13'`` wants ``c = '13'``; ``a + 1 = 5`` wants ``a = 4``.
Aggregates stand for their argument, so that ``SUM(x) > 100`` wants a row with ``x > 100``. All of this only steers:
a wrong guess costs a database that shows nothing, never a wrong verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from sqlglot import exp

from rewriter.records import Value
from rewriter.verify.generate.constants import Unknown, constant
from rewriter.verify.generate.domains import Domain
from rewriter.verify.generate.relations import Relation


@dataclass(eq=False)
class Variable:
    """One column of one occurrence of a relation in a witness."""

    relation: Relation
    column: str
    occurrence: int

    @property
    def domain(self) -> Domain:
        return self.relation.domains[self.column]


@dataclass(frozen=True)
class Term:
    """``kind`` is variable, constant, count or opaque. ``inverse`` is applied in order to a wanted value."""

    kind: str
    variable: Variable | None = None
    value: Value = None
    inverse: tuple[Callable[[Value], Value], ...] = ()
    flips: bool = False

    def wanted(self, value: Value) -> Value:
        """The value of the variable that makes the expression ``value``; None when there is none."""
        for step in self.inverse:
            if value is None:
                return None
            try:
                value = step(value)
            except (TypeError, ValueError, ArithmeticError, AttributeError):
                return None
        return value

    def through(self, step: Callable[[Value], Value], *, flips: bool = False) -> Term:
        """This term under one more function; ``step`` undoes that function, ``flips``: it reverses order."""
        if self.kind != "variable":
            return OPAQUE
        return replace(self, inverse=(step, *self.inverse), flips=self.flips != flips)


OPAQUE = Term("opaque")
NULL = Term("constant")
Resolve = Callable[[exp.Column], Term]

# Functions whose result is, for steering, their first argument.
_TRANSPARENT = (
    exp.Paren, exp.Alias, exp.Cast, exp.TryCast, exp.Sum, exp.Min, exp.Max, exp.Avg, exp.AnyValue, exp.First, exp.Last,
    exp.Coalesce, exp.Round, exp.Abs, exp.Trim, exp.Nullif, exp.Filter, exp.Window, exp.Distinct, exp.Lower, exp.Upper,
    exp.Date, exp.TsOrDsToDate, exp.TimestampTrunc, exp.DateTrunc, exp.Ceil, exp.Floor, exp.Collate, exp.Order,
)  # fmt: skip


def term(node: exp.Expr, resolve: Resolve, subquery: Callable[[exp.Query], Term]) -> Term:
    """The term of an expression; ``resolve`` looks columns up, ``subquery`` enters a scalar subquery."""

    def inner(child: exp.Expr) -> Term:
        return term(child, resolve, subquery)

    if isinstance(node, exp.Column):
        return resolve(node)
    try:
        return Term("constant", value=constant(node))
    except Unknown:
        pass
    if isinstance(node, exp.Count):
        return Term("count")
    if isinstance(node, exp.Subquery):
        inner_query = node.unnest()
        return subquery(inner_query) if isinstance(inner_query, exp.Query) else OPAQUE
    if isinstance(node, _TRANSPARENT):
        if isinstance(node, exp.Distinct):
            return inner(node.expressions[0]) if node.expressions else OPAQUE
        return inner(node.this) if isinstance(node.this, exp.Expr) else OPAQUE
    if isinstance(node, (exp.Substring, exp.Left)):
        return _prefix(node, inner)
    if isinstance(node, (exp.Extract, exp.Year, exp.Month, exp.Day, exp.DayOfMonth, exp.Quarter)):
        return _date_part(node, inner)
    if isinstance(node, exp.Neg):
        return inner(node.this).through(lambda value: -value, flips=True)
    if isinstance(node, (exp.Add, exp.Sub, exp.Mul, exp.Div)):
        return _arithmetic(node, inner)
    if isinstance(node, exp.Case):
        for branch in node.args["ifs"]:
            found = inner(branch.args["true"])
            if found.kind == "variable":
                return found
    return OPAQUE


def _prefix(node: exp.Expr, inner: Callable[[exp.Expr], Term]) -> Term:
    try:
        start = int(constant(node.args["start"])) if isinstance(node, exp.Substring) else 1
    except (Unknown, KeyError, TypeError, ValueError):
        return OPAQUE
    return inner(node.this).through(lambda value: "x" * (start - 1) + str(value) if start >= 1 else None)


def _date_part(node: exp.Expr, inner: Callable[[exp.Expr], Term]) -> Term:
    part = node.name.lower() if isinstance(node, exp.Extract) else type(node).__name__.lower()
    base = inner(node.expression if isinstance(node, exp.Extract) else node.this)
    match part:
        case "year":
            return base.through(lambda value: date(int(value), 1, 15))
        case "month":
            return base.through(lambda value: date(2000, int(value), 15))
        case "quarter":
            return base.through(lambda value: date(2000, int(value) * 3, 15))
        case "day" | "dayofmonth":
            return base.through(lambda value: date(2000, 1, int(value)))
    return OPAQUE


def _arithmetic(node: exp.Binary, inner: Callable[[exp.Expr], Term]) -> Term:
    left, right = inner(node.this), inner(node.expression)
    if right.kind == "constant" and left.kind == "variable":
        found, other, first = left, right.value, True
    elif left.kind == "constant" and right.kind == "variable":
        found, other, first = right, left.value, False
    else:
        return left if left.kind == "variable" else right
    if isinstance(other, bool) or not isinstance(other, (int, Decimal)):
        return found
    number = Decimal(other)
    match node:
        case exp.Add():
            return found.through(lambda value: Decimal(value) - number)
        case exp.Sub():
            if first:
                return found.through(lambda value: Decimal(value) + number)
            return found.through(lambda value: number - Decimal(value), flips=True)
        case exp.Mul():
            return found.through(lambda value: Decimal(value) / number, flips=number < 0)
    if first:
        return found.through(lambda value: Decimal(value) * number, flips=number < 0)
    return found.through(lambda value: number / Decimal(value), flips=True)
