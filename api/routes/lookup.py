"""For applications: lookups, and what their clients tell back. Snapshots are in ``snapshots``."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from api.access import Viewer
from api.context import TheService
from api.lookups import Answer
from api.problems import ANSWERS
from rewriter.service.orders import Name, ParameterValue, Statement

router = APIRouter(prefix="/v1", tags=["applications"], responses=ANSWERS)


class LookupOrder(BaseModel):
    """A statement as the application is about to run it."""

    model_config = ConfigDict(extra="forbid")

    sql: Statement
    target: Name = "default"
    parameters: list[ParameterValue] = Field([], max_length=1000)


class LookupView(BaseModel):
    """``sql`` is the rewrite where ``found``. Otherwise ``why``: unknown; disabled (the target's switch); values (it
    was verified for other parameter values only); literals (the shape is known with other literals, for which it would
    have to be verified)."""

    found: bool
    why: Literal["found", "unknown", "disabled", "values", "literals"]
    rewrite: str | None = Field(default=None, description="id of the rewrite, to read its evidence")
    sql: str | None = None
    verdict: str | None = None
    mode: Literal["shadow", "canary", "on"] | None = None


@router.post("/lookup")
async def look_up(order: LookupOrder, service: TheService, caller: Viewer) -> LookupView:
    """The approved rewrite of a statement, from what is known: nothing is searched, and no model is asked."""
    found = service.lookups.at_hand(caller.tenant, order.target, order.sql)
    if found is None:
        found = await run_in_threadpool(service.lookups.answer, caller.tenant, order.target, order.sql)
    answer = _view(order, found)
    service.metrics.lookups.labels(answer.why).inc()
    return answer


def _view(order: LookupOrder, answer: Answer) -> LookupView:
    if not answer.enabled:
        return LookupView(found=False, why="disabled")
    usable = answer.usable
    if usable is None:
        why: Literal["unknown", "literals"] = "unknown" if answer.alike is None else "literals"
        return LookupView(found=False, why=why, rewrite=answer.alike)
    if not usable.holds_for(order.parameters):
        return LookupView(found=False, why="values", rewrite=usable.review.job_id)
    return LookupView(
        found=True,
        why="found",
        rewrite=usable.review.job_id,
        sql=usable.sql,
        verdict=usable.verdict,
        mode=usable.review.mode,
    )
