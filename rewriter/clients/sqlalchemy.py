"""A hook for SQLAlchemy engines over psycopg 3 (``postgresql+psycopg``), with and without async.

``before_cursor_execute`` decides and hands on the rewrite, so that logs and tracing show what runs. ``do_execute`` runs
it guarded: only there can another statement be run in place of one that failed. See "Core Events" in SQLAlchemy's
documentation. An error of the original carries the original statement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from rewriter.clients.client import Client
from rewriter.clients.decide import Decision
from rewriter.clients.psycopg import ask, ask_async, consider, is_lost
from rewriter.clients.run import Ask, Do, Place, drive
from rewriter.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_ATTRIBUTE = "_rewriter_running"


@dataclass
class _Running:
    """An execution between ``before_cursor_execute`` and ``do_execute``."""

    decision: Decision
    place: Place | None
    connection: Any
    statement: str
    parameters: Any


def install(engine: Engine | AsyncEngine, client: Client) -> Callable[[], None]:
    """Run approved rewrites through ``engine``; the function returned takes the hook out again.

    Raises UsageError for a driver other than psycopg 3.
    """
    sync: Any = getattr(engine, "sync_engine", engine)
    if sync.dialect.name != "postgresql" or sync.dialect.driver not in ("psycopg", "psycopg_async"):
        raise UsageError(
            f"rewrites cannot be put into {sync.dialect.name}+{sync.dialect.driver}",
            hint="use an engine of postgresql+psycopg://",
        )
    is_async = sync.dialect.is_async
    wait = _in_greenlet if is_async else _at_once

    def before(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> Any:
        running = None
        try:
            # One context may run several statements, such as the default of a column before its INSERT.
            if getattr(context, _ATTRIBUTE, None) is not None:
                setattr(context, _ATTRIBUTE, None)
            # A cursor with a name is one on the server.
            if not many and context is not None and not getattr(cursor, "name", None):
                driver = context.root_connection.connection.driver_connection
                percent = bool(parameters) or not context.no_parameters
                decision, place = consider(client, driver, statement, parameters, percent)
                if decision is not None:
                    running = _Running(decision, place, driver, statement, parameters)
                    setattr(context, _ATTRIBUTE, running)
        except Exception as error:
            client.failed(error)
        if running is None or running.place is None:
            return statement, parameters
        return running.decision.text, running.decision.parameters

    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
        running: _Running | None = getattr(context, _ATTRIBUTE, None)
        if running is None:
            return None
        dialect = context.dialect

        def run(text: str, values: Any) -> None:
            if not values and context.no_parameters:
                dialect.do_execute_no_params(cursor, text, context)
            else:
                dialect.do_execute(cursor, text, values, context)

        if running.place is None:
            start = time.perf_counter()
            run(statement, parameters)
            running.decision.prepared.circuit.ran_original(time.perf_counter() - start)
        else:

            def perform(step: Do | Ask) -> Any:
                if step is Do.REWRITE:
                    return run(statement, parameters)
                if step is Do.ORIGINAL:
                    return run(running.statement, running.parameters)
                if isinstance(step, Ask):
                    return wait((ask_async if is_async else ask)(driver, step))
                return wait(driver.rollback())

            driver = running.connection
            drive(client.steps(running.decision, running.place, driver, lambda: is_lost(driver)), perform)
        client.after(running.decision, running.statement, running.parameters)
        return True

    def execute_no_params(cursor: Any, statement: str, context: Any) -> bool | None:
        return execute(cursor, statement, None, context)

    def failed(problem: Any) -> None:
        """The application's error is the original's: it names the original statement."""
        running: _Running | None = getattr(problem.execution_context, _ATTRIBUTE, None)
        error = problem.sqlalchemy_exception
        if running is not None and error is not None:
            error.statement, error.params = running.statement, running.parameters

    listeners: list[tuple[str, Any, dict[str, bool]]] = [
        ("before_cursor_execute", before, {"retval": True, "insert": True}),
        ("do_execute", execute, {"insert": True}),
        ("do_execute_no_params", execute_no_params, {"insert": True}),
        ("handle_error", failed, {}),
    ]
    for name, function, options in listeners:
        event.listen(sync, name, function, **options)

    def remove() -> None:
        for name, function, _ in listeners:
            event.remove(sync, name, function)

    return remove


def _at_once(answer: Any) -> Any:
    return answer


def _in_greenlet(answer: Any) -> Any:
    from sqlalchemy.util import await_only

    return await_only(answer)
