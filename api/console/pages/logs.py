"""Query logs: upload one, watch it being read, see its slowest groups become rewrites, take the results away."""

from __future__ import annotations

import csv
import io
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.console.pages.rewrites import following, progress_of
from api.console.rendering import page, part
from api.console.sessions import ActingOperator, Operator, Viewer, Visitor, check_token
from api.console.views.progress import ProgressView
from api.routes import batches as api
from api.submitting import submit
from api.wire import RewriteView
from rewriter.errors import InputError, NotFound, UsageError
from rewriter.service.orders import BatchOrder
from rewriter.service.uploads import upload_path
from rewriter.store.jobs import Filter, JobRecord
from rewriter.store.target_records import TargetRecord

router = APIRouter(prefix="/logs")


@dataclass(frozen=True)
class LogsView:
    targets: list[TargetRecord]
    given: Mapping[str, str]
    wrong: str
    hint: str
    largest: int
    batches: list[tuple[JobRecord, Mapping[str, int]]]


@dataclass(frozen=True)
class Group:
    """One group of the log with what became of it."""

    rank: int
    calls: int
    seconds: float
    share: float
    statement: str
    rewrite: RewriteView | None
    refused: str


@dataclass(frozen=True)
class LogView:
    job: JobRecord
    name: str
    progress: ProgressView
    groups: list[Group]
    counts: Mapping[str, int]
    lines: int
    skipped: int
    all_groups: int
    saved: float
    under_way: bool


START = {"target": "", "dialect": "postgres", "top": "20", "effort": "quick"}


@router.get("")
def logs_page(request: Request, visitor: Viewer) -> Response:
    return _form(request, visitor, START)


@router.post("")
async def upload(request: Request, visitor: Operator) -> Response:
    """Take the log in, no more of it than REWRITER_UPLOAD_BYTES, and have it read. The form's token is checked before
    anything is made of it."""
    most = visitor.service.settings.upload_bytes
    try:
        form = await MultiPartParser(request.headers, _limited(request, most + 65_536), max_files=1).parse()
    except (MultiPartException, KeyError):
        raise UsageError("The form cannot be read.", hint="Load the page again and retry.") from None
    try:
        fields = {name: str(form.get(name, "")) for name in START}
        check_token(request, visitor.session, str(form.get("token", "")))
        log = form.get("log")
        if not isinstance(log, UploadFile) or not log.filename or not log.size:
            return await run_in_threadpool(
                _form, request, visitor, fields, "There is no log yet.", "Choose a file.", 422
            )
        try:
            job = await run_in_threadpool(_ordered, visitor, log, fields)
        except ValidationError as error:
            names = ", ".join(sorted({str(one["loc"][0]) for one in error.errors()}))
            wrong = f"These fields cannot be used: {names}."
            return await run_in_threadpool(_form, request, visitor, fields, wrong, "", 422)
        except InputError as error:
            return await run_in_threadpool(_form, request, visitor, fields, error.message, error.hint, 422)
    finally:
        await form.close()
    return RedirectResponse(f"/console/logs/{job.id}", 303)


@router.get("/{identifier}")
def log_page(identifier: str, request: Request, visitor: Viewer) -> Response:
    """One log. Asked for by the page itself, its table alone."""
    view = _log(visitor, identifier)
    if request.headers.get("hx-request"):
        return HTMLResponse(part(request, "parts/groups.html", view))
    twin = f"/v1/batches/{identifier}"
    return page(request, "log.html", view, title=view.name, section="logs", twin=twin)


@router.get("/{identifier}/events", response_class=EventSourceResponse)
async def follow(identifier: str, request: Request, visitor: Viewer) -> AsyncIterator[ServerSentEvent]:
    job = await run_in_threadpool(_found, visitor, identifier)
    async for event in following(request, visitor, job):
        yield event


@router.post("/{identifier}/cancel")
def cancel(identifier: str, visitor: ActingOperator) -> Response:
    api.cancel_batch(identifier, visitor.service, visitor.caller)
    return RedirectResponse(f"/console/logs/{identifier}?said=cancelled", 303)


@router.get("/{identifier}/groups.csv")
def export(identifier: str, visitor: Viewer) -> Response:
    """The table, for a spreadsheet."""
    view, text = _log(visitor, identifier), io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["rank", "calls", "seconds", "state", "ratio", "verdict", "saved_per_day", "statement"])
    for group in view.groups:
        rewrite = group.rewrite
        result = rewrite.result or {} if rewrite is not None else {}
        review = rewrite.review if rewrite is not None else None
        writer.writerow(
            [
                group.rank,
                group.calls,
                f"{group.seconds:.6f}",
                rewrite.state if rewrite is not None else group.refused or "not ordered",
                result.get("ratio"),
                result.get("verdict"),
                review.saved_per_day if review is not None else None,
                # A cell that begins like a formula would be run as one.
                f"'{group.statement}" if group.statement[:1] in "=+-@\t\r" else group.statement,
            ]
        )
    headers = {"Content-Disposition": f'attachment; filename="log-{identifier[:8]}.csv"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


async def _limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise UsageError(
                f"The log is larger than {most:,} bytes.", hint="Set REWRITER_UPLOAD_BYTES, or compress it."
            )
        yield chunk


def _ordered(visitor: Visitor, log: UploadFile, fields: Mapping[str, str]) -> JobRecord:
    """Put the log where workers find it, and order the batch. Raises ValidationError, InputError."""
    name = Path(str(log.filename).replace("\\", "/")).name[:256] or "log"
    suffixes = "".join(one for one in Path(name).suffixes[-2:] if one[1:].isalnum() and len(one) <= 10)
    upload = f"{secrets.token_hex(16)}{suffixes}"
    order = BatchOrder.model_validate({**fields, "upload": upload, "name": name})
    path = upload_path(visitor.service.settings, upload)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            log.file.seek(0)
            shutil.copyfileobj(log.file, file)
        return submit(visitor.service, visitor.caller, api.KIND, order.target, order, None, fresh=True)[0]
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _log(visitor: Visitor, identifier: str) -> LogView:
    job = _found(visitor, identifier)
    detail = api.read_batch(identifier, visitor.service, visitor.caller)
    result = job.result or {}
    by_statement = {item.sql: item for item in detail.items}
    refused = {one["group"]: one["why"] for one in result.get("refused", ())}
    whole = sum(one["seconds"] for one in result.get("chosen", ())) or 1.0
    groups = [
        Group(
            rank=rank,
            calls=int(one["calls"]),
            seconds=float(one["seconds"]),
            share=float(one["seconds"]) / whole,
            statement=str(one["statement"]),
            rewrite=by_statement.get(one["statement"]),
            refused=str(refused.get(one["group"], "")),
        )
        for rank, one in enumerate(result.get("chosen", ()), 1)
    ]
    reviews = [item.review for item in detail.items if item.review is not None]
    return LogView(
        job=job,
        name=detail.name or "log",
        progress=progress_of(visitor, job),
        groups=groups,
        counts=detail.rewrites,
        lines=int(result.get("lines", 0)),
        skipped=int(result.get("skipped", 0)),
        all_groups=int(result.get("groups", 0)),
        saved=sum(one.saved_per_day or 0.0 for one in reviews),
        under_way=bool(detail.rewrites.get("queued", 0) + detail.rewrites.get("running", 0)),
    )


def _form(
    request: Request, visitor: Visitor, given: Mapping[str, str], wrong: str = "", hint: str = "", status: int = 200
) -> Response:
    jobs = visitor.service.store.jobs(visitor.caller.tenant)
    view = LogsView(
        targets=visitor.service.store.targets(visitor.caller.tenant).listed(),
        given=given,
        wrong=wrong,
        hint=hint,
        largest=visitor.service.settings.upload_bytes,
        batches=[(job, jobs.counts(job.id)) for job in jobs.listed(Filter(api.KIND, limit=20))],
    )
    return page(request, "logs.html", view, title="Query logs", section="logs", twin="/v1/batches", status=status)


def _found(visitor: Visitor, identifier: str) -> JobRecord:
    job = visitor.service.store.jobs(visitor.caller.tenant).find(identifier)
    if job is None or job.kind != api.KIND:
        raise NotFound("There is no such log.")
    return job
