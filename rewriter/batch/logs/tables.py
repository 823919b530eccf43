"""Files of rows with named columns: CSV with a header (RFC 4180), JSON Lines, and JSON documents (RFC 8259)."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping

from rewriter.batch.logs.columns import Columns
from rewriter.batch.logs.csv_records import QuoteParity, fields
from rewriter.batch.logs.entries import MAX_RECORD, Entry, Reason
from rewriter.batch.logs.source import Record, Source

_CHUNK = 1 << 16
# A quote that the first alternative leaves begins a string that does not end here. Possessive: nothing is tried twice.
_STRUCTURE = re.compile(rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|[{}"]', re.DOTALL)


def read_csv_table(source: Source, delimiter: str, header: tuple[str, ...], unit: str, dialect: str) -> Iterator[Entry]:
    """Entries of a CSV file with these names in its first line."""
    names = list(header)
    columns = Columns.of(names, unit)
    for number, lines, content in source.records(QuoteParity()):
        if len(content) > MAX_RECORD:
            source.skip(Reason.TOO_LONG, number, lines, content)
            continue
        try:
            row = fields(content, delimiter)
        except UnicodeDecodeError:
            source.skip(Reason.NOT_UTF8, number, lines, content)
            continue
        except csv.Error:
            source.skip(Reason.MALFORMED, number, lines, content)
            continue
        if number == 1 or row == names:  # appended exports repeat the header
            source.skip(Reason.HEADER, number, lines, content)
        elif not row:
            source.skip(Reason.BLANK, number, lines, content)
        elif len(row) != len(names) or columns is None:
            source.skip(Reason.MALFORMED, number, lines, content)
        else:
            yield from _entries(source, columns, dict(zip(names, row, strict=True)), (number, lines, content), dialect)


def read_json_lines(source: Source, unit: str, dialect: str) -> Iterator[Entry]:
    """Entries of a file with one JSON object a line; each may have names of its own."""
    yield from _from_documents(source, source.single_lines(), unit, dialect)


def read_json(source: Source, unit: str, dialect: str) -> Iterator[Entry]:
    """Entries of objects in JSON documents: one after the other, in lists, or in a list inside an object (``rows``)."""
    yield from _from_documents(source, _objects(source), unit, dialect)


def _from_documents(source: Source, records: Iterator[Record], unit: str, dialect: str) -> Iterator[Entry]:
    """JSON needs no lines, so here every object counts as a line."""
    known: dict[tuple[str, ...], Columns | None] = {}
    for number, _, content in records:
        if len(content) > MAX_RECORD:
            source.skip(Reason.TOO_LONG, number, 1, content)
            continue
        try:
            rows = _rows(json.loads(content))
        except UnicodeDecodeError:
            source.skip(Reason.NOT_UTF8, number, 1, content)
            continue
        except (ValueError, RecursionError):
            reason = Reason.MALFORMED if content.strip(b" \t\r\n[],") else Reason.BLANK
            source.skip(reason, number, 1, content)
            continue
        if not rows:
            source.skip(Reason.MALFORMED, number, 1, content)
        for row in rows:
            names = tuple(row)
            if names not in known:
                if len(known) > 1000:
                    known.clear()
                known[names] = Columns.of(list(names), unit)
            columns = known[names]
            if columns is None:
                source.skip(Reason.OTHER, number, 1, content)
            else:
                yield from _entries(source, columns, row, (number, 1, content), dialect)


def _entries(
    source: Source, columns: Columns, row: Mapping[str, object], record: Record, dialect: str
) -> Iterator[Entry]:
    number, lines, content = record
    entry = columns.entry(row, source.name, number, dialect)
    if isinstance(entry, Entry):
        source.use(lines)
        yield entry
    else:
        source.skip(entry, number, lines, content)


def _rows(document: object) -> list[dict[str, object]]:
    """The objects that a document holds: itself, those of its list, or those of the one list inside."""
    if isinstance(document, list):
        return [row for row in document if isinstance(row, dict)]
    if not isinstance(document, dict):
        return []
    lists = [value for value in document.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1 and Columns.of(list(document)) is None:
        return [row for row in lists[0] if isinstance(row, dict)]
    return [document]


def _objects(source: Source) -> Iterator[Record]:
    """The outermost objects of a stream of JSON, and whatever stands between them that JSON does not allow there.

    A string cannot hold the end of a line, so behind a broken one reading goes on in the next line.
    """
    buffer = b""
    end = position = depth = 0  # end of what was given out, where to go on, brackets that are open
    number = source.number
    start = 0
    while part := source.stream.read(_CHUNK):
        buffer += part
        while match := _STRUCTURE.search(buffer, position):
            sign = match.group()
            if sign == b'"':
                broken = buffer.find(b"\n", match.start())
                if broken < 0:
                    break
                yield (
                    number + buffer.count(b"\n", 0, start if depth else end),
                    1,
                    buffer[start if depth else end : broken],
                )
                end = position = broken
                depth = 0
                continue
            position = match.end()
            if sign == b"{":
                if depth == 0:
                    start = match.start()
                    if between := buffer[end:start].strip(b" \t\r\n,[]"):
                        yield number + buffer.count(b"\n", 0, end), 1, between
                    end = start
                depth += 1
            elif sign == b"}" and depth:
                depth -= 1
                if depth == 0:
                    yield number + buffer.count(b"\n", 0, start), 1, buffer[start:position]
                    end = position
        else:
            position = len(buffer)
        if len(buffer) - end > MAX_RECORD:
            yield number + buffer.count(b"\n", 0, end), 1, buffer[end:]
            end = position = len(buffer)
            depth = 0
            while (rest := source.stream.readline(_CHUNK)) and rest[-1] != 10:
                pass
            number += rest[-1:] == b"\n"
        number += buffer.count(b"\n", 0, end)
        buffer, position, start = buffer[end:], position - end, start - end
        end = 0
    if buffer.strip(b" \t\r\n,[]"):
        yield number, 1, buffer
