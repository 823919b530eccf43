"""For those who run the service: is it alive, is it ready, what are its numbers."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.access import Viewer
from api.context import TheService
from api.metrics import ALIVE
from api.problems import ANSWERS, problem
from rewriter import __version__
from rewriter.errors import StoreError

router = APIRouter(tags=["operation"])


class Health(BaseModel):
    status: str
    version: str


class WorkerView(BaseModel):
    id: str
    silent: float
    job: str | None


@router.get("/healthz")
def healthz() -> Health:
    """The process is alive."""
    return Health(status="ok", version=__version__)


@router.get("/readyz", responses={503: ANSWERS[503]}, response_model=Health)
def readyz(service: TheService) -> Health | Response:
    """The store answers and a worker is alive."""
    try:
        workers = service.store.queue().workers(ALIVE)
    except StoreError as error:
        return problem(503, error.code, error.message, error.hint)
    if not workers:
        return problem(503, "no-worker", "no worker has given a sign of life lately", "start one: rewriter worker")
    return Health(status="ready", version=__version__)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(service: TheService) -> Response:
    """Prometheus metrics. They name routes, kinds and states, and nothing of the statements."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/workers", responses=ANSWERS)
def list_workers(service: TheService, caller: Viewer) -> list[WorkerView]:
    """The workers that gave a sign of life lately, and the caller's jobs among what they work on."""
    jobs = service.store.jobs(caller.tenant)
    return [
        WorkerView(id=one, silent=silent, job=job if job is not None and jobs.find(job) is not None else None)
        for one, silent, job in service.store.queue().workers(ALIVE)
    ]
