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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

_numbers = itertools.count(1)

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


class OverBag(Expr):
    """What is made of a whole bag."""

    bag: Bag

    @cached_property
    def free(self) -> frozenset[int]:
        return self.bag.free

    @cached_property
    def nested(self) -> bool:
        return True


@_shared
@dataclass(frozen=True)
class Exists(OverBag):
    """The condition that a bag is not empty."""

    bag: Bag


@_shared
@dataclass(frozen=True)
class Aggregate(OverBag):
    """The value of an aggregate over a bag whose first output is the argument. ``total``: the sum of arguments that are
    never NULL, 0 over no rows. ``single``: the one row's value, NULL over no rows."""

    name: str
    bag: Bag
    sort: str


@_shared
@dataclass(frozen=True)
class Variable:
    """``table`` is the key of a base table, or of a bag's rows taken as a relation of its own (LIMIT); None for a
    variable over the values of one sort."""

    id: int
    table: str | None
    sort: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class Cut:
    """LIMIT ``most`` (None: all) OFFSET ``skipped``, in an order: of each sort key whether it descends, and whether
    NULL comes first. The keys are the last outputs of the bag that is cut."""

    most: int | None
    skipped: int
    order: tuple[tuple[bool, bool], ...]


@_shared
@dataclass(frozen=True)
class Source:
    """Rows that a query makes in a way that sums of products do not express: ``limit`` of one bag (with its ``cut``),
    ``except all`` and ``intersect all`` of two."""

    kind: str
    bags: tuple[Bag, ...]
    cut: Cut | None = None

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
    return Variable(fresh_number(), table, sort, source)


def fresh_number() -> int:
    """A number that no variable has."""
    return next(_numbers)


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


# --- reading ---


def cells(expr: Expr) -> Iterator[Cell]:
    """All cells inside, those in bags as well."""
    if isinstance(expr, Cell):
        yield expr
    elif isinstance(expr, OverBag):
        for term in expr.bag.terms:
            for part in (*term.conditions, *term.outputs):
                yield from cells(part)
    else:
        for child in expr.children:
            yield from cells(child)


def nested_bags(expr: Expr) -> Iterator[OverBag]:
    """The outermost EXISTS and aggregates inside."""
    if isinstance(expr, OverBag):
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
