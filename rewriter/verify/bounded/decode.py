"""A model of the solver as a database."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

import z3

from rewriter.records import Database, TableRows, Value
from rewriter.verify.bounded.evaluate import Evaluator
from rewriter.verify.bounded.symbolic import Slot, Slots


def decoded(model: z3.ModelRef, slots: Slots, evaluator: Evaluator) -> Database | None:
    """The database that a model describes; None where a column has no value for what it wants."""
    texts = _Texts(model, evaluator)
    tables = []
    for rows in slots.by_table.values():
        relation = rows[0].relation
        made = []
        for slot in rows:
            if not z3.is_true(model.eval(slot.present, model_completion=True)):
                continue
            values = []
            for column in relation.names:
                value = _value(model, slots, evaluator, slot, column, texts)
                stored = relation.domains[column].coerce(value)
                if stored is None and (value is not None or column in relation.not_null):
                    return None
                values.append(stored)
            made.append(tuple(values))
        tables.append(TableRows(relation.table.name, relation.names, tuple(made), relation.table.schema))
    return Database(tuple(tables))


def _value(
    model: z3.ModelRef, slots: Slots, evaluator: Evaluator, slot: Slot, column: str, texts: _Texts
) -> Value | None:
    cell = slots.cell(slot, column)
    null, value = evaluator.value(cell)
    if z3.is_true(model.eval(null, model_completion=True)):
        return None
    found = model.eval(value, model_completion=True)
    if z3.is_bool(found):
        return z3.is_true(found)
    number = _number(found)
    if number is None:
        return None
    match cell.sort:
        case "date":
            return date.fromordinal(int(number)) if 1 <= number <= date.max.toordinal() else None
        case "timestamp":
            days = number / 86_400_000_000
            whole = timedelta(microseconds=int(number) - 86_400_000_000)
            return datetime(1, 1, 1) + whole if 1 <= days <= date.max.toordinal() else None
        case "int" | "num" | "float":
            return float(number) if cell.sort == "float" else str(number) if number.denominator == 1 else float(number)
    return texts.text(cell.sort, number)


def _number(found: Any) -> Fraction | None:
    if z3.is_int_value(found):
        return Fraction(found.as_long())
    if z3.is_rational_value(found):
        return Fraction(found.numerator_as_long(), found.denominator_as_long())
    return None  # an irrational root


class _Texts:
    """Strings for the numbers that stand for them, in the same order."""

    def __init__(self, model: z3.ModelRef, evaluator: Evaluator) -> None:
        self._known: dict[tuple[str, Fraction], str] = {}
        for literal in evaluator.literals:
            if isinstance(literal.value, str):
                number = _number(model.eval(evaluator.value(literal)[1], model_completion=True))
                if number is not None:
                    self._known[literal.sort, number] = literal.value

    def text(self, sort: str, number: Fraction) -> str:
        key = sort, number
        if key not in self._known:
            below = [known for known in self._known if known[0] == sort and known[1] < number]
            text = self._known[max(below)] if below else ""
            taken = {known for (of, _), known in self._known.items() if of == sort}
            self._known[key] = next(made for made in _longer(text) if made not in taken)
        return self._known[key]


def _longer(text: str) -> Any:
    """Strings right behind ``text``."""
    for number in range(10_000):
        yield f"{text}{chr(97 + number % 26)}{number // 26 or ''}"
