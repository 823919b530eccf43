"""A day on the real service, so that there is something to see: for pictures of the pages."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from rewriter.engines import embedded
from tests.api.conftest import ADMIN, Client, running
from tests.shop import DDL, SLOW

OTHER = "SELECT s.city, (SELECT sum(t.amount) FROM sale t WHERE t.shop_id = s.id) AS sold FROM shop s"
WRONG = (
    "SELECT id FROM shop WHERE id NOT IN (SELECT shop_id FROM sale)",
    "SELECT s.id FROM shop s WHERE NOT EXISTS (SELECT 1 FROM sale t WHERE t.shop_id = s.id)",
)
LOG = "".join(
    f"2026-11-20 10:00:{second:02d}.000 UTC [77] LOG:  duration: {millis}.0 ms  statement: {statement}\n"
    for second, (millis, statement) in enumerate(
        [(5321, OTHER), (811, "SELECT city FROM shop WHERE id = 42"), (4211, OTHER), (77, "SELECT broken FROM shop")]
    )
)


@contextlib.contextmanager
def lived() -> Iterator[tuple[str, str]]:
    """The address of a service with such a day behind it, and the key of its admin."""
    with tempfile.TemporaryDirectory() as folder:
        url = embedded.start(Path(folder) / "postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(DDL)
        os.makedirs(Path(folder) / "state")
        with running(Path(folder) / "state", REWRITER_TARGET=url) as client:
            _day(client)
            yield f"http://127.0.0.1:{client.port}", ADMIN


def _day(client: Client) -> None:
    first = client.rewritten(SLOW, runs_per_day=2400)
    client.rewritten(OTHER, runs_per_day=90_000)
    client.rewritten(SLOW.replace("1.2", "1.5"), runs_per_day=40)
    client.rewritten("SELECT nothing FROM nowhere")
    client("PUT", f"/v1/rewrites/{first['id']}/review", {"decision": "approved", "mode": "on"})
    pair = {"target": "default", "original": WRONG[0], "candidate": WRONG[1], "seconds": 5}
    client("POST", "/v1/verifications", pair)
    client("POST", "/v1/batches/upload?name=postgresql-2026-11-20.log&top=5", LOG.encode())
    client("POST", "/v1/api-keys", {"name": "orders application", "role": "viewer"})
    client("POST", "/v1/targets", {"name": "reporting", "url": "postgresql://reader:secret@127.0.0.1:1/reports"})
    client("POST", "/v1/targets/reporting/check")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        now = client("GET", "/v1/overview").json
        if not now["queued"] and not now["running"]:
            return
        time.sleep(0.5)
