"""The catalog of a target: what its tables promise. Plain frozen data; everything else derives from it.

Names are stored as the engine stores them (Postgres: folded to lower case unless created quoted; DuckDB: lower case,
because DuckDB compares without case). Types are SQL type texts in ``Catalog.dialect``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class ColumnStatistics:
    """What the engine knows of the values of one column. ``distinct`` is a count of values (not a ratio)."""

    null_fraction: float | None = None
    distinct: float | None = None


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    nullable: bool = True
    statistics: ColumnStatistics | None = None


@dataclass(frozen=True)
class ForeignKey:
    """``columns`` of the owning table refer to ``referenced`` columns of ``table``, position by position.

    A NULL in any of ``columns`` satisfies it (SQL's MATCH SIMPLE).
    """

    columns: tuple[str, ...]
    table: str
    referenced: tuple[str, ...]
    schema: str | None = None


@dataclass(frozen=True)
class Table:
    """A base table or a view (``definition`` is the view's SELECT text). ``rows`` is an estimate, None if unknown.

    ``unique`` holds UNIQUE constraints that let NULLs repeat; a primary key never is NULL. Only constraints that the
    engine enforces and has validated belong here.
    """

    name: str
    columns: tuple[Column, ...]
    schema: str | None = None
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[str, ...] = ()
    rows: int | None = None
    definition: str | None = None

    def column(self, name: str) -> Column | None:
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def is_view(self) -> bool:
        return self.definition is not None


@dataclass(frozen=True)
class Catalog:
    """All relations a query may name. ``search_path`` lists the schemas where unqualified names are looked up.

    ``functions`` maps the lower-case names of the target's functions to their volatility (``immutable``, ``stable``,
    ``volatile``); empty when there is no live target to ask. ``settings`` holds what changes a query's meaning
    (collation, time zone).
    """

    dialect: str
    tables: tuple[Table, ...]
    search_path: tuple[str, ...] = ()
    engine_version: str = ""
    functions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str, schema: str | None = None) -> Table | None:
        """The relation that ``name`` denotes, honouring ``search_path`` when ``schema`` is not given."""
        if schema is not None:
            return self._by_name.get((schema, name))
        for candidate in (*self.search_path, None):
            table = self._by_name.get((candidate, name))
            if table is not None:
                return table
        return None

    @cached_property
    def _by_name(self) -> dict[tuple[str | None, str], Table]:
        return {(table.schema, table.name): table for table in self.tables}

    @cached_property
    def hash(self) -> str:
        """SHA-256 over all that a verdict may rest on (not row counts or statistics), as 64 hex digits."""

        def promise(table: Table) -> dict[str, object]:
            entry = asdict(table)
            entry.pop("rows")
            for column in entry["columns"]:
                column.pop("statistics")
            return entry

        body = {
            "dialect": self.dialect,
            "tables": sorted((promise(table) for table in self.tables), key=lambda t: (str(t["schema"]), t["name"])),
            "search_path": self.search_path,
            "engine_version": self.engine_version,
            "settings": dict(self.settings),
        }
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def restricted_to(self, tables: Iterable[Table]) -> Catalog:
        """The same catalog with only ``tables``."""
        kept = set(tables)
        return Catalog(
            self.dialect,
            tuple(table for table in self.tables if table in kept),
            self.search_path,
            self.engine_version,
            self.functions,
            self.settings,
        )
