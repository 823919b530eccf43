"""DuckDB 1.5 and 2.0, always in a child process that is limited, locked down and killed when it overstays.

See ``duckdb_child`` for the other side. A kill or crash ends the statement with an error; the next one gets a new
child.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlglot import exp

from rewriter.catalog import Catalog, Table
from rewriter.engines import duckdb_child
from rewriter.engines.base import Capabilities, Limits, Outcome
from rewriter.engines.duckdb_catalog import VERSION_QUERY, read_catalog
from rewriter.engines.translate import create_table, insert_rows, query_text, table_name
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

START_SECONDS = 30.0
METADATA_SECONDS = 30.0
SCRATCH_MEMORY = 2_000_000_000  # bytes of address space for generated databases
FILE_MEMORY = 16_000_000_000  # bytes of address space for a database file

_ERRORS: dict[str, type[EngineError]] = {
    "bind": BindError,
    "execution": ExecutionError,
    "memory": ResourcesExceeded,
}


class DuckDB:
    """A DuckDB file (opened read-only) or, without a path, an empty database in memory.

    ``memory`` is the child's address space in bytes; DuckDB itself is told to stay within half of it. ``optimizer``
    False runs without DuckDB's optimizer, to tell its faults from real differences.
    """

    dialect = "duckdb"

    def __init__(
        self, path: Path | None = None, *, threads: int = 1, memory: int | None = None, optimizer: bool = True
    ) -> None:
        if path is not None and not path.is_file():
            raise TargetUnreachable(f"there is no database file {path}", hint="check the path of the duckdb:/// URL")
        self._path = path
        self._threads = threads
        self._memory = memory or (FILE_MEMORY if path else SCRATCH_MEMORY)
        self._optimizer = optimizer
        self._home = tempfile.TemporaryDirectory(prefix="rewriter-duckdb-")
        self._process: subprocess.Popen[bytes] | None = None
        self._version = ""
        try:
            self._start()
        except TargetUnreachable:
            self.close()
            raise

    @property
    def name(self) -> str:
        return f"DuckDB {self._version}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    def close(self) -> None:
        self._kill()
        self._home.cleanup()

    def catalog(self) -> Catalog:
        def rows(statement: str) -> tuple[Row, ...]:
            return self.run(statement, Limits(METADATA_SECONDS, 1_000_000)).rows

        return read_catalog(rows, self._version)

    @property
    def version_query(self) -> str:
        return VERSION_QUERY

    def bind(self, sql: str) -> tuple[tuple[str, str], ...]:
        answer = self._ask({"do": "describe", "sql": sql}, METADATA_SECONDS)
        return tuple((name, type_) for name, type_ in answer["columns"])

    def explain(self, sql: str) -> Plan:
        answer = self._ask({"do": "explain", "sql": sql}, METADATA_SECONDS)
        return _plan(json.loads(answer["plan"])[0])

    def run(self, sql: str, limits: Limits, parameters: Row = ()) -> Result:
        return _result(self._ask(_run_request(sql, limits, parameters), limits.seconds))

    def time(self, sql: str, limits: Limits, parameters: Row = ()) -> tuple[float, int]:
        request = _run_request(sql, Limits(limits.seconds, 0), parameters)
        answer = self._ask(request, limits.seconds)
        return answer["seconds"], answer["count"]

    def run_on(
        self, catalog: Catalog, databases: Sequence[Database], queries: Sequence[exp.Query], limits: Limits
    ) -> list[list[Outcome]]:
        if self._path is not None:
            # A database file is somebody's data and open read-only: generated tables get a child of their own.
            with contextlib.closing(DuckDB()) as scratch:
                return scratch.run_on(catalog, databases, queries, limits)
        texts: list[str] = []
        tables: dict[str, Table] = {}
        for query in queries:
            text, used = query_text(query, catalog)
            texts.append(text)
            tables.update({table_name(table): table for table in used})
        layout = [create_table(table) for table in tables.values()]
        fills = [
            [
                insert
                for contents in database.tables
                if (table := catalog.find(contents.table, contents.schema)) is not None
                and table_name(table) in tables
                and (insert := insert_rows(table, contents)) is not None
            ]
            for database in databases
        ]
        return self._run_generated(list(tables), layout, fills, texts, limits)

    def _run_generated(
        self, tables: list[str], layout: list[str], fills: list[list[str]], texts: list[str], limits: Limits
    ) -> list[list[Outcome]]:
        """One round trip; if the child dies of it, once more one database at a time, to blame only the culprit."""
        request = {
            "do": "generated",
            "tables": tables,
            "layout": layout,
            "databases": fills,
            "queries": [_run_request(text, limits, ()) for text in texts],
        }
        seconds = limits.seconds * max(1, len(texts)) if len(fills) == 1 else limits.seconds + 0.5 * len(fills)
        try:
            answer = self._ask(request, seconds)
        except (QueryTimeout, ResourcesExceeded) as error:
            if len(fills) <= 1:
                return [[error for _ in texts] for _ in fills]
            return [outcome for fill in fills for outcome in self._run_generated(tables, layout, [fill], texts, limits)]
        return [[_outcome(entry) for entry in row] for row in answer["outcomes"]]

    # The child process

    def _start(self) -> None:
        environment = {"HOME": self._home.name, "PATH": "", "TZ": "UTC", "LANG": "C.UTF-8"}
        # -I ignores the environment and the current directory; the script itself imports only the standard library and
        # duckdb, which -I still finds in the interpreter's own site-packages.
        self._process = subprocess.Popen(
            [sys.executable, "-I", duckdb_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._home.name,
            env=environment,
            close_fds=True,
            start_new_session=True,
        )
        setup = {
            "path": str(self._path.resolve()) if self._path else None,
            "threads": self._threads,
            "memory": self._memory,
            "duckdb_memory": self._memory // 2,
            "optimizer": self._optimizer,
        }
        self._send(setup)
        answer = self._receive(START_SECONDS)
        if "error" in answer:
            self._kill()
            raise TargetUnreachable(f"DuckDB cannot open the database: {answer['message']}")
        self._version = answer["version"]

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self._start()
        self._send(request)
        answer = self._receive(seconds)
        if "error" in answer:
            if answer["message"].startswith("Permission Error"):
                # Whoever tries to leave the sandbox may have left settings behind that poison what follows.
                self._kill()
            raise _error(answer)
        return answer

    def _send(self, frame: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            duckdb_child.write_frame(self._process.stdin, frame)
        except OSError:
            self._kill()
            raise TargetLost("the DuckDB process died", hint="run again; it is started anew") from None

    def _receive(self, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        handle = self._process.stdout.fileno()
        body = bytearray()
        size: int | None = None
        while size is None or len(body) < size:
            left = deadline - time.monotonic()
            ready = select.select([handle], [], [], max(0.0, left))[0]
            if not ready:
                self._kill()
                raise QueryTimeout(f"stopped after {seconds:g} s")
            chunk = os.read(handle, 1 << 20)
            if not chunk:
                code = self._process.wait()
                self._kill()
                raise ResourcesExceeded(
                    f"the DuckDB process died (status {code})", hint="it ran out of memory, crashed or was killed"
                )
            body += chunk
            if size is None and len(body) >= 8:
                (size,) = struct.unpack(">Q", body[:8])
                del body[:8]
        frame: dict[str, Any] = json.loads(bytes(body))
        return frame

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _run_request(sql: str, limits: Limits, parameters: Row) -> dict[str, Any]:
    return {"do": "run", "sql": sql, "rows": limits.rows, "parameters": [duckdb_child.encode(v) for v in parameters]}


def _error(answer: dict[str, Any]) -> EngineError:
    return _ERRORS.get(answer["error"], ExecutionError)(answer["message"])


def _result(answer: dict[str, Any]) -> Result:
    rows = tuple(duckdb_child.decode(row) for row in answer["rows"])
    return Result(
        columns=tuple(name for name, _ in answer["columns"]),
        types=tuple(type_ for _, type_ in answer["columns"]),
        rows=rows,
        seconds=answer["seconds"],
        truncated=answer["count"] > len(rows),
    )


def _outcome(answer: dict[str, Any]) -> Outcome:
    return _error(answer) if "error" in answer else _result(answer)


def _plan(node: dict[str, Any]) -> Plan:
    """A node of EXPLAIN (FORMAT json) in neutral words; cost is the sum of estimated rows of the subtree."""
    extra = {key.lower(): value for key, value in node.get("extra_info", {}).items()}
    estimate = extra.pop("estimated cardinality", None)
    rows = float(estimate) if estimate not in (None, "") else None
    children = tuple(_plan(child) for child in node.get("children", []))
    detail = {
        key: ", ".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in extra.items()
    }
    cost = (rows or 0.0) + sum(child.cost or 0.0 for child in children)
    return Plan(operator=node["name"].strip(), detail=detail, rows=rows, cost=cost, children=children)
