"""Files of query pairs: a verdict for each line, by several processes, whatever the lines hold.

An input line is a JSON object with ``id``, ``dialect``, ``schema`` (see ``parse.catalog_of``), ``q1`` and ``q2``.
Columns of a pair are compared by position and value, because the two queries come from different hands.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from rewriter.engines import DuckDB, scratch
from rewriter.errors import RewriterError
from rewriter.parse import catalog_of, parse
from rewriter.verify import Verifier

Outcome = dict[str, Any]

GRACE_SECONDS = 30.0  # what a pair may take beyond its budget before its process is killed


def verify_pairs(
    lines: Iterable[str], budget_seconds: float = 10.0, jobs: int = 1, *, seed: int = 0
) -> Iterator[Outcome]:
    """One result for each line, as soon as it is known (with several ``jobs`` not in the order of the lines): ``id``,
    ``verdict``, ``method``, ``seconds``, ``counterexample`` (SQL that anyone can run, or None) and ``reason``.

    A line that cannot be read, a query that is rejected and a process that dies are ``unknown`` with the reason.
    """
    waiting = iter(enumerate(lines, start=1))
    workers = [_Worker(budget_seconds, seed) for _ in range(max(1, jobs))]
    try:
        busy = [worker for worker in workers if worker.take(next(waiting, None))]
        while busy:
            wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in list(busy):
                outcome = worker.outcome()
                if outcome is None:
                    continue
                if not worker.take(next(waiting, None)):
                    busy.remove(worker)
                yield outcome
    finally:
        for worker in workers:
            worker.stop()


def verify_line(number: int, line: str, budget_seconds: float, seed: int, hunter: DuckDB) -> Outcome:
    """The result for one line. Never raises for what the line holds."""
    started = time.monotonic()
    name: object = number
    try:
        pair = json.loads(line)
        name = pair.get("id", number)
        catalog = catalog_of(pair["schema"], pair.get("dialect", "duckdb"))
        first, second = parse(pair["q1"], catalog), parse(pair["q2"], catalog)
        verdict = Verifier(first, hunter, seed=seed, by_position=True).certify(second.stated, seconds=budget_seconds)
    except RewriterError as error:
        return _unknown(name, error.message, started)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _unknown(name, f"the line is not a pair: {type(error).__name__}: {error}", started)
    found = verdict.counterexample
    return {
        "id": name,
        "verdict": verdict.kind.value,
        "method": verdict.method,
        "seconds": round(time.monotonic() - started, 3),
        "counterexample": None if found is None else found.scripts.get(catalog.dialect, found.scripts["duckdb"]),
        "reason": verdict.reason,
    }


class _Worker:
    """A process that verifies one line at a time, and what it is working on. Replaced when it dies or overstays."""

    def __init__(self, budget_seconds: float, seed: int) -> None:
        self._budget = budget_seconds
        self._seed = seed
        self._line: tuple[int, str] | None = None
        self._since = 0.0
        self._start()

    def take(self, line: tuple[int, str] | None) -> bool:
        """Start on ``line``; False when there is none."""
        self._line, self._since = line, time.monotonic()
        if line is None:
            return False
        with suppress(OSError):  # a process that died while idle is noticed by ``outcome``
            self.pipe.send(line)
        return True

    def outcome(self) -> Outcome | None:
        """The result if there is one by now; a process that died or overstayed gives ``unknown``."""
        assert self._line is not None
        number, text = self._line
        if self.pipe.poll():
            with suppress(EOFError, OSError):
                outcome: Outcome = self.pipe.recv()
                return outcome
            reason = "the process that worked on this pair died"
        elif time.monotonic() - self._since > self._budget + GRACE_SECONDS:
            reason = f"stopped {GRACE_SECONDS:g} s after its budget"
        else:
            return None
        self.stop()
        self._start()
        return _unknown(_id_of(number, text), reason, self._since)

    def stop(self) -> None:
        self.pipe.close()
        self._process.join(timeout=0.2 if self._line is not None else 2.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, self._budget, self._seed), daemon=True
        )
        self._process.start()
        theirs.close()


def _serve(pipe: Connection, budget_seconds: float, seed: int) -> None:
    """The worker process: lines in, results out, until the pipe is closed."""
    with closing(scratch()) as hunter, suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            number, line = pipe.recv()
            started = time.monotonic()
            try:
                outcome = verify_line(number, line, budget_seconds, seed, hunter)
            except Exception as error:  # one line must never stop the run
                outcome = _unknown(_id_of(number, line), f"internal error: {type(error).__name__}: {error}", started)
            pipe.send(outcome)


def _id_of(number: int, line: str) -> object:
    try:
        return json.loads(line).get("id", number)
    except (ValueError, AttributeError):
        return number


def _unknown(name: object, reason: str, started: float) -> Outcome:
    return {
        "id": name,
        "verdict": "unknown",
        "method": "none",
        "seconds": round(time.monotonic() - started, 3),
        "counterexample": None,
        "reason": reason,
    }
