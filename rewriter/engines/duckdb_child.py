"""The child process in which DuckDB runs. Imports nothing of ours: it is started as a plain script in isolated mode.

Protocol: length-prefixed JSON frames on stdin and stdout; requests are handled one at a time. JSON and not pickle,
because whatever DuckDB does to this process must not be able to run code in the parent. Values JSON does not have are
``{"$type": text}`` objects (see ``encode``).

DuckDB's own lock-down holds for files but not for time, memory or process life, hence the resource limits here and the
wall-clock kill in the parent (https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview).
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import os
import resource
import struct
import sys
import threading
import time
import uuid
from typing import IO, Any

Frame = dict[str, Any]


def encode(value: Any) -> Any:
    """A value as JSON data; exact for every type DuckDB's client returns."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, decimal.Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime.datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"$date": value.isoformat()}
    if isinstance(value, datetime.time):
        return {"$time": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {"$interval": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, uuid.UUID):
        return {"$uuid": str(value)}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"$struct": [[encode(key), encode(item)] for key, item in value.items()]}
    return {"$text": str(value)}


def read_frame(stream: IO[bytes]) -> Frame | None:
    header = stream.read(8)
    if len(header) < 8:
        return None
    (size,) = struct.unpack(">Q", header)
    body = stream.read(size)
    if len(body) < size:
        return None
    frame: Frame = json.loads(body)
    return frame


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    body = json.dumps(frame, separators=(",", ":")).encode()
    stream.write(struct.pack(">Q", len(body)) + body)
    stream.flush()


def limit_resources(memory: int) -> None:
    """Limits of the operating system: address space in bytes, no written files, few open files, no core."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Child:
    """One locked-down connection and the requests it answers."""

    def __init__(self, setup: Frame) -> None:
        import duckdb

        self.errors = duckdb.Error
        self.bind_errors = (
            duckdb.BinderException,
            duckdb.CatalogException,
            duckdb.ParserException,
            duckdb.SyntaxException,
            duckdb.NotImplementedException,
        )
        self.memory_errors = (duckdb.OutOfMemoryException, MemoryError)
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": str(setup["threads"]),
            "memory_limit": f"{setup['duckdb_memory'] // 1_000_000}MB",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_unsigned_extensions": "false",
            "python_enable_replacements": "false",
            "max_temp_directory_size": "0MB",
            "allow_persistent_secrets": "false",
        }
        path = setup["path"] or ":memory:"
        self.connection = duckdb.connect(path, read_only=bool(setup["path"]), config=config)
        if not setup["optimizer"]:
            self.connection.execute("PRAGMA disable_optimizer")
        self.connection.execute("SET enable_external_access = false")
        # Only the parent may end this process's work by time: CPU seconds of a long-lived child say nothing.
        self.connection.execute("SET lock_configuration = true")
        self.version = duckdb.__version__
        self.layout: list[str] | None = None
        self.tables: list[str] = []

    def handle(self, request: Frame) -> Frame:
        try:
            answer: Frame = getattr(self, "do_" + request["do"])(request)
        except self.memory_errors as error:
            return {"error": "memory", "message": _first_line(error)}
        except self.bind_errors as error:
            return {"error": "bind", "message": _first_line(error)}
        except (self.errors, OverflowError, ValueError) as error:  # the latter two: values Python cannot hold
            return {"error": "execution", "message": _first_line(error)}
        return answer

    def do_hello(self, _: Frame) -> Frame:
        return {"version": self.version}

    def do_describe(self, request: Frame) -> Frame:
        rows = self.connection.execute("DESCRIBE " + request["sql"]).fetchall()
        return {"columns": [[row[0], row[1]] for row in rows]}

    def do_explain(self, request: Frame) -> Frame:
        rows = self.connection.execute("EXPLAIN (FORMAT json) " + request["sql"]).fetchall()
        return {"plan": rows[0][1]}

    def do_run(self, request: Frame) -> Frame:
        start = time.perf_counter()
        parameters = [decode(value) for value in request["parameters"]]
        cursor = self.connection.execute(request["sql"], parameters)
        columns = [[entry[0], str(entry[1])] for entry in cursor.description or []]
        kept: list[Any] = []
        count = 0
        while chunk := cursor.fetchmany(2048):
            room = request["rows"] - len(kept)
            if room > 0:
                kept.extend(chunk[:room])
            count += len(chunk)
        seconds = time.perf_counter() - start
        return {"columns": columns, "rows": [encode(row) for row in kept], "count": count, "seconds": seconds}

    def do_generated(self, request: Frame) -> Frame:
        """Run all queries on all databases: tables are made once, refilled per database."""
        if request["layout"] != self.layout:
            for table in self.tables:
                self.connection.execute(f"DROP TABLE IF EXISTS {table}")
            self.tables = request["tables"]
            for statement in request["layout"]:
                self.connection.execute(statement)
            self.layout = request["layout"]
        outcomes = []
        for database in request["databases"]:
            for table in request["tables"]:
                self.connection.execute(f"DELETE FROM {table}")
            for insert in database:
                self.connection.execute(insert)
            outcomes.append([self.handle({**query, "do": "run"}) for query in request["queries"]])
        return {"outcomes": outcomes}


def decode(value: Any) -> Any:
    """The inverse of ``encode``."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    if kind == "$float":
        return float(body)
    if kind == "$decimal":
        return decimal.Decimal(body)
    if kind == "$datetime":
        return datetime.datetime.fromisoformat(body)
    if kind == "$date":
        return datetime.date.fromisoformat(body)
    if kind == "$time":
        return datetime.time.fromisoformat(body)
    if kind == "$interval":
        return datetime.timedelta(*body)
    if kind == "$bytes":
        return base64.b64decode(body)
    if kind == "$uuid":
        return uuid.UUID(body)
    if kind == "$struct":
        return {decode(key): decode(item) for key, item in body}
    return str(body)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def follow(parent: int) -> None:
    """End with the parent, in the middle of a statement too: nobody else keeps its time."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def main() -> None:
    threading.Thread(target=follow, args=(os.getppid(),), daemon=True).start()
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    setup = read_frame(incoming)
    if setup is None:
        return
    # Anything DuckDB prints must not end up inside a frame.
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    limit_resources(setup["memory"])
    try:
        child = Child(setup)
    except Exception as error:
        write_frame(outgoing, {"error": "open", "message": _first_line(error)})
        return
    write_frame(outgoing, {"version": child.version})
    while (request := read_frame(incoming)) is not None:
        write_frame(outgoing, child.handle(request))


if __name__ == "__main__":
    main()
