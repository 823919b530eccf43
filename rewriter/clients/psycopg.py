"""Cursor factories for psycopg 3, with and without async, and the runner of comparisons.

Server-side cursors, ``executemany``, ``stream``, ``copy`` and pipeline mode are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from rewriter.clients.client import Client
from rewriter.clients.decide import Decision
from rewriter.clients.run import Ask, Do, Place, drive, drive_async
from rewriter.clients.shadow import MOST_ROWS, SECONDS, Answer, RewriteFailed

CHUNK = 1000 if psycopg.pq.version() >= 170000 else 1  # rows; libpq before 17 streams them one by one

_turns: WeakKeyDictionary[Any, threading.Lock] = WeakKeyDictionary()
_async_turns: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()
_making = threading.Lock()


def cursor_factory(client: Client, base: type[psycopg.Cursor[Any]] = psycopg.Cursor) -> type[psycopg.Cursor[Any]]:
    """A subclass of ``base`` that runs approved rewrites: ``psycopg.connect(..., cursor_factory=...)``.

    Cursors of one connection take turns here, so that nothing gets between a rewrite and what undoes it.
    """
    reads_percent = not issubclass(base, psycopg.RawCursor)

    class RewritingCursor(base):  # type: ignore[valid-type, misc]
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            connection = self.connection
            run = super().execute
            with _turn(connection):
                percent = reads_percent and params is not None
                decision, place = consider(client, connection, query, params, percent)
                if decision is None:
                    return run(query, params, **options)
                if place is None:
                    start = time.perf_counter()
                    run(query, params, **options)
                    decision.prepared.circuit.ran_original(time.perf_counter() - start)
                else:

                    def perform(step: Do | Ask) -> Any:
                        if step is Do.REWRITE:
                            return run(decision.text, decision.parameters, **options)
                        if step is Do.ORIGINAL:
                            return run(query, params, **options)
                        return ask(connection, step) if isinstance(step, Ask) else connection.rollback()

                    drive(client.steps(decision, place, connection, lambda: is_lost(connection)), perform)
            client.after(decision, query, params)
            return self

    return RewritingCursor


def async_cursor_factory(
    client: Client, base: type[psycopg.AsyncCursor[Any]] = psycopg.AsyncCursor
) -> type[psycopg.AsyncCursor[Any]]:
    """``cursor_factory`` for ``psycopg.AsyncConnection``."""
    reads_percent = not issubclass(base, psycopg.AsyncRawCursor)

    class AsyncRewritingCursor(base):  # type: ignore[valid-type, misc]
        async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            connection = self.connection
            run = super().execute
            async with _async_turns.setdefault(connection, asyncio.Lock()):
                percent = reads_percent and params is not None
                decision, place = consider(client, connection, query, params, percent)
                if decision is None:
                    return await run(query, params, **options)
                if place is None:
                    start = time.perf_counter()
                    await run(query, params, **options)
                    decision.prepared.circuit.ran_original(time.perf_counter() - start)
                else:

                    async def perform(step: Do | Ask) -> Any:
                        if step is Do.REWRITE:
                            return await run(decision.text, decision.parameters, **options)
                        if step is Do.ORIGINAL:
                            return await run(query, params, **options)
                        if isinstance(step, Ask):
                            return await ask_async(connection, step)
                        return await connection.rollback()

                    await drive_async(client.steps(decision, place, connection, lambda: is_lost(connection)), perform)
            client.after(decision, query, params)
            return self

    return AsyncRewritingCursor


def _turn(connection: Any) -> threading.Lock:
    """The lock that the cursors of a connection share, whichever factory has made them."""
    with _making:
        return _turns.setdefault(connection, threading.Lock())


def consider(
    client: Client, connection: Any, query: Any, params: Any, percent: bool
) -> tuple[Decision | None, Place | None]:
    """(what to do, where a rewrite would run); no place: the original runs and its time is noted. Never raises."""
    try:
        if not isinstance(query, str):
            return None, None
        decision = client.lookup(query, params, percent=percent, connection=connection)
        if decision is None:
            return None, None
        place = place_of(connection)
        if place is None:
            client.note("connection")
            return None, None
        return decision, place if decision.rewrite else None
    except Exception as error:
        client.failed(error)
        return None, None


def place_of(connection: Any) -> Place | None:
    """Where a statement on this connection would stand; None where no rewrite is to run."""
    status = connection.info.transaction_status
    if connection.closed or connection.pgconn.pipeline_status != PipelineStatus.OFF:
        return None
    if connection.isolation_level is psycopg.IsolationLevel.SERIALIZABLE:
        return None
    if status == TransactionStatus.INTRANS:
        return Place.WITHIN
    if status == TransactionStatus.IDLE:
        return Place.ALONE if connection.autocommit else Place.FIRST
    return None


def is_lost(connection: Any) -> bool:
    return bool(connection.closed)


def ask(connection: psycopg.Connection[Any], question: Ask) -> Any:
    """The row that answers ``question``, None without one. A driver that is not to prepare statements does not."""
    row = None
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(question.text, prepare=question.prepare)
        for result in cursor.results():
            row = result.fetchone() if result.description is not None else row
    return row


async def ask_async(connection: psycopg.AsyncConnection[Any], question: Ask) -> Any:
    row = None
    async with psycopg.AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(question.text, prepare=question.prepare)
        more: bool | None = True
        while more:
            row = await cursor.fetchone() if cursor.description is not None else row
            more = cursor.nextset()
    return row


class PairRunner:
    """Runs comparisons on ``connection``, which is its own."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.autocommit = True

    def close(self) -> None:
        self._connection.close()

    def pair(self, original: tuple[str, Any], rewrite: tuple[str, Any], percent: bool) -> tuple[Answer, Answer]:
        """Both in one snapshot of the data, in any order, because the first one warms the cache for the second."""
        turned = random.random() < 0.5  # noqa: S311 - no secret
        try:
            with self._snapshot():
                if turned:
                    second = self._run(*rewrite, percent)
                    return self._run(*original, percent), second
                first = self._run(*original, percent)
                return first, self._run(*rewrite, percent)
        except psycopg.Error as error:
            if self._connection.closed:
                raise
            with self._snapshot():
                self._run(*original, percent)  # raises when it is not the rewrite that fails
            raise RewriteFailed(error.sqlstate or type(error).__name__) from None

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            self._connection.execute(f"SET LOCAL statement_timeout = {int(SECONDS * 1000)}")
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")

    def _run(self, text: str, parameters: Any, percent: bool) -> Answer:
        kind: Any = psycopg.Cursor if percent else psycopg.RawCursor
        rows: list[Any] | None = []
        count = 0
        start = time.perf_counter()
        with kind(self._connection, row_factory=tuple_row) as cursor:
            for row in cursor.stream(text, parameters, size=CHUNK):
                count += 1
                if rows is not None:
                    rows.append(row)
                    rows = rows if count <= MOST_ROWS else None
            columns = tuple((column.name, column.type_code) for column in cursor.description or ())
        return Answer(columns, count, rows, time.perf_counter() - start)
