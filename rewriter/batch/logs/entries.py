"""What reading a log gives: entries, and an account of every line.

Units: seconds for durations, bytes for offsets (of the unpacked content), lines counted from 1.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

MAX_STATEMENT = 512 * 1024  # characters; nobody tunes a longer statement by hand or by machine
MAX_RECORD = 4 * 1024 * 1024  # bytes of one log record, a statement with its plan
SAMPLES = 3  # kept for each reason
SAMPLE_LENGTH = 200  # characters

SQUASHED = "/*, ... */"

Parameters = tuple[str | None, ...]


class Reason(StrEnum):
    """Why lines gave no entry."""

    BLANK = "blank line or comment"
    OTHER = "other message"
    STEP = "parse or bind step of an execution"
    LONE_DURATION = "duration without a statement"
    NO_PREFIX = "line without the log's prefix"
    MALFORMED = "malformed record"
    TOO_LONG = "record or statement too long"
    TRUNCATED = "truncated statement"
    EMPTY = "empty statement"
    NOT_UTF8 = "text is not UTF-8"
    NUL = "NUL byte"
    NOT_VISIBLE = "statement hidden by the server"
    PLAN_FORMAT = "plan in a format that is not read"
    HEADER = "header"
    DATA = "data between statements"


@dataclass(frozen=True, slots=True)
class Entry:
    """A statement as a log tells of it: one execution, or several summed up.

    ``duration`` is that of one execution in seconds, None when unknown or when ``calls`` is not 1. ``total_seconds`` is
    that of all ``calls``, None when unknown. ``parameters`` are texts as the server wrote them, None where SQL's NULL
    was bound; the field is None when nothing was logged or a value was cut. ``timestamp`` has a zone; it is the
    server's clock read as UTC where the log names a zone that is not unique (CET, IST). ``line`` is where the record
    starts in ``file``.
    """

    statement: str
    duration: float | None
    calls: int
    total_seconds: float | None
    parameters: Parameters | None
    database: str | None
    user: str | None
    timestamp: datetime | None
    file: str
    line: int

    @property
    def squashed(self) -> bool:
        """Whether Postgres 18 has shortened a list of constants: it cannot be run before the list gets values."""
        return SQUASHED in self.statement


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of something that gave no entry."""

    file: str
    line: int
    text: str


@dataclass(slots=True)
class Tally:
    """An account of lines: ``lines == used + sum(skipped.values())`` whenever no file is being read.

    ``damaged`` says of a file why reading stopped before its end (a broken archive).
    """

    lines: int = 0
    used: int = 0
    entries: int = 0
    skipped: Counter[Reason] = field(default_factory=Counter)
    samples: dict[Reason, list[Sample]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)

    def merge(self, other: Tally) -> None:
        """Add the account of another worker."""
        self.lines += other.lines
        self.used += other.used
        self.entries += other.entries
        self.skipped.update(other.skipped)
        self.damaged.update(other.damaged)
        for reason, samples in other.samples.items():
            both = {*self.samples.get(reason, []), *samples}
            self.samples[reason] = sorted(both, key=lambda sample: (sample.file, sample.line, sample.text))[:SAMPLES]


def as_seconds(text: str, unit: float) -> float:
    """``text`` times ``unit`` (seconds), finite and not negative. Raises ValueError."""
    value = float(text) * unit
    if not 0.0 <= value < float("inf"):
        raise ValueError(text)
    return value
