"""The slow query log of MySQL and MariaDB, written to a file.

See "The Slow Query Log" in the MySQL reference manual. A record has comment lines (``# Time:``, ``# User@Host:``,
``# Query_time:`` and with log_slow_extra many more), maybe ``use db;`` and ``SET timestamp=...;``, then the statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rewriter.batch.logs.entries import MAX_RECORD, Entry, Reason, as_seconds
from rewriter.batch.logs.source import Source
from rewriter.batch.logs.statements import fault
from rewriter.batch.logs.timestamps import from_epoch, read_time

START = re.compile(rb"# Time: |# User@Host: ")

_BANNER = re.compile(rb"(?:\S{1,500}, Version: |Tcp port: |Time +Id Command +Argument)")
_HEAD = re.compile(r"# (?!administrator command:)|use [^;]*;\s*\Z|SET [a-z0-9_=,.]*;\s*\Z", re.IGNORECASE)
_USER = re.compile(r"# User@Host: ([^\[\n]{0,200})\[")
_TIME = re.compile(r"# Time: (\S.{0,60})")
_OLD_TIME = re.compile(r"(\d\d)(\d\d)(\d\d) +(\d{1,2}):(\d\d):(\d\d)")
_SCHEMA = re.compile(r"\bSchema: (\S{1,64})")  # MariaDB
_QUERY_TIME = re.compile(r"# Query_time: ([0-9.]{1,30})\s")
_USE = re.compile(r"use `?([^`;\n]{1,64})`?;\s*\Z", re.IGNORECASE)
_SET = re.compile(r"SET (?:[a-z_]+=\d+,)*timestamp=(\d{1,12}(?:\.\d{1,6})?);\s*\Z", re.IGNORECASE)


class SlowLogStart:
    """Tells whether a line goes on in the record before it: a record begins at ``# Time:``, or at ``# User@Host:`` when
    the server has left the time out because it is that of the record before."""

    def __init__(self) -> None:
        self._after_time = False

    def __call__(self, line: bytes) -> bool:
        if line.startswith(b"# Time: "):
            self._after_time = True
            return False
        continues = not line.startswith(b"# User@Host: ") or self._after_time
        self._after_time = False
        if continues and _BANNER.match(line):
            return False
        return continues


@dataclass(slots=True)
class _Head:
    """What the lines before a statement tell; ``database`` and ``time`` also what those of earlier records told."""

    database: str | None = None
    time: datetime | None = None
    user: str | None = None
    schema: str | None = None
    seconds: float | None = None

    def read(self, lines: list[str]) -> None:
        self.user = self.schema = self.seconds = None
        for line in lines:
            if match := _TIME.match(line):
                self.time = _time(match.group(1)) or self.time
            elif match := _USER.match(line):
                self.user = match.group(1).strip() or None
            elif match := _USE.match(line):
                self.database = match.group(1)
            elif match := _SET.match(line):
                self.time = from_epoch(match.group(1)) or self.time
            if match := _QUERY_TIME.match(line):
                self.seconds = _seconds(match.group(1))
            if match := _SCHEMA.search(line):
                self.schema = match.group(1)


def read_mysql_slow(source: Source) -> Iterator[Entry]:
    """Entries of a slow query log. A database that ``use`` has named, and a time, hold for records that lack them."""
    head = _Head()
    for number, lines, content in source.records(SlowLogStart()):
        reason: Reason | None = None
        statement = ""
        if len(content) > MAX_RECORD:
            reason = Reason.TOO_LONG
        elif not content.strip():
            reason = Reason.BLANK
        elif not START.match(content):
            reason = Reason.HEADER if _BANNER.match(content) else Reason.MALFORMED
        else:
            try:
                text = content.decode().splitlines(keepends=True)
            except UnicodeDecodeError:
                reason = Reason.NOT_UTF8
            else:
                size = next((index for index, line in enumerate(text) if not _HEAD.match(line)), len(text))
                head.read(text[:size])
                statement = "".join(text[size:]).strip().removesuffix(";").rstrip()
                if statement.startswith("# administrator command:"):
                    reason = Reason.OTHER
                elif head.seconds is None:
                    reason = Reason.MALFORMED
                else:
                    reason = fault(statement, "mysql")
        if reason is not None:
            source.skip(reason, number, lines, content)
            continue
        source.use(lines)
        seconds, database = head.seconds, head.schema or head.database
        yield Entry(statement, seconds, 1, seconds, None, database, head.user, head.time, source.name, number)


def _time(text: str) -> datetime | None:
    """``2024-01-31T12:00:00.000001Z`` (5.7 and later) or ``240131 12:00:00`` (before, and MariaDB)."""
    if match := _OLD_TIME.match(text):
        year, month, day, hour, minute, second = match.groups()
        return read_time(f"20{year}-{month}-{day} {hour:0>2}:{minute}:{second}")
    return read_time(text.strip())


def _seconds(text: str) -> float | None:
    try:
        return as_seconds(text, 1.0)
    except ValueError:
        return None
