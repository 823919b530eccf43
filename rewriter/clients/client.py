"""One client in an application process: the snapshot in force, what is off, what it has done."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from rewriter.clients.decide import MODES, Decision, Policy, Table, lookup, make_table
from rewriter.clients.feedback import Feedback
from rewriter.clients.guard import RUNS, Circuit
from rewriter.clients.http import TIMEOUT, Service
from rewriter.clients.run import Place, Steps, guarded
from rewriter.clients.shadow import Comparison, Runner, Shadow
from rewriter.clients.snapshot import Entry, Snapshot
from rewriter.clients.source import Source
from rewriter.errors import UsageError

log = logging.getLogger("rewriter.clients")


class Client:
    """Approved rewrites for one target in this process; give it to ``rewriter.clients.sqlalchemy.install`` or to
    ``rewriter.clients.psycopg.cursor_factory``.

    ``url``, ``key``: the service and an API key of it. ``public_key``: the key that signs snapshots, in base64, from a
    place that the service cannot change. ``mode``: the most that happens here (off, shadow, canary, on); the
    environment variable REWRITER_CLIENT and the reviewer's mode of an entry can only lower it. ``canary``: share of
    sessions. ``shadow``: share of executions that are compared, on a connection that ``shadow_connect`` opens (a
    function without arguments that returns a psycopg connection; None: nothing is compared). ``copy``: a file for a
    start without the service. ``interval``, ``timeout`` are in seconds. ``runs``: timings that a regression takes.

    Make it after a fork, in every worker process: threads do not survive one. Without its thread a snapshot is not
    renewed, expires, and the originals run. Raises UsageError, and SnapshotError for an unusable public key.
    """

    def __init__(
        self,
        url: str,
        target: str,
        *,
        key: str,
        public_key: str,
        mode: str = "on",
        canary: float = 0.1,
        shadow: float = 0.01,
        shadow_connect: Callable[[], Any] | None = None,
        disabled_rules: Iterable[str] = (),
        disabled_entries: Iterable[str] = (),
        copy: Path | None = None,
        interval: float = 30.0,
        timeout: float = TIMEOUT,
        allow_http: bool = False,
        runs: int = RUNS,
    ) -> None:
        if mode not in MODES:
            raise UsageError(f"there is no mode {mode!r}", hint=f"modes are {', '.join(MODES)}")
        for name, share in (("canary", canary), ("shadow", shadow)):
            if not 0.0 <= share <= 1.0:
                raise UsageError(f"{name} is a share", hint="pass a number from 0 to 1")
        if interval <= 0 or timeout <= 0 or runs < 1:
            raise UsageError("interval, timeout and runs are positive", hint="interval and timeout are in seconds")
        self.counts: Counter[str] = Counter()
        self.policy = Policy(
            mode, canary, shadow if shadow_connect else 0.0, frozenset(disabled_rules), frozenset(disabled_entries)
        )
        self._table = Table()
        self._runs = runs
        self._circuits: dict[tuple[str, str], Circuit] = {}
        self._trusted: WeakKeyDictionary[Any, Table] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._feedback = Feedback(target)
        self._shadow = Shadow(_runner(shadow_connect)) if shadow_connect is not None else None
        self._source = Source(
            Service(url, key, timeout, allow_http),
            target,
            public_key,
            self._receive,
            self._feedback,
            interval=interval,
            copy=copy,
        )

    def start(self) -> Client:
        """Use the copy on disk, if there is one, and begin to poll; returns at once."""
        self._source.start()
        return self

    def close(self) -> None:
        """Stop the threads. Originals run from now on."""
        self._source.close()
        self._table = Table()
        if self._shadow is not None:
            self._shadow.close()

    def __enter__(self) -> Client:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def poll(self) -> bool:
        """Ask the service now; whether a new snapshot came. Raises SnapshotError. The thread does it by itself."""
        return self._source.poll()

    def lookup(self, statement: str, parameters: Any, *, percent: bool, connection: object) -> Decision | None:
        """What to do with a statement: see ``decide.lookup``."""
        return lookup(self._table, self.policy, statement, parameters, percent=percent, connection=connection)

    def steps(self, decision: Decision, place: Place, connection: Any, lost: Callable[[], bool]) -> Steps:
        """The steps of one guarded execution on ``connection``: see ``run.guarded``."""
        table = decision.prepared.table

        def trust(known: bool | None) -> bool:
            with self._lock:
                if known:
                    self._trusted[connection] = table
                elif known is not None:
                    self._trusted.pop(connection, None)
                return self._trusted.get(connection) is table

        return guarded(decision, place, trust, lost, self.note)

    def after(self, decision: Decision, statement: str, parameters: Any) -> None:
        """The application has its result: perhaps compare. Never raises."""
        if not decision.shadow or self._shadow is None:
            return
        prepared = decision.prepared
        pair = ((statement, parameters), (decision.text, decision.parameters))
        try:
            self._shadow.submit(Comparison(prepared.circuit, *pair, prepared.entry.ordered, decision.percent))
        except Exception as error:  # such as no more threads
            self.failed(error)

    def note(self, code: str) -> None:
        with self._lock:
            self.counts[code] += 1

    def failed(self, error: Exception) -> None:
        """A fault of this client: the original runs, and it is told once a kind."""
        name = f"fault {type(error).__name__}"
        if name not in self.counts:
            log.warning("a fault in the client, the original statement was run: %s", type(error).__name__)
        self.note(name)

    def drain(self) -> None:
        """Wait until all comparisons that wait have been made (for tests and orderly ends)."""
        if self._shadow is not None:
            self._shadow.drain()

    def status(self) -> dict[str, Any]:
        """For a health page: what is in force, what is off and why, what was done. No SQL, no values."""
        table = self._table
        off = {
            prepared.entry.id: f"{prepared.circuit.off.kind} {prepared.circuit.off.detail}".strip()
            for prepared in table.entries.values()
            if prepared.circuit.off is not None
        }
        with self._lock:
            counts = dict(self.counts)
        return {
            "mode": self.policy.mode,
            "in_force": table.in_force,
            "issued": table.issued.isoformat() if table.issued is not None else None,
            "entries": len(table.entries),
            "left_out": dict(table.left_out),
            "off": off,
            "counts": counts,
            "compared": self._shadow.compared if self._shadow is not None else 0,
            "not_compared": self._shadow.skipped if self._shadow is not None else 0,
            "poll_error": self._source.error,
        }

    def _receive(self, snapshot: Snapshot) -> None:
        """Put a new snapshot in place. What is off stays off for entries that are the same."""
        kept: dict[tuple[str, str], Circuit] = {}

        def circuit(entry: Entry) -> Circuit:
            key = (entry.id, entry.approved.isoformat())
            known = self._circuits.get(key)
            kept[key] = known or Circuit(entry.id, entry.baseline_seconds, self._feedback.add, self._runs)
            return kept[key]

        self._table = make_table(snapshot, circuit)
        self._circuits = {key: known for key, known in self._circuits.items() if known.off is not None} | kept


def _runner(connect: Callable[[], Any]) -> Callable[[], Runner]:
    def make() -> Runner:
        from rewriter.clients.psycopg import PairRunner  # only who compares needs psycopg here

        return PairRunner(connect())

    return make
