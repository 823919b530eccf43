"""The workbench: paste a slow query, say how it is to be rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.console.rendering import page
from api.console.sessions import ActingOperator, Viewer, Visitor
from api.routes.rewrites import KIND
from api.routes.targets import read_catalog
from api.submitting import check_statements, submit
from rewriter.errors import InputError, RewriterError
from rewriter.service.orders import RewriteOrder
from rewriter.store.jobs import Filter, JobRecord
from rewriter.store.reviews import ReviewRecord
from rewriter.store.target_records import TargetRecord

router = APIRouter()

STRATEGIES = {
    "plain": "plain: ask for a rewrite",
    "genrewrite": "genrewrite: hints that grow",
    "lithe": "lithe: token by token",
    "llm_r2": "llm_r2: choose rules",
}


@dataclass(frozen=True)
class WorkbenchView:
    """``given``: the form's fields as they stand."""

    targets: list[TargetRecord]
    given: dict[str, Any]
    strategies: dict[str, str]
    model: str | None
    wrong: str
    hint: str
    recent: list[tuple[JobRecord, ReviewRecord | None]]


START: dict[str, Any] = {
    "sql": "",
    "target": "",
    "require": "tested",
    "effort": "normal",
    "timeout": 60,
    "runs_per_day": "",
    "strategies": [],
    "on_data": False,
}


@router.get("/workbench")
def workbench_page(request: Request, visitor: Viewer, rewrite: str | None = None) -> Response:
    """The form; ``rewrite``: begin with the statement of an earlier one."""
    given = dict(START)
    earlier = visitor.service.store.jobs(visitor.caller.tenant).find(rewrite) if rewrite else None
    if earlier is not None and earlier.kind == KIND:
        given |= {name: earlier.request[name] for name in START if name in earlier.request}
    return _form(request, visitor, given)


@router.post("/workbench")
def submit_query(
    request: Request,
    visitor: ActingOperator,
    sql: Annotated[str, Form()] = "",
    target: Annotated[str, Form()] = "",
    require: Annotated[str, Form()] = "tested",
    effort: Annotated[str, Form()] = "normal",
    timeout: Annotated[str, Form()] = "60",
    runs_per_day: Annotated[str, Form()] = "",
    strategies: Annotated[list[str] | None, Form()] = None,
    on_data: Annotated[bool, Form()] = False,
    fresh: Annotated[bool, Form()] = False,
) -> Response:
    """Order the rewrite and go to its page."""
    given = {
        "sql": sql,
        "target": target,
        "require": require,
        "effort": effort,
        "timeout": timeout,
        "runs_per_day": runs_per_day,
        "strategies": strategies or [],
        "on_data": on_data,
    }
    if not sql.strip():
        return _form(request, visitor, given, "There is no query yet.", "Paste the slow SELECT.", 422)
    try:
        order = RewriteOrder.model_validate({**given, "runs_per_day": _number(runs_per_day)})
        check_statements(visitor.service, visitor.caller, order.target, order.sql)
        job, new = submit(visitor.service, visitor.caller, KIND, order.target, order, None, fresh=fresh)
    except ValidationError as error:
        fields = ", ".join(sorted({str(one["loc"][0]) for one in error.errors()}))
        return _form(request, visitor, given, f"These fields cannot be used: {fields}.", "", 422)
    except InputError as error:
        return _form(request, visitor, given, error.message, error.hint, 422)
    said = "" if new else "?said=known"
    return RedirectResponse(f"/console/rewrites/{job.id}{said}", 303)


@router.get("/targets/{name}/names")
def completions(name: str, visitor: Viewer) -> dict[str, list[str]]:
    """Tables with their columns, for completion in the editor; nothing when the target does not answer."""
    try:
        return read_catalog(name, visitor.service, visitor.caller)
    except RewriterError:
        return {}


def _form(
    request: Request, visitor: Visitor, given: dict[str, Any], wrong: str = "", hint: str = "", status: int = 200
) -> Response:
    store, tenant = visitor.service.store, visitor.caller.tenant
    jobs = store.jobs(tenant).listed(Filter(KIND, limit=8))
    reviews = store.reviews(tenant).of([job.id for job in jobs])
    view = WorkbenchView(
        targets=store.targets(tenant).listed(),
        given=given,
        strategies=STRATEGIES,
        model=visitor.service.settings.model,
        wrong=wrong,
        hint=hint,
        recent=[(job, reviews.get(job.id)) for job in jobs],
    )
    twin = "/v1/rewrites"
    return page(request, "workbench.html", view, title="Workbench", section="workbench", twin=twin, status=status)


def _number(text: str) -> str:
    return text.replace(",", "").replace(" ", "") or "0"
