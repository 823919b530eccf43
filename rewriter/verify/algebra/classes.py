"""Equal values: what the equations among conditions say of cells and constants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rewriter.verify.sums.sorts import identity, sort_of_expr
from rewriter.verify.sums.substitution import substitute
from rewriter.verify.sums.terms import STRICT, TRUE, Call, Cell, Expr, Literal, Term, cells, conjuncts, present, same


class Classes:
    """Which cells and constants are equal, and not NULL or NULL together, under conditions: closure of equalities."""

    def __init__(self, conditions: Iterable[Expr]) -> None:
        self.groups: list[set[Expr]] = []
        self._filled: set[Expr] = set()
        for condition in conditions:
            pair = equality(condition)
            if pair is None:
                continue
            if getattr(condition, "name", "") == "is true":
                self._filled |= set(pair)
            touched = [group for group in self.groups if group & set(pair)]
            self.groups = [group for group in self.groups if group not in touched]
            self.groups.append(set(pair).union(*touched))

    def group(self, expr: Expr) -> set[Expr]:
        return next((group for group in self.groups if expr in group), {expr})

    def equal_cells(self, one: int, other: int, column: str) -> bool:
        """Whether both rows have the same value, and not NULL, in a column."""
        for group in self.groups:
            both = [c for c in group if isinstance(c, Cell) and c.column == column and c.variable in (one, other)]
            if {cell.variable for cell in both} == {one, other}:
                return not both[0].nullable or bool(group & self._filled)
        return False

    def fixed(self, variable: int, column: str, unknown: set[int]) -> bool:
        """Whether a column of a row equals, and is not NULL, something that no unknown row has a part in."""
        for group in self.groups:
            for cell in group:
                if isinstance(cell, Cell) and cell.variable == variable and cell.column == column:
                    known = any(not other.free & unknown for other in group)
                    return known and (not cell.nullable or bool(group & self._filled))
        return False

    def other(self, cell: Cell, without: set[int]) -> Expr | None:
        """An equal expression of the same sort that no row of ``without`` has a part in."""
        found = [e for e in self.group(cell) if not e.free & without and getattr(e, "sort", "") == cell.sort]
        return min(found, key=_rank) if found else None


def _rank(expr: Expr) -> tuple[int, str]:
    return (0 if isinstance(expr, Literal) else 1 if isinstance(expr, Cell) else 2, repr(expr))


def equality(condition: Expr) -> tuple[Expr, Expr] | None:
    """The two sides of a condition that says that they are the same; None for any other."""
    if not isinstance(condition, Call):
        return None
    if condition.name == "same":
        return condition.arguments[0], condition.arguments[1]
    if condition.name == "is true" and isinstance(condition.arguments[0], Call):
        inner = condition.arguments[0]
        if inner.name == "=" and identity(sort_of_expr(inner.arguments[0])):
            return inner.arguments[0], inner.arguments[1]
    return None


def defined(condition: Expr, own: set[int]) -> tuple[Cell, Expr] | None:
    """A value variable and the expression that it equals."""
    pair = equality(condition)
    if pair is None:
        return None
    for one, other in (pair, pair[::-1]):
        if not isinstance(one, Cell) or one.variable not in own or one.column or one.variable in other.free:
            continue
        if getattr(other, "sort", "") == one.sort:
            return one, other
    return None


def told_by(conditions: Sequence[Expr], own: set[int], rows: set[int]) -> list[Expr]:
    """That values among ``own`` are the same as columns of the ``rows``, where the conditions say so."""
    classes = Classes(conditions)
    found: list[Expr] = []
    for group in classes.groups:
        values = [e for e in group if isinstance(e, Cell) and e.variable in own and not e.column]
        columns = sorted((e for e in group if isinstance(e, Cell) and e.variable in rows), key=_rank)
        found += [same(value, column) for value in values for column in columns[:1] if value.sort == column.sort]
    return found


def said_outside(inner: Term) -> Iterator[Expr]:
    """Conditions on values outside that hold where an EXISTS of this term does."""
    classes = Classes(inner.conditions)
    bound = set(inner.bound)
    for condition in inner.conditions:
        if condition.nested:
            continue
        values: dict[Expr, Expr] = {}
        for cell in {cell for cell in cells(condition) if cell.variable in bound}:
            other = classes.other(cell, bound)
            if other is not None:
                values[cell] = other
        made = substitute(condition, values)
        for part in conjuncts(made):
            if not part.free & bound and not trivial(part):
                yield part
        for value in _filled(condition):
            outside = substitute(value, values)
            if not outside.free & bound:
                yield present(outside)


def trivial(condition: Expr) -> bool:
    """Whether a condition equates something with itself."""
    pair = equality(condition)
    return pair is not None and pair[0] == pair[1]


def _filled(condition: Expr) -> Iterator[Expr]:
    """Values that are not NULL where a condition holds."""
    if isinstance(condition, Call):
        if condition.name in ("is true", "is false"):
            inner = condition.arguments[0]
            if isinstance(inner, Call) and inner.name in STRICT:
                yield from inner.arguments
            else:
                yield inner
        elif condition.name == "same":
            one, two = condition.arguments
            if TRUE in (present(one), present(two)):
                yield from condition.arguments
