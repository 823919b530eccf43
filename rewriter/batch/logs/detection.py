"""Which format a log is in, told from its first bytes."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from rewriter.batch.logs.columns import UNITS, Columns
from rewriter.batch.logs.csv_records import fields
from rewriter.batch.logs.mysql_slow import START as MYSQL_START
from rewriter.batch.logs.postgres_files import CSV_START
from rewriter.batch.logs.postgres_prefix import compile_prefix, guess_prefix
from rewriter.batch.logs.statements import check_dialect
from rewriter.errors import InputError, UsageError

_LINES = 500  # that the guess at a prefix looks at
_LEAST_SHARE = 0.2  # of lines with a prefix; the rest may be what other programs wrote

_SQL = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/|\\[^\n]*\n)*+[(]*(?:select|with|insert|update|delete|merge|create|alter|drop|set|begin|explain"
    r"|values|table|copy|from|start|commit|use|grant|truncate|analyze|vacuum|declare|execute|prepare|call|pragma)\b",
    re.IGNORECASE | re.DOTALL,
)
_JSON = re.compile(rb"\{|\[\s*(?:[{\]]|\Z)")  # and not the prefix "[%p] "
_MYSQL_LINE = re.compile(rb"^(?:" + MYSQL_START.pattern + rb")", re.MULTILINE)


class Format(StrEnum):
    STDERR = "stderr"
    CSVLOG = "csvlog"
    JSONLOG = "jsonlog"
    MYSQL_SLOW = "mysql-slow"
    CSV = "csv"
    JSON_LINES = "jsonl"
    JSON = "json"
    SQL = "sql"


IN_RANGES = frozenset({Format.STDERR, Format.CSVLOG, Format.JSONLOG, Format.JSON_LINES, Format.MYSQL_SLOW})
"""Formats in which the start of a record can be told from any place in the file."""

_DIALECTS = {
    Format.STDERR: "postgres", Format.CSVLOG: "postgres", Format.JSONLOG: "postgres", Format.MYSQL_SLOW: "mysql",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may say about the logs.

    ``format`` None: told from the content. ``prefix``: Postgres' log_line_prefix, None: guessed. ``unit``: of times in
    columns that do not name one. ``dialect``: how strings are quoted in files that do not tell.
    """

    format: Format | None = None
    prefix: str | None = None
    unit: str = "ms"
    dialect: str = "postgres"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise UsageError(f"there is no unit of time {self.unit!r}", hint=f"known are {', '.join(UNITS)}")
        check_dialect(self.dialect)
        if self.prefix is not None:
            compile_prefix(self.prefix)


@dataclass(frozen=True, slots=True)
class Layout:
    """All that a reader has to know of a file before it reads it from any place. ``prefix`` None: any."""

    format: Format
    prefix: str | None = None
    delimiter: str = ","
    header: tuple[str, ...] = ()
    unit: str = "ms"
    dialect: str = "postgres"


def detect(head: bytes, name: str, options: Options | None = None) -> Layout:
    """The layout of a file that begins with ``head``. Raises InputError when it is none that is known."""
    options = options or Options()
    head = head.removeprefix(b"\xef\xbb\xbf")
    format_ = options.format or _format(head, name, options)
    dialect = _DIALECTS.get(format_, options.dialect)
    layout = Layout(format_, options.prefix, unit=options.unit, dialect=dialect)
    if format_ is Format.STDERR and options.prefix is None:
        return replace(layout, prefix=guess_prefix(_whole_lines(head))[0])
    if format_ is Format.CSV:
        found = _header(head)
        if found is None:
            raise InputError(
                f"the first line of {name} names no column with statements",
                hint="name one of the columns query, sql or statement",
            )
        return replace(layout, delimiter=found[0], header=found[1])
    return layout


def _format(head: bytes, name: str, options: Options) -> Format:
    stripped = head.lstrip()
    if _JSON.match(stripped):
        return _kind_of_json(stripped)
    if CSV_START.match(head):
        return Format.CSVLOG
    if _MYSQL_LINE.search(head):
        return Format.MYSQL_SLOW
    lines = _whole_lines(head)
    if options.prefix is not None:
        pattern = compile_prefix(options.prefix)
        if any(pattern.match(line) for line in lines):
            return Format.STDERR
    header = _header(head)
    if header is not None and not any(" " in name.strip() for name in header[1]):
        return Format.CSV
    share = guess_prefix(lines)[1]
    is_sql = _SQL.match(head[:50_000].decode("utf-8", "replace")) is not None
    if share >= _LEAST_SHARE and not (is_sql and share < 0.5):
        return Format.STDERR
    if is_sql or name.lower().endswith(".sql"):
        return Format.SQL
    if header is not None:
        return Format.CSV
    if share > 0 or not stripped:
        return Format.STDERR
    raise InputError(
        f"{name} is in no format that is known here",
        hint=f"if it is one of {', '.join(Format)}, say which; for a Postgres log, pass its log_line_prefix",
    )


def _kind_of_json(head: bytes) -> Format:
    """A log, objects of which each is a line, or documents."""
    for line in head.split(b"\n", 3)[:2]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            if {"error_severity", "message"} <= record.keys() or {"session_id", "line_num"} <= record.keys():
                return Format.JSONLOG
            return Format.JSON_LINES if Columns.of(list(record)) is not None or b"\n{" in head else Format.JSON
    return Format.JSON


def _header(head: bytes) -> tuple[str, tuple[str, ...]] | None:
    """(delimiter, names) of a first line that names a column with statements."""
    line = head.split(b"\n", 1)[0].rstrip(b"\r")
    for delimiter in sorted(",;\t|", key=lambda sign: -line.count(sign.encode())):
        try:
            names = fields(line, delimiter)
        except (csv.Error, UnicodeDecodeError):
            continue
        if Columns.of(names) is not None:
            return delimiter, tuple(names)
    return None


def _whole_lines(head: bytes) -> list[bytes]:
    lines = head.split(b"\n", _LINES)[:_LINES]
    return lines if len(lines) == 1 or head.endswith(b"\n") else lines[:-1]
