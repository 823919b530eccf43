"""The three formats in which Postgres writes its log: stderr, csvlog and jsonlog.

See "Error Reporting and Logging" in the PostgreSQL documentation, sections "Using CSV-Format Log Output" and "Using
JSON-Format Log Output". Most lines of a log are not about statements; they are told from their first bytes and never
decoded.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator

from rewriter.batch.logs.csv_records import QuoteParity, fields
from rewriter.batch.logs.entries import MAX_RECORD, Entry, Reason
from rewriter.batch.logs.postgres_messages import STATEMENT_STARTS, Message, Statements
from rewriter.batch.logs.postgres_prefix import compile_prefix
from rewriter.batch.logs.source import Source

_STARTS = tuple(start.encode() for start in STATEMENT_STARTS)
_PRIMARY = frozenset({b"LOG", b"ERROR", b"FATAL", b"PANIC", b"WARNING", b"NOTICE", b"INFO"})

_FAILURES = frozenset({b"ERROR", b"FATAL", b"PANIC"})

_FIELD = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]{0,256}+)'
CSV_START = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Za-z0-9_+:<>-]{1,40},"
    + _FIELD
    + rb","
    + _FIELD
    + rb",\d*,"
    + _FIELD
    + rb","
)
"""The beginning of a csvlog record: time, user, database, process, host."""

_CSV_COLUMNS = 23  # of version 9.0; newer ones have more at the end
_TIME, _USER, _DATABASE, _SESSION, _SEVERITY, _TEXT, _DETAIL = 0, 1, 2, 5, 11, 13, 14


def is_primary(severity: bytes) -> bool:
    """Whether a message begins with this severity, and does not go on (DETAIL, STATEMENT, ...)."""
    return severity in _PRIMARY or severity.startswith(b"DEBUG")


def read_stderr(source: Source, prefix: str | None) -> Iterator[Entry]:
    """Entries of a log in stderr format with this log_line_prefix (None: any)."""
    match_prefix = compile_prefix(prefix).match
    names = compile_prefix(prefix).groupindex
    has_time, has_epoch = "time" in names, "epoch" in names
    session_name = "session" if "session" in names else "pid" if "pid" in names else None
    statements = Statements(source)
    message: Message | None = None
    for number, lines, content in source.records(_is_continuation):
        match = match_prefix(content)
        if match is None:
            if message is not None:
                yield from statements.take(message)
                message = None
            _skip_foreign(source, number, lines, content)
            continue
        severity = match["severity"]
        if severity != b"LOG" and not is_primary(severity):
            if message is None:
                source.skip(Reason.OTHER, number, lines, content)
                continue
            if severity == b"DETAIL" and message.detail is None:
                message.detail = _text(content[match.end() :])
            message.lines += lines
            continue
        if message is not None:
            yield from statements.take(message)
            message = None
        if severity != b"LOG" or not content.startswith(_STARTS, match.end()):
            source.skip(Reason.OTHER, number, lines, content)
            if severity in _FAILURES and session_name and statements.waits:
                yield from statements.fail((match[session_name] or b"").decode())
            continue
        if len(content) > MAX_RECORD:
            source.skip(Reason.TOO_LONG, number, lines, content)
            continue
        text = _text(content[match.end() :])
        if text is None:
            source.skip(Reason.NOT_UTF8, number, lines, content)
            continue
        session = match[session_name] if session_name else None
        time = match["time"] if has_time else match["epoch"] if has_epoch else None
        message = Message(
            source.at,
            number,
            lines,
            session.decode() if session else None,
            time.decode() if time else None,
            _name(match["user"]) if "user" in names else None,
            _name(match["database"]) if "database" in names else None,
            text,
            epoch=not has_time and has_epoch,
        )
    if message is not None:
        yield from statements.take(message)
    yield from statements.rest(source.unsettled)


def read_csvlog(source: Source) -> Iterator[Entry]:
    """Entries of a log in csvlog format."""
    statements = Statements(source)
    for number, lines, content in source.records(QuoteParity(CSV_START)):
        if len(content) > MAX_RECORD:
            source.skip(Reason.TOO_LONG, number, lines, content)
            continue
        try:
            row = fields(content, ",")
        except UnicodeDecodeError:
            source.skip(Reason.NOT_UTF8, number, lines, content)
            continue
        except csv.Error:
            row = []
        if len(row) < _CSV_COLUMNS:
            source.skip(Reason.MALFORMED if content.strip() else Reason.BLANK, number, lines, content)
        elif row[_SEVERITY] != "LOG" or not row[_TEXT].startswith(STATEMENT_STARTS):
            source.skip(Reason.OTHER, number, lines, content)
            if row[_SEVERITY].encode() in _FAILURES:
                yield from statements.fail(row[_SESSION])
        else:
            yield from statements.take(
                Message(
                    source.at,
                    number,
                    lines,
                    row[_SESSION] or None,
                    row[_TIME],
                    row[_USER],
                    row[_DATABASE],
                    row[_TEXT],
                    row[_DETAIL] or None,
                )
            )
    yield from statements.rest(source.unsettled)


def read_jsonlog(source: Source) -> Iterator[Entry]:
    """Entries of a log in jsonlog format, one object a line."""
    statements = Statements(source)
    for number, lines, content in source.single_lines():
        if len(content) > MAX_RECORD:
            source.skip(Reason.TOO_LONG, number, lines, content)
            continue
        try:
            record = json.loads(content)
        except UnicodeDecodeError:
            source.skip(Reason.NOT_UTF8, number, lines, content)
            continue
        except (ValueError, RecursionError):
            source.skip(Reason.MALFORMED if content.strip() else Reason.BLANK, number, lines, content)
            continue
        if not isinstance(record, dict):
            source.skip(Reason.MALFORMED, number, lines, content)
            continue
        text = record.get("message")
        if not isinstance(text, str) or record.get("error_severity") != "LOG" or not text.startswith(STATEMENT_STARTS):
            source.skip(Reason.OTHER, number, lines, content)
            if record.get("error_severity") in ("ERROR", "FATAL", "PANIC"):
                yield from statements.fail(_of(record, "session_id") or _of(record, "pid"))
            continue
        yield from statements.take(
            Message(
                source.at,
                number,
                lines,
                _of(record, "session_id") or _of(record, "pid"),
                _of(record, "timestamp"),
                _of(record, "user"),
                _of(record, "dbname"),
                text,
                _of(record, "detail"),
            )
        )
    yield from statements.rest(source.unsettled)


def _is_continuation(line: bytes) -> bool:
    return line[0] == 9  # the server begins every further line of a message with a tab


def _skip_foreign(source: Source, number: int, lines: int, content: bytes) -> None:
    if len(content) > MAX_RECORD:
        reason = Reason.TOO_LONG
    else:
        reason = Reason.NO_PREFIX if content.strip() else Reason.BLANK
    source.skip(reason, number, lines, content)


def _text(content: bytes) -> str | None:
    """The message without its end and without the tabs of its continuation lines; None when it is not UTF-8."""
    try:
        return content.decode().rstrip("\r\n").replace("\r\n\t", "\n").replace("\n\t", "\n")
    except UnicodeDecodeError:
        return None


def _name(value: bytes | None) -> str | None:
    """A user or database; the server writes ``[unknown]`` before it knows."""
    return None if not value or value == b"[unknown]" else value.decode("utf-8", "replace")


def _of(record: dict[str, object], name: str) -> str | None:
    value = record.get(name)
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else None
