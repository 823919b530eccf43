"""Messages of a Postgres server, whatever format they were logged in, to entries.

A statement is logged in one message with its duration (log_min_duration_statement), or in a message of its own that
the duration follows (log_statement with log_duration), or as a plan (auto_explain). See "Error Reporting and Logging"
in the PostgreSQL documentation. Messages are understood in English only, the language of ``lc_messages = 'C'``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rewriter.batch.logs.auto_explain import read_plan
from rewriter.batch.logs.entries import Entry, Parameters, Reason
from rewriter.batch.logs.source import Source
from rewriter.batch.logs.statements import fault
from rewriter.batch.logs.timestamps import from_epoch, read_time

STATEMENT_STARTS = ("duration: ", "statement: ", "execute ")
MOST_SESSIONS = 1000  # that a statement is remembered for

_DURATION = re.compile(r"duration: (\d{1,15}(?:\.\d{1,6})?) ms\s*")
_STEP = re.compile(r"(?:parse|bind) ")
_EXECUTE = re.compile(r"execute (?P<fetch>fetch from )?[^:\n]{0,200}: ")
_PLAN = re.compile(r"plan:\s*")
_PARAMETER = re.compile(r"(?:, )?\$\d+ = (?:NULL|'([^']*+(?:''[^']*+)*+)')")


@dataclass(slots=True)
class Message:
    """One message. ``session`` tells connections apart, None when the log does not; ``text`` and ``detail`` are whole,
    ``lines`` counts the lines of both. ``epoch`` says that ``time`` is in seconds since 1970."""

    at: int
    number: int
    lines: int
    session: str | None
    time: str | None
    user: str | None
    database: str | None
    text: str
    detail: str | None = None
    epoch: bool = False


@dataclass(slots=True)
class _Waiting:
    """A statement whose duration may follow, or a plan whose statement may."""

    at: int
    entry: Entry
    is_plan: bool


class Statements:
    """Puts together the messages of each session."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._waiting: dict[str, _Waiting] = {}

    @property
    def waits(self) -> bool:
        """Whether the duration of any statement may still follow."""
        return bool(self._waiting)

    def take(self, message: Message) -> Iterator[Entry]:
        """Entries that are complete with this message. Accounts for its lines."""
        source = self._source
        here, source.at = source.at, message.at
        yield from self._take(message)
        source.at = here

    def _take(self, message: Message) -> Iterator[Entry]:
        text = message.text
        duration = _DURATION.match(text)
        if duration is None:
            if text.startswith("statement: "):
                yield from self._state(message, text[11:], 1)
            elif execute := _EXECUTE.match(text):
                yield from self._state(message, text[execute.end() :], 0 if execute.group("fetch") else 1)
            else:
                self._skip(message, Reason.MALFORMED if text.startswith("duration: ") else Reason.OTHER)
            return
        seconds = float(duration.group(1)) / 1000
        position = duration.end()
        if text.startswith("statement: ", position):
            yield from self._execution(message, text[position + 11 :], seconds, 1)
        elif execute := _EXECUTE.match(text, position):
            yield from self._execution(message, text[execute.end() :], seconds, 0 if execute.group("fetch") else 1)
        elif position == len(text):
            yield from self._duration(message, seconds)
        elif plan := _PLAN.match(text, position):
            yield from self._plan(message, text[plan.end() :], seconds)
        else:
            self._skip(message, Reason.STEP if _STEP.match(text, position) else Reason.OTHER)

    def fail(self, session: str | None) -> Iterator[Entry]:
        """The session's statement has failed, so that no duration of its own will follow."""
        if session is not None and (before := self._waiting.pop(session, None)):
            yield before.entry

    def rest(self, until: int | None) -> Iterator[Entry]:
        """What still waits when there are no more messages; with ``until`` only what began before that offset.

        What began in the warm-up is given out here too: the part before has left it to this one.
        """
        for waiting in self._waiting.values():
            if until is None or waiting.at < until:
                self._source.at = max(waiting.at, self._source.start)
                yield waiting.entry
        self._waiting.clear()

    def _state(self, message: Message, statement: str, calls: int) -> Iterator[Entry]:
        """A statement without its duration, as log_statement writes it."""
        entry = self._entry(message, statement, None, calls)
        if message.session is not None and (before := self._waiting.pop(message.session, None)):
            yield before.entry
        if entry is not None:
            yield from self._wait(message, entry, is_plan=False)

    def _execution(self, message: Message, statement: str, seconds: float, calls: int) -> Iterator[Entry]:
        entry = self._entry(message, statement, seconds, calls)
        before = self._waiting.pop(message.session, None) if message.session is not None else None
        if before is not None:
            if not (before.is_plan and entry is not None and before.entry.statement == entry.statement):
                yield before.entry
            elif entry.parameters is None:  # the plan told of the same execution
                entry = replace(entry, parameters=before.entry.parameters)
        if entry is not None:
            yield entry

    def _duration(self, message: Message, seconds: float) -> Iterator[Entry]:
        before = self._waiting.pop(message.session, None) if message.session is not None else None
        if before is None:
            self._skip(message, Reason.LONE_DURATION)
            return
        self._source.use(message.lines)
        entry = before.entry
        yield replace(entry, duration=seconds if entry.calls else None, total_seconds=seconds)

    def _plan(self, message: Message, plan: str, seconds: float) -> Iterator[Entry]:
        found = read_plan(plan)
        if isinstance(found, Reason):
            self._skip(message, found)
            return
        message.detail = f"parameters: {found[1]}" if found[1] is not None else None
        entry = self._entry(message, found[0], seconds, 1)
        if entry is None:
            return
        if message.session is not None and (before := self._waiting.get(message.session)):
            if not before.is_plan and before.entry.statement == entry.statement:
                values = before.entry.parameters or entry.parameters
                before.entry = replace(before.entry, duration=seconds, total_seconds=seconds, parameters=values)
                return
            del self._waiting[message.session]
            yield before.entry
        yield from self._wait(message, entry, is_plan=True)

    def _wait(self, message: Message, entry: Entry, is_plan: bool) -> Iterator[Entry]:
        if message.session is None:
            yield entry
            return
        if len(self._waiting) >= MOST_SESSIONS:
            yield self._waiting.pop(next(iter(self._waiting))).entry
        self._waiting[message.session] = _Waiting(message.at, entry, is_plan)

    def _entry(self, message: Message, statement: str, seconds: float | None, calls: int) -> Entry | None:
        """The entry, or None when the statement cannot be used; accounts for the message's lines either way."""
        if reason := fault(statement):
            self._skip(message, reason)
            return None
        self._source.use(message.lines)
        return Entry(
            statement,
            seconds if calls else None,
            calls,
            seconds,
            read_parameters(message.detail) if message.detail else None,
            message.database or None,
            message.user or None,
            from_epoch(message.time) if message.epoch and message.time else read_time(message.time),
            self._source.name,
            message.number,
        )

    def _skip(self, message: Message, reason: Reason) -> None:
        self._source.skip(reason, message.number, message.lines, message.text)


def read_parameters(detail: str) -> Parameters | None:
    """The values of ``parameters: $1 = '...', $2 = NULL``; None when the detail is something else or a value was cut.

    log_parameter_max_length ends a value that it cuts with three dots. A whole value that ends so cannot be told from
    it, and then the set is not used either.
    """
    head, _, listed = detail.partition(": ")
    if head not in ("parameters", "Parameters"):
        return None
    values: list[str | None] = []
    position = 0
    for match in _PARAMETER.finditer(listed):
        value = match.group(1)
        if match.start() != position or (value and value.endswith("...")):
            return None
        values.append(None if value is None else value.replace("''", "'"))
        position = match.end()
    return tuple(values) if position == len(listed.rstrip()) and values else None
