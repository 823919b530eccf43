"""Values and conditions as formulas for z3: a value is a pair of a flag for NULL and a term of its sort.

Sorts with an order embed into the rationals, so that a formula with no model there has none over the real values.
Nested bags are constants; what is known of them is added by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import reduce
from itertools import combinations
from typing import Any

import z3

from rewriter.verify.sums.sorts import NULL, identity, sort_of_expr
from rewriter.verify.sums.terms import Aggregate, Call, Cell, Exists, Expr, Literal

_WHOLE = ("int", "date", "timestamp")
_DAY = 86_400_000_000
_EXACT = ("int", "num", "date")
Value = tuple[Any, Any]  # NULL?, value


class Encoder:
    """Equal expressions get equal formulas."""

    def __init__(self) -> None:
        self._values: dict[Expr, Value] = {}
        self._conditions: dict[Expr, Any] = {}

    def condition(self, expr: Expr) -> Any:
        found = self._conditions.get(expr)
        if found is None:
            found = self._conditions[expr] = self._condition(expr)
        return found

    def value(self, expr: Expr) -> Value:
        found = self._values.get(expr)
        if found is None:
            found = self._values[expr] = self._value(expr)
        return found

    def facts(self, exprs: Iterable[Expr]) -> list[Any]:
        """Different string constants are different values."""
        constants = {c for e in exprs for c in e.constants if isinstance(c.value, str) and identity(c.sort)}
        found = []
        for one, other in combinations(sorted(constants, key=repr), 2):
            if one.sort == other.sort:
                found.append(self.value(one)[1] != self.value(other)[1])
        return found

    def _condition(self, expr: Expr) -> Any:
        if isinstance(expr, Exists):
            return z3.Bool(f"exists{len(self._conditions)}")
        assert isinstance(expr, Call)
        match expr.name:
            case "true" | "false":
                return z3.BoolVal(expr.name == "true")
            case "and":
                return z3.And([self.condition(part) for part in expr.arguments])
            case "or":
                return z3.Or([self.condition(part) for part in expr.arguments])
            case "not":
                return z3.Not(self.condition(expr.arguments[0]))
            case "is true":
                null, value = self.value(expr.arguments[0])
                return z3.And(z3.Not(null), value)
            case "is false":
                null, value = self.value(expr.arguments[0])
                return z3.And(z3.Not(null), z3.Not(value))
            case "is null":
                return self.value(expr.arguments[0])[0]
            case "same":
                (one_null, one), (two_null, two) = map(self.value, expr.arguments)
                return z3.Or(z3.And(one_null, two_null), z3.And(z3.Not(one_null), z3.Not(two_null), one == two))
        raise AssertionError(expr.name)

    def _value(self, expr: Expr) -> Value:
        if isinstance(expr, Cell):
            name = f"v{expr.variable}.{expr.column}"
            null = z3.Bool(name + "?") if expr.nullable else z3.BoolVal(False)
            return null, _constant(name, expr.sort)
        if isinstance(expr, Literal):
            return z3.BoolVal(expr.value is None), self._literal(expr)
        if isinstance(expr, Aggregate):
            name = f"aggregate{len(self._values)}"
            null = z3.BoolVal(False) if expr.name == "total" else z3.Bool(name + "?")
            return null, _constant(name, expr.sort)
        assert isinstance(expr, Call)
        if expr.name == "case":
            *branches, otherwise = expr.arguments
            found = self.value(otherwise)
            for condition, result in reversed(list(zip(branches[::2], branches[1::2], strict=True))):
                holds, (null, value) = self.condition(condition), self.value(result)
                found = z3.If(holds, null, found[0]), z3.If(holds, value, found[1])
            return found
        return self._call(expr)

    def _literal(self, expr: Literal) -> Any:
        if expr.value is None:
            return _constant(f"nothing of {expr.sort}", expr.sort)
        if expr.sort == "bool":
            return z3.BoolVal(expr.value)
        if expr.sort in _WHOLE:
            return z3.IntVal(expr.value)
        if expr.sort in ("num", "float"):
            exact = Fraction(expr.value)
            return z3.Q(exact.numerator, exact.denominator)
        return z3.Real(f"text {expr.sort} {expr.value!r}")

    def _call(self, expr: Call) -> Value:
        arguments = [self.value(argument) for argument in expr.arguments]
        nulls = [null for null, _ in arguments]
        values = [value for _, value in arguments]
        null = z3.Or(nulls) if nulls else z3.BoolVal(False)
        if expr.name in ("<", "<=", ">", ">=") and z3.is_bool(values[0]):
            values = [z3.If(value, 1, 0) for value in values]
        compared = sort_of_expr(expr.arguments[0]) if expr.name in _COMPARISONS else NULL
        if not identity(compared):
            # Equal means: of one class, whatever the classes are.
            values = [_function(f"class of {compared}", compared, [value]) for value in values]
        operator = _OPERATORS.get(expr.name)
        if operator is not None and (expr.sort in _EXACT or expr.sort == "bool"):
            return null, reduce(operator, values)
        if expr.name == "days":
            return null, values[0] - values[1]
        if expr.name == "to num":
            return null, z3.ToReal(values[0])
        if expr.name == "to timestamp":
            return null, values[0] * _DAY
        name = f"{expr.name} {' '.join(str(value.sort()) for value in values)}"
        if expr.name.startswith("function "):
            # Nothing is known of what it does with NULL, but that it does the same each time.
            known = [*nulls, *(z3.If(n, _nothing(v), v) for n, v in arguments)]
            return _function(name + "?", "bool", known), _function(name, expr.sort, known)
        if expr.name.startswith("parameter "):
            return z3.Bool(name + expr.sort + "?"), _constant(name + expr.sort, expr.sort)
        return null, _function(name, expr.sort, values)


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda one, two: one + two,
    "-": lambda one, two: one - two,
    "*": lambda one, two: one * two,
    "=": lambda one, two: one == two,
    "<>": lambda one, two: one != two,
    "<": lambda one, two: one < two,
    "<=": lambda one, two: one <= two,
    ">": lambda one, two: one > two,
    ">=": lambda one, two: one >= two,
}


_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


def _z3_sort(sort: str) -> Any:
    return z3.BoolSort() if sort == "bool" else z3.IntSort() if sort in _WHOLE else z3.RealSort()


def _constant(name: str, sort: str) -> Any:
    return z3.Const(name, _z3_sort(sort))


def _nothing(value: Any) -> Any:
    """What stands for the value behind NULL."""
    return z3.BoolVal(False) if z3.is_bool(value) else z3.IntVal(0) if z3.is_int(value) else z3.RealVal(0)


def _function(name: str, sort: str, arguments: list[Any]) -> Any:
    if not arguments:
        return _constant(name, sort)
    function = z3.Function(f"{name} {sort}", *(argument.sort() for argument in arguments), _z3_sort(sort))
    return function(*arguments)
