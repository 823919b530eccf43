"""Verify: two queries and what they run over; the rungs as they are climbed; the verdict with its evidence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError

from api.console.pages.rewrites import following, progress_of
from api.console.rendering import page
from api.console.sessions import ActingOperator, Viewer, Visitor
from api.console.views.progress import ProgressView
from api.routes.verifications import KIND
from api.submitting import check_statements, submit
from rewriter.errors import InputError, NotFound
from rewriter.report.model import VerdictModel
from rewriter.report.text import evidence, unnoticed
from rewriter.service.orders import VerificationOrder
from rewriter.store.jobs import Filter, JobRecord
from rewriter.store.target_records import TargetRecord

router = APIRouter(prefix="/verify")

START: dict[str, Any] = {"original": "", "candidate": "", "target": "", "ddl": "", "dialect": "postgres", "seconds": 10}


@dataclass(frozen=True)
class VerifyView:
    targets: list[TargetRecord]
    given: dict[str, Any]
    wrong: str
    hint: str
    recent: list[JobRecord]


@dataclass(frozen=True)
class VerificationView:
    job: JobRecord
    request: dict[str, Any]
    verdict: VerdictModel | None
    known_by: str
    unnoticed: str | None
    progress: ProgressView


@router.get("")
def verify_page(request: Request, visitor: Viewer, again: str | None = None) -> Response:
    """The form; ``again``: begin with an earlier pair."""
    given = dict(START)
    earlier = visitor.service.store.jobs(visitor.caller.tenant).find(again) if again else None
    if earlier is not None and earlier.kind == KIND:
        given |= {name: earlier.request[name] or "" for name in START if name in earlier.request}
    return _form(request, visitor, given)


@router.post("")
def submit_pair(
    request: Request,
    visitor: ActingOperator,
    original: Annotated[str, Form()] = "",
    candidate: Annotated[str, Form()] = "",
    target: Annotated[str, Form()] = "",
    ddl: Annotated[str, Form()] = "",
    dialect: Annotated[str, Form()] = "postgres",
    seconds: Annotated[str, Form()] = "10",
) -> Response:
    given = {
        "original": original,
        "candidate": candidate,
        "target": target,
        "ddl": ddl,
        "dialect": dialect,
        "seconds": seconds,
    }
    if not original.strip() or not candidate.strip():
        return _form(
            request, visitor, given, "Two queries are needed.", "The original, and what is to replace it.", 422
        )
    if not target and not ddl.strip():
        return _form(request, visitor, given, "A schema is needed.", "Choose a target, or paste CREATE TABLEs.", 422)
    try:
        # A target's own schema goes before pasted text.
        over = {"target": target or None, "ddl": None if target else ddl}
        order = VerificationOrder.model_validate({**given, **over})
        texts = (order.original, order.candidate)
        check_statements(visitor.service, visitor.caller, order.target, *texts, dialect=order.dialect)
        job, _ = submit(visitor.service, visitor.caller, KIND, order.target, order, None)
    except ValidationError as error:
        fields = ", ".join(sorted({str(one["loc"][0]) for one in error.errors()}))
        return _form(request, visitor, given, f"These fields cannot be used: {fields}.", "", 422)
    except InputError as error:
        return _form(request, visitor, given, error.message, error.hint, 422)
    return RedirectResponse(f"/console/verify/{job.id}", 303)


@router.get("/{identifier}")
def verification_page(identifier: str, request: Request, visitor: Viewer) -> Response:
    job = _found(visitor, identifier)
    verdict = VerdictModel.model_validate(job.result) if job.result is not None else None
    view = VerificationView(
        job=job,
        request=dict(job.request),
        verdict=verdict,
        known_by=evidence(verdict) if verdict is not None else "",
        unnoticed=unnoticed(verdict) if verdict is not None else None,
        progress=progress_of(visitor, job),
    )
    twin = f"/v1/verifications/{job.id}"
    return page(request, "verification.html", view, title="Verification", section="verify", twin=twin)


@router.get("/{identifier}/events", response_class=EventSourceResponse)
async def follow(identifier: str, request: Request, visitor: Viewer) -> AsyncIterator[ServerSentEvent]:
    job = await run_in_threadpool(_found, visitor, identifier)
    async for event in following(request, visitor, job):
        yield event


def _form(
    request: Request, visitor: Visitor, given: dict[str, Any], wrong: str = "", hint: str = "", status: int = 200
) -> Response:
    store, tenant = visitor.service.store, visitor.caller.tenant
    view = VerifyView(
        targets=store.targets(tenant).listed(),
        given=given,
        wrong=wrong,
        hint=hint,
        recent=store.jobs(tenant).listed(Filter(KIND, limit=8)),
    )
    twin = "/v1/verifications"
    return page(request, "verify.html", view, title="Verify", section="verify", twin=twin, status=status)


def _found(visitor: Visitor, identifier: str) -> JobRecord:
    job = visitor.service.store.jobs(visitor.caller.tenant).find(identifier)
    if job is None or job.kind != KIND:
        raise NotFound("There is no such verification.")
    return job
