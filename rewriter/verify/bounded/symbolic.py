"""Symbolic databases: each table has a few rows that may be there, with values that are not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, pairwise

import z3

from rewriter.verify.generate.domains import Kind
from rewriter.verify.generate.relations import Relation
from rewriter.verify.sums.constraints import Constraints
from rewriter.verify.sums.encode import Encoder, Value
from rewriter.verify.sums.rows import table_key
from rewriter.verify.sums.substitution import renamed_expr
from rewriter.verify.sums.terms import Cell, Literal, Variable, fresh

_SMALL = 1000


@dataclass(frozen=True)
class Slot:
    """One row of a table, under a variable of its own; ``present``: whether it is there."""

    row: Variable
    relation: Relation
    present: z3.BoolRef


@dataclass
class Slots:
    """``rows`` slots for each relation."""

    relations: Sequence[Relation]
    promised: Constraints
    rows: int
    by_table: Mapping[str, Sequence[Slot]] = field(init=False)
    by_id: Mapping[int, Slot] = field(init=False)

    def __post_init__(self) -> None:
        self.by_table = {table_key(relation.table): self._made(relation) for relation in self.relations}
        self.by_id = {slot.row.id: slot for slots in self.by_table.values() for slot in slots}

    def _made(self, relation: Relation) -> list[Slot]:
        rows = [fresh(table_key(relation.table)) for _ in range(self.rows)]
        return [Slot(row, relation, z3.Bool(f"row{row.id}")) for row in rows]

    def cell(self, slot: Slot, column: str) -> Cell:
        return self.promised.cell(slot.row, column)


def restrictions(slots: Slots, promised: Constraints, encoder: Encoder) -> Iterator[z3.BoolRef]:
    """What the catalog promises of the slots; of slots that differ in nothing but their number, the first are there."""
    for table, rows in slots.by_table.items():
        for one, other in pairwise(rows):
            yield z3.Implies(other.present, one.present)
        for key in promised.keys.get(table, ()):
            if set(key) <= set(rows[0].relation.names):
                for one, other in combinations(rows, 2):
                    agree = [
                        _equal(encoder.value(slots.cell(one, c)), encoder.value(slots.cell(other, c))) for c in key
                    ]
                    yield z3.Implies(z3.And(one.present, other.present), z3.Not(z3.And(agree)))
        for check in promised.checks.get(table, ()):
            for slot in rows:
                holds = encoder.condition(renamed_expr(check.condition, {check.row: slot.row.id}))
                yield z3.Implies(slot.present, holds)
        for slot in rows:
            yield from _in_range(slot, slots, encoder)
    for foreign in promised.foreign:
        for child in slots.by_table.get(foreign.child, ()) if foreign.parent in slots.by_table else ():
            own = [encoder.value(slots.cell(child, c)) for c in foreign.columns]
            parents = []
            for parent in slots.by_table[foreign.parent]:
                theirs = [encoder.value(slots.cell(parent, c)) for c in foreign.referenced]
                pairs = zip(own, theirs, strict=True)
                parents.append(z3.And(parent.present, *(_equal(a, b) for a, b in pairs)))
            filled = [z3.Not(null) for null, _ in own]
            yield z3.Implies(z3.And(child.present, *filled), z3.Or(parents))


def _in_range(slot: Slot, slots: Slots, encoder: Encoder) -> Iterator[z3.BoolRef]:
    for column, domain in slot.relation.domains.items():
        value = encoder.value(slots.cell(slot, column))[1]
        if domain.kind is Kind.INTEGER and z3.is_int(value):
            yield z3.And(value >= domain.low, value <= domain.high)


def small(slots: Slots, encoder: Encoder, constants: Iterable[Literal]) -> Iterator[z3.BoolRef]:
    """Numbers near zero, or no further from it than the queries' own ``constants``."""
    most = _SMALL
    for constant in constants:
        if isinstance(constant.value, (int, Fraction)):
            most = max(most, int(abs(Fraction(constant.value))) + 1)
    for slot in slots.by_id.values():
        for column, domain in slot.relation.domains.items():
            value = encoder.value(slots.cell(slot, column))[1]
            if domain.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT):
                yield z3.And(value >= -most, value <= most)


def _equal(one: Value, two: Value) -> z3.BoolRef:
    return z3.And(z3.Not(one[0]), z3.Not(two[0]), one[1] == two[1])
