"""What holds on every row of a relation inside a query: keys, functional dependencies, constants, equal columns,
not-NULL columns, derived through joins, filters, grouping and projection.

Bag-aware and conservative: a claim holds on every database that satisfies the catalog, and where nothing is sure
nothing is claimed. *Agree* is meant as in GROUP BY: two NULLs agree. A column is a pair of a relation's name and a
column's name; outputs of a query have the empty name for their relation. Closures follow Armstrong's axioms; the
derivation of dependencies through query operators follows G. N. Paulley, "Exploiting Functional Dependence in Query
Optimization" (thesis, Waterloo, 2000).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

Name = tuple[str, str]  # relation, column
Names = frozenset[Name]


@dataclass(frozen=True)
class Dependency:
    """Rows that agree on ``left`` agree on ``right``."""

    left: Names
    right: Names


@dataclass(frozen=True)
class Dependencies:
    """``constants``: columns that equal one literal on every row. ``equal``: sets of columns that are equal, and not
    NULL, on every row. ``not_null``: columns that are NULL on no row. ``keys``: sets of columns of which no two rows
    agree on all; the empty set among them means one row at most. ``complete``: for each joined relation its keys, of
    which a set of columns must determine one each to tell all rows apart."""

    columns: Names = frozenset()
    constants: Mapping[Name, exp.Expr] = field(default_factory=dict)
    equal: tuple[Names, ...] = ()
    not_null: Names = frozenset()
    functional: tuple[Dependency, ...] = ()
    keys: frozenset[Names] = frozenset()
    complete: tuple[frozenset[Names], ...] = ()

    def closure(self, columns: Iterable[Name]) -> Names:
        """All columns on which rows agree that agree on ``columns``."""
        found = set(columns) | set(self.constants)
        steps = [*self.functional, *(Dependency(frozenset({one}), group) for group in self.equal for one in group)]
        while True:
            more = {name for step in steps if step.left <= found for name in step.right}
            if more <= found:
                return frozenset(found)
            found |= more

    def determines(self, left: Iterable[Name], right: Iterable[Name]) -> bool:
        """Whether rows that agree on ``left`` agree on ``right``."""
        return set(right) <= self.closure(left)

    def unique(self, columns: Iterable[Name]) -> bool:
        """Whether no two rows agree on ``columns``."""
        reached = self.closure(columns)
        if any(key <= reached for key in self.keys):
            return True
        return bool(self.complete) and all(any(key <= reached for key in keys) for keys in self.complete)

    def same(self, one: Name, other: Name) -> bool:
        """Whether two columns are equal, and not NULL, on every row."""
        return (one == other and one in self.not_null) or any({one, other} <= group for group in self.equal)


NOTHING = Dependencies()


def filled_with_null(item: Dependencies) -> Dependencies:
    """What is left of the claims on a relation when an outer join adds rows that are NULL in all its columns.

    Such a row may agree on nullable columns with a real row; so a dependency or key stays only when a column that is
    never NULL in real rows tells them apart.
    """
    return Dependencies(
        columns=item.columns,
        functional=tuple(step for step in item.functional if step.left & item.not_null),
        complete=tuple(frozenset(key for key in keys if key & item.not_null) for keys in item.complete),
    )


def together(items: Iterable[Dependencies]) -> Dependencies:
    """The claims on the joined rows of several relations, each of which keeps its own."""
    parts = list(items)
    return Dependencies(
        columns=frozenset().union(*(part.columns for part in parts)),
        constants={name: value for part in parts for name, value in part.constants.items()},
        equal=tuple(group for part in parts for group in part.equal),
        not_null=frozenset().union(*(part.not_null for part in parts)),
        functional=tuple(step for part in parts for step in part.functional),
        complete=tuple(keys for part in parts for keys in part.complete),
    )


def restricted(
    rows: Dependencies,
    equalities: Iterable[tuple[Name, Name]],
    constants: Mapping[Name, exp.Expr],
    present: Iterable[Name],
) -> Dependencies:
    """The claims on those rows for which the ``equalities`` and ``constants`` hold and the columns ``present`` are not
    NULL."""
    groups: list[set[Name]] = [set(group) for group in rows.equal]
    for one, other in equalities:
        touched = [group for group in groups if one in group or other in group]
        groups = [group for group in groups if group not in touched]
        groups.append({one, other}.union(*touched))
    fixed = {**rows.constants, **constants}
    for group in groups:
        values = [fixed[name] for name in group if name in fixed]
        if values:
            fixed.update(dict.fromkeys(group, values[0]))
    return Dependencies(
        columns=rows.columns,
        constants=fixed,
        equal=tuple(frozenset(group) for group in groups),
        not_null=rows.not_null | frozenset(present) | frozenset(constants) | frozenset().union(*map(frozenset, groups)),
        functional=rows.functional,
        keys=rows.keys,
        complete=rows.complete,
    )


def projected(
    rows: Dependencies,
    outputs: Mapping[str, Name],
    computed: Mapping[str, Names],
    constants: Mapping[str, exp.Expr],
    not_null: Iterable[str],
) -> Dependencies:
    """The claims on the outputs of a projection of ``rows``. ``outputs`` are plain columns by output name, ``computed``
    the columns that deterministic expressions read, ``constants`` literals."""
    names = {**{name: frozenset({column}) for name, column in outputs.items()}, **computed}
    inner = Dependencies(
        columns=rows.columns | {("", name) for name in names},
        constants={**rows.constants, **{("", name): value for name, value in constants.items()}},
        equal=rows.equal,
        not_null=rows.not_null,
        functional=(
            *rows.functional,
            *(Dependency(columns, frozenset({("", name)})) for name, columns in names.items()),
            *(Dependency(frozenset({("", name)}), frozenset({column})) for name, column in outputs.items()),
        ),
        keys=rows.keys,
        complete=rows.complete,
    )
    shown = frozenset(("", name) for name in (*names, *constants))
    by_column: dict[Name, list[Name]] = {}
    for name, column in outputs.items():
        by_column.setdefault(column, []).append(("", name))
    candidates: set[Names | None] = {frozenset({name}) for name in shown}
    candidates |= {_translated(step.left, by_column, rows) for step in rows.functional}
    for keys in (rows.keys, *rows.complete):
        candidates |= {_translated(key, by_column, rows) for key in keys}
    candidates |= {_translated(columns, by_column, rows) for columns in computed.values()}
    candidates |= {shown, frozenset()}
    known = [candidate for candidate in candidates if candidate is not None]
    fixed = {("", name): value for name, value in constants.items()}
    fixed |= {("", name): rows.constants[column] for name, column in outputs.items() if column in rows.constants}
    groups: list[Names] = []
    for name, column in outputs.items():
        like = frozenset(("", other) for other, its in outputs.items() if rows.same(column, its))
        if len(like) > 1 and ("", name) in like and like not in groups:
            groups.append(like)
    present = {("", name) for name in not_null} | set(fixed)
    present |= {("", name) for name, column in outputs.items() if column in rows.not_null}
    return Dependencies(
        columns=shown,
        constants=fixed,
        equal=tuple(groups),
        not_null=frozenset(present),
        functional=tuple(
            Dependency(candidate, right)
            for candidate in known
            if (right := (inner.closure(candidate) & shown) - candidate)
        ),
        keys=frozenset(candidate for candidate in known if inner.unique(candidate)),
    )


def _translated(columns: Names, outputs: Mapping[Name, list[Name]], rows: Dependencies) -> Names | None:
    """A set of columns as outputs that carry them, or equal ones; constants need none. None when one is not put out."""
    found = set()
    for column in columns:
        if column in rows.constants:
            continue
        like = [column, *sorted(other for group in rows.equal if column in group for other in group)]
        carried = next((outputs[other][0] for other in like if other in outputs), None)
        if carried is None:
            return None
        found.add(carried)
    return frozenset(found)


def with_key(rows: Dependencies, key: Names) -> Dependencies:
    """``rows`` of which it is also known that no two agree on ``key``: on it everything else depends."""
    known = (*rows.functional, Dependency(key, rows.columns))
    return replace(rows, functional=known, keys=rows.keys | {key})


def renamed(rows: Dependencies, names: Mapping[Name, Name]) -> Dependencies:
    """The same claims under other names; all of the columns must be in ``names``."""

    def each(columns: Names) -> Names:
        return frozenset(names[column] for column in columns)

    return Dependencies(
        columns=each(rows.columns),
        constants={names[name]: value for name, value in rows.constants.items()},
        equal=tuple(each(group) for group in rows.equal),
        not_null=each(rows.not_null),
        functional=tuple(Dependency(each(step.left), each(step.right)) for step in rows.functional),
        keys=frozenset(each(key) for key in rows.keys),
        complete=tuple(frozenset(each(key) for key in keys) for keys in rows.complete),
    )
