"""Switches one rewrite off in this process at the first error or mismatch, or when it is slower than the original.

Once off it stays off until the reviewer approves the rewrite anew (another time of approval) or the process starts
again. Precedent: FORCE_LAST_GOOD_PLAN of Azure SQL.
"""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

RUNS = 20  # timings of the rewrite that a judgement needs, and that are kept
ORIGINALS = 5  # timings of the original that count for more than the measured baseline of the snapshot
MARGIN = 1.2  # slower than this many times the original is a regression
SLACK = 0.005  # seconds; below that the difference is noise


@dataclass(frozen=True, slots=True)
class Event:
    """What the service is told. ``detail`` is a code such as an SQLSTATE, never SQL or values; times in seconds."""

    entry: str
    kind: str  # error, mismatch, regression, timing
    detail: str
    original_seconds: float | None = None
    rewrite_seconds: float | None = None
    count: int = 1


Report = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Off:
    """Why a rewrite is off."""

    kind: str
    detail: str


class Circuit:
    """The state of one entry in this process; safe to use from several threads."""

    def __init__(self, entry: str, baseline: float, report: Report, runs: int = RUNS) -> None:
        self.entry = entry
        self.off: Off | None = None
        self._baseline = baseline
        self._report = report
        self._lock = threading.Lock()
        self._rewrites: deque[float] = deque(maxlen=runs)
        self._originals: deque[float] = deque(maxlen=runs)
        self._since = 0

    def trip(self, kind: str, detail: str) -> Off:
        """Switch the rewrite off. Who is first counts."""
        off = Off(kind, detail)
        with self._lock:
            first = self.off is None
            if first:
                self.off = off
            off = self.off or off
        if first:
            self._report(Event(self.entry, kind, detail, *self.medians()))
        return off

    def pause(self, detail: str) -> Off | None:
        """Off while it is found out who is to blame for an error; None when the rewrite was off already."""
        with self._lock:
            if self.off is not None:
                return None
            self.off = Off("error", detail)
            return self.off

    def blame(self, pause: Off | None, guilty: bool) -> None:
        """Ends a ``pause``: stay off when the rewrite was to blame, else on again."""
        if pause is None:
            return
        if not guilty:
            with self._lock:
                if self.off is pause:
                    self.off = None
            return
        self._report(Event(self.entry, pause.kind, pause.detail, *self.medians()))

    def ran_original(self, seconds: float) -> None:
        with self._lock:
            self._originals.append(seconds)

    def ran_rewrite(self, seconds: float) -> None:
        """Note a run of the rewrite, all that it cost the application counted; judge when there are enough."""
        with self._lock:
            self._rewrites.append(seconds)
            self._since += 1
            full = len(self._rewrites) == self._rewrites.maxlen
            summing_up = full and self._since >= (self._rewrites.maxlen or 0)
            if summing_up:
                self._since = 0
        if not full:
            return
        original, rewrite = self.medians()
        reference = original if original is not None else self._baseline
        if rewrite is not None and rewrite > reference * MARGIN and rewrite - reference > SLACK:
            self.trip("regression", "slower")
        elif summing_up:
            self._report(Event(self.entry, "timing", "", original, rewrite, self._rewrites.maxlen or 0))

    def medians(self) -> tuple[float | None, float | None]:
        """(original, rewrite) in seconds as seen here; the original's is None until there are enough runs."""
        with self._lock:
            originals, rewrites = list(self._originals), list(self._rewrites)
        return (
            statistics.median(originals) if len(originals) >= ORIGINALS else None,
            statistics.median(rewrites) if rewrites else None,
        )
