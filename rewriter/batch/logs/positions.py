"""Where reading a file ended, for the next run to go on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rewriter.batch.logs.detection import Format
from rewriter.errors import UsageError

MOST_KEPT = 10_000  # positions of files that later runs have not seen again, because they were rotated away
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


def load(file: Path) -> list[Position]:
    """The positions that ``save`` wrote, none when there is no such file. Raises UsageError for anything else."""
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        positions = [Position(**entry) for entry in body["positions"]]
        if body["version"] != 1 or not all(_is_sound(position) for position in positions):
            raise ValueError
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(
            f"{file} does not say where a run ended", hint="delete it, and all of the logs are read again"
        ) from None
    return positions


def save(file: Path, before: Iterable[Position], now: Mapping[str, Position]) -> None:
    """Write the positions, those of ``before`` too whose files this run has not seen: a rotated log may come back under
    another name. In one step, so that an interruption leaves the old or the new. Raises UsageError."""
    kept = [position for position in before if position.path not in now][-MOST_KEPT:]
    body = {"version": 1, "positions": [asdict(position) for position in (*kept, *now.values())]}
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.write_text(json.dumps(body, indent=1), encoding="utf-8", errors="surrogateescape")
        partial.replace(file)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None


def _is_sound(position: Position) -> bool:
    numbers = (position.offset, position.line)
    return all(type(number) is int and number >= 0 for number in numbers) and isinstance(position.head, str)
