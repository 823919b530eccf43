"""Batches: a query log is read, grouped and ranked, and its slowest groups become rewrites of their own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from api.access import Caller, Operator, Viewer
from api.context import Service, TheService
from api.problems import ANSWERS
from api.submitting import IdempotencyHeader, headers_of, submit
from api.wire import JobView, RewriteView, cursor_of, job_fields, parts_of, rewrite_view
from rewriter.errors import NotFound, UsageError
from rewriter.service.orders import BatchOrder, Name
from rewriter.service.targets import inside
from rewriter.service.uploads import discard, upload_path
from rewriter.store.jobs import Filter, JobRecord

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=ANSWERS)

KIND = "batch"


class BatchView(JobView):
    """A batch: once its log is read (state done), its rewrites by state."""

    name: str
    rewrites: dict[str, int] = Field(description="how many of its rewrites are in each state")


class BatchDetail(BatchView):
    items: list[RewriteView] = Field(description="its rewrites, as far as they have been ordered")


class BatchList(BaseModel):
    items: list[BatchView]
    next: str | None


@router.post("", status_code=202)
def create_batch(
    order: BatchOrder,
    service: TheService,
    caller: Operator,
    response: Response,
    idempotency_key: IdempotencyHeader = None,
) -> BatchView:
    """Have a log of the server read: a file or folder below its REWRITER_FILES. See ``/v1/batches/upload`` too."""
    if order.upload is not None:
        raise UsageError("upload is set by the service", hint="send the log itself to /v1/batches/upload")
    if order.path is None:
        raise UsageError("a batch needs a path", hint="or send the log itself to /v1/batches/upload")
    inside(order.path, service.settings, caller.tenant)
    job, _ = submit(service, caller, KIND, order.target, order, idempotency_key, fresh=True)
    response.headers.update(headers_of(job, "batches", 0))
    return _view(service, caller, job)


@router.post(
    "/upload",
    status_code=202,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {
                    "schema": {"type": "string", "format": "binary", "minLength": 1},
                    "example": "SELECT count(*) FROM orders;",
                }
            },
        }
    },
)
async def upload_batch(
    request: Request,
    service: TheService,
    caller: Operator,
    response: Response,
    target: Annotated[Name, Query()] = "default",
    name: Annotated[str, Query(max_length=256, description="the file's name; its ending tells a compression")] = "log",
    dialect: Annotated[Literal["postgres", "duckdb", "mysql"], Query()] = "postgres",
    top: Annotated[int, Query(ge=1, le=1000)] = 20,
    effort: Annotated[Literal["quick", "normal", "thorough"], Query()] = "quick",
) -> BatchView:
    """Upload a log, plain or compressed, as the body, and have it read."""
    suffixes = "".join(one for one in Path(name).suffixes[-2:] if one[1:].isalnum() and len(one) <= 10)
    upload = f"{secrets.token_hex(16)}{suffixes}"
    path = upload_path(service.settings, upload)
    await _received(request, path, service.settings.upload_bytes)
    try:
        order = BatchOrder(target=target, upload=upload, name=Path(name).name, dialect=dialect, top=top, effort=effort)
        job, _ = await run_in_threadpool(submit, service, caller, KIND, target, order, None, fresh=True)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    response.headers.update(headers_of(job, "batches", 0))
    return await run_in_threadpool(_view, service, caller, job)


@router.get("")
def list_batches(
    service: TheService,
    caller: Viewer,
    response: Response,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> BatchList:
    """The batches, newest first."""
    before = None
    if cursor is not None:
        created, identifier = parts_of(cursor, float, str)
        before = (created, identifier)
    found = service.store.jobs(caller.tenant).listed(Filter(KIND, before=before, limit=limit + 1))
    following = cursor_of(found[limit - 1].created, found[limit - 1].id) if len(found) > limit else None
    if following is not None:
        response.headers["Link"] = f'</v1/batches?limit={limit}&cursor={following}>; rel="next"'
    return BatchList(items=[_view(service, caller, job) for job in found[:limit]], next=following)


@router.get("/{identifier}")
def read_batch(identifier: str, service: TheService, caller: Viewer) -> BatchDetail:
    """One batch with its rewrites."""
    job = _found(service, caller, identifier)
    children = service.store.jobs(caller.tenant).listed(Filter("rewrite", batch=job.id, limit=1000))
    reviews = service.store.reviews(caller.tenant).of([child.id for child in children])
    items = [rewrite_view(child, None, reviews.get(child.id)) for child in children]
    return BatchDetail(**_fields(service, caller, job), items=items)


@router.delete("/{identifier}")
def cancel_batch(identifier: str, service: TheService, caller: Operator) -> BatchView:
    """Cancel a batch and its rewrites: what waits ends at once, what runs at its next step."""
    _found(service, caller, identifier)
    job = service.store.jobs(caller.tenant).cancel(identifier)
    service.store.access().note(caller.tenant, caller.actor, "batch.cancel", identifier)
    if job is not None and job.ended:
        discard(service.settings, job.request)
    return _view(service, caller, job or _found(service, caller, identifier))


@router.post("/{identifier}/retry")
def retry_batch(identifier: str, service: TheService, caller: Operator) -> BatchView:
    """Put a batch, and those of its rewrites, that failed, were cancelled or were given up into the queue again."""
    _found(service, caller, identifier)
    job = service.store.jobs(caller.tenant).revive(identifier)
    service.store.access().note(caller.tenant, caller.actor, "batch.retry", identifier)
    return _view(service, caller, job or _found(service, caller, identifier))


async def _received(request: Request, path: Path, most: int) -> None:
    """Write the body to a file. Raises UsageError when it is too large, or empty."""
    await run_in_threadpool(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
    size = 0
    try:
        # Logs hold literals: nobody else on this machine is to read them.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise UsageError(f"the log is larger than {most:,} bytes", hint="or set REWRITER_UPLOAD_BYTES")
                await run_in_threadpool(file.write, chunk)
        if not size:
            raise UsageError("the body is empty; it is to be the log")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _found(service: Service, caller: Caller, identifier: str) -> JobRecord:
    job = service.store.jobs(caller.tenant).find(identifier)
    if job is None or job.kind != KIND:
        raise NotFound("there is no such batch")
    return job


def _fields(service: Service, caller: Caller, job: JobRecord) -> dict[str, Any]:
    counts = service.store.jobs(caller.tenant).counts(job.id)
    return {**job_fields(job), "name": str(job.request.get("name", "")), "rewrites": counts}


def _view(service: Service, caller: Caller, job: JobRecord) -> BatchView:
    return BatchView(**_fields(service, caller, job))
