"""Finds the slow statements of the application, rewrites them, and calls its endpoints without and with the rewrites.

python -m examples.orders
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import psycopg
from fastapi.testclient import TestClient

from examples.orders import app, database, service
from rewriter.clients import Client
from rewriter.clients.capture import Capture
from rewriter.clients.snapshot import Entry
from rewriter.engines import Postgres, embedded
from rewriter.pipeline import EFFORTS, rewrite

ENDPOINTS = {"/purchases/large": ("paid", Decimal("1.5")), "/customers/quiet": (date(2026, 9, 1),)}
RUNS = 5


def main(server_url: str | None = None, *, customers: int = 1500, purchases: int = 12_000) -> None:
    """On the server at ``server_url`` (None: the embedded one) with as much data as named."""
    print("making a database")
    server_url = server_url or embedded.start()
    url = database.create(server_url, "examples_orders", customers=customers, purchases=purchases)
    server = service.Service()
    with closing(server), closing(Postgres(url)) as engine:
        entries = []
        for path, statement in captured(url).items():
            print(f"rewriting what {path} runs")
            entries.append(entry(path, statement, engine))
        server.publish(service.snapshot_of(url, [one for one in entries if one is not None]))
        answers = {mode: measured(url, server, mode) for mode in ("off", "shadow", "on")}
    print(f"\n{'endpoint':<20} {'off ms':>9} {'on ms':>9} {'ratio':>7}   answers")
    for path, (seconds, answer) in answers["off"].items():
        with_rewrite, rewritten = answers["on"][path]
        same = answer == rewritten == answers["shadow"][path][1]
        print(
            f"{path:<20} {seconds * 1e3:9.1f} {with_rewrite * 1e3:9.1f} {seconds / with_rewrite:7.1f}   "
            f"{'the same' if same else 'DIFFERENT'}"
        )


def captured(url: str) -> dict[str, str]:
    """The exact text that each endpoint submits, as ``rewriter batch`` would read it."""
    texts = {}
    for path in ENDPOINTS:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "statements.jsonl"
            engine = app.connect_engine(url)
            with Capture(log) as capture:
                capture.watch(engine)
                application = app.create_app(engine, url)
                if path == "/customers/quiet":
                    with psycopg.connect(url, cursor_factory=capture.cursor_factory()) as connection:
                        connection.execute(app.QUIET, ENDPOINTS[path])
                else:
                    TestClient(application).get(path)
            engine.dispose()
            records = [json.loads(line) for line in log.read_text().splitlines()]
        texts[path] = max(records, key=lambda record: float(record["total_time_ms"]))["query"]
    return texts


def entry(path: str, statement: str, engine: Postgres) -> Entry | None:
    """What a reviewer would approve: the rewrite of one statement, None when the original is best."""
    report = rewrite(statement, engine, policy=EFFORTS["quick"], parameter_sets=[ENDPOINTS[path]])
    decision, verdict = report.decision, report.verdict
    original = report.measurements[0].median if report.measurements else None
    if decision.chosen is None or verdict is None or decision.speedup is None:
        print(f"  no faster one: {decision.reason}")
        return None
    rules = ", ".join(decision.chosen.rules)
    print(f"  {verdict.kind}, {decision.speedup.ratio:.1f} times as fast, by {rules}")
    return Entry(
        id=path,
        statement=statement,
        sql=decision.chosen.sql,
        parameters=tuple(parameter.marker for parameter in report.query.parameters),
        rules=decision.chosen.rules,
        verdict=cast(Literal["proved", "bounded", "tested"], verdict.kind.value),
        speedup=decision.speedup.ratio,
        ordered=True,
        baseline_seconds=original or 1.0,
        approved=datetime.now(UTC),
        mode="on",
    )


def measured(url: str, server: service.Service, mode: str) -> dict[str, tuple[float, Any]]:
    """(median seconds, answer) of each endpoint, called over the application."""
    results = {}
    client = Client(
        server.url,
        service.TARGET,
        key=service.KEY,
        public_key=server.public_key,
        mode=mode,
        shadow=0.5,
        shadow_connect=lambda: psycopg.connect(url),
    )
    engine = app.connect_engine(url)
    with client:
        client.poll()
        application = TestClient(app.create_app(engine, url, client))
        for path in ENDPOINTS:
            times, answer = [], None
            for _ in range(RUNS):
                start = time.perf_counter()
                answer = application.get(path).json()
                times.append(time.perf_counter() - start)
            results[path] = (statistics.median(times), answer)
        client.drain()
        status = application.get("/rewrites").json()
        print(f"mode {mode}: {status['counts']}, compared {status['compared']}, off {status['off']}")
    engine.dispose()
    return results


if __name__ == "__main__":
    main()
