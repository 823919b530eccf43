"""One stream that is being read: its lines with a bound on their length, its records, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from rewriter.batch.logs.entries import MAX_RECORD, SAMPLE_LENGTH, SAMPLES, Reason, Sample, Tally
from rewriter.batch.logs.opening import DAMAGE

_LIMIT = MAX_RECORD + 1

Record = tuple[int, int, bytes]  # number of the first line, how many lines, content


class Source:
    """A stream with the account of its lines.

    Records before ``start`` are read for what they tell of later ones (the warm-up of a range) and neither counted nor
    given out; records from ``end`` on belong to somebody else. ``at`` is the offset of the record being worked on.
    When the stream may ``grow``, a record whose last line has no end is left for the next run. ``damage`` is why
    reading stopped early. ``offset`` and ``number`` are those of the next unread line.
    """

    def __init__(
        self,
        name: str,
        stream: BinaryIO,
        tally: Tally,
        *,
        offset: int = 0,
        number: int = 1,
        start: int = 0,
        end: int | None = None,
        grows: bool = False,
        unsettled: int | None = None,
    ) -> None:
        self.name = name
        self.stream = stream
        self.tally = tally
        self.offset = offset
        self.number = number
        self.start = start
        self.end = end
        self.grows = grows
        self.unsettled = unsettled  # what begins from here on and is not complete is left to the next range
        self.at = offset
        self.left_over = False
        self.damage: Exception | None = None

    @property
    def counting(self) -> bool:
        return self.at >= self.start

    def use(self, lines: int) -> None:
        """Lines that an entry rests on."""
        if self.at >= self.start:
            self.tally.lines += lines
            self.tally.used += lines

    def skip(self, reason: Reason, number: int, lines: int, content: bytes | str) -> None:
        """Lines that give no entry."""
        if self.at < self.start:
            return
        self.tally.lines += lines
        self.tally.skipped[reason] += lines
        samples = self.tally.samples.setdefault(reason, [])
        if len(samples) < SAMPLES:
            head = content[:SAMPLE_LENGTH]
            text = head if isinstance(head, str) else head.decode("utf-8", "replace")
            samples.append(Sample(self.name, number, text.rstrip("\r\n").replace("\0", "\ufffd")))

    def lines(self) -> Iterator[bytes]:
        """Lines with their ends, cut after MAX_RECORD + 1 bytes. Moves ``offset`` and ``number`` past a line once the
        next is asked for."""
        try:
            yield from self._lines()
        except DAMAGE as error:  # what was read until here is still good
            self.damage = error

    def _lines(self) -> Iterator[bytes]:
        readline = self.stream.readline
        while self.end is None or self.offset < self.end:
            line = readline(_LIMIT)
            size = len(line)
            if size == 0:
                return
            if size == _LIMIT and line[-1] != 10:
                ended = False
                while not ended and (rest := readline(1 << 16)):
                    size += len(rest)
                    ended = rest[-1] == 10
            else:
                ended = line[-1] == 10
            if self.grows and not ended:
                self.left_over = True
                return
            yield line
            self.offset += size
            self.number += 1

    def records(self, continues: Callable[[bytes], bool]) -> Iterator[Record]:
        """Lines put together: a line for which ``continues`` holds belongs to the record before it.

        Content beyond MAX_RECORD is not kept, so that a content longer than it marks a record that is too long.
        """
        content = b""
        parts: list[bytes] = []
        offset = number = count = size = 0
        for line in self.lines():
            if continues(line) and count:
                count += 1
                if size <= MAX_RECORD:
                    parts.append(line)
                    size += len(line)
                continue
            if count:
                self.at = offset
                yield number, count, b"".join(parts) if parts[1:] else content
            content, parts, size, count = line, [line], len(line), 1
            offset, number = self.offset, self.number
        if count:
            if self.left_over:  # it may go on in the line that has no end yet
                self.offset, self.number = offset, number
            else:
                self.at = offset
                yield number, count, b"".join(parts) if parts[1:] else content

    def single_lines(self) -> Iterator[Record]:
        """A record for each line."""
        for line in self.lines():
            self.at = self.offset
            yield self.number, 1, line
