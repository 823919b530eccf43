"""The algebra of aggregates: totals are linear, extremes of extremes are extremes, CASE stands outside arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rewriter.verify.sums.scalar import case
from rewriter.verify.sums.substitution import refreshed, refreshed_term
from rewriter.verify.sums.terms import (
    FALSE,
    Aggregate,
    Bag,
    Call,
    Expr,
    Literal,
    Term,
    conjuncts,
    every,
    negated,
    present,
)

_ARITHMETIC = ("+", "-", "*")


class Totals:
    """``expr`` brings an expression to its canonical form; ``told`` says for a reader what was done."""

    def __init__(self, expr: Callable[[Expr], Expr], told: dict[str, None]) -> None:
        self._expr = expr
        self._told = told

    def arithmetic(self, expr: Call) -> Expr:
        """A strict operation with CASE outside of it, and with one total for a product of totals."""
        arguments = expr.arguments
        if expr.name in (*_ARITHMETIC, "to num"):
            for at, argument in enumerate(arguments):
                if isinstance(argument, Call) and argument.name == "case":
                    return self._expr(_lifted(expr, at, argument))
        if expr.sort not in ("int", "num"):
            return expr
        if expr.name == "*" and all(_is_total(argument) for argument in arguments):
            return self._product(expr)
        inner = arguments[0] if expr.name == "to num" else None
        if isinstance(inner, Aggregate) and _is_total(inner):
            bag = Bag(tuple(replace(t, outputs=(_as_num(t.outputs[0]),)) for t in inner.bag.terms))
            return self.total(Aggregate("total", bag, "num"))
        return expr

    def _product(self, expr: Call) -> Expr:
        """The product of two totals is the total of the products over all pairs of rows."""
        one, two = expr.arguments
        assert isinstance(one, Aggregate)
        assert isinstance(two, Aggregate)
        self._told["the product of two totals is the total of the products over all pairs of rows"] = None
        terms = []
        for first in one.bag.terms:
            for second in refreshed(two.bag).terms:
                value = _product(first.outputs[0], second.outputs[0], expr.sort)
                terms.append(
                    Term((*first.variables, *second.variables), (*first.conditions, *second.conditions), (value,))
                )
        return self.total(Aggregate("total", refreshed(Bag(tuple(terms))), expr.sort))

    def total(self, expr: Aggregate) -> Expr:
        """Totals are linear: of a sum, of cases, of totals."""
        found: list[Term] = []
        waiting = list(expr.bag.terms)
        while waiting:
            term = waiting.pop(0)
            value = self._expr(term.outputs[0])
            conditions = tuple(part for c in term.conditions for part in conjuncts(self._expr(c)))
            if FALSE in conditions or value == Literal(0, expr.sort):
                continue
            term = Term(term.variables, conditions, (value,))
            parts = _linear(term)
            if parts is None:
                found.append(term)
            else:
                self._told["totals of sums, cases and partial totals are taken apart: addition is linear"] = None
                waiting = [*parts, *waiting]
        return Aggregate("total", Bag(tuple(found)), expr.sort) if found else Literal(0, expr.sort)


def _is_total(expr: Expr) -> bool:
    return isinstance(expr, Aggregate) and expr.name == "total"


def _as_num(value: Expr) -> Expr:
    if isinstance(value, Literal):
        return replace(value, sort="num")
    return Call("to num", (value,), "num") if getattr(value, "sort", "") == "int" else value


def _product(one: Expr, two: Expr, sort: str) -> Expr:
    unit = Literal(1, sort)
    return two if one == unit else one if two == unit else Call("*", (one, two), sort)


def decided_case(expr: Call) -> Expr:
    """CASE without branches that cannot be taken, inner CASEs over the same condition decided."""
    *branches, otherwise = expr.arguments
    made: list[tuple[Expr, Expr]] = []
    excluded: list[Expr] = []
    for condition, value in zip(branches[::2], branches[1::2], strict=True):
        if condition in excluded:
            continue
        made.append((condition, _under(value, condition, True)))
        excluded.append(condition)
    for condition in excluded:
        otherwise = _under(otherwise, condition, False)
    return case(made, otherwise)


def _under(value: Expr, condition: Expr, holds: bool) -> Expr:
    if isinstance(value, Call) and value.name == "case":
        *branches, otherwise = value.arguments
        made: list[tuple[Expr, Expr]] = []
        for inner, result in zip(branches[::2], branches[1::2], strict=True):
            if inner == condition:
                if holds:
                    return case(made, result) if made else result
                continue
            made.append((inner, result))
        return case(made, otherwise)
    return value


def _lifted(expr: Call, at: int, argument: Call) -> Expr:
    """A strict operation on a CASE is a CASE of operations."""
    *branches, otherwise = argument.arguments

    def applied(value: Expr) -> Expr:
        if isinstance(value, Literal) and value.value is None:
            return Literal(None, expr.sort)
        return replace(expr, arguments=(*expr.arguments[:at], value, *expr.arguments[at + 1 :]))

    pairs = [(c, applied(v)) for c, v in zip(branches[::2], branches[1::2], strict=True)]
    return case(pairs, applied(otherwise))


def _linear(term: Term) -> list[Term] | None:
    """The terms of which a term of a total is the sum; None when its output is plain."""
    value = term.outputs[0]
    if isinstance(value, Aggregate) and value.name == "total":
        return _inside(term, value, Literal(1, value.sort))
    if not isinstance(value, Call):
        return None
    if value.name in ("+", "-"):
        one, two = value.arguments
        minus = two if value.name == "+" else Call("*", (Literal(-1, value.sort), two), value.sort)
        return [replace(term, outputs=(one,)), refreshed_term(replace(term, outputs=(minus,)))]
    if value.name == "case":
        condition, first, *rest = value.arguments
        otherwise = case(list(zip(rest[:-1:2], rest[1:-1:2], strict=True)), rest[-1])
        found = []
        for part, result in ((condition, first), (negated(condition), otherwise)):
            conditions = (*term.conditions, *conjuncts(every([part, present(result)])))
            if FALSE not in conditions:
                found.append(refreshed_term(Term(term.variables, conditions, (result,))))
        return found
    if value.name == "*":
        for argument, other in (value.arguments, value.arguments[::-1]):
            if isinstance(argument, Aggregate) and argument.name == "total":
                return _inside(term, argument, other)
    return None


def _inside(term: Term, value: Aggregate, factor: Expr) -> list[Term]:
    """A total times a factor over each row of a bag is the total over the rows of both."""
    found = []
    for inner in refreshed(value.bag).terms:
        output = _product(inner.outputs[0], factor, value.sort)
        made = Term((*term.variables, *inner.variables), (*term.conditions, *inner.conditions), (output,))
        found.append(refreshed_term(made))
    return found


def extremes(expr: Aggregate) -> Expr:
    """The least of the least is the least of all."""
    found: list[Term] = []
    for term in expr.bag.terms:
        value = term.outputs[0]
        if not isinstance(value, Aggregate) or value.name != expr.name:
            found.append(term)
            continue
        filled = present(value)
        conditions = tuple(c for c in term.conditions if c != filled)
        for inner in refreshed(value.bag).terms:
            made = Term((*term.variables, *inner.variables), (*conditions, *inner.conditions), inner.outputs)
            found.append(refreshed_term(made))
    return replace(expr, bag=Bag(tuple(found)))
