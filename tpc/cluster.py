"""``python -m tpc cluster``: how much faster several workers on one store are than one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from rewriter.engines import embedded
from rewriter.errors import UsageError
from rewriter.service.orders import VerificationOrder
from rewriter.store import Store
from rewriter.store.jobs import DONE, NewJob

DDL = """
CREATE TABLE customer (id integer PRIMARY KEY, city text, credit integer NOT NULL);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customer, total integer NOT NULL);
"""
# A pair that is proved: the work is the same however busy the machine is, and no time limit cuts it short.
ORIGINAL = """
SELECT c.id, c.city FROM customer c
WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.total > {number})
"""
CANDIDATE = """
SELECT DISTINCT c.id, c.city FROM customer c JOIN orders o ON o.customer_id = c.id WHERE NOT o.total <= {number}
"""
LONGEST = 1800.0  # seconds for one round
Tell = Callable[[str], None]


def measure(counts: Sequence[int], jobs: int, rounds: int, queue: str, tell: Tell) -> dict[str, Any]:
    """Seconds for so many verifications by so many workers, by rounds in turn. Raises UsageError when a job is lost."""
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    numbers = iter(range(1_000_000))
    with tempfile.TemporaryDirectory(prefix="rewriter-cluster-") as place:
        url = embedded.start(Path(place) / "store")
        environment = {"REWRITER_STORE": url, "REWRITER_QUEUE": queue, "REWRITER_SECRET": "of a benchmark only"}
        with contextlib.closing(Store(url)) as store:
            for turn in range(rounds):
                for count in counts:
                    tell(f"round {turn + 1} of {rounds}: {count} workers")
                    with _workers(count, environment):
                        # Before the clock starts, every worker has started and has done a job.
                        _done(store, [_submit(store, next(numbers)) for _ in range(3 * count)])
                        start = time.perf_counter()
                        _done(store, [_submit(store, next(numbers)) for _ in range(jobs)])
                        seconds[count].append(time.perf_counter() - start)
    base = seconds[counts[0]]
    return {
        "cores": os.cpu_count(),
        "jobs": jobs,
        "queue": queue,
        "seconds": {str(count): found for count, found in seconds.items()},
        "speedup": {
            str(count): median(one / other for one, other in zip(base, found, strict=True))
            for count, found in seconds.items()
        },
    }


def as_rich(found: dict[str, Any]) -> Table:
    table = Table(title=f"{found['jobs']} verifications, queue {found['queue']}, {found['cores']} cores")
    for name in ("workers", "seconds (median)", "times as fast"):
        table.add_column(name, justify="right")
    for count, seconds in found["seconds"].items():
        table.add_row(count, f"{median(seconds):.1f}", f"{found['speedup'][count]:.2f}")
    return table


@contextlib.contextmanager
def _workers(count: int, environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "rewriter", "worker"]
    processes = [subprocess.Popen(command, env={**os.environ, **environment}) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _submit(store: Store, number: int) -> str:
    order = VerificationOrder(
        original=ORIGINAL.format(number=number), candidate=CANDIDATE.format(number=number), ddl=DDL, seconds=60
    )
    new = NewJob("verification", "", f"none-{number}", "benchmark", order.request(), order.digest())
    return store.jobs("default").submit(new)[0].id


def _done(store: Store, jobs: Sequence[str]) -> None:
    """Wait until all are. Raises UsageError."""
    deadline = time.monotonic() + LONGEST
    waiting = list(jobs)
    while waiting:
        found = store.jobs("default").find(waiting[0])
        if found is None or (found.ended and found.state != DONE) or time.monotonic() > deadline:
            raise UsageError(f"a job came to nothing: {found.state if found is not None else 'lost'}")
        if found.ended:
            waiting.pop(0)
        else:
            time.sleep(0.05)
