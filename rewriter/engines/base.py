"""The contract that every engine keeps. ``tests/engines`` runs one suite over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.errors import EngineError
from rewriter.records import Database, Plan, Result, Row


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. A schema without a database can do none of it and is still a target. ``costs``: its plans
    tell the optimizer's own estimate of the work, and not only of rows."""

    runs: bool = True
    explains: bool = True
    binds: bool = True
    parameters: bool = True
    costs: bool = False


@dataclass(frozen=True)
class Limits:
    """Limits of one run: wall seconds, rows kept (the run still reads to the end and counts only up to this many),
    bytes of memory (engines that can enforce it)."""

    seconds: float = 60.0
    rows: int = 100_000


Outcome = Result | EngineError


class Engine(Protocol):
    """A database that can bind, explain and run SELECTs. Every method may raise TargetLost."""

    @property
    def name(self) -> str:
        """Engine and version for people, such as ``PostgreSQL 18.4``. Never holds credentials."""
        ...

    @property
    def dialect(self) -> str:
        """sqlglot's name of the dialect: ``postgres`` or ``duckdb``."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    def catalog(self) -> Catalog:
        """The catalog, read anew at each call. Raises TargetUnreachable, TargetLost."""
        ...

    @property
    def version_query(self) -> str:
        """A cheap SELECT of one text that changes whenever the catalog's promises change (tables, columns, types, keys,
        checks, views, the search path, settings that a meaning depends on); empty where there is nothing to ask."""
        ...

    def bind(self, sql: str) -> tuple[tuple[str, str], ...]:
        """(name, type) of each output column, without running. Raises BindError."""
        ...

    def explain(self, sql: str) -> Plan:
        """The estimated plan (no ANALYZE). Raises BindError, QueryTimeout."""
        ...

    def run(self, sql: str, limits: Limits, parameters: Row = ()) -> Result:
        """Run one SELECT in a read-only transaction.

        Raises BindError, ExecutionError, QueryTimeout, ResourcesExceeded.
        """
        ...

    def time(self, sql: str, limits: Limits, parameters: Row = ()) -> tuple[float, int]:
        """Run and discard: (seconds from sending to the last row, rows). Raises as ``run``."""
        ...

    def run_on(
        self, catalog: Catalog, databases: Sequence[Database], queries: Sequence[exp.Query], limits: Limits
    ) -> list[list[Outcome]]:
        """Run every query on every generated database, without touching the target's own data.

        ``queries`` are trees in ``catalog.dialect`` (qualified, or a Query's ``stated``); the engine translates them
        if that is not its own. Views are already expanded.
        ``result[d][q]`` is a Result, or the EngineError that the query raised there. ``limits`` holds per query.
        """
        ...

    def close(self) -> None: ...
