"""The hot path: from a statement's text to what is to be run. One dictionary lookup for what has no rewrite."""

from __future__ import annotations

import os
import random
import re
import time
import zlib
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rewriter.clients.guard import Circuit
from rewriter.clients.markers import Bound, Unusable, bind
from rewriter.clients.snapshot import CatalogProbe, Entry, Snapshot
from rewriter.clients.values import Key, key_of, keys_of
from rewriter.lexical import pieces

SWITCH = "REWRITER_CLIENT"
MODES = {"off": 0, "shadow": 1, "canary": 2, "on": 3}
OFF, SHADOW, CANARY, ON = range(4)

session: ContextVar[str | None] = ContextVar("rewriter_session", default=None)
"""Whose request this is (a user, a tenant): a canary gives all statements of one session the same treatment. Where it
is not set, a connection counts as a session."""

# The service approves single SELECTs only. What locks or changes rows is refused here once more.
_FORBIDDEN = re.compile(r"\b(?:insert|update|delete|merge|into|for\s+(?:key\s+)?share)\b|;\s*\S", re.IGNORECASE)
_READS = re.compile(r"[\s(]*(?:select|with|values|table)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An entry as this process runs it."""

    entry: Entry
    bound: Bound
    holds_for: frozenset[Key] | None
    mode: int
    circuit: Circuit
    table: Table


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one execution: run ``text`` with ``parameters`` instead (``rewrite``) or the original, and
    afterwards compare both (``shadow``) on another connection. ``percent``: as for ``lookup``."""

    prepared: Prepared
    rewrite: bool
    shadow: bool
    text: str
    parameters: Any
    percent: bool


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A snapshot made ready. Never changed: a new snapshot is a new table, put in place by one assignment.

    ``left_out``: why entries of the snapshot cannot be used, by id. ``deadline`` is ``expires`` on the monotonic
    clock, for the case that the wall clock is set back.
    """

    entries: Mapping[str, Prepared] = field(default_factory=dict)
    enabled: bool = False
    issued: datetime | None = None
    expires: float = 0.0
    deadline: float = 0.0
    probe: CatalogProbe | None = None
    search_path: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_force(self) -> bool:
        return self.enabled and time.time() < self.expires and time.monotonic() < self.deadline


@dataclass(frozen=True, slots=True)
class Policy:
    """What this application allows: the highest ``mode``, the ``canary`` share of sessions that get rewrites in mode
    canary, the ``shadow`` share of executions that are compared, and rules and entries that it does not want."""

    mode: str = "on"
    canary: float = 0.1
    shadow: float = 0.01
    disabled_rules: frozenset[str] = frozenset()
    disabled_entries: frozenset[str] = frozenset()


def make_table(snapshot: Snapshot, circuit: Callable[[Entry], Circuit]) -> Table:
    """The table of a snapshot that has been read and found good."""
    entries: dict[str, Prepared] = {}
    left_out: dict[str, str] = {}
    seconds = (snapshot.expires - datetime.now(UTC)).total_seconds()
    table = Table(
        entries,
        snapshot.enabled,
        snapshot.issued,
        snapshot.expires.timestamp(),
        time.monotonic() + seconds,
        snapshot.catalog_probe,
        snapshot.search_path,
        left_out,
    )
    for entry in snapshot.entries:
        try:
            if snapshot.dialect != "postgres":
                raise Unusable("these drivers speak to Postgres only")
            if snapshot.catalog_probe is not None:
                _check_reads(snapshot.catalog_probe.sql)
            for text in (entry.statement, entry.sql):
                _check_reads(text)
            statement = entry.statement.strip()  # blanks around it are lost on the way through logs
            if statement in entries:
                raise Unusable("another entry has the same statement")
            bound = bind(entry.statement, entry.sql, entry.parameters)
        except Unusable as reason:
            left_out[entry.id] = str(reason)
            continue
        holds_for = keys_of(entry.holds_for) if entry.holds_for is not None else None
        entries[statement] = Prepared(entry, bound, holds_for, MODES[entry.mode], circuit(entry), table)
    return table


def lookup(
    table: Table, policy: Policy, statement: str, parameters: Any, *, percent: bool, connection: object
) -> Decision | None:
    """What to do with ``statement``, None: run it and forget it.

    ``percent``: the driver reads ``%`` as the start of a marker (psycopg does when it is given parameters).
    """
    prepared = table.entries.get(statement.strip())  # the same object where there is nothing to strip
    if prepared is None:
        return None
    return _consider(prepared, policy, parameters, percent, connection)


def _consider(
    prepared: Prepared, policy: Policy, parameters: Any, percent: bool, connection: object
) -> Decision | None:
    if prepared.circuit.off is not None or not prepared.table.in_force:
        return None
    # A switch that nobody understands is a switch that somebody wanted to be off.
    mode = min(MODES[policy.mode], MODES.get((os.environ.get(SWITCH) or "on").strip().lower(), OFF), prepared.mode)
    if mode == OFF or prepared.entry.id in policy.disabled_entries:
        return None
    if policy.disabled_rules and not policy.disabled_rules.isdisjoint(prepared.entry.rules):
        return None
    text = prepared.bound.text if percent else prepared.bound.raw
    values = prepared.bound.values(parameters)
    if text is None or values is None:
        return None
    if prepared.holds_for is not None and key_of(values) not in prepared.holds_for:
        return None
    rewrite = mode == ON or (mode == CANARY and _share(connection) < policy.canary)
    shadow = policy.shadow > 0 and random.random() < policy.shadow  # noqa: S311 - a sample, no secret
    return Decision(prepared, rewrite, shadow, text, prepared.bound.parameters(parameters, values, percent), percent)


def _share(connection: object) -> float:
    """A number in [0, 1) that is the same for a whole session."""
    name = session.get()
    return zlib.crc32((name if name is not None else f"{os.getpid()} {id(connection)}").encode()) / 2**32


def _check_reads(text: str) -> None:
    """Raises Unusable for what is not a plain reading statement. It errs on the safe side."""
    code = " ".join(text[start:end] if kind == "code" else " '' " for kind, start, end in pieces(text))
    if not _READS.match(code) or _FORBIDDEN.search(code):
        raise Unusable("it is not a statement that only reads")
