"""Large files cut in parts that several processes read on their own, with the same result as one.

A part begins where a record begins. What a record means may rest on earlier ones (the statement of a session whose
duration follows), so each part is read from a little before its start, up to which nothing is counted or given out.
A part leaves to the next one what is not complete at its end, as far as the next one has seen it begin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rewriter.batch.logs.detection import IN_RANGES, Format, Layout, Options, detect
from rewriter.batch.logs.mysql_slow import SlowLogStart
from rewriter.batch.logs.opening import HEAD, is_plain
from rewriter.batch.logs.positions import Position, find, head_of
from rewriter.batch.logs.postgres_files import CSV_START, is_primary
from rewriter.batch.logs.postgres_prefix import compile_prefix

WARM_UP = 1 << 18  # bytes
LEAST = 1 << 24  # bytes; a process takes about as long to start as to read a smaller part

_CHUNK = 1 << 20

Test = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Range:
    """Records that begin at ``start`` or later and before ``end`` (None: to the end of the file).

    Reading begins at ``offset``, whose line has the number ``number``. What began at ``unsettled`` or later and is not
    complete is the next part's. ``head`` identifies the file (see ``positions``).
    """

    path: str
    layout: Layout
    head: str
    offset: int
    number: int
    start: int
    end: int | None
    unsettled: int | None


def ranges(
    path: Path,
    count: int,
    options: Options | None = None,
    positions: tuple[Position, ...] = (),
    *,
    least: int = LEAST,
    warm_up: int = WARM_UP,
) -> list[Range]:
    """At most ``count`` parts of a file; none when it is compressed or its format cannot be read in parts.

    ``least`` bytes are in each part but the last, and ``warm_up`` bytes are read before it. Raises InputError when the
    file cannot be opened or is in no known format.
    """
    if not is_plain(path):
        return []
    with path.open("rb") as file:
        head = file.read(HEAD)
        layout = detect(head, str(path), options or Options())
        if layout.format not in IN_RANGES or head.startswith(b"\xef\xbb\xbf"):
            return []
        size = file.seek(0, 2)
        before = find(positions, str(path), head, layout.format)
        begin, number = (before.offset, before.line) if before is not None and before.offset <= size else (0, 1)
        count = max(1, min(count, (size - begin) // max(1, least)))
        starts = [begin]
        for index in range(1, count):
            start = _next(file, max(begin + (size - begin) * index // count, starts[-1] + 1), _test(layout))
            if start is None:
                break
            starts.append(start)
        offsets = [begin]
        for start in starts[1:]:
            warm = _next(file, start - warm_up, _test(layout)) if start - warm_up > begin else begin
            offsets.append(start if warm is None else min(start, warm))
        numbers = _line_numbers(file, offsets, begin, number)
    ends: list[int | None] = [*starts[1:], None]
    unsettled: list[int | None] = [*offsets[1:], None]
    return [
        Range(str(path), layout, head_of(head), *part)
        for part in zip(offsets, numbers, starts, ends, unsettled, strict=True)
    ]


def _test(layout: Layout) -> Test:
    """Whether a line, given in their order, begins a record. The first line given may be known too little of."""
    if layout.format is Format.STDERR:
        match = compile_prefix(layout.prefix).match

        def begins_message(line: bytes) -> bool:
            found = match(line)
            return found is not None and is_primary(found["severity"])

        return begins_message
    if layout.format is Format.CSVLOG:
        return lambda line: CSV_START.match(line) is not None
    if layout.format is Format.MYSQL_SLOW:
        return _begins_slow_record()
    return _begins_always


def _begins_always(_: bytes) -> bool:
    return True


def _begins_slow_record() -> Test:
    continues = SlowLogStart()
    is_first = True

    def begins(line: bytes) -> bool:
        nonlocal is_first
        was_first, is_first = is_first, False
        # Without the line before it nobody knows whether a user begins a record or goes on in that of a time.
        return not continues(line) and line.startswith(b"# ") and not (was_first and line.startswith(b"# User"))

    return begins


def _next(file: BinaryIO, offset: int, begins: Test) -> int | None:
    """The first offset from ``offset`` on at which a record begins."""
    file.seek(max(0, offset - 1))
    position = max(0, offset - 1)
    at_line = offset <= 0
    while line := file.readline(_CHUNK):
        if at_line and begins(line):
            return position
        position += len(line)
        at_line = line[-1] == 10
    return None


def _line_numbers(file: BinaryIO, offsets: list[int], begin: int, number: int) -> list[int]:
    """The number of the line at each of the rising ``offsets``, when that at ``begin`` has the ``number``."""
    file.seek(begin)
    position = begin
    numbers: list[int] = []
    for offset in offsets:
        while position < offset:
            part = file.read(min(_CHUNK, offset - position))
            if not part:
                break
            position += len(part)
            number += part.count(b"\n")
        numbers.append(number)
    return numbers
