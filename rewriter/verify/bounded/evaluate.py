"""Sums of products over symbolic databases, as formulas: each way to choose rows for a term's variables is an
*instance*, with the condition under which it counts (its guard).

A variable over values (DISTINCT, GROUP BY) always stands under an EXISTS that says which rows have that value: its
instances are the values of those rows, each where it occurs first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

import z3

from rewriter.verify.bounded.symbolic import Slots
from rewriter.verify.sums import Unsupported
from rewriter.verify.sums.encode import Encoder, Value
from rewriter.verify.sums.sorts import sort_of_expr
from rewriter.verify.sums.terms import Aggregate, Bag, Call, Cell, Exists, Expr, Literal, Source, Term, Variable

Instance = tuple[Any, tuple[Value, ...]]  # guard, outputs
_MOST_INSTANCES = 40_000
_SINGLE = "a scalar subquery returns one row at most"


class OutOfBounds(Exception):
    """The formula would be too large, or the time is up; the message says which."""


@dataclass(frozen=True, eq=False)
class Given:
    """The values of a variable that is no row of a table."""

    values: tuple[Value, ...]


Binding = int | Given  # the slot that a row variable stands for, or values
Bindings = dict[int, Binding]


class Evaluator(Encoder):
    """Formulas of expressions under ``bindings`` of their variables. ``assumed``: restrictions of the databases,
    explained in ``notes``; ``ties``: where a LIMIT would leave a choice; ``silent``: why
    agreement would say nothing; ``hints``: what engines
    mostly do where the formulas leave it open."""

    def __init__(self, slots: Slots, deadline: float) -> None:
        super().__init__()
        self.slots = slots
        self.deadline = deadline
        self.bindings: Bindings = {}
        self.assumed: list[z3.BoolRef] = []
        self.notes: dict[str, None] = {}
        self.hints: list[z3.BoolRef] = []
        self.ties: list[z3.BoolRef] = []
        self.silent: dict[str, None] = {}
        self.literals: dict[Literal, None] = {}
        self._instances = 0
        self._bound_conditions: dict[object, Any] = {}
        self._bound_values: dict[object, Value] = {}

    # --- expressions ---

    def condition(self, expr: Expr) -> Any:
        key = self._key(expr)
        found = self._bound_conditions.get(key)
        if found is None:
            found = self._bound_conditions[key] = self._condition(expr)
        return found

    def value(self, expr: Expr) -> Value:
        key = self._key(expr)
        found = self._bound_values.get(key)
        if found is None:
            found = self._bound_values[key] = self._value(expr)
        return found

    def constants(self) -> list[Any]:
        """Different string constants are different values."""
        return self.facts(self.literals)

    def _key(self, expr: Expr) -> object:
        return expr, tuple((variable, self.bindings.get(variable)) for variable in sorted(expr.free))

    def _condition(self, expr: Expr) -> Any:
        if isinstance(expr, Exists):
            return z3.Or([guard for guard, _ in self.bag(expr.bag)])
        return super()._condition(expr)

    def _value(self, expr: Expr) -> Value:
        self._tick()
        if isinstance(expr, Cell):
            return self._cell(expr)
        if isinstance(expr, Aggregate):
            return self._aggregate(expr)
        self.literals.update(dict.fromkeys(expr.constants))
        return super()._value(expr)

    def _cell(self, cell: Cell) -> Value:
        bound = self.bindings.get(cell.variable)
        if isinstance(bound, Given):
            return bound.values[int(cell.column or 0)]
        null, value = super()._value(cell if bound is None else replace(cell, variable=bound))
        slot = self.slots.by_id.get(cell.variable if bound is None else bound)
        domain = slot.relation.domains.get(cell.column) if slot is not None else None
        if cell.sort == "num" and domain is not None:
            # Columns hold so many digits behind the point and no more.
            value = z3.ToReal(z3.Int(str(value))) / z3.RealVal(10**domain.scale)
        return null, value

    def _call(self, expr: Call) -> Value:
        found = super()._call(expr)
        null, value = found
        arguments = [self.value(argument)[1] for argument in expr.arguments]
        meant = _usual(expr, arguments)
        if meant is not None and meant.sort() == value.sort():
            self.hints.append(value == meant)
            if expr.name.startswith("function "):
                self.hints.append(null == z3.Or([self.value(argument)[0] for argument in expr.arguments]))
        return found

    # --- bags ---

    def bag(self, bag: Bag) -> list[Instance]:
        """All rows that a bag may have, under the present bindings."""
        outside = self.bindings
        found = []
        for term in bag.terms:
            for guard, inside in self._choices(term, {}):
                self.bindings = {**outside, **inside}
                found.append((guard, tuple(map(self.value, term.outputs))))
                self.bindings = outside
        return found

    def alike(self, one: Sequence[Value], two: Sequence[Value]) -> Any:
        """All values the same, NULL as NULL."""
        return z3.And([_same(a, b) for a, b in zip(one, two, strict=True)])

    def _choices(self, term: Term, defined: dict[int, Expr]) -> list[tuple[Any, Bindings]]:
        """The instances of a term: the guard, and the bindings of its variables. ``defined``: further variables that
        have the value of an expression."""
        outside = dict(self.bindings)
        rows = [variable for variable in term.variables if variable.table is not None]
        unknown = {variable.id for variable in term.variables if variable.table is None}
        found: list[tuple[Any, Bindings]] = []
        for chosen in product(*(self._range(variable) for variable in rows)):
            self._tick(1)
            inside = {variable.id: binding for variable, (_, binding) in zip(rows, chosen, strict=True)}
            guards = [guard for guard, _ in chosen]
            self.bindings = {**outside, **inside}
            for more, values in self._valued(term, unknown):
                self.bindings = {**outside, **inside, **values}
                named: Bindings = {variable: Given((self.value(expr),)) for variable, expr in defined.items()}
                self.bindings.update(named)
                conditions = [self.condition(part) for part in term.conditions]
                guard = z3.simplify(z3.And(*guards, *more, *conditions))
                if not z3.is_false(guard):
                    found.append((guard, {**inside, **values, **named}))
            self.bindings = outside
        self.bindings = outside
        return found

    def _range(self, variable: Variable) -> list[tuple[Any, Binding]]:
        if variable.source is not None:
            return [(guard, Given(values)) for guard, values in self._made(variable.source)]
        assert variable.table is not None
        return [(slot.present, slot.row.id) for slot in self.slots.by_table[variable.table]]

    def _valued(self, term: Term, unknown: set[int]) -> list[tuple[list[Any], Bindings]]:
        """The choices of values for the variables ``unknown``, with the guards under which each is one."""
        if not unknown:
            return [([], {})]
        for condition in term.conditions:
            if not isinstance(condition, Exists):
                continue
            wanted = unknown & condition.free
            definitions = [_definitions(inner, wanted, unknown) for inner in condition.bag.terms] if wanted else []
            if not wanted or any(found is None for found in definitions):
                continue
            made: list[tuple[list[Any], Bindings]] = []
            for guards, values in self._first(condition.bag, definitions, sorted(wanted)):
                outside = dict(self.bindings)
                self.bindings = {**outside, **values}
                made += [([*guards, *more], {**values, **rest}) for more, rest in self._valued(term, unknown - wanted)]
                self.bindings = outside
            return made
        raise Unsupported("a value that no row is seen to have")

    def _first(
        self, bag: Bag, definitions: Sequence[dict[int, Expr] | None], wanted: list[int]
    ) -> list[tuple[list[Any], Bindings]]:
        """The values that rows of a bag give to variables, each under the guard that no row before has them."""
        before: list[tuple[Any, tuple[Value, ...]]] = []
        found: list[tuple[list[Any], Bindings]] = []
        for term, defined in zip(bag.terms, definitions, strict=True):
            for guard, inside in self._choices(term, defined or {}):
                given = {variable: inside[variable] for variable in wanted}
                values = tuple(
                    value for binding in given.values() if isinstance(binding, Given) for value in binding.values
                )
                repeated = [z3.And(other, self.alike(theirs, values)) for other, theirs in before]
                self._tick(len(before))
                found.append(([guard, z3.Not(z3.Or(repeated))], given))
                before.append((guard, values))
        return found

    # --- LIMIT, EXCEPT ALL, INTERSECT ALL ---

    def _made(self, source: Source) -> list[Instance]:
        sides = [self.bag(bag) for bag in source.bags]
        if source.cut is None:
            return self._counted(source.kind, *sides)
        (rows,) = sides
        cut = source.cut
        width = len(rows[0][1]) - len(cut.order) if rows else 0
        if cut.most is not None and len(rows) <= cut.skipped + cut.most:
            self.silent["a LIMIT leaves no row out of so few"] = None
        kept = []
        for at, (guard, values) in enumerate(rows):
            self._tick(len(rows))
            ahead = []
            for other, (their_guard, theirs) in enumerate(rows):
                if other != at:
                    less, tied = _before(theirs[width:], values[width:], cut.order)
                    ahead.append(z3.If(z3.And(their_guard, z3.Or(less, tied) if other < at else less), 1, 0))
            rank = z3.Sum(ahead) if ahead else z3.IntVal(0)
            chosen = [guard, rank >= cut.skipped]
            if cut.most is not None:
                chosen.append(rank < cut.skipped + cut.most)
            kept.append(z3.And(chosen))
        for at, (guard, values) in enumerate(rows):
            for other, (their_guard, theirs) in enumerate(rows):
                if other != at:
                    tied = _before(theirs[width:], values[width:], cut.order)[1]
                    split = z3.And(guard, their_guard, tied, kept[at], z3.Not(kept[other]))
                    self.ties.append(z3.And(split, z3.Not(self.alike(values, theirs))))
        return [(guard, values) for guard, (_, values) in zip(kept, rows, strict=True)]

    def _counted(self, kind: str, left: list[Instance], right: list[Instance]) -> list[Instance]:
        found = []
        for at, (guard, values) in enumerate(left):
            self._tick(len(left) + len(right))
            mine, theirs = (
                z3.Sum([z3.If(z3.And(other, self.alike(values, v)), 1, 0) for other, v in rows] or [z3.IntVal(0)])
                for rows in (left[: at + 1], right)
            )
            found.append((z3.And(guard, mine > theirs if kind.startswith("except") else mine <= theirs), values))
        return found

    # --- aggregates ---

    def _aggregate(self, expr: Aggregate) -> Value:
        rows = [(guard, values[0]) for guard, values in self.bag(expr.bag)]
        guards = [guard for guard, _ in rows]
        empty = z3.Not(z3.Or(guards))
        if expr.name == "total":
            return z3.BoolVal(False), _sum(rows, expr.sort)
        if not rows:
            return z3.BoolVal(True), _zero(expr.sort)
        if expr.name == "single":
            self.notes[_SINGLE] = None
            self.assumed.append(z3.AtMost(*guards, 1) if len(guards) > 1 else z3.BoolVal(True))
            found = (z3.BoolVal(True), rows[-1][1][1])
            for guard, (null, value) in reversed(rows):
                found = z3.If(guard, null, found[0]), z3.If(guard, value, found[1])
            return found
        if expr.name in ("min", "max"):
            return empty, _extreme(rows, largest=expr.name == "max")
        if any(sort_of_expr(term.outputs[0]) == "float" for term in expr.bag.terms):
            self.silent[f"a {expr.name} of floating-point numbers depends on their order"] = None
        count = z3.ToReal(z3.Sum([z3.If(guard, 1, 0) for guard in guards]))
        total = _real(_sum(rows, ""))
        if expr.name in ("sum", "avg"):
            return empty, total / count if expr.name == "avg" else total
        # A statistic is some function of the number of values, their sum and the sum of their squares.
        squares = [(guard, (null, _real(value) * _real(value))) for guard, (null, value) in rows]
        known = [count, total, _sum(squares, "")]
        sorts = [z3.RealSort()] * len(known)
        undefined = z3.Function(f"{expr.name} of none", *sorts, z3.BoolSort())
        return z3.Or(empty, undefined(*known)), z3.Function(expr.name, *sorts, z3.RealSort())(*known)

    def _tick(self, instances: int = 0) -> None:
        self._instances += instances
        if self._instances > _MOST_INSTANCES:
            raise OutOfBounds("the formula would be too large")
        if time.monotonic() > self.deadline:
            raise OutOfBounds("the time for the search was up")


def _definitions(term: Term, wanted: set[int], unknown: set[int]) -> dict[int, Expr] | None:
    """What a row of the term says that the ``wanted`` variables are; None where it does not say it of all."""
    found: dict[int, Expr] = {}
    for condition in term.conditions:
        if isinstance(condition, Call) and condition.name == "same":
            for one, other in (condition.arguments, condition.arguments[::-1]):
                if isinstance(one, Cell) and one.variable in wanted and not other.free & unknown:
                    found.setdefault(one.variable, other)
    return found if set(found) == wanted else None


def _same(one: Value, two: Value) -> Any:
    (one_null, a), (two_null, b) = one, two
    return z3.Or(z3.And(one_null, two_null), z3.And(z3.Not(one_null), z3.Not(two_null), a == b))


def _before(one: Sequence[Value], two: Sequence[Value], order: Sequence[tuple[bool, bool]]) -> tuple[Any, Any]:
    """Whether the first row's sort keys come before the second's, and whether they tie."""
    found: list[Any] = []
    tied: list[Any] = []
    for (one_null, a), (two_null, b), (descending, nulls_first) in zip(one, two, order, strict=True):
        a, b = (z3.If(v, 1, 0) if z3.is_bool(v) else v for v in (a, b))
        less = z3.And(z3.Not(one_null), z3.Not(two_null), a > b if descending else a < b)
        by_null = z3.And(one_null, z3.Not(two_null)) if nulls_first else z3.And(two_null, z3.Not(one_null))
        found.append(z3.And(*tied, z3.Or(less, by_null)))
        tied.append(_same((one_null, a), (two_null, b)))
    return z3.Or(found), z3.And(tied)


def _sum(rows: Sequence[tuple[Any, Value]], sort: str) -> Any:
    parts = [z3.If(guard, value, z3.IntVal(0) if z3.is_int(value) else z3.RealVal(0)) for guard, (_, value) in rows]
    return z3.Sum(parts) if parts else _zero(sort)


def _extreme(rows: Sequence[tuple[Any, Value]], *, largest: bool) -> Any:
    def better(one: tuple[Any, Any], two: tuple[Any, Any]) -> tuple[Any, Any]:
        a, b = (z3.If(v, 1, 0) if z3.is_bool(v) else v for v in (one[1], two[1]))
        wins = z3.And(two[0], z3.Or(z3.Not(one[0]), b > a if largest else b < a))
        return z3.Or(one[0], two[0]), z3.If(wins, two[1], one[1])

    return reduce(better, [(guard, value) for guard, (_, value) in rows])[1]


def _usual(expr: Call, arguments: list[Any]) -> Any | None:
    """What an operator of which the formulas know nothing mostly means."""
    if not arguments or any(z3.is_bool(argument) for argument in arguments):
        return None
    if expr.name == "to float":
        return _real(arguments[0])
    if expr.sort == "float" and expr.name in ("+", "-", "*") and len(arguments) == 2:
        one, two = map(_real, arguments)
        return one + two if expr.name == "+" else one - two if expr.name == "-" else one * two
    if expr.name.startswith("function div ") and len(arguments) == 2:
        if expr.sort == "int":
            one, two = arguments
            exact = z3.ToReal(one) / z3.ToReal(two)
            return z3.If(exact >= 0, z3.ToInt(exact), -z3.ToInt(-exact))
        return _real(arguments[0]) / _real(arguments[1])
    if expr.name.startswith("function abs "):
        return z3.If(arguments[0] < 0, -arguments[0], arguments[0])
    return None


def _real(value: Any) -> Any:
    return z3.ToReal(value) if z3.is_int(value) else value


def _zero(sort: str) -> Any:
    if sort == "bool":
        return z3.BoolVal(False)
    return z3.IntVal(0) if sort in ("int", "date", "timestamp") else z3.RealVal(0)
