"""Runs original and rewrite one after the other on a connection of its own and compares what they return.

Both run in one read-only REPEATABLE READ transaction, so they see the same data and a difference is one. It
happens in a thread, after the application has had its result, and never in the application's transaction.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from rewriter.clients.guard import Circuit

log = logging.getLogger("rewriter.clients")

RELATIVE = 1e-9
ABSOLUTE = 1e-9
MOST_WAITING = 20
MOST_ROWS = 20_000  # of a result; of a larger one the columns and the number of rows are compared
MOST_PAIRED = 200  # rows that differ in floats alone and are tried against each other in every order
SECONDS = 60.0  # that one statement may take

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """``columns``: (name, type code). ``count`` rows; ``rows`` is None when those were more than are kept."""

    columns: tuple[tuple[str, int], ...]
    count: int
    rows: list[Row] | None
    seconds: float


class Runner(Protocol):
    """Runs statements on a connection for comparisons."""

    def pair(self, original: tuple[str, Any], rewrite: tuple[str, Any], percent: bool) -> tuple[Answer, Answer]:
        """Both answers on the same data. Raises RewriteFailed when only the rewrite fails, else what the driver
        raises."""

    def close(self) -> None: ...


class RewriteFailed(Exception):
    """The original ran and the rewrite did not; the message is a code."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One sampled execution: statements with their parameters."""

    circuit: Circuit
    original: tuple[str, Any]
    rewrite: tuple[str, Any]
    ordered: bool
    percent: bool


class Shadow:
    """A thread with a short queue; what does not fit is not compared. ``connect`` makes a Runner."""

    def __init__(self, connect: Callable[[], Runner]) -> None:
        self.compared = 0
        self.skipped = 0
        self._connect = connect
        self._queue: queue.Queue[Comparison | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, comparison: Comparison) -> None:
        """Never blocks."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rewriter-shadow", daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait(comparison)
        except queue.Full:
            self.skipped += 1

    def drain(self, seconds: float = 30.0) -> None:
        """Wait until all that was submitted has been compared."""
        end = time.monotonic() + seconds
        while self._queue.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.005)

    def close(self) -> None:
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        runner: Runner | None = None
        while (comparison := self._queue.get()) is not None:
            try:
                if comparison.circuit.off is None:
                    runner = runner or self._connect()
                    self._compare(comparison, runner)
            except Exception as error:  # says nothing about the rewrite: no connection, the original fails too
                self.skipped += 1
                log.info("a comparison could not be made: %s", type(error).__name__)
                if runner is not None:
                    with contextlib.suppress(Exception):
                        runner.close()
                runner = None
            finally:
                self._queue.task_done()
        if runner is not None:
            runner.close()

    def _compare(self, comparison: Comparison, runner: Runner) -> None:
        circuit = comparison.circuit
        try:
            original, rewrite = runner.pair(comparison.original, comparison.rewrite, comparison.percent)
        except RewriteFailed as error:
            circuit.trip("error", str(error))
            return
        self.compared += 1
        difference = differ(original, rewrite, comparison.ordered)
        if difference is not None:
            circuit.trip("mismatch", difference)
            return
        circuit.ran_original(original.seconds)
        circuit.ran_rewrite(rewrite.seconds)


def differ(original: Answer, rewrite: Answer, ordered: bool) -> str | None:
    """How two answers differ, as a code: columns, row-count, rows, order; None when they are the same.

    Rows that tie in an ORDER BY may come in another order without anybody being wrong; which ones tie is not known
    here, so that counts as a difference.
    """
    if original.columns != rewrite.columns:
        return "columns"
    if original.count != rewrite.count:
        return "row-count"
    if original.rows is None or rewrite.rows is None:
        return None
    if ordered and all(same_row(one, other) for one, other in zip(original.rows, rewrite.rows, strict=True)):
        return None
    if not same_bag(original.rows, rewrite.rows):
        return "rows"
    return "order" if ordered else None


def same_bag(left: Sequence[Row], right: Sequence[Row]) -> bool:
    """Whether both hold the same rows equally often. Floats may differ by a relative 1e-9."""
    rest, other = Counter(map(_key, left)), Counter(map(_key, right))
    rest, other = rest - other, other - rest
    if rest.total() != other.total():
        return False
    # What is left differs at most in its floats: hold rows against each other that agree in everything else.
    ones: dict[Any, list[Row]] = defaultdict(list)
    others: dict[Any, list[Row]] = defaultdict(list)
    for rows, groups in ((rest, ones), (other, others)):
        for row in rows.elements():
            groups[_exact(row)].append(row)
    return ones.keys() == others.keys() and all(_same_group(group, others[key]) for key, group in ones.items())


def _same_group(left: list[Row], right: list[Row]) -> bool:
    """Rows that agree in all but floats, which can be sorted: they pair up, unless nearly equal floats come first."""
    if len(left) != len(right):
        return False
    left, right = sorted(left, key=_floats), sorted(right, key=_floats)
    if all(same_row(one, other) for one, other in zip(left, right, strict=True)):
        return True
    if len(left) > MOST_PAIRED:
        return False
    for row in left:
        match = next((place for place, one in enumerate(right) if same_row(row, one)), None)
        if match is None:
            return False
        del right[match]
    return True


def _floats(row: Row) -> list[float]:
    return [value for value in row if isinstance(value, float)]


def same_row(left: Row, right: Row) -> bool:
    return len(left) == len(right) and all(_same(one, other) for one, other in zip(left, right, strict=True))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return math.isclose(left, right, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return same_row(left, right)
    return bool(_value(left) == _value(right))


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(_value(value) for value in row)


def _exact(row: Row) -> tuple[Any, ...]:
    """What has to agree exactly: everything but the values of floats, the NULLs and NaNs among them included."""
    return tuple("float" if isinstance(value, float) and not math.isnan(value) else _value(value) for value in row)


def _value(value: Any) -> Any:
    """A hashable value, equal for equal SQL values. True and 1 differ, 1.0 and 1.00 do not, nor do two NaNs."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, (float, Decimal)) and math.isnan(value):
        return "nan"
    if isinstance(value, (int, float, Decimal, str, bytes, date, datetime)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return tuple(_value(item) for item in value)
    if isinstance(value, dict):
        return ("object", tuple(sorted((str(key), _value(item)) for key, item in value.items())))
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value
