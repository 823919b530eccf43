"""Verifications: whether two queries always return the same, and how that is known."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool

from api.access import Operator, Viewer
from api.context import TheService
from api.problems import ANSWERS
from api.submitting import IdempotencyHeader, PreferHeader, check_statements, ended, headers_of, submit, wait_of
from api.wire import JobView, job_view
from rewriter.errors import NotFound, UsageError
from rewriter.service.orders import VerificationOrder
from rewriter.store.jobs import Filter

router = APIRouter(prefix="/v1/verifications", tags=["verifications"], responses=ANSWERS)

KIND = "verification"


LINKS = {"read": {"operationId": "read_verification", "parameters": {"identifier": "$response.body#/id"}}}


@router.post(
    "",
    status_code=202,
    response_model=JobView,
    responses={
        200: {"model": JobView, "description": "It is done", "links": LINKS},
        202: {"description": "It waits or is worked on", "links": LINKS},
    },
)
async def create_verification(
    order: VerificationOrder,
    service: TheService,
    caller: Operator,
    response: Response,
    prefer: PreferHeader = None,
    idempotency_key: IdempotencyHeader = None,
) -> JobView:
    """Have a pair verified. The result is a verdict: its kind, with the proof, the counterexample or the adequacy of
    the tests."""
    if (order.target is None) == (order.ddl is None):
        raise UsageError("give either a target or the schema's DDL")
    texts = (order.original, order.candidate)
    await run_in_threadpool(check_statements, service, caller, order.target, *texts, dialect=order.dialect)
    job, _ = await run_in_threadpool(submit, service, caller, KIND, order.target, order, idempotency_key)
    seconds = wait_of(prefer)
    job = await ended(lambda: service.store.jobs(caller.tenant).find(job.id), job, seconds)
    response.status_code = 200 if job.ended else 202
    response.headers.update(headers_of(job, "verifications", seconds))
    return job_view(job)


@router.get("")
def list_verifications(
    service: TheService, caller: Viewer, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> list[JobView]:
    """The latest verifications, newest first."""
    return [job_view(job) for job in service.store.jobs(caller.tenant).listed(Filter(KIND, limit=limit))]


@router.get("/{identifier}")
def read_verification(identifier: str, service: TheService, caller: Viewer) -> JobView:
    """One verification, with its verdict once it is done."""
    job = service.store.jobs(caller.tenant).find(identifier)
    if job is None or job.kind != KIND:
        raise NotFound("there is no such verification")
    return job_view(job)


@router.post("/{identifier}/retry")
def retry_verification(identifier: str, service: TheService, caller: Operator) -> JobView:
    """Put a verification that failed, was cancelled or was given up into the queue again."""
    job = read_verification(identifier, service, caller)
    revived = service.store.jobs(caller.tenant).revive(identifier)
    service.store.access().note(caller.tenant, caller.actor, "verification.retry", identifier)
    return job_view(revived) if revived is not None else job
