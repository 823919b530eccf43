"""Where reading a file ended, for the next run to go on from there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from rewriter.batch.logs.detection import Format

HEAD_LENGTH = 1024  # bytes that tell a file from others

# Their records begin with a time, so two of them never begin with the same 1024 bytes, whatever they are called now.
_UNIQUE = frozenset({Format.STDERR, Format.CSVLOG, Format.JSONLOG, Format.MYSQL_SLOW})


@dataclass(frozen=True, slots=True)
class Position:
    """``offset`` bytes of the unpacked content were read, and ``line`` is the number of the next line.

    ``head`` identifies the content: how many of its first bytes (at most 1024) were hashed, and their SHA-256. The
    caller stores positions and hands them to the next run; all fields are plain JSON values.
    """

    path: str
    head: str
    offset: int
    line: int


def head_of(content: bytes) -> str:
    """The identity of content that begins so."""
    head = content[:HEAD_LENGTH]
    return f"{len(head)}:{hashlib.sha256(head).hexdigest()[:32]}"


def find(positions: Iterable[Position], path: str, content: bytes, format_: Format) -> Position | None:
    """The position of a file with this path and beginning: under its own name, or that of a log under another name,
    because logs are renamed and compressed when they are rotated. None: the file is new and is read from its start."""
    renamed: Position | None = None
    for position in positions:
        digits = position.head.partition(":")[0]
        length = int(digits) if digits.isascii() and digits.isdigit() else 0
        if length == 0 or head_of(content[:length]) != position.head:
            continue
        if position.path == path:
            return position
        if length == HEAD_LENGTH and format_ in _UNIQUE:
            renamed = position
    return renamed
