"""Queries as sums of products: the language in which the rung ``algebra`` compares them.

A *bag* is a list of *terms*. A term stands for one row per assignment of its variables under which all its conditions
hold; its outputs are the values of that row. A variable ranges over the rows of a base table, or (``table`` None)
over all values of one sort with NULL, once each. DISTINCT and GROUP BY become variables of the second kind under a
condition that some row has these values. This is the U-semiring normal form of S. Chu et al., "Axiomatic Foundations
and Algorithms for Deciding Semantic Equivalences of SQL Queries" (PVLDB 11, 2018), with SQL's NULL inside the values.

Expressions are of two kinds: values, which may be NULL, and conditions, which hold or do not (``CONDITIONS``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

_fresh = itertools.count(1)

# Conditions: two-valued, whatever their operands are.
CONDITIONS = frozenset({"and", "or", "not", "true", "false", "is true", "is false", "is null", "same"})
# Operators that are NULL exactly when an operand is.
STRICT = frozenset({"+", "-", "*", "=", "<>", "<", "<=", ">", ">=", "to num", "to float", "to timestamp", "days"})


T = TypeVar("T")


def _shared(kind: type[T]) -> type[T]:
    """Trees are compared and looked up all the time: their hash is computed once, and tells most others apart."""
    compute, equal = kind.__hash__, kind.__eq__

    def cached(self: T) -> int:
        known: int | None = self.__dict__.get("_hash")
        if known is None:
            known = self.__dict__["_hash"] = compute(self)
        return known

    def same_tree(self: T, other: object) -> bool:
        return self is other or (type(self) is type(other) and cached(self) == hash(other) and equal(self, other))

    kind.__hash__ = cached  # type: ignore[assignment]
    kind.__eq__ = same_tree  # type: ignore[assignment]
    return kind


@dataclass(frozen=True)
class Expr:
    """A value or a condition. Immutable; equal when written alike."""

    @property
    def children(self) -> tuple[Expr, ...]:
        return ()

    @cached_property
    def free(self) -> frozenset[int]:
        """The variables that occur and are bound by no bag inside."""
        return frozenset().union(*(child.free for child in self.children))

    @cached_property
    def nested(self) -> bool:
        """Whether a bag occurs inside."""
        return any(child.nested for child in self.children)

    @cached_property
    def constants(self) -> frozenset[Literal]:
        """The constants inside, those in bags left out."""
        return frozenset().union(*(child.constants for child in self.children))


@_shared
@dataclass(frozen=True)
class Cell(Expr):
    """A column of a variable; ``column`` is empty for a variable over values."""

    variable: int
    column: str
    sort: str
    nullable: bool = True

    @cached_property
    def free(self) -> frozenset[int]:
        return frozenset({self.variable})


@_shared
@dataclass(frozen=True)
class Literal(Expr):
    """A constant: int, Fraction, bool, str; dates as days, timestamps as microseconds; None is NULL."""

    value: Any
    sort: str

    @cached_property
    def constants(self) -> frozenset[Literal]:
        return frozenset({self})


@_shared
@dataclass(frozen=True)
class Call(Expr):
    """An operator or function of values, or a condition. ``case`` takes condition, value, ..., otherwise."""

    name: str
    arguments: tuple[Expr, ...]
    sort: str = "condition"

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.arguments


@_shared
@dataclass(frozen=True)
class Exists(Expr):
    """The condition that a bag is not empty."""

    bag: Bag

    @cached_property
    def free(self) -> frozenset[int]:
        return self.bag.free

    @cached_property
    def nested(self) -> bool:
        return True


@_shared
@dataclass(frozen=True)
class Aggregate(Expr):
    """The value of an aggregate over a bag whose first output is the argument. ``total``: the sum of arguments that are
    never NULL, 0 over no rows. ``single``: the one row's value, NULL over no rows."""

    name: str
    bag: Bag
    sort: str

    @cached_property
    def free(self) -> frozenset[int]:
        return self.bag.free

    @cached_property
    def nested(self) -> bool:
        return True


@_shared
@dataclass(frozen=True)
class Variable:
    """``table`` is the key of a base table, or of a bag's rows taken as a relation of its own (LIMIT); None for a
    variable over the values of one sort."""

    id: int
    table: str | None
    sort: str = ""
    source: Source | None = None


@_shared
@dataclass(frozen=True)
class Source:
    """Rows that a query makes in a way that sums of products do not express: LIMIT, EXCEPT ALL, INTERSECT ALL.
    ``keys``: how many outputs at the end of the one bag are sort keys of a LIMIT; None for the others."""

    kind: str
    bags: tuple[Bag, ...]
    keys: int | None = None

    @cached_property
    def free(self) -> frozenset[int]:
        return frozenset().union(*(bag.free for bag in self.bags))


@_shared
@dataclass(frozen=True)
class Term:
    variables: tuple[Variable, ...]
    conditions: tuple[Expr, ...]
    outputs: tuple[Expr, ...]

    @cached_property
    def bound(self) -> frozenset[int]:
        return frozenset(variable.id for variable in self.variables)

    @cached_property
    def free(self) -> frozenset[int]:
        used = frozenset[int]().union(*(expr.free for expr in (*self.conditions, *self.outputs)))
        made = frozenset[int]().union(*(v.source.free for v in self.variables if v.source is not None))
        return (used | made) - self.bound


@_shared
@dataclass(frozen=True)
class Bag:
    terms: tuple[Term, ...]

    @cached_property
    def free(self) -> frozenset[int]:
        return frozenset().union(*(term.free for term in self.terms))


TRUE, FALSE = Call("true", ()), Call("false", ())


def fresh(table: str | None, sort: str = "", source: Source | None = None) -> Variable:
    """A variable that occurs nowhere else."""
    return Variable(next(_fresh), table, sort, source)


def value_of(variable: Variable) -> Cell:
    """The value that a variable over values stands for."""
    return Cell(variable.id, "", variable.sort)


def null(sort: str) -> Literal:
    return Literal(None, sort)


def every(conditions: Iterator[Expr] | tuple[Expr, ...] | list[Expr]) -> Expr:
    """The conjunction, flattened."""
    found: list[Expr] = []
    for condition in conditions:
        if condition == FALSE:
            return FALSE
        found.extend(condition.children if _is(condition, "and") else () if condition == TRUE else (condition,))
    found = list(dict.fromkeys(found))
    if any(_is(part, "not") and part.children[0] in found for part in found):
        return FALSE
    return TRUE if not found else found[0] if len(found) == 1 else Call("and", tuple(found))


def some(conditions: Iterator[Expr] | tuple[Expr, ...] | list[Expr]) -> Expr:
    """The disjunction, flattened."""
    found: list[Expr] = []
    for condition in conditions:
        if condition == TRUE:
            return TRUE
        found.extend(condition.children if _is(condition, "or") else () if condition == FALSE else (condition,))
    found = list(dict.fromkeys(found))
    if any(_is(part, "not") and part.children[0] in found for part in found):
        return TRUE
    return FALSE if not found else found[0] if len(found) == 1 else Call("or", tuple(found))


def negated(condition: Expr) -> Expr:
    if condition in (TRUE, FALSE):
        return FALSE if condition == TRUE else TRUE
    if _is(condition, "not"):
        return condition.children[0]
    return Call("not", (condition,))


def conjuncts(condition: Expr) -> tuple[Expr, ...]:
    return condition.children if _is(condition, "and") else () if condition == TRUE else (condition,)


def same(one: Expr, other: Expr) -> Expr:
    """Both NULL, or equal values: what GROUP BY and DISTINCT mean by equal."""
    return TRUE if one == other else Call("same", (one, other))


def present(value: Expr) -> Expr:
    """The condition that a value is not NULL."""
    if isinstance(value, Literal):
        return FALSE if value.value is None else TRUE
    if isinstance(value, Cell) and not value.nullable:
        return TRUE
    if isinstance(value, Aggregate) and value.name == "total":
        return TRUE
    if isinstance(value, Call):
        if value.name == "case":
            return _case_present(value)
        if value.name in STRICT:
            return every([present(argument) for argument in value.arguments])
    return Call("not", (Call("is null", (value,)),))


def _case_present(value: Call) -> Expr:
    *branches, otherwise = value.arguments
    found: list[Expr] = []
    before: list[Expr] = []
    for condition, result in zip(branches[::2], branches[1::2], strict=True):
        found.append(every([*before, condition, present(result)]))
        before.append(negated(condition))
    return some([*found, every([*before, present(otherwise)])])


def _is(expr: Expr, name: str) -> bool:
    return isinstance(expr, Call) and expr.name == name


# --- substitution ---


Values = Mapping[Expr, Expr]


def substitute(expr: Expr, values: Values) -> Expr:
    """``expr`` with cells replaced, inside bags as well. Bound variables are unique, so that nothing is captured."""
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
            self.names.update({variable.id: next(_fresh) for variable in term.variables})
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


# --- reading ---


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and its parts, without going into bags."""
    yield expr
    for child in expr.children:
        yield from walk(child)


def cells(expr: Expr) -> Iterator[Cell]:
    """All cells inside, those in bags as well."""
    if isinstance(expr, Cell):
        yield expr
    elif isinstance(expr, (Exists, Aggregate)):
        for term in expr.bag.terms:
            for part in (*term.conditions, *term.outputs):
                yield from cells(part)
    else:
        for child in expr.children:
            yield from cells(child)


def nested_bags(expr: Expr) -> Iterator[Exists | Aggregate]:
    """The outermost EXISTS and aggregates inside."""
    if isinstance(expr, (Exists, Aggregate)):
        yield expr
    elif expr.nested:
        for child in expr.children:
            yield from nested_bags(child)


def all_variables(term: Term) -> Iterator[Variable]:
    """The variables of a term and of all bags inside."""
    for variable in term.variables:
        yield variable
        for bag in variable.source.bags if variable.source is not None else ():
            for inner in bag.terms:
                yield from all_variables(inner)
    for expr in (*term.conditions, *term.outputs):
        for atom in nested_bags(expr):
            for inner in atom.bag.terms:
                yield from all_variables(inner)


def every_term(bag: Bag) -> Iterator[Term]:
    """The terms of a bag, and those of the bags that a LIMIT or the like is taken of."""
    for term in bag.terms:
        yield term
        for variable in term.variables:
            for inner in variable.source.bags if variable.source is not None else ():
                yield from every_term(inner)


def text(expr: Expr) -> str:
    """For reading: ``v3.deptno = 10``."""
    if isinstance(expr, Cell):
        return f"v{expr.variable}.{expr.column}" if expr.column else f"v{expr.variable}"
    if isinstance(expr, Literal):
        return "NULL" if expr.value is None else repr(expr.value) if isinstance(expr.value, str) else str(expr.value)
    if isinstance(expr, Exists):
        return f"EXISTS({bag_text(expr.bag)})"
    if isinstance(expr, Aggregate):
        return f"{expr.name.upper()}({bag_text(expr.bag)})"
    assert isinstance(expr, Call)
    if expr.name == "is true":
        return text(expr.arguments[0])
    if len(expr.arguments) == 2 and (not expr.name[0].isalpha() or expr.name in ("and", "or", "same")):
        return f"({text(expr.arguments[0])} {expr.name} {text(expr.arguments[1])})"
    return f"{expr.name}({', '.join(map(text, expr.arguments))})"


def bag_text(bag: Bag) -> str:
    return " + ".join(map(term_text, bag.terms)) if bag.terms else "nothing"


def term_text(term: Term) -> str:
    variables = ", ".join(f"v{v.id} in {_range(v)}" for v in term.variables)
    conditions = " and ".join(map(text, term.conditions))
    return f"{{({', '.join(map(text, term.outputs))}) | {variables}{' : ' if conditions else ''}{conditions}}}"


def _range(variable: Variable) -> str:
    if variable.source is None:
        return variable.table or variable.sort
    return f"{variable.table} of {' and '.join(map(bag_text, variable.source.bags))}"
