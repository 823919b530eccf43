"""The first page of the morning: what is saved, what waits, what broke, who is well."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from api.console.rendering import page
from api.console.sessions import Viewer
from api.routes.overview import OverviewView, read_overview

router = APIRouter()


@dataclass(frozen=True)
class MorningView:
    """``quiet``: nothing broke; ``fresh``: nothing was ever asked, so the page says how to begin."""

    state: OverviewView
    quiet: bool
    fresh: bool
    model: str | None


@router.get("/")
def overview_page(request: Request, visitor: Viewer) -> Response:
    state = read_overview(visitor.service, visitor.caller)
    broken = [*state.invalid, *state.disabled_by_clients, *state.dead, *state.failed, *state.remeasure]
    away = [target for target in state.targets if target.problem]
    fresh = not visitor.service.store.jobs(visitor.caller.tenant).counts()
    view = MorningView(
        state=state,
        quiet=not broken and not away and state.workers > 0,
        fresh=fresh,
        model=visitor.service.settings.model,
    )
    return page(request, "overview.html", view, title="Overview", section="overview", twin="/v1/overview")
