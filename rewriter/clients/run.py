"""Runs a rewrite so that the application gets the original's result, whatever happens.

One generator says what to do next; the drivers, with and without async, do it. The order for one execution:

1. *Before*: one round trip reads what only the session itself can change (isolation level, search path, temporary
   tables), another one, the first time on a connection, the catalog probe. Does anything differ, the original is run.
2. The rewrite runs in the application's own transaction and cursor. In Postgres an error aborts the transaction, and
   then the original could not run any more. Outside of a transaction there is none to abort. Where the statement is the
   first of its transaction, a rollback loses nothing, for the driver opens the next one with the same properties. Only
   in the middle of a transaction a savepoint is set, which costs one round trip more (to release it) and, because
   nothing is written under it, no transaction id.
3. *After*: one round trip asks the catalog probe. A constraint that stands now stood while the rewrite ran: in a
   transaction the locks of the rewrite keep everybody from changing its tables before its end, and outside of one the
   constraint would have to be dropped and added again within the statement. Asked before, the answer could be out of
   date when the rewrite runs. Does it differ, the result is thrown away and the original is run.

An error of the rewrite switches it off, unless the original fails with the same SQLSTATE: then the values were to
blame. Cancelling is no error of the rewrite; it is passed on.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rewriter.clients.decide import Decision, Table
from rewriter.clients.probe import SESSION, Session

CANCELLED = "57014"
ALMOST = 0.9  # of statement_timeout: a statement that was cancelled after that had run out of time
_SAVEPOINT = "rewriter_original"


class Place(Enum):
    """Where an execution stands."""

    ALONE = "no transaction"  # autocommit
    FIRST = "first statement of a transaction"
    WITHIN = "within a transaction"


class Do(Enum):
    """What the driver is to do."""

    REWRITE = "run the rewrite on the application's cursor"
    ORIGINAL = "run the original on the application's cursor"
    ROLLBACK = "roll the transaction back"


@dataclass(frozen=True, slots=True)
class Ask:
    """Run ``text`` on a cursor of its own and answer with the row of the SELECT in it. With ``prepare`` it is a single
    SELECT that will be asked again; else it may hold commands besides and goes by the simple protocol, in one round
    trip."""

    text: str
    prepare: bool = False


Steps = Generator[Do | Ask, Any, None]
Trust = Callable[[bool | None], bool]
Note = Callable[[str], None]


def guarded(decision: Decision, place: Place, trust: Trust, lost: Callable[[], bool], note: Note) -> Steps:
    """The steps for one execution of a rewrite; an error of the driver is thrown into it.

    ``trust``: whether the catalog is known to be unchanged on this connection; with an argument, what is known from now
    on. ``lost``: whether the connection is gone. ``note`` is told what came of it, as a code.
    """
    circuit = decision.prepared.circuit
    start = time.perf_counter()
    progress = _Progress()
    try:
        reason = yield from _attempt(decision.prepared.table, place, trust, progress)
    except Exception as error:
        state = _sqlstate(error)
        if lost():
            if progress.began:
                circuit.trip("error", "connection-lost")
            raise
        if state == CANCELLED and not progress.out_of_time:
            raise
        note("error")
        pause = circuit.pause(state or type(error).__name__)
        guilty = True
        try:
            yield from _undo(place)
            yield Do.ORIGINAL
        except Exception as again:
            guilty = _sqlstate(again) != state
            raise
        finally:
            circuit.blame(pause, guilty)
        return
    note(reason or "rewritten")
    if reason is None:
        circuit.ran_rewrite(time.perf_counter() - start)
    else:
        yield Do.ORIGINAL


@dataclass(slots=True)
class _Progress:
    """When the rewrite began (by ``perf_counter``, 0: not yet) and how long it may take (seconds, 0: any time)."""

    began: float = 0.0
    timeout: float = 0.0

    @property
    def out_of_time(self) -> bool:
        return bool(self.began and self.timeout and time.perf_counter() - self.began >= self.timeout * ALMOST)


def _attempt(table: Table, place: Place, trust: Trust, progress: _Progress) -> Generator[Do | Ask, Any, str | None]:
    """Run the rewrite; why its result does not count, or None. The transaction is then as before."""
    state = Session(*(yield Ask(f"SAVEPOINT {_SAVEPOINT}; {SESSION}" if place is Place.WITHIN else SESSION)))
    reason = _unfit(table, state)
    if reason is None and not trust(None):
        reason = yield from _changed(table, trust)
    if reason is None:
        progress.began, progress.timeout = time.perf_counter(), state.statement_timeout
        yield Do.REWRITE
        reason = yield from _changed(table, trust)
    if place is Place.WITHIN:
        yield Ask(f"RELEASE SAVEPOINT {_SAVEPOINT}")
    return reason


def _changed(table: Table, trust: Trust) -> Generator[Do | Ask, Any, str | None]:
    """Asks the catalog probe. The server plans it once for a connection."""
    if table.probe is None:
        return None
    (value,) = yield Ask(table.probe.sql, prepare=True)
    unchanged = value == table.probe.value
    trust(unchanged)
    return None if unchanged else "catalog"


def drive(steps: Steps, perform: Callable[[Do | Ask], Any]) -> None:
    """Do what ``steps`` say. Raises what the driver raises for the original."""
    try:
        step = next(steps)
        while True:
            try:
                answer = perform(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration:
        return


async def drive_async(steps: Steps, perform: Callable[[Do | Ask], Awaitable[Any]]) -> None:
    """``drive`` for a driver that has to be waited for."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await perform(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration:
        return


def _undo(place: Place) -> Steps:
    """Put the transaction back to where it was before the rewrite."""
    if place is Place.FIRST:
        yield Do.ROLLBACK
    elif place is Place.WITHIN:
        yield Ask(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}; RELEASE SAVEPOINT {_SAVEPOINT}")


def _unfit(table: Table, state: Session) -> str | None:
    """Why the rewrite must not run in this session now."""
    if state.isolation == "serializable":
        return "serializable"
    if table.search_path is not None and state.search_path != table.search_path:
        return "search-path"
    return "temporary-tables" if state.has_temporary_tables else None


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None)
