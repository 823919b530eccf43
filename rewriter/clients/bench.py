"""What the clients cost an application: ``python -m rewriter.clients.bench [POSTGRES_URL]``.

The hot path is held against a bare dictionary lookup, in one interleaved run. With the URL of a Postgres server, what a
guarded execution adds to a statement that does nothing is measured as well (its round trips and the catalog probe over
five relations of the server's own).
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from rewriter.clients.decide import Policy, Table, lookup, make_table
from rewriter.clients.guard import Circuit
from rewriter.clients.probe import catalog_probe
from rewriter.clients.run import Ask, Place, drive, guarded
from rewriter.clients.snapshot import CatalogProbe, Entry, Snapshot

ENTRIES = 10_000
ROUNDS = 20_000
RUNS = 300


def snapshot(entries: int, probe: CatalogProbe | None = None) -> Snapshot:
    """``entries`` rewrites of statements of about 600 characters with three named parameters."""
    padding = "".join(f", t.column_{number} AS a_longer_name_{number}" for number in range(12))
    names = tuple(f"%({name})s" for name in ("status_1", "day_1", "total_1"))
    made = []
    for number in range(entries):
        where = "t.status = {}::VARCHAR AND t.day > {}::DATE AND t.total > {}"
        text = f"SELECT {number} AS n{padding} FROM t WHERE {where}"
        made.append(
            Entry(
                id=f"e{number}",
                statement=text.format(*names),
                sql=text.format("$1", "$2", "$3"),
                parameters=names,
                holds_for=None if number % 2 else (("open", "2026-01-01", 1), ("paid", "2026-01-01", 2)),
                verdict="proved",
                speedup=2.0,
                ordered=False,
                baseline_seconds=1.0,
                approved=datetime.now(UTC),
                mode="on",
            )
        )
    now = datetime.now(UTC)
    return Snapshot(
        target="bench",
        dialect="postgres",
        issued=now,
        expires=now + timedelta(hours=1),
        enabled=True,
        catalog_hash="",
        catalog_probe=probe,
        entries=tuple(made),
    )


def table_of(made: Snapshot) -> Table:
    return make_table(made, lambda entry: Circuit(entry.id, entry.baseline_seconds, lambda _: None))


def hot_path() -> None:
    """Print microseconds of one lookup: of a statement without a rewrite, with one for all values, and for some."""
    start = time.perf_counter()
    made = table_of(snapshot(ENTRIES))
    print(f"{ENTRIES:,} entries made ready in {time.perf_counter() - start:.1f} s")  # noqa: T201 - a benchmark prints
    bare = dict.fromkeys(made.entries, 1)
    policy = Policy(shadow=0.01)
    parameters = {"status_1": "open", "day_1": "2026-01-01", "total_1": 1}
    known = list(made.entries)
    # As in an application, a text is the same object each time (a compiled statement), its hash is known.
    known = random.Random(0).sample(known, 2000)  # noqa: S311 - no secret
    cases: dict[str, tuple[list[str], Callable[[str], Any]]] = {
        "bare dictionary": (known, bare.get),
        "no rewrite": (
            [text + " " + "AND true" for text in known],
            lambda text: lookup(made, policy, text, parameters, percent=True, connection=policy),
        ),
        "rewrite, all values": (
            [text for text in known if made.entries[text].holds_for is None],
            lambda text: lookup(made, policy, text, parameters, percent=True, connection=policy),
        ),
        "rewrite, some values": (
            [text for text in known if made.entries[text].holds_for is not None],
            lambda text: lookup(made, policy, text, parameters, percent=True, connection=policy),
        ),
    }
    times: dict[str, list[int]] = {name: [] for name in cases}
    clock = time.perf_counter_ns
    for number in range(ROUNDS):
        for name, (texts, call) in cases.items():
            text = texts[number % len(texts)]
            start_ns = clock()
            call(text)
            times[name].append(clock() - start_ns)
    overhead = statistics.median(_empty() for _ in range(1000))
    reference = max(1.0, statistics.median(times["bare dictionary"]) - overhead)
    print(f"{'lookup':<22} {'median us':>10} {'p99 us':>8} {'ratio':>7}")  # noqa: T201
    for name, taken in times.items():
        median = max(1.0, statistics.median(taken) - overhead)
        worst = statistics.quantiles(taken, n=100)[98] - overhead
        print(f"{name:<22} {median / 1e3:10.2f} {worst / 1e3:8.2f} {median / reference:7.1f}")  # noqa: T201


def _empty() -> int:
    start = time.perf_counter_ns()
    return time.perf_counter_ns() - start


def guard(url: str) -> None:
    """Print what the guard adds to one execution at each place of a transaction."""
    import psycopg

    from rewriter.clients.psycopg import ask

    names = ("pg_class", "pg_attribute", "pg_type", "pg_proc", "pg_index")
    probe = catalog_probe([("pg_catalog", name) for name in names])
    with psycopg.connect(url, autocommit=True) as connection:
        made = table_of(snapshot(1, CatalogProbe(sql=probe, value=ask(connection, Ask(probe))[0])))
        decision = lookup(
            made,
            Policy(shadow=0.0),
            next(iter(made.entries)),
            {"status_1": "open", "day_1": "2026-01-01", "total_1": 1},
            percent=True,
            connection=connection,
        )
        assert decision is not None
        cursor = connection.cursor()

        def perform(step: Any) -> Any:
            return ask(connection, step) if isinstance(step, Ask) else cursor.execute("SELECT 1")

        times: dict[str, list[float]] = {"plain": [], "alone": [], "within": []}
        for _ in range(RUNS):
            for name, taken in times.items():
                if name == "within":
                    cursor.execute("BEGIN")
                start = time.perf_counter()
                if name == "plain":
                    cursor.execute("SELECT 1")
                else:
                    place = Place.WITHIN if name == "within" else Place.ALONE
                    drive(guarded(decision, place, lambda _: True, lambda: False, lambda _: None), perform)
                taken.append(time.perf_counter() - start)
                if name == "within":
                    cursor.execute("COMMIT")
    plain = statistics.median(times["plain"])
    for name in ("alone", "within"):
        added = statistics.median(times[name]) - plain
        print(f"a guarded execution, {name}: {added * 1e3:.2f} ms more than the {plain * 1e3:.2f} ms of SELECT 1")  # noqa: T201


if __name__ == "__main__":
    hot_path()
    if len(sys.argv) > 1:
        guard(sys.argv[1])
