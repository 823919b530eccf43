"""A schema without a database: a target that can be rewritten and verified for, and on which nothing is run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.engines.base import Capabilities, Limits, Outcome
from rewriter.errors import UsageError
from rewriter.records import Database, Plan, Result, Row


class SchemaOnly:
    """Answers ``catalog()``; everything else raises UsageError, as its capabilities announce."""

    capabilities = Capabilities(runs=False, explains=False, binds=False, parameters=False)

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @property
    def name(self) -> str:
        return f"schema only ({self.dialect})"

    @property
    def dialect(self) -> str:
        return self._catalog.dialect

    def catalog(self) -> Catalog:
        return self._catalog

    @property
    def version_query(self) -> str:
        return ""

    def bind(self, sql: str) -> tuple[tuple[str, str], ...]:
        raise _nothing_to_run()

    def explain(self, sql: str) -> Plan:
        raise _nothing_to_run()

    def run(self, sql: str, limits: Limits, parameters: Row = ()) -> Result:
        raise _nothing_to_run()

    def time(self, sql: str, limits: Limits, parameters: Row = ()) -> tuple[float, int]:
        raise _nothing_to_run()

    def run_on(
        self, catalog: Catalog, databases: Sequence[Database], queries: Sequence[exp.Query], limits: Limits
    ) -> list[list[Outcome]]:
        raise _nothing_to_run()

    def close(self) -> None:
        return None


def _nothing_to_run() -> UsageError:
    return UsageError("a schema without a database can run nothing", hint="pass --target with a database URL")
