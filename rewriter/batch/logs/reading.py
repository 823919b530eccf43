"""Files, folders and streams of any known format to entries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rewriter.batch.logs.detection import Format, Layout, Options, detect
from rewriter.batch.logs.entries import Entry, Tally
from rewriter.batch.logs.mysql_slow import read_mysql_slow
from rewriter.batch.logs.opening import DAMAGE, find_files, is_plain, opened, skip_bytes, unpacked, with_head
from rewriter.batch.logs.positions import Position, find, head_of
from rewriter.batch.logs.postgres_files import read_csvlog, read_jsonlog, read_stderr
from rewriter.batch.logs.ranges import Range
from rewriter.batch.logs.source import Source
from rewriter.batch.logs.sql_files import read_sql
from rewriter.batch.logs.tables import read_csv_table, read_json, read_json_lines
from rewriter.errors import InputError

STDIN = "standard input"
_BOM = b"\xef\xbb\xbf"


class LogReader:
    """Reads logs and keeps account of them.

    ``positions`` are those of an earlier run; with ``grows`` a record whose last line has no end yet is left for the
    next run. When the entries of a file are used up, ``positions`` has where it ended, and ``tally`` balances.
    """

    def __init__(
        self, options: Options | None = None, positions: Iterable[Position] = (), *, grows: bool = False
    ) -> None:
        self._options = options or Options()
        self._before = tuple(positions)
        self._grows = grows
        self.tally = Tally()
        self.positions: dict[str, Position] = {}

    def read_files(self, paths: Sequence[Path]) -> Iterator[Entry]:
        """Entries of the files, and of those below the folders, among ``paths``.

        Raises InputError for a path that does not exist, and for a single file that cannot be opened or is in no known
        format. Where there are several, such a file is noted in ``tally.damaged`` and the others are read.
        """
        files = find_files(paths)
        for path in files:
            try:
                with opened(path) as contents:
                    for name, stream in contents:
                        yield from self._read_content(name, stream, alone=len(files) == 1, path=path)
            except InputError as error:
                if len(files) == 1:
                    raise
                self.tally.damaged[str(path)] = error.message
            except DAMAGE as error:
                self._damage(str(path), error)

    def read_stream(self, stream: BinaryIO, name: str = STDIN) -> Iterator[Entry]:
        """Entries of a stream that may be compressed and need not be able to seek. Raises InputError as above."""
        try:
            yield from self._read_content(name, unpacked(name, stream), alone=True, path=None)
        except DAMAGE as error:
            self._damage(name, error)

    def read_range(self, part: Range) -> Iterator[Entry]:
        """Entries that belong to a part of a plain file (see ``ranges``)."""
        try:
            with open(part.path, "rb", buffering=1 << 18) as stream:
                stream.seek(part.offset)
                source = Source(
                    part.path,
                    stream,
                    self.tally,
                    offset=part.offset,
                    number=part.number,
                    start=part.start,
                    end=part.end,
                    grows=self._grows,
                    unsettled=part.unsettled,
                )
                yield from self._entries(source, part.layout)
                if part.end is None:
                    self.positions[part.path] = Position(part.path, part.head, source.offset, source.number)
        except OSError as error:
            self._damage(part.path, error)

    def _read_content(self, name: str, stream: BinaryIO, *, alone: bool, path: Path | None) -> Iterator[Entry]:
        head, stream = with_head(stream)
        try:
            layout = detect(head, name, self._options)
        except InputError as error:
            if alone:
                raise
            self.tally.damaged[name] = error.message
            return
        offset, number = (3, 1) if head.startswith(_BOM) else (0, 1)
        position = find(self._before, name, head, layout.format)
        if position is not None and not _has_shrunk(path, name, position.offset):
            offset, number = position.offset, position.line
        skip_bytes(stream, offset)
        source = Source(name, stream, self.tally, offset=offset, number=number, grows=self._grows)
        yield from self._entries(source, layout)
        self.positions[name] = Position(name, head_of(head), source.offset, source.number)

    def _entries(self, source: Source, layout: Layout) -> Iterator[Entry]:
        try:
            for entry in _reader(source, layout):
                if source.counting:
                    self.tally.entries += 1
                    yield entry
            if source.damage is not None:
                self._damage(source.name, source.damage)
        except DAMAGE as error:
            self._damage(source.name, error)

    def _damage(self, name: str, error: Exception) -> None:
        self.tally.damaged[name] = f"reading stopped: {str(error) or type(error).__name__}"


def _reader(source: Source, layout: Layout) -> Iterator[Entry]:
    match layout.format:
        case Format.STDERR:
            return read_stderr(source, layout.prefix)
        case Format.CSVLOG:
            return read_csvlog(source)
        case Format.JSONLOG:
            return read_jsonlog(source)
        case Format.MYSQL_SLOW:
            return read_mysql_slow(source)
        case Format.CSV:
            return read_csv_table(source, layout.delimiter, layout.header, layout.unit, layout.dialect)
        case Format.JSON_LINES:
            return read_json_lines(source, layout.unit, layout.dialect)
        case Format.JSON:
            return read_json(source, layout.unit, layout.dialect)
        case Format.SQL:
            return read_sql(source, layout.dialect)


def _has_shrunk(path: Path | None, name: str, offset: int) -> bool:
    """Whether a plain file is shorter than what was read of it: it was emptied and begins anew."""
    return path is not None and str(path) == name and is_plain(path) and os.stat(path).st_size < offset
