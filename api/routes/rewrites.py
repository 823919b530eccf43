"""Rewrites: submit, read, list, cancel, follow, review."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from api.access import Caller, Operator, Viewer
from api.context import Service, TheService
from api.problems import ANSWERS
from api.submitting import IdempotencyHeader, PreferHeader, check_statements, ended, headers_of, submit, wait_of
from api.wire import ReviewView, RewriteView, State, cursor_of, parts_of, review_view, rewrite_view
from rewriter.errors import NotFound
from rewriter.service.orders import RewriteOrder
from rewriter.store.jobs import Filter, JobRecord

router = APIRouter(prefix="/v1/rewrites", tags=["rewrites"], responses=ANSWERS)

KIND = "rewrite"
FOLLOW = 0.25  # seconds between two looks for new events
LINKS = {
    name: {"operationId": f"{name}_rewrite", "parameters": {"identifier": "$response.body#/id"}}
    for name in ("read", "cancel", "retry", "follow", "review")
}
SILENCE = 15.0  # seconds after which a comment keeps the connection open


@router.post(
    "",
    status_code=202,
    response_model=RewriteView,
    responses={
        200: {"model": RewriteView, "description": "It is done", "links": LINKS},
        202: {"description": "It waits or is worked on", "links": LINKS},
    },
)
async def create_rewrite(
    order: RewriteOrder,
    service: TheService,
    caller: Operator,
    response: Response,
    prefer: PreferHeader = None,
    idempotency_key: IdempotencyHeader = None,
    fresh: Annotated[bool, Query(description="work anew, although the same was asked before")] = False,
) -> RewriteView:
    """Order a rewrite. Answers 202 with the job's place, or 200 where it is done: because the same statement was
    rewritten before under the same policy and its evidence holds, or within the seconds of ``Prefer: wait=N``."""
    await run_in_threadpool(check_statements, service, caller, order.target, order.sql)
    job, _ = await run_in_threadpool(submit, service, caller, KIND, order.target, order, idempotency_key, fresh=fresh)
    seconds = wait_of(prefer)
    job = await ended(lambda: service.store.jobs(caller.tenant).find(job.id), job, seconds)
    response.status_code = 200 if job.ended else 202
    response.headers.update(headers_of(job, "rewrites", seconds))
    return await run_in_threadpool(_whole, service, caller, job)


class RewriteList(BaseModel):
    items: list[RewriteView]
    next: str | None = Field(description="cursor of the next page; also in the Link header (RFC 8288)")


@router.get("")
def list_rewrites(
    service: TheService,
    caller: Viewer,
    response: Response,
    state: State | None = None,
    target: Annotated[str | None, Query(max_length=64)] = None,
    batch: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> RewriteList:
    """The rewrites, newest first, without their reports."""
    before = None
    if cursor is not None:
        created, identifier = parts_of(cursor, float, str)
        before = (created, identifier)
    which = Filter(KIND, state, target, batch, before, limit + 1)
    found = service.store.jobs(caller.tenant).listed(which)
    reviews = service.store.reviews(caller.tenant).of([job.id for job in found])
    following = cursor_of(found[limit - 1].created, found[limit - 1].id) if len(found) > limit else None
    if following is not None:
        kept = {"state": state, "target": target, "batch": batch, "limit": str(limit)}
        query = urlencode({name: value for name, value in kept.items() if value is not None})
        response.headers["Link"] = f'</v1/rewrites?{query}&cursor={following}>; rel="next"'
    views = [rewrite_view(job, None, reviews.get(job.id)) for job in found[:limit]]
    return RewriteList(items=views, next=following)


@router.get("/{identifier}")
def read_rewrite(identifier: str, service: TheService, caller: Viewer) -> RewriteView:
    """One rewrite, with its report once it is done."""
    return _whole(service, caller, _found(service, caller, identifier))


@router.delete("/{identifier}")
def cancel_rewrite(identifier: str, service: TheService, caller: Operator) -> RewriteView:
    """Cancel a rewrite: one that waits ends at once, one that runs at its next step; one that has ended stays."""
    _found(service, caller, identifier)
    job = service.store.jobs(caller.tenant).cancel(identifier)
    service.store.access().note(caller.tenant, caller.actor, "rewrite.cancel", identifier)
    return _whole(service, caller, job or _found(service, caller, identifier))


@router.post("/{identifier}/retry")
def retry_rewrite(identifier: str, service: TheService, caller: Operator) -> RewriteView:
    """Put a rewrite that failed, was cancelled or was given up into the queue again."""
    _found(service, caller, identifier)
    job = service.store.jobs(caller.tenant).revive(identifier)
    service.store.access().note(caller.tenant, caller.actor, "rewrite.retry", identifier)
    return _whole(service, caller, job or _found(service, caller, identifier))


def _followed(identifier: str, service: TheService, caller: Viewer) -> JobRecord:
    return _found(service, caller, identifier)


@router.get("/{identifier}/events", response_class=EventSourceResponse)
async def follow_rewrite(
    service: TheService,
    caller: Viewer,
    job: Annotated[JobRecord, Depends(_followed)],  # found before the answer begins, which cannot be a 404 any more
    last_event_id: Annotated[str | None, Header(max_length=20, description="go on after this event")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """What happens, as it happens: stages, candidates with their verdicts and times, the end. A client that lost the
    connection goes on where it was."""
    jobs = service.store.jobs(caller.tenant)
    after = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else 0
    after = min(after, 2**31 - 1)  # the largest that there can be
    silent = 0.0
    while True:
        # The state first: what happened before the end is then among the events that are read after it.
        latest: JobRecord | None = await run_in_threadpool(jobs.find, job.id)
        job = latest or job
        events = await run_in_threadpool(jobs.events, job.id, after)
        for event in events:
            after = event.id
            yield ServerSentEvent(data={"at": event.at, **event.body}, event=event.kind, id=str(event.id))
        if job.ended and not events:
            return
        silent = 0.0 if events else silent + FOLLOW
        if silent >= SILENCE:
            silent = 0.0
            yield ServerSentEvent(comment="still here")
        await asyncio.sleep(0.0 if events else FOLLOW)


class Decision(BaseModel):
    """What a person decides about a rewrite."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["approved", "rejected", "disabled", "waiting"] = Field(examples=["approved"])
    mode: Literal["shadow", "canary", "on"] | None = Field(None, description="how far clients may go; kept when absent")
    reason: str = Field("", max_length=2000)


@router.put("/{identifier}/review")
def review_rewrite(identifier: str, decision: Decision, service: TheService, caller: Operator) -> ReviewView:
    """Approve, reject or disable a rewrite. Only what is approved, and whose evidence holds, reaches clients."""
    _found(service, caller, identifier)
    if decision.decision == "approved":
        # What is approved must hold on the catalog as it is now, not as it was when somebody last looked.
        service.lookups.check(caller.tenant, _found(service, caller, identifier).target)
    found = service.store.reviews(caller.tenant).decide(
        identifier, caller.actor, state=decision.decision, reason=decision.reason, mode=decision.mode
    )
    if found is None:
        raise NotFound("this rewrite found nothing to review")
    service.lookups.expire(caller.tenant, found.target)
    return review_view(found)


def _found(service: Service, caller: Caller, identifier: str) -> JobRecord:
    """Raises NotFound, also for another tenant's."""
    job = service.store.jobs(caller.tenant).find(identifier)
    if job is None or job.kind != KIND:
        raise NotFound("there is no such rewrite")
    return job


def _whole(service: Service, caller: Caller, job: JobRecord) -> RewriteView:
    report = service.store.rewrite(job.rewrite_id, tenant=caller.tenant) if job.rewrite_id is not None else None
    return rewrite_view(job, report, service.store.reviews(caller.tenant).find(job.id))
