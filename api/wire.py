"""What the API answers. Orders, which come in, are in ``rewriter.service.orders``."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from rewriter.errors import UsageError
from rewriter.store.access import AuditRecord, KeyRecord
from rewriter.store.jobs import JobRecord
from rewriter.store.reviews import ReviewRecord
from rewriter.store.target_records import TargetRecord

State = Literal["queued", "running", "done", "failed", "cancelled", "dead"]
Role = Literal["viewer", "operator", "admin"]


class ProblemView(BaseModel):
    code: str
    detail: str
    hint: str = ""


class ReviewView(BaseModel):
    """What people decided, and whether the evidence still holds."""

    state: Literal["waiting", "approved", "rejected", "disabled"]
    mode: Literal["shadow", "canary", "on"] = Field(description="how far clients may go with it")
    reason: str
    actor: str = Field(description="who decided")
    changed: datetime
    currency: Literal["current", "invalid", "remeasure"]
    currency_reason: str
    saved_per_day: float | None = Field(description="seconds, where it is known how often the query runs")


class JobView(BaseModel):
    """A piece of work as it stands."""

    id: str
    kind: Literal["rewrite", "verification", "batch", "rule"]
    target: str
    state: State
    stage: str
    attempt: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    problem: ProblemView | None = Field(description="why it ended without a result")
    result: dict[str, Any] | None = Field(description="of a rewrite: the outcome in short; else: the result itself")
    batch: str | None = Field(description="the batch that it belongs to")


class RewriteView(JobView):
    """A rewrite with its report (rewriter/report/schema.json) once it is done."""

    sql: str = Field(description="the statement as given")
    report: dict[str, Any] | None = None
    review: ReviewView | None = None


class TargetView(BaseModel):
    """A registered database. Its credentials are never shown."""

    name: str
    shown: str = Field(description="its URL without credentials")
    dialect: str | None
    engine: str | None
    runs: bool = Field(description="queries may be run on it; else they are only planned")
    enabled: bool = Field(description="false: clients use no rewrite on it")
    catalog_hash: str | None
    checked: datetime | None
    problem: str | None = Field(description="why the last look at it failed")


class KeyView(BaseModel):
    id: str = Field(description="the visible part of the key")
    name: str
    role: Role
    rate: int | None
    day_tokens: int | None
    day_cost: float | None
    created: datetime
    created_by: str
    used: datetime | None
    revoked: datetime | None


class NewKeyView(KeyView):
    key: str = Field(description="the key itself; it is shown this once")


class AuditView(BaseModel):
    id: int
    at: datetime
    actor: str
    action: str
    object: str
    detail: dict[str, Any]


def moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _known(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def job_fields(job: JobRecord) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "target": job.target,
        "state": job.state,
        "stage": job.stage,
        "attempt": job.attempt,
        "created": _known(job.created),
        "started": moment(job.started),
        "finished": moment(job.finished),
        "problem": ProblemView(**job.problem) if job.problem else None,
        "result": dict(job.result) if job.result is not None else None,
        "batch": job.batch,
    }


def job_view(job: JobRecord) -> JobView:
    return JobView(**job_fields(job))


def rewrite_view(
    job: JobRecord, report: Mapping[str, Any] | None = None, review: ReviewRecord | None = None
) -> RewriteView:
    return RewriteView(
        **job_fields(job),
        sql=str(job.request["sql"]),
        report=dict(report) if report is not None else None,
        review=review_view(review) if review is not None else None,
    )


def review_view(review: ReviewRecord) -> ReviewView:
    fields = ReviewView.model_fields
    values = {name: getattr(review, name) for name in fields if name != "changed"}
    return ReviewView(**values, changed=_known(review.changed))


def target_view(target: TargetRecord) -> TargetView:
    values = {name: getattr(target, name) for name in TargetView.model_fields if name != "checked"}
    return TargetView(**values, checked=moment(target.checked))


def key_fields(key: KeyRecord) -> dict[str, Any]:
    moments = {"created", "used", "revoked"}
    values = {name: getattr(key, name) for name in KeyView.model_fields if name not in moments}
    return {**values, **{name: moment(getattr(key, name)) for name in moments}}


def audit_view(entry: AuditRecord) -> AuditView:
    return AuditView(
        id=entry.id,
        at=_known(entry.at),
        actor=entry.actor,
        action=entry.action,
        object=entry.object,
        detail=dict(entry.detail),
    )


def cursor_of(*parts: Any) -> str:
    """An opaque cursor."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def parts_of(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """What a cursor of ours says. Raises UsageError."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        parts = None
    if not isinstance(parts, list) or len(parts) != len(kinds) or not all(map(_usable, parts, kinds)):
        raise UsageError("the cursor is none of ours", hint="take it from the Link header of an answer")
    return tuple(parts)


def _usable(part: Any, kind: type) -> bool:
    """Whether a cursor's part can be compared with a column: whoever forges one must not get at the store's errors."""
    if isinstance(part, float):
        return kind is float and math.isfinite(part)
    if isinstance(part, int):
        return kind is int and 0 <= part < 2**31 and not isinstance(part, bool)
    return kind is str and isinstance(part, str) and part.isascii() and part.isprintable()
