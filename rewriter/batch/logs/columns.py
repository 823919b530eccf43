"""Rows with named columns to entries: exports of pg_stat_statements, DuckDB's logs and profiles, anybody's tables.

See "pg_stat_statements" in the PostgreSQL documentation (times in milliseconds), and "Logging" and "Profiling" in
DuckDB's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rewriter.batch.logs.entries import MAX_STATEMENT, Entry, Parameters, Reason, as_seconds
from rewriter.batch.logs.statements import fault
from rewriter.batch.logs.timestamps import from_epoch, read_time
from rewriter.errors import UsageError

UNITS = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0,
    "nanoseconds": 1e-9, "microseconds": 1e-6, "milliseconds": 1e-3, "seconds": 1.0, "minutes": 60.0,
    "nanos": 1e-9, "micros": 1e-6, "millis": 1e-3, "sec": 1.0, "secs": 1.0, "msec": 1e-3, "usec": 1e-6,
}  # fmt: skip
"""Units of time that a column's name may end in, in seconds."""

_STATEMENT = ("query", "sql", "statement", "query_text", "sql_text", "query_name", "statement_text")
_CALLS = ("calls", "call_count", "executions", "exec_count", "execution_count", "count")
_TOTAL = ("total_exec_time", "total_time", "total_duration", "total")
_MEAN = ("mean_exec_time", "mean_time", "avg_time", "avg_duration", "mean_duration", "mean", "average_time")
_ONE = (
    "duration",
    "latency",
    "elapsed",
    "elapsed_time",
    "exec_time",
    "execution_time",
    "query_time",
    "runtime",
    "timing",
)
_DATABASE = ("datname", "database", "dbname", "db", "database_name", "schema")
_USER = ("usename", "user", "username", "rolname", "user_name", "dbuser")
_TIMESTAMP = ("timestamp", "time", "ts", "start_time", "query_start", "log_time", "started_at", "at")
_PARAMETERS = ("parameters", "params", "bind_parameters", "args")

_SUFFIX = re.compile(r"(.+?)(?:_in)?_([a-z]+)\Z")
_HIDDEN = "<insufficient privilege>"


@dataclass(frozen=True, slots=True)
class _Time:
    column: str
    unit: float


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what; None for what the table does not have."""

    statement: str
    calls: str | None
    total: _Time | None
    mean: _Time | None
    one: _Time | None
    database: str | None
    user: str | None
    timestamp: str | None
    parameters: str | None
    is_duckdb_log: bool = False

    @classmethod
    def of(cls, names: list[str], unit: str = "ms") -> Columns | None:
        """The columns among ``names`` (in any case), None when none of them holds statements. ``unit`` is that of times
        whose column does not name one, as pg_stat_statements' do not. Raises UsageError for an unknown unit."""
        if unit not in UNITS:
            raise UsageError(f"there is no unit of time {unit!r}", hint=f"known are {', '.join(UNITS)}")
        found = {name.strip().lower(): name for name in reversed(names)}
        is_duckdb_log = {"context_id", "type", "log_level", "message"} <= found.keys()
        statement = found["message"] if is_duckdb_log else _first(found, _STATEMENT)
        if statement is None:
            return None
        default = 1.0 if statement.lower() == "query_name" and "latency" in found else UNITS[unit]  # a DuckDB profile
        return cls(
            statement,
            _first(found, _CALLS),
            _time(found, _TOTAL, default),
            _time(found, _MEAN, default),
            _time(found, _ONE, default),
            _first(found, _DATABASE),
            _first(found, _USER),
            _first(found, _TIMESTAMP),
            _first(found, _PARAMETERS),
            is_duckdb_log,
        )

    def entry(self, row: Mapping[str, object], file: str, line: int, dialect: str) -> Entry | Reason:
        """The entry that a row tells of, or why it tells of none."""
        statement = row.get(self.statement)
        if self.is_duckdb_log and str(row.get("type", "QueryLog")) != "QueryLog":
            return Reason.OTHER
        if not isinstance(statement, str):
            return Reason.EMPTY if statement is None else Reason.MALFORMED
        if statement == _HIDDEN:
            return Reason.NOT_VISIBLE
        statement = statement.strip()
        if reason := fault(statement, dialect):
            return reason
        try:
            calls = _count(row.get(self.calls)) if self.calls else 1
            duration, total = self._durations(row, calls)
        except (ValueError, OverflowError):
            return Reason.MALFORMED
        return Entry(
            statement,
            duration,
            calls,
            total,
            _parameters(row.get(self.parameters)) if self.parameters else None,
            _text(row.get(self.database)) if self.database else None,
            _text(row.get(self.user)) if self.user else None,
            _timestamp(row.get(self.timestamp)) if self.timestamp else None,
            file,
            line,
        )

    def _durations(self, row: Mapping[str, object], calls: int) -> tuple[float | None, float | None]:
        """(duration of one call, total), None for what is not known. Raises ValueError."""
        total = _value(row, self.total)
        mean = _value(row, self.mean)
        one = _value(row, self.one)
        if total is None:
            each = mean if mean is not None else one
            total = each * calls if each is not None else None
        return (total if calls == 1 else None), total


def _first(found: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((found[name] for name in names if name in found), None)


def _time(found: Mapping[str, str], names: tuple[str, ...], default: float) -> _Time | None:
    """The first column that has one of the names, alone or with a unit behind it."""
    for wanted in names:
        if wanted in found:
            return _Time(found[wanted], default)
        for name, column in found.items():
            match = _SUFFIX.match(name)
            if match and match.group(1) == wanted and match.group(2) in UNITS:
                return _Time(column, UNITS[match.group(2)])
    return None


def _value(row: Mapping[str, object], time: _Time | None) -> float | None:
    value = row.get(time.column) if time is not None else None
    if time is None or value is None or value == "":
        return None
    return as_seconds(str(value), time.unit)


def _count(value: object) -> int:
    if value is None or value == "":
        return 1
    count = int(str(value))
    if count < 0:
        raise ValueError(value)
    return count


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int)) and value != "" else None


def _timestamp(value: object) -> datetime | None:
    if isinstance(value, str):
        return read_time(value) or from_epoch(value)
    return from_epoch(str(value)) if isinstance(value, (int, float)) else None


def _parameters(value: object) -> Parameters | None:
    """A JSON list as texts; anything else is not understood."""
    if not isinstance(value, list) or not value:
        return None
    texts = tuple(None if item is None else item if isinstance(item, str) else str(item) for item in value)
    return texts if sum(len(text or "") for text in texts) <= MAX_STATEMENT else None
