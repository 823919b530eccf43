"""The review queue: what waits, those first that save most; decisions on one or many; what was decided before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from api.console.rendering import page
from api.console.sessions import ActingOperator, Viewer
from api.routes.reviews import list_reviews
from api.routes.rewrites import Decision, review_rewrite
from api.wire import RewriteView
from rewriter.errors import RewriterError, UsageError

router = APIRouter(prefix="/queue")

State = Literal["waiting", "approved", "rejected", "disabled"]
STATES: tuple[State, ...] = ("waiting", "approved", "rejected", "disabled")


@dataclass(frozen=True)
class QueueView:
    state: State
    states: tuple[tuple[State, int], ...]
    rows: list[RewriteView]
    target: str | None
    targets: list[str]
    saved: float
    failures: list[tuple[str, str]]


@router.get("")
def queue_page(request: Request, visitor: Viewer, state: State = "waiting", target: str | None = None) -> Response:
    return _page(request, visitor, state, target or None, [])


@router.post("")
def decide(
    request: Request,
    visitor: ActingOperator,
    decision: Annotated[State, Form()],
    chosen: Annotated[list[str] | None, Form()] = None,
    mode: Annotated[Literal["shadow", "canary", "on"] | None, Form()] = None,
    reason: Annotated[str, Form(max_length=2000)] = "",
    state: Annotated[State, Form()] = "waiting",
) -> Response:
    """One decision on all that are ticked. Those that cannot be decided so are told, and the others are."""
    if not chosen:
        raise UsageError("No rewrite is ticked.", hint="Go back, tick what the decision is about, and try again.")
    given = Decision(decision=decision, mode=mode if decision == "approved" else None, reason=reason)
    failures = []
    for identifier in chosen[:200]:
        try:
            review_rewrite(identifier, given, visitor.service, visitor.caller)
        except RewriterError as error:
            failures.append((identifier, error.message))
    if failures:
        return _page(request, visitor, state, None, failures)
    return RedirectResponse(f"/console/queue?state={state}&said={decision}", 303)


def _page(
    request: Request, visitor: Viewer, state: State, target: str | None, failures: list[tuple[str, str]]
) -> Response:
    service, caller = visitor.service, visitor.caller
    sums = service.store.reviews(caller.tenant).sums()
    rows = list_reviews(service, caller, state=state, target=target, limit=200)
    view = QueueView(
        state=state,
        states=tuple((one, sum(number for name, _, _, number, _ in sums if name == one)) for one in STATES),
        rows=rows,
        target=target,
        targets=[one.name for one in service.store.targets(caller.tenant).listed()],
        saved=sum(row.review.saved_per_day or 0.0 for row in rows if row.review is not None),
        failures=failures,
    )
    twin = f"/v1/reviews?state={state}"
    return page(request, "queue.html", view, title="Review queue", section="queue", twin=twin)
