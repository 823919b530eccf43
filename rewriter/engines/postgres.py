"""Postgres 14 to 18 through psycopg 3.

Everything runs through the extended protocol (``prepare=True``: the server itself refuses a second statement) in a
read-only transaction that is always rolled back, under ``statement_timeout`` and a watchdog of our own, because a
statement can switch the server's timeout off (``set_config``). EXPLAIN counts as execution:
it runs immutable functions.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import sqlglot
from psycopg.rows import tuple_row
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from rewriter.catalog import Catalog
from rewriter.engines.base import Capabilities, Limits, Outcome
from rewriter.engines.inline import inline_database
from rewriter.engines.postgres_catalog import VERSION_QUERY, read_catalog
from rewriter.errors import (
    BindError,
    EngineError,
    ExecutionError,
    QueryTimeout,
    ResourcesExceeded,
    TargetLost,
    TargetUnreachable,
)
from rewriter.records import Database, Plan, Result, Row

CONNECT_SECONDS = 10
WATCHDOG_GRACE = 2.0  # seconds after the server's own timeout should have fired
METADATA = Limits(seconds=30.0, rows=10)
CLIENT_CHECK = 2000  # milliseconds between two looks of the server whether we are still there
CHUNK = 1000  # rows fetched at a time

_BIND_CLASSES = ("42", "0A", "3F", "22023")  # SQLSTATE classes: names and syntax, not supported, schema


class Postgres:
    """A Postgres server reached by a libpq URI or conninfo."""

    dialect = "postgres"

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection = self._open()
        self._version = self._connection.info.server_version
        self._notices = _notices_a_lost_client(self._connection)

    def _open(self) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(
                self._conninfo,
                connect_timeout=CONNECT_SECONDS,
                application_name="rewriter",
                autocommit=True,
                row_factory=tuple_row,
            )
        except psycopg.Error as error:
            raise TargetUnreachable(
                f"cannot connect to Postgres: {_without_secrets(str(error), self._conninfo)}",
                hint="check host, port, user, password and database of the target URL",
            ) from None
        if connection.info.server_version < 140000:
            connection.close()
            raise TargetUnreachable(
                f"Postgres {connection.info.server_version // 10000} is too old", hint="versions 14 to 18 are supported"
            )
        return connection

    @property
    def name(self) -> str:
        return f"PostgreSQL {self._version // 10000}.{self._version % 10000}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(costs=True)

    def close(self) -> None:
        self._connection.close()

    def catalog(self) -> Catalog:
        with self._transaction(METADATA) as cursor:
            return read_catalog(cursor, self._version)

    @property
    def version_query(self) -> str:
        return VERSION_QUERY

    def bind(self, sql: str) -> tuple[tuple[str, str], ...]:
        with self._transaction(METADATA) as cursor:
            # PREPARE through the protocol describes the columns without planning or running.
            pgconn = self._connection.pgconn
            prepared = pgconn.prepare(b"", sql.encode())
            if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
                raise BindError(_clean(prepared.error_message.decode(errors="replace")))
            described = pgconn.describe_prepared(b"")
            if described.status != psycopg.pq.ExecStatus.COMMAND_OK:
                raise BindError(_clean(described.error_message.decode(errors="replace")))
            columns = [
                ((described.fname(i) or b"").decode(), described.ftype(i), described.fmod(i))
                for i in range(described.nfields)
            ]
            named = []
            for name, oid, modifier in columns:
                row = cursor.execute("SELECT format_type(%s, %s)", (oid, modifier), prepare=True).fetchone()
                named.append((name, str(row[0]) if row else "unknown"))
            return tuple(named)

    def explain(self, sql: str) -> Plan:
        generic = _has_parameters(sql)
        if generic and self._version < 160000:
            raise BindError(
                f"PostgreSQL {self._version // 10000} cannot plan a statement with parameters",
                hint="version 16 and later can; or give values for the parameters",
            )
        options = "FORMAT JSON, GENERIC_PLAN" if generic else "FORMAT JSON"
        with self._transaction(METADATA) as cursor:
            if generic:
                # A prepared EXPLAIN would itself want the parameters; the simple protocol does not look for them, but
                # would run any number of statements, so the server's own parser first has to find a single one.
                prepared = self._connection.pgconn.prepare(b"", sql.encode())
                if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
                    raise BindError(_clean(prepared.error_message.decode(errors="replace")))
                result = self._connection.pgconn.exec_(f"EXPLAIN ({options}) {sql}".encode())
                if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
                    raise BindError(_clean(result.error_message.decode(errors="replace")))
                value = result.get_value(0, 0)
                document = json.loads(value or b"[]")
            else:
                row = cursor.execute(f"EXPLAIN ({options}) {sql}", prepare=True).fetchone()
                document = row[0] if row else []
        return _plan(document[0]["Plan"])

    def run(self, sql: str, limits: Limits, parameters: Row = ()) -> Result:
        return self._run(sql, limits, parameters, keep=limits.rows)[0]

    def time(self, sql: str, limits: Limits, parameters: Row = ()) -> tuple[float, int]:
        result, count = self._run(sql, limits, parameters, keep=0)
        return result.seconds, count

    def _run(self, sql: str, limits: Limits, parameters: Row, keep: int) -> tuple[Result, int]:
        with self._transaction(limits, raw=True) as cursor:
            kept: list[Row] = []
            count = 0
            start = time.perf_counter()
            for row in cursor.stream(sql.encode(), parameters, size=CHUNK):
                if count < keep:
                    kept.append(row)
                count += 1
            seconds = time.perf_counter() - start
            description = cursor.description or []
            columns = tuple(column.name for column in description)
            types = tuple(_type_name(column.type_code) for column in description)
        return Result(columns, types, tuple(kept), seconds, truncated=count > keep), count

    def run_on(
        self, catalog: Catalog, databases: Sequence[Database], queries: Sequence[exp.Query], limits: Limits
    ) -> list[list[Outcome]]:
        outcomes: list[list[Outcome]] = []
        for database in databases:
            row: list[Outcome] = []
            for query in queries:
                try:
                    row.append(self.run(inline_database(query, catalog, database), limits))
                except EngineError as error:
                    row.append(error)
            outcomes.append(row)
        return outcomes

    @contextlib.contextmanager
    def _transaction(self, limits: Limits, raw: bool = False) -> Iterator[psycopg.Cursor[Any]]:
        """A cursor in a read-only transaction that ends in a rollback, watched from outside.

        ``raw``: the cursor takes ``$1`` and not ``%s``, and always speaks the extended protocol.
        """
        if self._connection.closed:
            self._connection = self._open()
        connection = self._connection
        watchdog = _Watchdog(connection, limits.seconds + WATCHDOG_GRACE)
        try:
            with contextlib.ExitStack() as stack:
                cursor = stack.enter_context(psycopg.RawCursor(connection) if raw else connection.cursor())
                connection.execute(self._begin(limits))
                stack.callback(self._rollback)
                with watchdog:
                    yield cursor
        except psycopg.errors.QueryCanceled:
            raise QueryTimeout(f"stopped after {limits.seconds:g} s") from None
        except psycopg.Error as error:
            if watchdog.fired:
                raise QueryTimeout(f"stopped after {limits.seconds:g} s") from None
            if connection.closed or connection.broken:
                raise TargetLost(
                    "the Postgres server closed the connection", hint="see whether the server is up, then run again"
                ) from None
            raise _translate(error) from None

    def _begin(self, limits: Limits) -> str:
        """One round trip of constants: the transaction and its limits."""
        milliseconds = max(1, int(limits.seconds * 1000))
        statements = [
            "BEGIN READ ONLY",
            f"SET LOCAL statement_timeout = {milliseconds}",
            "SET LOCAL lock_timeout = 2000",
            "SET LOCAL idle_in_transaction_session_timeout = 60000",
        ]
        if self._notices:
            # A statement of ours must not run on when this process is killed.
            statements.append(f"SET LOCAL client_connection_check_interval = {CLIENT_CHECK}")
        if self._version >= 170000:
            statements.append(f"SET LOCAL transaction_timeout = {milliseconds + 60000}")
        return "; ".join(statements)

    def _rollback(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")


def _notices_a_lost_client(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server's system can tell during a statement that the client is gone (Linux, macOS and BSD can)."""
    try:
        connection.execute(f"BEGIN; SET LOCAL client_connection_check_interval = {CLIENT_CHECK}")
    except psycopg.Error:
        return False
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")
    return True


class _Watchdog:
    """Cancels from a second connection when the server's own timeout did not; closes the connection if that fails."""

    def __init__(self, connection: psycopg.Connection[Any], seconds: float) -> None:
        self.connection = connection
        self.fired = False
        self.timer = threading.Timer(seconds, self.fire)
        self.timer.daemon = True

    def fire(self) -> None:
        self.fired = True
        try:
            self.connection.cancel_safe(timeout=5.0)
        except psycopg.Error:
            self.connection.close()

    def __enter__(self) -> _Watchdog:
        self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()


def _translate(error: psycopg.Error) -> EngineError:
    """One of our errors for one of the server's."""
    message = _clean(str(error))
    state = error.sqlstate or ""
    if isinstance(error, psycopg.errors.QueryCanceled) or state == "25P04":
        return QueryTimeout(message)
    if state.startswith("53") or state == "54001":
        return ResourcesExceeded(message)
    if state.startswith(_BIND_CLASSES):
        return BindError(message)
    return ExecutionError(message)


def _clean(message: str) -> str:
    """The server's message without the quoted statement, position marks and the word ERROR."""
    lines = [line for line in message.splitlines() if line.strip() and not re.match(r"(LINE \d+:|\s*\^|QUERY:)", line)]
    first = lines[0] if lines else "the server gave no message"
    return re.sub(r"^(ERROR|FATAL):\s*", "", first).strip()


def _without_secrets(message: str, conninfo: str) -> str:
    """A connection error's last line with the password, wherever it came from, taken out."""
    line = message.strip().splitlines()[-1]
    with contextlib.suppress(psycopg.Error):
        password = psycopg.conninfo.conninfo_to_dict(conninfo).get("password")
        if password:
            line = line.replace(str(password), "***")
    return _clean(line.removeprefix("connection failed: "))


def _has_parameters(sql: str) -> bool:
    """Whether ``sql`` holds a ``$n`` outside of quotes and comments."""
    tokens = sqlglot.tokenize(sql, read="postgres")
    return any(
        before.token_type is TokenType.PARAMETER and after.text.isdigit()
        for before, after in itertools.pairwise(tokens)
    )


def _type_name(oid: int) -> str:
    known = psycopg.adapters.types.get(oid)
    return known.name if known is not None else str(oid)


_PLAN_DETAIL = """Relation Name,Alias,Index Name,Join Type,Strategy,Filter,Index Cond,Recheck Cond,Hash Cond,Merge Cond,
Join Filter,Group Key,Sort Key,CTE Name,Subplan Name,Parent Relationship""".replace("\n", "").split(",")


def _plan(node: dict[str, Any]) -> Plan:
    """A node of EXPLAIN (FORMAT JSON) in neutral words."""
    detail = {}
    for key in _PLAN_DETAIL:
        if key in node:
            value = node[key]
            detail[key.lower()] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Plan(
        operator=node["Node Type"],
        detail=detail,
        rows=node.get("Plan Rows"),
        cost=node.get("Total Cost"),
        children=tuple(_plan(child) for child in node.get("Plans", [])),
    )
