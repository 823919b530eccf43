"""What a snapshot of a target holds: its approved rewrites whose evidence stands, for applications' clients."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rewriter.clients.probe import catalog_probe
from rewriter.clients.snapshot import CatalogProbe, Entry, Snapshot, search_path_of
from rewriter.engines.base import Engine, Limits
from rewriter.service.targets import found, look
from rewriter.store import Store
from rewriter.store.reviews import ReviewRecord

LIFETIME = timedelta(hours=1)  # after it a client that reaches nobody uses no rewrite any more
PROBE = Limits(seconds=10.0, rows=1)


def built(store: Store, engine: Engine, tenant: str, target: str) -> tuple[Snapshot, str]:
    """The snapshot, and a text that is the same as long as a client that holds it needs no new one. Evidence is held
    against the target's catalog as it is now. Raises NotFound, TargetError, StoreError."""
    record = found(store, tenant, target)
    catalog = look(store, record, engine).catalog
    approved = store.reviews(tenant).approved(target)
    entries = tuple(_entry(review, report) for review, report in approved)
    probe = _probe(engine, [review for review, _ in approved])
    issued = datetime.now(UTC)
    snapshot = Snapshot(
        target=target,
        dialect=engine.dialect,
        issued=issued,
        expires=issued + LIFETIME,
        enabled=record.enabled,
        catalog_hash=catalog.hash,
        catalog_probe=probe,
        search_path=search_path_of(catalog.search_path) if engine.dialect == "postgres" else None,
        entries=entries,
    )
    body = snapshot.model_dump(mode="json", exclude={"issued", "expires"})
    # A client that is told that nothing has changed keeps what it has; so it is told something new before that ends.
    period = int(time.time() // (LIFETIME.total_seconds() / 2))
    return snapshot, hashlib.sha256(f"{period} {json.dumps(body, sort_keys=True)}".encode()).hexdigest()


def _probe(engine: Engine, reviews: Sequence[ReviewRecord]) -> CatalogProbe | None:
    relations = sorted({(schema, str(name)) for review in reviews for schema, name in review.tables})
    if engine.dialect != "postgres" or not relations:
        return None
    sql = catalog_probe(relations)
    rows = engine.run(sql, PROBE).rows
    return CatalogProbe(sql=sql, value=str(rows[0][0]))


def _entry(review: ReviewRecord, report: Mapping[str, Any]) -> Entry:
    chosen = report["chosen"]
    medians = {one["label"]: one["median"] or one["stopped_after"] for one in report["measurements"]}
    gain = report.get("speedup") or {}
    sets = None
    if report.get("holds_for", "all") != "all":
        sets = tuple(tuple(values) for values in report["parameter_sets"].values())
    return Entry(
        id=review.job_id,
        statement=report["original"],
        sql=chosen["sql"],
        parameters=tuple(report.get("parameters", ())),
        holds_for=sets,
        rules=tuple(step["rule"] for step in chosen["steps"]),
        verdict=report["verdict"]["kind"],
        speedup=gain.get("ratio") or 1.0,
        ordered=bool(report.get("ordered", False)),
        baseline_seconds=medians.get("original") or 0.0,
        approved=datetime.fromtimestamp(review.changed, UTC),
        mode=review.mode,
    )
