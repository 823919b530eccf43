"""Whether the evidence of earlier rewrites still holds on what a target's catalog has become.

The exact key of a statement covers all that a verdict rests on: the relations it names with their columns, types, keys
and checks, its views, the search path, the engine's version. So the original is read anew against the new catalog, and
the evidence holds as long as its key is the same. Row counts only say that it may pay to measure again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from rewriter.catalog import Catalog, Table
from rewriter.errors import RewriterError
from rewriter.parse import exact_key, parse
from rewriter.store import Store
from rewriter.store.jobs import NewJob
from rewriter.store.reviews import APPROVED, CURRENT, INVALID, REMEASURE, ReviewRecord
from rewriter.store.target_records import TargetRecord

DRIFT = 2.0  # times as many rows, or as few
SMALL = 1000.0  # rows below which a drift says nothing


def refresh(store: Store, record: TargetRecord, catalog: Catalog) -> list[str]:
    """Hold all standing evidence on a target against its catalog; the jobs whose evidence no longer holds. Raises
    StoreError."""
    reviews = store.reviews(record.tenant)
    changed = record.catalog_hash != catalog.hash
    fallen = []
    for review, text in reviews.standing(record.name):
        if changed and _key(text, catalog) != review.exact_key:
            reviews.mark(review.job_id, currency=INVALID, reason="what it rests on has changed in the target's catalog")
            fallen.append(review.job_id)
        elif review.currency == CURRENT and _drifted(review, catalog):
            reviews.mark(review.job_id, currency=REMEASURE, reason="its tables have grown or shrunk much since")
            if review.state == APPROVED:
                _again(store, record, review)
    return fallen


def rows_of(tables: Iterable[Table]) -> float | None:
    """Estimated rows of all tables together; None when nothing is known."""
    known = [table.rows for table in tables if table.rows is not None]
    return float(sum(known)) if known else None


def _key(text: str, catalog: Catalog) -> str | None:
    with contextlib.suppress(RewriterError):
        return exact_key(parse(text, catalog))
    return None


def _drifted(review: ReviewRecord, catalog: Catalog) -> bool:
    found = [catalog.find(str(name), schema) for schema, name in review.tables]
    now = rows_of(table for table in found if table is not None)
    if review.rows is None or now is None or max(review.rows, now) < SMALL:
        return False
    return now > DRIFT * review.rows or now * DRIFT < review.rows


def _again(store: Store, record: TargetRecord, review: ReviewRecord) -> None:
    """Order the same rewrite once more, unless that is on its way."""
    jobs = store.jobs(record.tenant)
    job = jobs.find(review.job_id)
    if job is None:
        return
    latest = jobs.latest(job.kind, job.target, job.request_hash)
    if latest is None or latest.id == job.id:
        jobs.submit(NewJob(job.kind, job.target, record.place, job.actor, job.request, job.request_hash))
