"""Reviews: the queue of rewrites that wait for a person, and what was decided before."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.access import Viewer
from api.context import TheService
from api.problems import ANSWERS
from api.wire import RewriteView, rewrite_view

router = APIRouter(prefix="/v1/reviews", tags=["rewrites"], responses=ANSWERS)


@router.get("")
def list_reviews(
    service: TheService,
    caller: Viewer,
    state: Literal["waiting", "approved", "rejected", "disabled"] | None = None,
    target: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> list[RewriteView]:
    """Rewrites with their reviews, those first that save most time a day."""
    reviews = service.store.reviews(caller.tenant).listed(state=state, target=target, limit=limit)
    jobs = service.store.jobs(caller.tenant).of([review.job_id for review in reviews])
    return [rewrite_view(jobs[one.job_id], None, one) for one in reviews if one.job_id in jobs]
