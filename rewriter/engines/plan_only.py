"""A live target on which queries are planned and never run: its owner has not agreed to more."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.engines.base import Capabilities, Engine, Limits, Outcome
from rewriter.errors import UsageError
from rewriter.records import Database, Plan, Result, Row


class PlanOnly:
    """The engine behind it, without ``run``, ``time`` and ``run_on``; those raise UsageError."""

    capabilities = Capabilities(runs=False, explains=True, binds=True, parameters=True)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def dialect(self) -> str:
        return self._engine.dialect

    @property
    def version_query(self) -> str:
        return self._engine.version_query

    def catalog(self) -> Catalog:
        return self._engine.catalog()

    def bind(self, sql: str) -> tuple[tuple[str, str], ...]:
        return self._engine.bind(sql)

    def explain(self, sql: str) -> Plan:
        return self._engine.explain(sql)

    def run(self, sql: str, limits: Limits, parameters: Row = ()) -> Result:
        # The catalog's version is no query of a user's.
        if sql == self._engine.version_query:
            return self._engine.run(sql, limits)
        raise _not_agreed()

    def time(self, sql: str, limits: Limits, parameters: Row = ()) -> tuple[float, int]:
        raise _not_agreed()

    def run_on(
        self, catalog: Catalog, databases: Sequence[Database], queries: Sequence[exp.Query], limits: Limits
    ) -> list[list[Outcome]]:
        raise _not_agreed()

    def close(self) -> None:
        self._engine.close()


def _not_agreed() -> UsageError:
    return UsageError("queries may be planned on this target and not run", hint="an admin can allow it for the target")
