"""Entries put together by the shape of their statements.

All that is kept of a group is bounded, and everything adds up exactly: totals are whole nanoseconds, durations are a
histogram, and the sample of parameters takes the sets whose hashes are lowest. So several workers that each group a
part give the same as one that groups all, whatever the order.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import pgparse
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from rewriter.batch.logs.distribution import Distribution
from rewriter.batch.logs.entries import Entry, Parameters
from rewriter.batch.logs.statements import SELECT, check_dialect, kind
from rewriter.batch.logs.templates import canonical, shape, with_short_lists
from rewriter.errors import QueryRejected, UsageError
from rewriter.parse.guard import allow_recursion, check_text
from rewriter.parse.keys import group_key

MAX_TEMPLATES = 20_000  # remembered keys; then all are forgotten at once
MAX_TEMPLATE_TEXT = 32_000_000  # characters of all of these
MAX_GROUPS = 10_000
MAX_TEXT = 64_000_000  # characters of the statements that began a group
MAX_SET_LENGTH = 4096  # characters of a parameter set that may become a sample
MAX_EXAMPLE = 16_384  # characters of an example, if there is any that is not longer
MAX_PARSED = 65_536  # characters that sqlglot is given; it needs seconds for more
PARAMETER_SETS = 20

_NANO = 1_000_000_000


@dataclass(slots=True)
class Total:
    """Sums: ``entries`` of logs, ``calls`` and ``nanoseconds`` that they tell of."""

    entries: int = 0
    calls: int = 0
    nanoseconds: int = 0

    @property
    def seconds(self) -> float:
        return self.nanoseconds / _NANO

    def add(self, entry: Entry) -> None:
        self.entries += 1
        self.calls += entry.calls
        if entry.total_seconds is not None:
            self.nanoseconds += round(entry.total_seconds * _NANO)

    def merge(self, other: Total) -> None:
        self.entries += other.entries
        self.calls += other.calls
        self.nanoseconds += other.nanoseconds


class ParameterSample:
    """Up to ``size`` distinct sets, chosen by a seeded hash of the set: each distinct set is as likely as any other."""

    __slots__ = ("_highest", "_seed", "_sets", "_size")

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._highest = -1
        self._sets: dict[Parameters, int] = {}

    def add(self, values: Parameters) -> None:
        """Offer a set; an empty one and one of more than MAX_SET_LENGTH characters are not taken."""
        if not values or values in self._sets:
            return
        text = "\0".join([value or "" for value in values]).encode("utf-8", "surrogatepass")
        if len(text) > MAX_SET_LENGTH:
            return
        # A CRC alone is linear: sets that differ in one digit would be chosen or left together.
        rank = zlib.crc32(text, self._seed) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        rank ^= rank >> 29
        self._put(values, rank)

    def merge(self, other: ParameterSample) -> None:
        for values, rank in other._sets.items():
            if values not in self._sets:
                self._put(values, rank)

    def sets(self) -> list[Parameters]:
        """The sample in a fixed order."""
        return [values for values, _ in sorted(self._sets.items(), key=_rank_and_text)]

    def _put(self, values: Parameters, rank: int) -> None:
        if len(self._sets) >= self._size:
            if rank > self._highest:
                return
            self._sets[values] = rank
            del self._sets[max(self._sets.items(), key=_rank_and_text)[0]]
        else:
            self._sets[values] = rank
        self._highest = max(self._sets.values(), default=-1)


class Group:
    """All entries of one shape.

    ``durations`` holds single executions only; ``total`` also what sums (pg_stat_statements) tell. ``example`` is the
    slowest entry that is not overly long. ``parameters`` are values of bind parameters if any were logged, else the
    literals as written. ``parsed`` is False when the parser could not read the statement: the key is then a hash of its
    template. ``squashed`` counts entries whose lists of constants the server has shortened.
    """

    __slots__ = ("durations", "example", "first_seen", "key", "last_seen", "parameters", "parsed", "squashed", "total")

    def __init__(self, key: str, parsed: bool, sample: ParameterSample) -> None:
        self.key = key
        self.parsed = parsed
        self.total = Total()
        self.durations = Distribution()
        self.parameters = sample
        self.example: Entry | None = None
        self.first_seen: datetime | None = None
        self.last_seen: datetime | None = None
        self.squashed = 0

    def add(self, entry: Entry, literals: tuple[str, ...]) -> None:
        self.total.add(entry)
        if entry.duration is not None:
            self.durations.add(entry.duration)
        self._offer(entry)
        seen = entry.timestamp
        if seen is not None:
            self._see(seen, seen)
        if entry.squashed:
            self.squashed += 1
        self.parameters.add(entry.parameters or literals)

    def merge(self, other: Group) -> None:
        self.total.merge(other.total)
        self.durations.merge(other.durations)
        self.parameters.merge(other.parameters)
        self.squashed += other.squashed
        if other.example is not None:
            self._offer(other.example)
        if other.first_seen is not None and other.last_seen is not None:
            self._see(other.first_seen, other.last_seen)

    def _offer(self, entry: Entry) -> None:
        """Take the entry as the example if it makes a better one; which of equals is taken is no matter of order."""
        if self.example is None or _is_better(entry, self.example):
            self.example = entry

    def _see(self, first: datetime, last: datetime) -> None:
        if self.first_seen is None or first < self.first_seen:
            self.first_seen = first
        if self.last_seen is None or last > self.last_seen:
            self.last_seen = last


@dataclass(slots=True)
class Groups:
    """Groups of SELECT-like statements by key; everything else is only summed up.

    ``kinds`` sums what is no SELECT, by kind (``statements.kind``); ``ignored`` what the ignore list named, by key;
    ``beyond`` what came after more shapes than there is room for (MAX_GROUPS, MAX_TEXT). Together with the groups they
    hold every entry.
    """

    dialect: str
    ignore: frozenset[str] = frozenset()
    seed: int = 0
    sample_size: int = PARAMETER_SETS
    groups: dict[str, Group] = field(default_factory=dict)
    kinds: dict[str, Total] = field(default_factory=dict)
    ignored: dict[str, Total] = field(default_factory=dict)
    beyond: Total = field(default_factory=Total)
    _first: datetime | None = field(default=None, repr=False)  # of what is in no group
    _last: datetime | None = field(default=None, repr=False)
    _text: int = field(default=0, repr=False)
    _template_text: int = field(default=0, repr=False)
    _keys: dict[str, tuple[str, str, bool]] = field(default_factory=dict, repr=False)

    def add(self, entry: Entry) -> None:
        """Count the entry in its group, or in the sum that it belongs to."""
        template, literals = shape(entry.statement, self.dialect)
        known = self._keys.get(template)
        if known is None:
            known = self._learn(template)
        key, kind_, parsed = known
        group = self.groups.get(key) if kind_ == SELECT else None
        if group is not None:
            group.add(entry, literals)
            return
        if kind_ != SELECT:
            total = self.kinds.setdefault(kind_, Total())
        elif key in self.ignore:
            total = self.ignored.setdefault(key, Total())
        elif (group := self._new(key, parsed, entry)) is not None:
            group.add(entry, literals)
            return
        else:
            total = self.beyond
        total.add(entry)
        if entry.timestamp is not None:
            self._see(entry.timestamp, entry.timestamp)

    def merge(self, other: Groups) -> None:
        """Add the groups of another worker. Raises UsageError when they were made with other settings."""
        if (self.dialect, self.seed, self.sample_size, self.ignore) != (
            other.dialect, other.seed, other.sample_size, other.ignore,
        ):  # fmt: skip
            raise UsageError("groups made with different settings cannot be merged")
        for key, theirs in other.groups.items():
            ours = self.groups.get(key)
            if ours is None:
                ours = self._new(key, theirs.parsed, theirs.example)
            if ours is None:
                self.beyond.merge(theirs.total)
                if theirs.first_seen is not None and theirs.last_seen is not None:
                    self._see(theirs.first_seen, theirs.last_seen)
                continue
            ours.merge(theirs)
        for name, total in other.kinds.items():
            self.kinds.setdefault(name, Total()).merge(total)
        for key, total in other.ignored.items():
            self.ignored.setdefault(key, Total()).merge(total)
        self.beyond.merge(other.beyond)
        if other._first is not None and other._last is not None:
            self._see(other._first, other._last)

    def span(self) -> tuple[datetime | None, datetime | None]:
        """When the first and the last of all entries were logged; None when no entry has a time."""
        firsts = [one.first_seen for one in self.groups.values() if one.first_seen is not None]
        lasts = [one.last_seen for one in self.groups.values() if one.last_seen is not None]
        if self._first is not None and self._last is not None:
            firsts.append(self._first)
            lasts.append(self._last)
        return min(firsts, default=None), max(lasts, default=None)

    def ranked(self) -> list[Group]:
        """The groups, those that took the most seconds in total first; then by calls and key."""
        return sorted(self.groups.values(), key=lambda group: (-group.total.nanoseconds, -group.total.calls, group.key))

    def __getstate__(self) -> tuple[object, ...]:
        return (
            self.dialect,
            self.ignore,
            self.seed,
            self.sample_size,
            self.groups,
            self.kinds,
            self.ignored,
            self.beyond,
            self._text,
            self._first,
            self._last,
        )

    def __setstate__(self, state: tuple[object, ...]) -> None:
        names = "dialect ignore seed sample_size groups kinds ignored beyond _text _first _last".split()
        for name, value in zip(names, state, strict=True):
            setattr(self, name, value)
        self._keys = {}  # what a worker has learned is not worth sending
        self._template_text = 0

    def _see(self, first: datetime, last: datetime) -> None:
        if self._first is None or first < self._first:
            self._first = first
        if self._last is None or last > self._last:
            self._last = last

    def _new(self, key: str, parsed: bool, example: Entry | None) -> Group | None:
        """A group of its own for the key, None when there is no room for more."""
        size = len(example.statement) if example is not None else 0
        if len(self.groups) >= MAX_GROUPS or self._text + size > MAX_TEXT:
            return None
        self._text += size
        self.groups[key] = Group(key, parsed, ParameterSample(self.sample_size, self.seed))
        return self.groups[key]

    def _learn(self, template: str) -> tuple[str, str, bool]:
        """Key, kind and whether the statement could be parsed, for all statements with this template."""
        short = with_short_lists(template) if self.dialect == "postgres" else template
        known = self._keys.get(short)
        if known is None:
            kind_ = kind(template)
            key, parsed = _key(short, self.dialect) if kind_ == SELECT else ("", True)
            known = (key, kind_, parsed)
        if len(self._keys) >= MAX_TEMPLATES or self._template_text > MAX_TEMPLATE_TEXT:
            self._keys.clear()
            self._template_text = 0
        self._template_text += len(template) + len(short)
        self._keys[short] = self._keys[template] = known
        return known


def group(
    entries: Iterable[Entry],
    dialect: str,
    *,
    ignore: Collection[str] = (),
    seed: int = 0,
    sample_size: int = PARAMETER_SETS,
) -> Groups:
    """The groups of ``entries``; ``ignore`` holds group keys, ``sample_size`` is how many parameter sets are kept.

    Raises UsageError for an unknown dialect."""
    check_dialect(dialect)
    groups = Groups(dialect, frozenset(ignore), seed, sample_size)
    for entry in entries:
        groups.add(entry)
    return groups


def _key(template: str, dialect: str) -> tuple[str, bool]:
    """The group key, and whether it rests on a parsed statement."""
    statement = canonical(template)
    try:
        check_text(statement)
        allow_recursion()
        if dialect == "postgres":
            return str(pgparse.fingerprint(statement)), True
        if len(statement) > MAX_PARSED:
            raise ValueError
        tree = parse_one(statement.rstrip("; \t\r\n"), read=dialect)
        if isinstance(tree, exp.Query):
            return group_key(statement, tree, dialect), True
    except (QueryRejected, pgparse.PGQueryError, SqlglotError, RecursionError, ValueError):
        pass
    return "unparsed-" + hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:16], False


def _weight(entry: Entry) -> tuple[int, float, int]:
    """Orders examples: the slowest first, unless it is too long. A sum's mean counts as the duration of each call."""
    seconds = entry.duration
    if seconds is None:
        seconds = entry.total_seconds / entry.calls if entry.total_seconds is not None and entry.calls else -1.0
    size = len(entry.statement)
    return min(0, MAX_EXAMPLE - size), seconds, -size


def _is_better(one: Entry, other: Entry) -> bool:
    ours, theirs = _weight(one), _weight(other)
    if ours != theirs:
        return ours > theirs
    here, there = (one.file, -one.line, one.statement), (other.file, -other.line, other.statement)
    return here > there or (here == there and repr(one) > repr(other))


def _rank_and_text(item: tuple[Parameters, int]) -> tuple[int, tuple[tuple[bool, str], ...]]:
    values, rank = item
    return rank, tuple((value is None, value or "") for value in values)
