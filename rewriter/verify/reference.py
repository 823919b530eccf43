"""The reference: what answers the original query allows on one database.

Most queries allow one bag. A top-level ORDER BY allows a list up to ties; LIMIT and OFFSET allow any choice among
ties. To know the ties, the original runs without its LIMIT and with its ORDER BY keys as extra columns; the runs of
equal keys are then the segments from which an answer may take rows in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from rewriter.records import Result, Row
from rewriter.verify import compare
from rewriter.verify.compare import Segment


@dataclass(frozen=True)
class Reference:
    """``query`` is what to run; its first ``width`` columns are the original's, ``keys`` are positions of the ORDER BY
    keys among all columns (empty: order does not matter). ``width`` is None where all columns are the original's."""

    query: exp.Query
    width: int | None
    keys: tuple[int, ...] = ()
    limit: int | None = None
    offset: int = 0

    def allows(self, reference: Result, answer: Result) -> bool:
        """Whether ``answer`` is a possible answer of the original, given what ``query`` returned."""
        tolerance = compare.tolerance_for((*reference.types, *answer.types))
        rows = [row[: self.width] for row in reference.rows]
        if rows and answer.rows and len(rows[0]) != len(answer.rows[0]):
            return False
        if not self.keys and self.limit is None and not self.offset:
            return compare.same_bag(rows, answer.rows, tolerance)
        return compare.matches(self._segments(reference.rows, rows, tolerance), answer.rows, tolerance)

    def agrees(self, first: Result, second: Result) -> bool:
        """Whether two runs of ``query`` on the same rows in another physical order say the same."""
        tolerance = compare.tolerance_for(first.types)
        return compare.same_bag(first.rows, second.rows, tolerance)

    def _segments(self, full: tuple[Row, ...], rows: list[Row], tolerance: float) -> Iterator[Segment]:
        start = self.offset
        end = len(rows) if self.limit is None else min(len(rows), self.offset + self.limit)
        low = 0
        while low < len(rows):
            high = low + 1
            if self.keys:
                while high < len(rows) and self._tie(full[high - 1], full[high], tolerance):
                    high += 1
            else:
                high = len(rows)
            taken = min(high, end) - max(low, start)
            if taken > 0:
                yield Segment(tuple(rows[low:high]), taken)
            low = high

    def _tie(self, one: Row, other: Row, tolerance: float) -> bool:
        return all(compare.same_value(one[key], other[key], tolerance) for key in self.keys)


def reference(original: exp.Query, columns: int | None) -> Reference:
    """How to ask ``original`` for all its possible answers. ``columns`` is the number of its output columns, None if
    not known (stars)."""
    order, limit, offset = (original.args.get(name) for name in ("order", "limit", "offset"))
    fetch = limit if isinstance(limit, exp.Fetch) else None
    if fetch is not None and (fetch.args.get("limit_options") or fetch.args.get("with_ties")):
        return Reference(original, None)  # WITH TIES and PERCENT: the engine's own answer is the only one
    bound, skipped = _count(limit), _count(offset)
    if (limit is not None and bound is None) or (offset is not None and skipped is None):
        return Reference(original, None)
    bare = original.copy()
    for name in ("limit", "offset"):
        bare.set(name, None)
    if order is None:
        return Reference(bare, None, (), bound, skipped or 0)
    distinct = bare.args.get("distinct")
    if isinstance(distinct, exp.Distinct) and distinct.args.get("on") is not None:
        return Reference(original, None)  # here ORDER BY also chooses rows
    keys, extra = _keys(bare, order, columns)
    if keys is None:
        return Reference(original, None) if limit is not None or offset is not None else Reference(bare, None)
    if extra:
        assert isinstance(bare, exp.Select)
        bare.set("expressions", [*bare.expressions, *extra])
    return Reference(bare, columns, keys, bound, skipped or 0)


def _keys(query: exp.Query, order: exp.Order, columns: int | None) -> tuple[tuple[int, ...] | None, list[exp.Expr]]:
    """Positions of the ORDER BY keys and the columns to add for keys that are not in the output; None if untold."""
    names = [name.lower() for name in query.named_selects]
    select = query if isinstance(query, exp.Select) else None
    bodies = [projection.unalias() for projection in select.expressions] if select is not None else []
    positions: list[int] = []
    extra: list[exp.Expr] = []
    for ordered in order.expressions:
        key = ordered.this if isinstance(ordered, exp.Ordered) else ordered
        if isinstance(key, exp.Literal) and not key.is_string:
            positions.append(int(key.name) - 1)
            continue
        if columns is None or columns != len(names):
            return None, []
        if isinstance(key, exp.Column) and not key.table and names.count(key.name.lower()) == 1:
            positions.append(names.index(key.name.lower()))
            continue
        if key in bodies:
            positions.append(bodies.index(key))
            continue
        if select is None or select.args.get("distinct") is not None:
            return None, []
        if _names_alias(key, names, bodies):
            return None, []  # an expression over output aliases means something else inside the SELECT list
        positions.append(columns + len(extra))
        extra.append(exp.alias_(key.copy(), f"order_key_{len(extra) + 1}"))
    return tuple(positions), extra


def _names_alias(key: exp.Expr, names: list[str], bodies: list[exp.Expr]) -> bool:
    """Whether an ORDER BY expression has a column that may mean an output alias instead of an input column."""
    renamed = {
        name
        for name, body in zip(names, bodies, strict=False)
        if not (isinstance(body, exp.Column) and body.name.lower() == name)
    }
    return any(not column.table and column.name.lower() in renamed for column in key.find_all(exp.Column))


def _count(clause: exp.Expr | None) -> int | None:
    if clause is None:
        return None
    value = clause.args.get("count") if isinstance(clause, exp.Fetch) else clause.expression
    if isinstance(clause, exp.Fetch) and value is None:
        return 1
    if isinstance(value, exp.Literal) and not value.is_string and value.name.isdigit():
        return int(value.name)
    return None
