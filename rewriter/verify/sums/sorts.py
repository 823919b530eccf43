"""Sorts of values, and how the engines convert between them where a comparison or an operator mixes them.

A conversion that may round, or that depends on an engine, stays a function of which nothing is known; one that cannot
be told at all is Unsupported. Nothing here folds what an engine might compute otherwise.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime
from fractions import Fraction

from sqlglot import exp

from rewriter.verify.sums.terms import Call, Expr, Literal, null

NULL = "null"  # the sort of a bare NULL, which adopts any other
EXACT = ("int", "num")
_IDENTICAL = frozenset({"int", "num", "float", "text", "bool", "date", "timestamp", NULL})
_DIGITS = 15  # decimal numerals of so many digits are different doubles when they are different (IEEE 754)
_SORTS = (
    ("int", exp.DataType.INTEGER_TYPES),
    ("num", {exp.DType.DECIMAL, exp.DType.BIGDECIMAL, exp.DType.MONEY, exp.DType.DECIMAL32, exp.DType.DECIMAL64}),
    ("float", exp.DataType.FLOAT_TYPES),
    ("text", {exp.DType.TEXT, exp.DType.VARCHAR, exp.DType.NVARCHAR, exp.DType.NAME}),
    ("char", {exp.DType.CHAR, exp.DType.NCHAR, exp.DType.BPCHAR}),
    ("bool", {exp.DType.BOOLEAN}),
    ("date", {exp.DType.DATE, exp.DType.DATE32}),
    ("timestamp", {exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ, exp.DType.DATETIME}),
)
_ZONE = re.compile(r" [+-][0-9]{2}$")  # both engines read over a time zone behind a date
_MICROSECONDS_A_DAY = 86_400_000_000


class Unsupported(Exception):
    """The rung cannot express this; the reason is for the reader of the verdict."""


def sort_of(kind: exp.DataType, dialect: str) -> str:
    """The sort of a type's values. DuckDB's CHAR is VARCHAR; that of Postgres is a sort of its own for each length,
    whose values are filled with blanks up to it."""
    for sort, kinds in _SORTS:
        if kind.this not in kinds or kind.args.get("nested"):
            continue
        if sort != "char":
            return sort
        if dialect == "duckdb":
            return "text"
        return f"char {kind.expressions[0].name}" if kind.expressions else "other bpchar"
    return "other " + kind.sql(dialect=dialect).lower()


def sort_of_text(kind: str, dialect: str) -> str:
    return sort_of(exp.DataType.build(kind, dialect=dialect, udt=True), dialect)


def identity(sort: str) -> bool:
    """Whether values of a sort that ``=`` takes for equal are the same value. INTERVAL '1 month' and '30 days' are
    equal and not the same; of a type that is not known here nobody can tell."""
    return sort in _IDENTICAL or sort.startswith("char ")


def require_identity(sorts: list[str]) -> None:
    """Raises Unsupported for a sort whose equal values differ: DISTINCT and GROUP BY keep any one of them."""
    for sort in sorts:
        if not identity(sort):
            raise Unsupported(f"values of the sort {sort} made distinct")


def comparable(values: list[Expr]) -> list[Expr]:
    """Two values as Postgres compares them where one is CHAR: blanks at the end do not count."""
    lengths = [int(sort[5:]) for sort in map(sort_of_expr, values) if sort.startswith("char ")]
    if not lengths or len({sort_of_expr(value) for value in values}) == 1:
        return values
    if len(lengths) == 1 and any(isinstance(v, Literal) and v.sort == "text" for v in values):
        return [_filled(v, lengths[0]) if isinstance(v, Literal) else v for v in values]
    off = "total blanks off"
    return [Call(off, (v,), "text") if sort_of_expr(v).startswith("char ") else v for v in values]


def _filled(value: Literal, length: int) -> Literal:
    text = None if value.value is None else value.value.rstrip(" ").ljust(length)
    return Literal(text, f"char {length}")


def number(text: str) -> Literal:
    """The value of a numeral."""
    if re.fullmatch(r"[0-9]+", text):
        return Literal(int(text), "int")
    if re.fullmatch(r"[0-9]*\.[0-9]*", text):
        return Literal(Fraction(text if text[-1] != "." else text + "0"), "num")
    return _rounded(Fraction(text), text)


def _rounded(value: Fraction, text: str) -> Literal:
    digits = re.sub(r"[eE].*|[^0-9]", "", text).strip("0")
    if len(digits) > _DIGITS:
        raise Unsupported(f"the numeral {text} has more digits than a double")
    return Literal(value, "float")


def parsed(text: str, sort: str) -> Literal:
    """A string constant where a value of ``sort`` is wanted."""
    try:
        if sort == "date":
            return Literal(date.fromisoformat(_ZONE.sub("", text)).toordinal(), "date")
        if sort == "timestamp":
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                since = moment - datetime(1, 1, 1)
                days = since.days + 1
                return Literal(days * _MICROSECONDS_A_DAY + since.seconds * 10**6 + since.microseconds, "timestamp")
        if sort == "int":
            return Literal(int(text), "int")
        if sort == "num":
            return Literal(Fraction(text), "num")
        if sort == "float":
            return _rounded(Fraction(text), text)
        if sort == "bool" and text.lower() in ("t", "true", "f", "false"):
            return Literal(text.lower()[0] == "t", "bool")
    except (ValueError, ZeroDivisionError):
        pass
    raise Unsupported(f"the string '{text}' where a {sort} is wanted")


def converted(value: Expr, sort: str) -> Expr:
    """``value`` as a value of ``sort``, where an engine converts by itself."""
    found = sort_of_expr(value)
    if found == sort:
        return value
    if isinstance(value, Literal) and value.value is None:
        return null(sort)
    if found == NULL and isinstance(value, Call):
        return replace(value, sort=sort)  # a parameter, which has the type that its place wants
    if isinstance(value, Literal) and found == "text":
        return parsed(value.value, sort)
    if found == "int" and sort == "num":
        return Literal(Fraction(value.value), "num") if isinstance(value, Literal) else Call("to num", (value,), "num")
    if found in EXACT and sort == "float":
        if isinstance(value, Literal):
            return _rounded(Fraction(value.value), str(value.value) if found == "int" else str(float(value.value)))
        return Call("to float", (value,), "float")
    if found == "date" and sort == "timestamp":
        if isinstance(value, Literal):
            return Literal(value.value * _MICROSECONDS_A_DAY, "timestamp")
        return Call("to timestamp", (value,), "timestamp")
    raise Unsupported(f"a {found} where a {sort} is wanted")


def common(sorts: list[str]) -> str:
    """The sort to which an engine converts values of several sorts that stand in one place."""
    known = {sort for sort in sorts if sort != NULL}
    if len(known) <= 1:
        return known.pop() if known else NULL
    for order in (("int", "num", "float"), ("date", "timestamp")):
        if known <= set(order):
            return max(known, key=order.index)
    raise Unsupported(f"values of the sorts {', '.join(sorted(known))} in one place")


def unified(values: list[Expr]) -> list[Expr]:
    """Values converted to their common sort. A string constant takes the sort of what it stands beside."""
    fixed = [value for value in values if not (isinstance(value, Literal) and value.sort == "text")] or values
    sort = common([sort_of_expr(value) for value in fixed])
    return [converted(value, "text" if sort == NULL and fixed is not values else sort) for value in values]


def sort_of_expr(value: Expr) -> str:
    return str(getattr(value, "sort", NULL))
