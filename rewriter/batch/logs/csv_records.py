"""Records of CSV (RFC 4180) out of a stream of lines: a quoted field may go on over several of them."""

from __future__ import annotations

import csv
import re

from rewriter.batch.logs.entries import MAX_RECORD

# The limit is one for the whole process, so it is only ever raised. Records are bounded by ``Source.records``.
csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD + 1))


class QuoteParity:
    """Tells whether a line goes on in a quoted field of the record before it.

    A line that looks like the ``start`` of a record begins one all the same: a record that a crash has cut must not
    swallow the rest of the file.
    """

    def __init__(self, start: re.Pattern[bytes] | None = None) -> None:
        self._open = False
        self._start = start
        self._size = 0

    def __call__(self, line: bytes) -> bool:
        continues = self._open
        if continues and (self._size > MAX_RECORD or (self._start is not None and self._start.match(line))):
            continues = self._open = False
        self._size = self._size + len(line) if continues else len(line)
        if line.count(b'"') % 2:
            self._open = not self._open
        return continues


def fields(content: bytes, delimiter: str) -> list[str]:
    """The fields of one record. Raises UnicodeDecodeError, csv.Error."""
    text = content.decode()
    return next(csv.reader([text], delimiter=delimiter, strict=True), [])
