"""Scalar expressions of SQL as values and conditions.

A predicate is translated twice over: the condition that it is true and the condition that it is false; where neither
holds it is unknown. So SQL's three truth values need no logic of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Protocol

from sqlglot import exp

from rewriter.verify.sums.functions import converted_by_cast, scalar_function
from rewriter.verify.sums.sorts import (
    EXACT,
    NULL,
    Unsupported,
    comparable,
    converted,
    identity,
    number,
    require_identity,
    sort_of,
    sort_of_expr,
    unified,
)
from rewriter.verify.sums.terms import (
    FALSE,
    TRUE,
    Aggregate,
    Bag,
    Call,
    Exists,
    Expr,
    Literal,
    Term,
    every,
    negated,
    null,
    present,
    same,
    some,
)

TRUE_VALUE, FALSE_VALUE, NO_VALUE = Literal(True, "bool"), Literal(False, "bool"), null("bool")
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}


class Place(Protocol):
    """Where an expression stands: what its columns, subqueries and aggregates mean there."""

    @property
    def dialect(self) -> str: ...
    def column(self, node: exp.Column) -> Expr: ...
    def replaced(self, node: exp.Expr) -> Expr | None: ...
    def subquery(self, query: exp.Expr) -> Bag: ...
    def aggregate(self, node: exp.Expr) -> Expr: ...
    def window(self, node: exp.Window) -> Expr: ...


def truth(node: exp.Expr, scope: Place) -> Expr:
    """The condition that a predicate is true."""
    return _condition(node, scope, wanted=True)


def falsity(node: exp.Expr, scope: Place) -> Expr:
    """The condition that a predicate is false."""
    return _condition(node, scope, wanted=False)


def _condition(node: exp.Expr, scope: Place, *, wanted: bool) -> Expr:
    if scope.replaced(node) is None:
        match node:
            case exp.Paren():
                return _condition(node.this, scope, wanted=wanted)
            case exp.Not():
                return _condition(node.this, scope, wanted=not wanted)
            case exp.And() | exp.Or():
                parts = [_condition(side, scope, wanted=wanted) for side in (node.left, node.right)]
                return every(parts) if isinstance(node, exp.And) is wanted else some(parts)
            case exp.Boolean():
                return TRUE if bool(node.this) is wanted else FALSE
            case exp.Exists():
                some_row = Exists(_without_outputs(scope.subquery(node.this)))
                return some_row if wanted else negated(some_row)
            case exp.Is() | exp.NullSafeEQ() | exp.NullSafeNEQ():
                found = _two_valued(node, scope)
                # Postgres: IS NOT NULL is a flag of IS.
                return found if wanted is not bool(node.args.get("negate")) else negated(found)
            case exp.Between():
                low: exp.Expr = exp.GTE(this=node.this.copy(), expression=node.args["low"].copy())
                high: exp.Expr = exp.LTE(this=node.this.copy(), expression=node.args["high"].copy())
                if node.args.get("symmetric"):
                    raise Unsupported("BETWEEN SYMMETRIC")
                parts = [_condition(part, scope, wanted=wanted) for part in (low, high)]
                return every(parts) if wanted else some(parts)
            case exp.In():
                return _membership(node, scope, wanted=wanted)
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return _comparison(node, scope, wanted=wanted)
    value = converted(node_value(node, scope), "bool")
    return holds(value, wanted)


def holds(value: Expr, wanted: bool = True) -> Expr:
    """The condition that a boolean value is true, or that it is false."""
    if isinstance(value, Literal):
        return TRUE if value.value is wanted else FALSE
    if isinstance(value, Call) and value.name == "case":
        *branches, otherwise = value.arguments
        found: list[Expr] = []
        before: Expr = TRUE
        for condition, result in zip(branches[::2], branches[1::2], strict=True):
            found.append(every((before, condition, holds(result, wanted))))
            before = every((before, negated(condition)))
        return some([*found, every((before, holds(otherwise, wanted)))])
    return Call("is true" if wanted else "is false", (value,))


def _without_outputs(bag: Bag) -> Bag:
    return Bag(tuple(Term(term.variables, term.conditions, ()) for term in bag.terms))


def _two_valued(node: exp.Expr, scope: Place) -> Expr:
    if isinstance(node, exp.Is):
        other = node.expression
        if isinstance(other, exp.Null):
            return negated(present(node_value(node.this, scope)))
        if isinstance(other, exp.Boolean):
            return _condition(node.this, scope, wanted=bool(other.this))
        if isinstance(other, exp.Not) and isinstance(other.this, exp.Null):
            return present(node_value(node.this, scope))
        if not isinstance(other, (exp.Var, exp.Column)) or other.name.upper() != "UNKNOWN":
            raise Unsupported(f"IS {other.sql()}")
        return negated(present(node_value(node.this, scope)))
    one, two = unified([node_value(side, scope) for side in (node.this, node.expression)])
    require_identity([sort_of_expr(one)])
    return same(one, two) if isinstance(node, exp.NullSafeEQ) else negated(same(one, two))


def compared(operator: str, one: Expr, two: Expr, *, wanted: bool) -> Expr:
    """The condition that a comparison of two values is true, or false."""
    one, two = unified(comparable([one, two]))
    sort = sort_of_expr(one)
    for value in (one, two):
        if isinstance(value, Literal) and value.value is None:
            return FALSE
    if isinstance(one, Literal) and isinstance(two, Literal) and sort in (*EXACT, "date", "timestamp", "bool"):
        return TRUE if _folded(operator, one.value, two.value) is wanted else FALSE
    call = Call(operator, (one, two), "bool")
    return Call("is true" if wanted else "is false", (call,))


def _folded(operator: str, one: int, two: int) -> bool:
    return {
        "=": one == two,
        "<>": one != two,
        "<": one < two,
        "<=": one <= two,
        ">": one > two,
        ">=": one >= two,
    }[operator]


def _operands(node: exp.Expr) -> list[exp.Expr]:
    node = node.unnest()
    return list(node.expressions) if isinstance(node, exp.Tuple) else [node]


def _comparison(node: exp.Binary, scope: Place, *, wanted: bool) -> Expr:
    operator = _COMPARISONS[type(node)]
    left, right = node.left, node.right
    if isinstance(right, (exp.Any, exp.All)):
        return _quantified(operator, left, right, scope, wanted=wanted)
    if isinstance(left, (exp.Any, exp.All)):
        raise Unsupported("ANY or ALL on the left of a comparison")
    ones, twos = _operands(left), _operands(right)
    if len(ones) != len(twos):
        raise Unsupported("rows of different width compared")
    values = [node_value(one, scope) for one in ones], [node_value(two, scope) for two in twos]
    return _rows(operator, *values, wanted=wanted)


def _rows(operator: str, ones: Sequence[Expr], twos: Sequence[Expr], *, wanted: bool) -> Expr:
    if len(ones) == 1:
        return compared(operator, ones[0], twos[0], wanted=wanted)
    if operator not in ("=", "<>"):
        raise Unsupported("rows compared by order")
    equal = wanted is (operator == "=")
    parts = [compared("=", one, two, wanted=equal) for one, two in zip(ones, twos, strict=True)]
    return every(parts) if equal else some(parts)


def _quantified(operator: str, left: exp.Expr, right: exp.Any | exp.All, scope: Place, *, wanted: bool) -> Expr:
    inner = right.this.unnest()
    if not isinstance(inner, exp.Query):
        raise Unsupported("ANY or ALL of an array")
    ones = [node_value(one, scope) for one in _operands(left)]
    return _over(scope.subquery(inner), operator, ones, every_row=isinstance(right, exp.All), wanted=wanted)


def _over(bag: Bag, operator: str, ones: Sequence[Expr], *, every_row: bool, wanted: bool) -> Expr:
    """A comparison with some row, or with every row, of a bag is true, or false."""

    def rows(condition: Callable[[Sequence[Expr]], Expr]) -> Expr:
        return Exists(Bag(tuple(Term(t.variables, _with(t, condition(t.outputs)), ()) for t in bag.terms)))

    if any(len(term.outputs) != len(ones) for term in bag.terms):
        raise Unsupported("rows of different width compared")
    if wanted is not every_row:  # ANY is true, ALL is false: one row shows it
        return rows(lambda outputs: _rows(operator, ones, outputs, wanted=wanted))
    return negated(rows(lambda outputs: negated(_rows(operator, ones, outputs, wanted=wanted))))


def _with(term: Term, condition: Expr) -> tuple[Expr, ...]:
    return (*term.conditions, *(condition.children if getattr(condition, "name", "") == "and" else (condition,)))


def _membership(node: exp.In, scope: Place, *, wanted: bool) -> Expr:
    ones = [node_value(one, scope) for one in _operands(node.this)]
    query = node.args.get("query")
    if query is not None:
        return _over(scope.subquery(query.unnest()), "=", ones, every_row=False, wanted=wanted)
    if node.args.get("unnest") or node.args.get("field"):
        raise Unsupported("IN of an array")
    parts = []
    for item in node.expressions:
        if isinstance(item.unnest(), exp.Query):
            raise Unsupported("a subquery in an IN list")
        twos = [node_value(two, scope) for two in _operands(item)]
        if len(twos) != len(ones):
            raise Unsupported("rows of different width compared")
        parts.append(_rows("=", ones, twos, wanted=wanted))
    return some(parts) if wanted else every(parts)


# --- values ---


def node_value(node: exp.Expr, scope: Place) -> Expr:
    """The value of an expression. Raises Unsupported."""
    known = scope.replaced(node)
    if known is not None:
        return known
    match node:
        case exp.Paren() | exp.Alias():
            return node_value(node.this, scope)
        case exp.Column():
            return scope.column(node)
        case exp.Null():
            return null(NULL)
        case exp.Boolean():
            return Literal(bool(node.this), "bool")
        case exp.Literal():
            return Literal(node.this, "text") if node.is_string else number(node.this)
        case exp.Subquery() | exp.Select() | exp.SetOperation():
            return scalar(scope.subquery(node.unnest()))
        case exp.Case():
            return _case(node, scope)
        case exp.If():
            otherwise = node.args.get("false") or exp.Null()
            return _cases([(node.this, node.args["true"])], otherwise, scope)
        case exp.Coalesce():
            values = unified([node_value(part, scope) for part in (node.this, *node.expressions)])
            return case([(present(value), value) for value in values[:-1]], values[-1])
        case exp.Nullif():
            one = node_value(node.this, scope)
            return case([(_equal(one, node_value(node.expression, scope)), null(sort_of_expr(one)))], one)
        case exp.Cast() if not isinstance(node, exp.TryCast):
            return _cast(node_value(node.this, scope), node.to, scope.dialect)
        case exp.Neg():
            value = node_value(node.this, scope)
            if isinstance(value, Literal) and value.sort in (*EXACT, "float") and value.value is not None:
                return Literal(-value.value, value.sort)
            return arithmetic("-", Literal(0, "int"), value)
        case exp.Add() | exp.Sub() | exp.Mul():
            one, two = node_value(node.left, scope), node_value(node.right, scope)
            return arithmetic(_ARITHMETIC[type(node)], one, two)
        case exp.Window():
            return scope.window(node)
        case exp.Filter() | exp.AggFunc():
            return scope.aggregate(node)
        case (
            exp.And() | exp.Or() | exp.Not() | exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE()
            | exp.In() | exp.Between() | exp.Exists() | exp.Is() | exp.NullSafeEQ() | exp.NullSafeNEQ()
        ):  # fmt: skip
            return boolean(truth(node, scope), falsity(node, scope))
        case exp.Like() if _plain(node):
            values = [node_value(side, scope) for side in (node.this, node.expression)]
            return boolean(*(compared("=", *values, wanted=wanted) for wanted in (True, False)))
    return scalar_function(node, lambda argument: node_value(argument, scope), scope.dialect)


def boolean(true: Expr, false: Expr) -> Expr:
    """The value of a predicate that is true or false under these conditions."""
    return case([(true, TRUE_VALUE), (false, FALSE_VALUE)], NO_VALUE)


def case(branches: Sequence[tuple[Expr, Expr]], otherwise: Expr) -> Expr:
    """CASE over values of one sort, conditions that are known left out."""
    found: list[Expr] = []
    for condition, value in branches:
        if condition == FALSE:
            continue
        if condition == TRUE:
            otherwise = value
            break
        found += [condition, value]
    while found and found[-1] == otherwise:
        found = found[:-2]
    return Call("case", (*found, otherwise), sort_of_expr(otherwise)) if found else otherwise


def scalar(bag: Bag) -> Expr:
    """The value of a subquery with one row at most; NULL over none."""
    if any(len(term.outputs) != 1 for term in bag.terms):
        raise Unsupported("a scalar subquery of several columns")
    if not bag.terms:
        return null(NULL)
    if len(bag.terms) == 1 and not bag.terms[0].variables:
        (term,) = bag.terms
        return case([(every(term.conditions), term.outputs[0])], null(sort_of_expr(term.outputs[0])))
    return Aggregate("single", bag, sort_of_expr(bag.terms[0].outputs[0]))


def _equal(one: Expr, two: Expr) -> Expr:
    return compared("=", one, two, wanted=True)


def _case(node: exp.Case, scope: Place) -> Expr:
    operand = node.args.get("this")
    branches = []
    for branch in node.args["ifs"]:
        if operand is None:
            branches.append((truth(branch.this, scope), branch.args["true"]))
        else:
            equal = _equal(node_value(operand, scope), node_value(branch.this, scope))
            branches.append((equal, branch.args["true"]))
    return _of_branches(branches, node.args.get("default") or exp.Null(), scope)


def _cases(branches: Sequence[tuple[exp.Expr, exp.Expr]], otherwise: exp.Expr, scope: Place) -> Expr:
    return _of_branches([(truth(condition, scope), value) for condition, value in branches], otherwise, scope)


def _of_branches(branches: Sequence[tuple[Expr, exp.Expr]], otherwise: exp.Expr, scope: Place) -> Expr:
    values = unified([*(node_value(value, scope) for _, value in branches), node_value(otherwise, scope)])
    return case([(condition, value) for (condition, _), value in zip(branches, values, strict=False)], values[-1])


def arithmetic(operator: str, one: Expr, two: Expr) -> Expr:
    """``+``, ``-``, ``*`` of numbers; of dates only where that is a function like any other."""
    sorts = {sort_of_expr(one), sort_of_expr(two)}
    if sorts & {"date", "timestamp"} or any(sort.startswith("other interval") for sort in sorts):
        return _moment(operator, one, two)
    if NULL in sorts:
        return null(next(iter(sorts - {NULL}), "int"))
    one, two = unified([one, two])
    sort = sort_of_expr(one)
    if sort not in (*EXACT, "float"):
        raise Unsupported(f"{operator} of {sort}")
    if isinstance(one, Literal) and isinstance(two, Literal) and sort in EXACT:
        if one.value is None or two.value is None:
            return null(sort)
        value = {"+": one.value + two.value, "-": one.value - two.value, "*": one.value * two.value}[operator]
        return Literal(value, sort)
    return Call(operator, (one, two), sort)


def _moment(operator: str, one: Expr, two: Expr) -> Expr:
    first, second = sort_of_expr(one), sort_of_expr(two)
    if (first, second, operator) == ("date", "date", "-"):
        return Call("days", (one, two), "int")
    if first == "date" and second == "int" and operator in "+-":
        return Call(operator, (one, two), "date")
    if isinstance(two, Literal) and second == "other interval" and isinstance(one, Literal) and first == "date":
        moved = _shifted(one.value, two.value, -1 if operator == "-" else 1)
        if moved is not None:
            return converted(Literal(moved, "date"), "timestamp")
    interval = second if second.startswith("other interval") else first
    if not interval.startswith("other interval"):
        raise Unsupported(f"{first} {operator} {second}")
    moments = [sort for sort in (first, second) if not sort.startswith("other interval")]
    return Call(f"{operator} interval", (one, two), "timestamp" if moments else "other interval")


def _shifted(ordinal: int, interval: str, sign: int) -> int | None:
    """A date moved by whole days, months or years; None for any other interval."""
    found = re.fullmatch(r"INTERVAL '?(\d+)'? (DAY|MONTH|YEAR)S?", interval.upper())
    if found is None:
        return None
    amount = sign * int(found[1])
    if found[2] == "DAY":
        return ordinal + amount
    at = date.fromordinal(ordinal)
    months = at.year * 12 + at.month - 1 + amount * (12 if found[2] == "YEAR" else 1)
    if at.day > 28 or months < 12:
        return None
    return at.replace(year=months // 12, month=months % 12 + 1).toordinal()


def _cast(value: Expr, to: exp.DataType, dialect: str) -> Expr:
    sort, found = sort_of(to, dialect), sort_of_expr(value)
    limited = bool(to.expressions)
    if found == NULL:
        return null(sort)
    if found == sort and (sort not in ("num", "text") or not limited):
        return value if sort != "float" else converted_by_cast(value, to.sql(), sort)
    if isinstance(value, Literal) and found == "text" and not limited:
        if value.value is None:
            return null(sort)
        return converted(value, sort) if identity(sort) else converted_by_cast(value, to.sql(), sort)
    if found == "int" and sort == "num":
        return converted(value, sort)
    if (found, sort) == ("date", "timestamp"):
        return converted(value, sort)
    if found == "timestamp" and sort == "date" and isinstance(value, Literal) and value.value is not None:
        return Literal(value.value // 86_400_000_000, "date")
    return converted_by_cast(value, to.sql(), sort)


def _plain(node: exp.Like) -> bool:
    """Whether a LIKE is a mere comparison: its pattern has no wildcard."""
    pattern = node.expression
    if set(node.args) > {"this", "expression"} or not isinstance(pattern, exp.Literal) or not pattern.is_string:
        return False
    return not re.search(r"[%_\\]", pattern.this)
