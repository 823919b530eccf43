"""Terms with other values or other variables in them.

Bound variables are unique, so that nothing is captured by what is put in; a bag that is opened, so that its variables
stand beside others, is refreshed first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rewriter.verify.sums.terms import (
    Aggregate,
    Bag,
    Call,
    Cell,
    Exists,
    Expr,
    Source,
    Term,
    conjuncts,
    every,
    fresh_number,
    same,
    some,
)

Values = Mapping[Expr, Expr]


def substitute(expr: Expr, values: Values) -> Expr:
    """``expr`` with cells replaced, inside bags as well."""
    return _Substitution(values).expr(expr)


def substitute_term(term: Term, values: Values) -> Term:
    return _Substitution(values).term(term)


def renamed(term: Term, names: Mapping[int, int]) -> Term:
    """The term with its variables called otherwise, inside nested bags as well."""
    return _Substitution({}, names).term(term)


def renamed_expr(expr: Expr, names: Mapping[int, int]) -> Expr:
    return _Substitution({}, names).expr(expr)


def refreshed(bag: Bag) -> Bag:
    """A copy all of whose bound variables are new, at every depth."""
    return _Substitution({}, refresh=True).bag(bag)


def refreshed_term(term: Term) -> Term:
    return _Substitution({}, refresh=True).term(term)


class _Substitution:
    def __init__(self, values: Values, names: Mapping[int, int] | None = None, *, refresh: bool = False) -> None:
        self.values = values
        self.names = dict(names or {})
        self.refresh = refresh
        self.touched = {cell.variable for cell in values if isinstance(cell, Cell)} | set(self.names)
        # What was written alike stays written alike, so that columns that are the same can be seen to be.
        self._made: dict[object, Expr] = {}

    def expr(self, expr: Expr) -> Expr:
        if not expr.nested:
            return self._expr(expr)
        # Terms of one bag may call their variables alike, so that the same text can mean other variables there.
        key = (expr, tuple((variable, self.names.get(variable)) for variable in sorted(expr.free)))
        if key not in self._made:
            self._made[key] = self._expr(expr)
        return self._made[key]

    def _expr(self, expr: Expr) -> Expr:
        if not self.refresh and not (expr.free & self.touched):
            return expr
        if isinstance(expr, Cell):
            if expr in self.values:
                return self.values[expr]
            name = self.names.get(expr.variable)
            return expr if name is None else replace(expr, variable=name)
        if isinstance(expr, Exists):
            return Exists(self.bag(expr.bag))
        if isinstance(expr, Aggregate):
            return Aggregate(expr.name, self.bag(expr.bag), expr.sort)
        if isinstance(expr, Call):
            made = tuple(self.expr(argument) for argument in expr.arguments)
            if made == expr.arguments:
                return expr
            if expr.name == "and":
                return every(made)
            if expr.name == "or":
                return some(made)
            if expr.name == "same":
                return same(*made)
            return Call(expr.name, made, expr.sort)
        return expr

    def bag(self, bag: Bag) -> Bag:
        return Bag(tuple(self.term(term) for term in bag.terms))

    def term(self, term: Term) -> Term:
        if self.refresh:
            self.names.update({variable.id: fresh_number() for variable in term.variables})
        variables = tuple(
            replace(
                variable,
                id=self.names.get(variable.id, variable.id),
                source=None if variable.source is None else self._source(variable.source),
            )
            for variable in term.variables
        )
        conditions = [part for made in map(self.expr, term.conditions) for part in conjuncts(made)]
        return Term(variables, tuple(dict.fromkeys(conditions)), tuple(map(self.expr, term.outputs)))

    def _source(self, source: Source) -> Source:
        return replace(source, bags=tuple(self.bag(bag) for bag in source.bags))
