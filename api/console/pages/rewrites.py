"""Rewrites: the list of all, the page of one with its evidence, its progress as it happens, its downloads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.console.rendering import page, part
from api.console.sessions import ActingOperator, Viewer, Visitor
from api.console.views.outcome import Outcome
from api.console.views.progress import Progress, ProgressView
from api.routes import rewrites as api
from api.wire import cursor_of, parts_of
from rewriter.errors import NotFound
from rewriter.report import stored_to_html
from rewriter.report.model import ReportModel
from rewriter.report.text import line_diff
from rewriter.store.access import AuditRecord
from rewriter.store.jobs import Filter, JobEventRecord, JobRecord
from rewriter.store.reviews import ReviewRecord

router = APIRouter(prefix="/rewrites")

LOOK = 0.3  # seconds between two looks for news
SILENCE = 15.0  # seconds after which a comment keeps the connection open
PAGE = 50
HISTORY = 30  # decisions that are shown with a rewrite


@dataclass(frozen=True)
class RewritesView:
    rows: list[tuple[JobRecord, ReviewRecord | None]]
    state: str | None
    target: str | None
    targets: list[str]
    following: str | None


@dataclass(frozen=True)
class RewriteView:
    """``outcome`` once there is a report; ``progress`` while it is on its way. ``history``: what was done, newest
    first, with the names of those who did it."""

    job: JobRecord
    sql: str
    outcome: Outcome | None
    review: ReviewRecord | None
    progress: ProgressView | None
    ordered_by: str
    history: list[tuple[AuditRecord, str]]


@router.get("")
def rewrites_page(
    request: Request,
    visitor: Viewer,
    state: str | None = None,
    target: str | None = None,
    cursor: str | None = None,
) -> Response:
    """All rewrites, newest first."""
    before = None
    if cursor:
        created, identifier = parts_of(cursor, float, str)
        before = (created, identifier)
    store, tenant = visitor.service.store, visitor.caller.tenant
    which = Filter(api.KIND, state or None, target or None, None, before, PAGE + 1)
    jobs = store.jobs(tenant).listed(which)
    reviews = store.reviews(tenant).of([job.id for job in jobs])
    following = cursor_of(jobs[PAGE - 1].created, jobs[PAGE - 1].id) if len(jobs) > PAGE else None
    view = RewritesView(
        rows=[(job, reviews.get(job.id)) for job in jobs[:PAGE]],
        state=state or None,
        target=target or None,
        targets=[one.name for one in store.targets(tenant).listed()],
        following=following,
    )
    return page(request, "rewrites.html", view, title="Rewrites", section="rewrites", twin="/v1/rewrites")


@router.get("/{identifier}")
def rewrite_page(identifier: str, request: Request, visitor: Viewer) -> Response:
    """One rewrite: its progress until it has ended, then its result."""
    job = _found(visitor, identifier)
    store, tenant = visitor.service.store, visitor.caller.tenant
    document = store.rewrite(job.rewrite_id, tenant=tenant) if job.rewrite_id is not None else None
    names = {key.id: key.name for key in store.access().keys(tenant)}
    done = store.access().audit(tenant, None, HISTORY, about=job.id)
    view = RewriteView(
        job=job,
        sql=str(job.request["sql"]),
        outcome=Outcome.of(document) if document is not None else None,
        review=store.reviews(tenant).find(job.id),
        progress=_progress(visitor, job).view(job) if document is None else None,
        ordered_by=names.get(job.actor, job.actor),
        history=[(entry, names.get(entry.actor, entry.actor)) for entry in done],
    )
    title = view.outcome.headline if view.outcome is not None else "Rewrite"
    return page(request, "rewrite.html", view, title=title, section="rewrites", twin=f"/v1/rewrites/{job.id}")


@router.get("/{identifier}/events", response_class=EventSourceResponse)
async def follow(identifier: str, request: Request, visitor: Viewer) -> AsyncIterator[ServerSentEvent]:
    """The progress as a piece of the page, whenever there is news; at the end, that it has ended."""
    job = await run_in_threadpool(_found, visitor, identifier)
    async for event in following(request, visitor, job):
        yield event


@router.post("/{identifier}/review")
def review(
    identifier: str,
    visitor: ActingOperator,
    decision: Annotated[Literal["approved", "rejected", "disabled", "waiting"], Form()],
    mode: Annotated[Literal["shadow", "canary", "on"] | None, Form()] = None,
    reason: Annotated[str, Form(max_length=2000)] = "",
    back: Annotated[Literal["rewrite", "queue"], Form()] = "rewrite",
) -> Response:
    given = api.Decision(decision=decision, mode=mode, reason=reason)
    api.review_rewrite(identifier, given, visitor.service, visitor.caller)
    where = f"/console/rewrites/{identifier}" if back == "rewrite" else "/console/queue"
    return RedirectResponse(f"{where}?said={decision}", 303)


@router.post("/{identifier}/cancel")
def cancel(identifier: str, visitor: ActingOperator) -> Response:
    api.cancel_rewrite(identifier, visitor.service, visitor.caller)
    return RedirectResponse(f"/console/rewrites/{identifier}?said=cancelled", 303)


@router.post("/{identifier}/retry")
def retry(identifier: str, visitor: ActingOperator) -> Response:
    api.retry_rewrite(identifier, visitor.service, visitor.caller)
    return RedirectResponse(f"/console/rewrites/{identifier}?said=retried", 303)


@router.get("/{identifier}/download/{what}")
def download(
    identifier: str,
    what: Literal["original.sql", "rewrite.sql", "change.patch", "report.json", "report.html"],
    visitor: Viewer,
) -> Response:
    """What others are to get: the texts, the change, the whole report."""
    job = _found(visitor, identifier)
    store, tenant = visitor.service.store, visitor.caller.tenant
    document = store.rewrite(job.rewrite_id, tenant=tenant) if job.rewrite_id is not None else None
    if document is None:
        raise NotFound("there is no report yet")
    report = ReportModel.model_validate(document)
    if report.chosen is None and what in ("rewrite.sql", "change.patch"):
        raise NotFound("the original was kept, so there is no rewrite")
    chosen = report.chosen.sql if report.chosen is not None else ""
    match what:
        case "original.sql":
            body = report.original
        case "rewrite.sql":
            body = chosen
        case "change.patch":
            body = _patch(report.qualified or report.original, chosen)
        case "report.json":
            body = json.dumps(document, indent=1)
        case "report.html":
            body = stored_to_html(report)
    name = f"{what.partition('.')[0]}-{identifier[:8]}.{what.partition('.')[2]}"
    # Never as a page of this site: what is in it is other people's text.
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Security-Policy": "sandbox"}
    return Response(body + "\n", media_type="application/octet-stream", headers=headers)


async def following(request: Request, visitor: Visitor, job: JobRecord) -> AsyncIterator[ServerSentEvent]:
    """Any job's progress, rendered."""
    jobs = visitor.service.store.jobs(visitor.caller.tenant)
    progress, silent = Progress(job.kind), 0.0
    while not await request.is_disconnected():
        # The state first: what happened before the end is then among the events that are read after it.
        latest: JobRecord | None = await run_in_threadpool(jobs.find, job.id)
        job = latest or job
        events: list[JobEventRecord] = await run_in_threadpool(jobs.events, job.id, progress.last)
        if events:
            progress.add(events)
            body = await run_in_threadpool(part, request, "parts/progress.html", progress.view(job))
            yield ServerSentEvent(data={"html": body}, event="progress")
        if job.ended and not events:
            yield ServerSentEvent(data={"state": job.state}, event="ended")
            return
        silent = 0.0 if events else silent + LOOK
        if silent >= SILENCE:
            silent = 0.0
            yield ServerSentEvent(comment="still here")
        await asyncio.sleep(LOOK)


def _progress(visitor: Visitor, job: JobRecord) -> Progress:
    """From all events so far."""
    progress, jobs = Progress(job.kind), visitor.service.store.jobs(visitor.caller.tenant)
    while events := jobs.events(job.id, progress.last):
        progress.add(events)
    return progress


def progress_of(visitor: Visitor, job: JobRecord) -> ProgressView:
    return _progress(visitor, job).view(job)


def _found(visitor: Visitor, identifier: str) -> JobRecord:
    job = visitor.service.store.jobs(visitor.caller.tenant).find(identifier)
    if job is None or job.kind != api.KIND:
        raise NotFound("There is no such rewrite.", hint="It may be another tenant's, or the address is cut short.")
    return job


def _patch(before: str, after: str) -> str:
    """A unified patch of the one file query.sql, as a single hunk."""
    old, new = before.splitlines(), after.splitlines()
    lines = [f"{mark}{line}" for mark, line in line_diff(old, new)]
    return "\n".join(["--- a/query.sql", "+++ b/query.sql", f"@@ -1,{len(old)} +1,{len(new)} @@", *lines])
