"""The state of everything, for the morning: what is saved, what waits, what broke, who is well."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.access import Viewer
from api.context import TheService
from api.metrics import ALIVE
from api.problems import ANSWERS
from api.wire import JobView, RewriteView, TargetView, job_view, rewrite_view, target_view
from rewriter.store.jobs import DEAD, FAILED, QUEUED, RUNNING, Filter
from rewriter.store.reviews import APPROVED, DISABLED, INVALID, REMEASURE, WAITING, ReviewRecord

router = APIRouter(prefix="/v1/overview", tags=["operation"], responses=ANSWERS)

FEW = 5  # of each kind that are told


class Spent(BaseModel):
    """What the caller's jobs have paid to models today (UTC), and what they may."""

    tokens: int
    cost: float
    day_tokens: int
    day_cost: float


class OverviewView(BaseModel):
    saved: float = Field(description="seconds a day saved by what is approved and switched on")
    to_save: float = Field(description="seconds a day that what waits would save")
    on: int = Field(description="approved rewrites that clients use")
    trying: int = Field(description="approved rewrites in shadow or canary mode")
    waiting: int
    first: list[RewriteView] = Field(description="of those that wait, which save most")
    invalid: list[RewriteView] = Field(description="approved before their evidence fell")
    remeasure: list[RewriteView] = Field(description="their tables have changed much in size")
    disabled_by_clients: list[RewriteView]
    dead: list[JobView] = Field(description="jobs that were given up")
    failed: list[JobView] = Field(description="the latest jobs that failed")
    queued: int
    running: int
    targets: list[TargetView]
    workers: int = Field(description="that gave a sign of life lately")
    spent: Spent


@router.get("")
def read_overview(service: TheService, caller: Viewer) -> OverviewView:
    """What a DBA wants to know first."""
    store, settings = service.store, service.settings
    reviews, jobs = store.reviews(caller.tenant), store.jobs(caller.tenant)
    sums = reviews.sums()
    approved = [one for one in sums if one[0] == APPROVED and one[2] != INVALID]
    waiting = [one for one in sums if one[0] == WAITING and one[2] != INVALID]
    first = [one for one in reviews.listed(state=WAITING) if one.currency != INVALID][:FEW]
    invalid = reviews.listed(state=APPROVED, currency=INVALID, limit=FEW)
    remeasure = reviews.listed(state=APPROVED, currency=REMEASURE, limit=FEW)
    by_clients = [one for one in reviews.listed(state=DISABLED) if one.actor.startswith("client of ")][:FEW]
    known = jobs.of([one.job_id for one in (*first, *invalid, *remeasure, *by_clients)])
    counts = jobs.counts()
    key = store.access().key(caller.actor)
    tokens, cost = store.access().spent(caller.tenant, caller.actor)

    def views(found: list[ReviewRecord]) -> list[RewriteView]:
        return [rewrite_view(known[one.job_id], None, one) for one in found if one.job_id in known]

    return OverviewView(
        saved=sum(saved for _, mode, _, _, saved in approved if mode == "on"),
        to_save=sum(saved for *_, saved in waiting),
        on=sum(number for _, mode, _, number, _ in approved if mode == "on"),
        trying=sum(number for _, mode, _, number, _ in approved if mode != "on"),
        waiting=sum(number for _, _, _, number, _ in waiting),
        first=views(first),
        invalid=views(invalid),
        remeasure=views(remeasure),
        disabled_by_clients=views(by_clients),
        dead=[job_view(job) for job in jobs.listed(Filter(state=DEAD, limit=FEW))],
        failed=[job_view(job) for job in jobs.listed(Filter(state=FAILED, limit=FEW))],
        queued=counts.get(QUEUED, 0),
        running=counts.get(RUNNING, 0),
        targets=[target_view(target) for target in store.targets(caller.tenant).listed()],
        workers=len(store.queue().workers(ALIVE)),
        spent=Spent(
            tokens=tokens,
            cost=cost,
            day_tokens=settings.model_day_tokens if key is None or key.day_tokens is None else key.day_tokens,
            day_cost=settings.model_day_cost if key is None or key.day_cost is None else key.day_cost,
        ),
    )
