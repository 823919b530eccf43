"""Corners: a query and its rewrite with other constants, at the ends of how many rows its predicates let through.

A rewrite that pays for the constants at hand may be slow where a predicate selects next to nothing or nearly all. So
the constants of the most influential predicates are put at low, middle and high selectivity, in both texts alike, and
the two are compared there (the regression check of LITHE: S. Dharwada et al., EDBT 2026; there after SEER). A constant
can be varied only where all its places in the original compare one column of a base table in one way, and where all its
places in the rewrite compare in that way too.

"Low" means that few rows pass. Values come from the target and are private: only these words are told.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlglot import exp

from rewriter.catalog import Catalog, Table
from rewriter.engines.base import Engine, Limits
from rewriter.errors import EngineError
from rewriter.records import Value
from rules.facts import Facts

MOST_PREDICATES = 3
SAMPLED = 20_000  # rows of a table whose values are looked at
SAMPLE_SECONDS = 2.0
SKEW = 2.0  # times as many rows for the most frequent value as for the rarest one, for equality to have corners
TAIL = 0.01  # share of the rows beyond the outer quantiles
_QUANTILES = (TAIL, 0.25, 0.49, 0.5, 0.51, 0.75, 1.0 - TAIL)
LEVELS = ("low", "mid", "high")

Constant = tuple[bool, str]  # whether it is a string, and its text
Constants = Mapping[Constant, exp.Literal]


class Role(StrEnum):
    """What a comparison makes of its constant."""

    EQUAL = "equal"
    LOWER = "lower"
    UPPER = "upper"


_ROLES: dict[type[exp.Expr], tuple[Role, Role]] = {  # with the column on the left, and on the right
    exp.EQ: (Role.EQUAL, Role.EQUAL),
    exp.GT: (Role.LOWER, Role.UPPER),
    exp.GTE: (Role.LOWER, Role.UPPER),
    exp.LT: (Role.UPPER, Role.LOWER),
    exp.LTE: (Role.UPPER, Role.LOWER),
}
_CONDITIONS = (*_ROLES, exp.NEQ, exp.Between, exp.In, exp.Like, exp.ILike, exp.NullSafeEQ, exp.NullSafeNEQ)


@dataclass(frozen=True)
class Predicate:
    """One column of a base table with the constants that it is compared with: one for equality, or the bounds of a
    range."""

    table: Table
    column: str
    constants: Mapping[Role, Constant]

    @property
    def name(self) -> str:
        return f"{self.table.name}.{self.column}"


@dataclass(frozen=True)
class Corner:
    """The constants to put for those of the query; ``levels``: low, mid or high selectivity by predicate."""

    levels: Mapping[str, str]
    constants: Constants


@dataclass(frozen=True)
class _Place:
    column: exp.Column
    role: Role


def predicates(original: exp.Query, rewrite: exp.Query, catalog: Catalog) -> tuple[Predicate, ...]:
    """The predicates whose constants can be varied in both qualified trees alike, those of the largest tables first."""
    facts = Facts(catalog)
    theirs = _places(rewrite)
    usable: dict[Constant, tuple[Table, str, Role]] = {}
    occurrences: dict[tuple[int, str], set[Constant]] = defaultdict(set)
    for constant, places in _places(original).items():
        found = {_meant(place, facts) for place in places}
        meant = found.pop() if len(found) == 1 else None
        if meant is None or constant not in theirs:
            continue
        if any(place is None or place.role is not meant[2] for place in theirs[constant]):
            continue
        usable[constant] = meant
        for place in places:
            if place is not None:
                occurrences[_occurrence(place.column, facts)].add(constant)
    blocked = _blocked(original, facts)
    made: dict[frozenset[Constant], Predicate] = {}
    torn: set[Constant] = set()
    for occurrence, constants in occurrences.items():
        roles = {usable[constant][2]: constant for constant in constants}
        if occurrence in blocked or len(roles) < len(constants) or (Role.EQUAL in roles and len(roles) > 1):
            torn |= constants
        else:
            table, column, _ = usable[next(iter(constants))]
            made[frozenset(constants)] = Predicate(table, column, roles)
    # A constant in two different sets (a range here, a single bound there) would have to take two values at once.
    often = [constant for constants in made for constant in constants]
    torn |= {constant for constant in often if often.count(constant) > 1}
    kept = [predicate for constants, predicate in made.items() if not constants & torn]
    return tuple(sorted(kept, key=lambda one: (-(one.table.rows or 0), one.name)))


def corners(engine: Engine, found: Sequence[Predicate]) -> tuple[Corner, ...]:
    """The corners of the most influential predicates of which the target knows different values: all in the middle,
    then every combination of low and high. Asks the target for quantiles of a sample of its rows. Raises TargetLost."""
    known: dict[str, tuple[Predicate, Mapping[str, Mapping[Role, Value]]]] = {}
    for predicate in found:
        if len(known) == MOST_PREDICATES:
            break
        levels = _levels(engine, predicate)
        if levels is not None:
            same = sum(1 for one, _ in known.values() if one.name == predicate.name)
            known[f"{predicate.name} ({same + 1})" if same else predicate.name] = predicate, levels
    if not known:
        return ()
    chosen = [("mid",) * len(known), *itertools.product(("low", "high"), repeat=len(known))]
    made = []
    for combination in chosen:
        constants: dict[Constant, exp.Literal] = {}
        for level, (predicate, levels) in zip(combination, known.values(), strict=True):
            for role, constant in predicate.constants.items():
                constants[constant] = _written(constant, levels[level][role])
        made.append(Corner(dict(zip(known, combination, strict=True)), constants))
    return tuple(made)


def substituted(tree: exp.Query, constants: Mapping[Constant, exp.Expr]) -> exp.Query:
    """A copy of ``tree`` with other constants; its shape stays."""
    copy = tree.copy()
    for literal in _literals(copy):
        other = constants.get((literal.is_string, literal.name))
        if other is not None:
            literal.replace(other.copy())
    return copy


def _literals(tree: exp.Expr) -> list[exp.Literal]:
    """The constants of a query, without the numbers of types and of parameters."""
    inside = (exp.DataTypeParam, exp.Parameter, exp.Placeholder)
    return [literal for literal in tree.find_all(exp.Literal) if not isinstance(literal.parent, inside)]


def _places(tree: exp.Expr) -> dict[Constant, list[_Place | None]]:
    """All places of each constant; None for one that is no plain comparison with a column."""
    places: dict[Constant, list[_Place | None]] = defaultdict(list)
    for literal in _literals(tree):
        places[literal.is_string, literal.name].append(_place(literal))
    return places


def _place(literal: exp.Literal) -> _Place | None:
    node: exp.Expr = literal
    while isinstance(node.parent, (exp.Cast, exp.Paren)):
        node = node.parent
    parent = node.parent
    if isinstance(parent, exp.Between):
        column = parent.this
        role = {"low": Role.LOWER, "high": Role.UPPER}.get(node.arg_key or "")
    elif type(parent) in _ROLES:
        assert isinstance(parent, exp.Binary)
        mirrored = parent.this is node
        column = parent.expression if mirrored else parent.this
        role = _ROLES[type(parent)][mirrored]
    else:
        return None
    return _Place(column, role) if isinstance(column, exp.Column) and role is not None else None


def _meant(place: _Place | None, facts: Facts) -> tuple[Table, str, Role] | None:
    source = facts.source(place.column) if place is not None else None
    table = facts.table(source[0]) if source is not None else None
    if place is None or table is None or table.is_view or table.column(place.column.name) is None:
        return None
    return table, place.column.name, place.role


def _occurrence(column: exp.Column, facts: Facts) -> tuple[int, str]:
    """The FROM item that a column belongs to, and its name."""
    source = facts.source(column)
    return id(source[0]) if source is not None else 0, column.name


def _blocked(tree: exp.Expr, facts: Facts) -> set[tuple[int, str]]:
    """Columns that are also held against something else that reads no column (a list, an expression): a range of which
    only one end moves would be empty."""
    found = set()
    conditions: Iterator[exp.Expr] = tree.find_all(*_CONDITIONS)
    for condition in conditions:
        columns = list(condition.find_all(exp.Column))
        if len(columns) != 1 or condition.find(exp.Query) is not None:
            continue
        literals = _literals(condition)
        if not literals or any(_place(literal) is None for literal in literals):
            found.add(_occurrence(columns[0], facts))
    return found


def _levels(engine: Engine, predicate: Predicate) -> Mapping[str, Mapping[Role, Value]] | None:
    """Values for the constants by level; None where the target does not tell them apart."""
    if Role.EQUAL in predicate.constants:
        rows = _asked(engine, predicate, "v, count(*) AS n", " GROUP BY v ORDER BY n DESC, v")
        if not rows or rows[0][1] < SKEW * rows[-1][1]:
            return None
        picked = {"low": rows[-1][0], "mid": rows[len(rows) // 2][0], "high": rows[0][0]}
        if not all(map(_finite, picked.values())):
            return None
        return {level: {Role.EQUAL: value} for level, value in picked.items()}
    listed = ", ".join(f"percentile_disc({share}) WITHIN GROUP (ORDER BY v)" for share in _QUANTILES)
    rows = _asked(engine, predicate, listed)
    if not rows or not all(map(_finite, rows[0])) or rows[0][0] == rows[0][-1]:
        return None
    least, quarter, below, middle, above, late, most = rows[0]
    if len(predicate.constants) == 2:
        bounds = {"low": (below, above), "mid": (quarter, late), "high": (least, most)}
        return {level: {Role.LOWER: low, Role.UPPER: high} for level, (low, high) in bounds.items()}
    role = next(iter(predicate.constants))
    upwards = (least, middle, most) if role is Role.UPPER else (most, middle, least)
    return {level: {role: value} for level, value in zip(LEVELS, upwards, strict=True)}


def _asked(engine: Engine, predicate: Predicate, selected: str, rest: str = "") -> tuple[tuple[Value, ...], ...]:
    """What the target answers about a sample of the column's values; nothing where it does not answer in time."""
    table, dialect = predicate.table, engine.dialect
    column = exp.to_identifier(predicate.column, quoted=True).sql(dialect=dialect)
    name = exp.table_(table.name, db=table.schema, quoted=True).sql(dialect=dialect)
    if (table.rows or 0) > 2 * SAMPLED:
        share = max(100.0 * SAMPLED / (table.rows or 1), 1e-4)
        name += f" TABLESAMPLE SYSTEM ({share:f}{' PERCENT' if dialect == 'duckdb' else ''})"
    sample = f"SELECT {column} AS v FROM {name} WHERE {column} IS NOT NULL LIMIT {SAMPLED}"
    try:
        return engine.run(f"SELECT {selected} FROM ({sample}) AS sampled{rest}", Limits(SAMPLE_SECONDS, SAMPLED)).rows
    except EngineError:
        return ()


def _finite(value: Value) -> bool:
    """Whether a value can be written as a constant."""
    if isinstance(value, (float, Decimal)):
        return math.isfinite(value)
    return isinstance(value, (int, str, date)) and not isinstance(value, bool)


def _written(constant: Constant, value: Value) -> exp.Literal:
    """``value`` as a constant of the same kind."""
    match value:
        case datetime():
            text = value.isoformat(sep=" ")
        case date():
            text = value.isoformat()
        case Decimal():
            text = format(value, "f")
        case _:
            text = str(value)
    return exp.Literal(this=text, is_string=constant[0])


def numbered(constants: Sequence[Constant], first: int) -> dict[Constant, exp.Expr]:
    """The constants as parameters of the query, numbered from ``first``."""
    return {
        constant: exp.Parameter(this=exp.Literal.number(number))
        for number, constant in enumerate(constants, start=first)
    }


def constants_of(found: Sequence[Predicate]) -> Iterator[Constant]:
    """All constants of the predicates, each once, in a fixed order."""
    yield from dict.fromkeys(constant for predicate in found for constant in predicate.constants.values())
