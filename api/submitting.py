"""Orders become jobs: once for each Idempotency-Key, answered from the store where the same was asked before, and
waited for where the caller prefers to (RFC 7240)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header
from fastapi.concurrency import run_in_threadpool

from api.access import Caller
from api.context import Service
from rewriter.parse import check
from rewriter.service.orders import Order
from rewriter.service.targets import found
from rewriter.store.jobs import DONE, JobRecord, NewJob
from rewriter.store.reviews import INVALID

LONGEST = 60.0  # seconds that a request may wait
LOOK = 0.05  # seconds between two looks at a job, at first
PLACELESS = "none"

PreferHeader = Annotated[
    str | None, Header(description="wait=N: answer when it is done, or after N seconds at most (RFC 7240)")
]
IdempotencyHeader = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="the same key and request again answer with the same job",
        examples=["7f9c"],
    ),
]


def submit(
    service: Service,
    caller: Caller,
    kind: str,
    target: str | None,
    order: Order,
    key: str | None,
    *,
    fresh: bool = False,
) -> tuple[JobRecord, bool]:
    """The job for an order, and whether it is new. Raises NotFound (no such target), Conflict."""
    place = PLACELESS if target is None else found(service.store, caller.tenant, target).place
    digest = order.digest()
    jobs = service.store.jobs(caller.tenant)
    if key is None and not fresh:
        known = jobs.latest(kind, target or "", digest)
        if known is not None and _holds(service, caller, known):
            return known, False
    if target is None:
        place = f"{PLACELESS}-{digest[:40]}"  # nothing is measured, so several may run at once
    new = NewJob(kind, target or "", place, caller.actor, order.request(), digest)
    return jobs.submit(new, idempotency_key=key)


def check_statements(
    service: Service, caller: Caller, target: str | None, *texts: str, dialect: str = "postgres"
) -> None:
    """Refuse at once what no worker could do anything with. Raises NotFound (no such target), QueryRejected."""
    if target is not None:
        record = found(service.store, caller.tenant, target)
        dialect = record.dialect or ("duckdb" if record.shown.startswith("duckdb:") else "postgres")
    for text in texts:
        check(text, dialect)


def _holds(service: Service, caller: Caller, job: JobRecord) -> bool:
    """Whether an earlier answer may be given again: its evidence has not fallen, and for a rewrite the target's
    catalog is what it was."""
    if job.state != DONE or job.rewrite_id is None:
        return True
    review = service.store.reviews(caller.tenant).find(job.id)
    if review is not None:
        return review.currency != INVALID
    target = service.store.targets(caller.tenant).find(job.target)
    hash_then = service.store.catalog_hash(job.rewrite_id, tenant=caller.tenant)
    return target is not None and target.catalog_hash == hash_then


def wait_of(prefer: str | None) -> float:
    """Seconds that a caller prefers to wait; 0 when it does not say so."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\b", prefer or "")
    return min(float(match[1]), LONGEST) if match else 0.0


async def ended(find: Callable[[], JobRecord | None], job: JobRecord, seconds: float) -> JobRecord:
    """The job once it has ended, or as it is after so many seconds."""
    deadline, pause = time.monotonic() + seconds, LOOK
    while not job.ended and time.monotonic() < deadline:
        await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, 0.5)
        latest: JobRecord | None = await run_in_threadpool(find)
        job = latest or job
    return job


def headers_of(job: JobRecord, path: str, waited: float) -> dict[str, Any]:
    headers = {"Location": f"/v1/{path}/{job.id}"}
    if waited:
        headers["Preference-Applied"] = f"wait={waited:g}"
    return headers
