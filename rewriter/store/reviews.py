"""Reviews: what people decided about rewrites, and whether the evidence still holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from rewriter.errors import Conflict
from rewriter.store.access import note
from rewriter.store.database import Sessions, again
from rewriter.store.service_tables import Job, Review
from rewriter.store.tables import Rewrite, StoredQuery

WAITING, APPROVED, REJECTED, DISABLED = "waiting", "approved", "rejected", "disabled"
CURRENT, INVALID, REMEASURE = "current", "invalid", "remeasure"


@dataclass(frozen=True)
class ReviewRecord:
    """See ``Review``."""

    job_id: str
    target: str
    rewrite_id: str
    rewrite_key: str
    exact_key: str
    catalog_hash: str
    tables: Sequence[Sequence[str | None]]
    rows: float | None
    state: str
    mode: str
    reason: str
    actor: str
    changed: float
    currency: str
    currency_reason: str
    saved_per_day: float | None

    @property
    def usable(self) -> bool:
        """Approved by a person, and its evidence holds: it may be handed to applications."""
        return self.state == APPROVED and self.currency != INVALID


_FIELDS = tuple(ReviewRecord.__dataclass_fields__)


@dataclass(frozen=True)
class Reviews:
    """The reviews of one tenant. All methods raise StoreError."""

    sessions: Sessions
    tenant: str

    def find(self, job_id: str) -> ReviewRecord | None:
        with self.sessions() as session:
            row = session.scalar(select(Review).filter_by(tenant=self.tenant, job_id=job_id))
            return None if row is None else _record(row)

    def of(self, job_ids: Sequence[str]) -> dict[str, ReviewRecord]:
        """By job."""
        query = select(Review).where(Review.tenant == self.tenant, Review.job_id.in_(job_ids))
        with self.sessions() as session:
            return {row.job_id: _record(row) for row in session.scalars(query)}

    def listed(
        self, *, state: str | None = None, target: str | None = None, currency: str | None = None, limit: int = 200
    ) -> list[ReviewRecord]:
        """Those that save most time a day first."""
        query = select(Review).where(Review.tenant == self.tenant)
        for column, value in ((Review.state, state), (Review.target, target), (Review.currency, currency)):
            if value is not None:
                query = query.where(column == value)
        query = query.order_by(Review.saved_per_day.desc().nulls_last(), Review.changed.desc(), Review.job_id)
        with self.sessions() as session:
            return [_record(row) for row in session.scalars(query.limit(limit))]

    def sums(self) -> list[tuple[str, str, str, int, float]]:
        """(state, mode, currency, rewrites, seconds that they save a day as far as that is known)."""
        columns = Review.state, Review.mode, Review.currency
        query = select(*columns, func.count(), func.sum(Review.saved_per_day)).where(Review.tenant == self.tenant)
        with self.sessions() as session:
            rows = session.execute(query.group_by(*columns).order_by(*columns))
            return [(state, mode, now, int(number), float(saved or 0.0)) for state, mode, now, number, saved in rows]

    def approved(self, target: str) -> list[tuple[ReviewRecord, Mapping[str, Any]]]:
        """What applications may use, each with its stored report."""
        query = (
            select(Review, Rewrite.report)
            .join(Rewrite, Rewrite.id == Review.rewrite_id)
            .where(Review.tenant == self.tenant, Review.target == target)
            .where(Review.state == APPROVED, Review.currency != INVALID)
            .order_by(Review.changed, Review.job_id)
        )
        with self.sessions() as session:
            return [(_record(row), dict(report)) for row, report in session.execute(query)]

    def marker(self, target: str) -> tuple[int, float]:
        """Changes whenever a review of the target does."""
        query = select(func.count(), func.max(Review.changed)).where(
            Review.tenant == self.tenant, Review.target == target
        )
        with self.sessions() as session:
            number, latest = session.execute(query).one()
            return int(number), float(latest or 0.0)

    def decide(self, job_id: str, actor: str, *, state: str, reason: str, mode: str | None) -> ReviewRecord | None:
        """Approve, reject or disable. Raises Conflict for approving what no longer holds."""

        def change(session: Session) -> ReviewRecord | None:
            row = session.scalar(select(Review).filter_by(tenant=self.tenant, job_id=job_id))
            if row is None:
                return None
            if state == APPROVED and row.currency == INVALID:
                raise Conflict(
                    "its evidence no longer holds, so it cannot be approved",
                    hint="submit the query again",
                    code="evidence-invalid",
                )
            row.state, row.reason, row.actor, row.changed = state, reason, actor, time.time()
            row.mode = mode or row.mode
            detail = {"state": state, "mode": row.mode, "reason": reason}
            note(session, self.tenant, actor, "rewrite.review", job_id, detail)
            session.flush()
            return _record(row)

        return again(self.sessions, change)

    def standing(self, target: str) -> list[tuple[ReviewRecord, str]]:
        """The reviews whose evidence has held so far, each with its original statement."""
        query = (
            select(Review, StoredQuery.text)
            .join(Rewrite, Rewrite.id == Review.rewrite_id)
            .join(StoredQuery, StoredQuery.id == Rewrite.query_id)
            .where(Review.tenant == self.tenant, Review.target == target, Review.currency != INVALID)
        )
        with self.sessions() as session:
            return [(_record(row), text) for row, text in session.execute(query)]

    def mark(self, job_id: str, *, currency: str, reason: str) -> None:
        with self.sessions() as session:
            row = session.scalar(select(Review).filter_by(tenant=self.tenant, job_id=job_id))
            if row is not None and row.currency != currency:
                row.currency, row.currency_reason, row.changed = currency, reason, time.time()
                note(session, self.tenant, "service", f"rewrite.{currency}", job_id, {"reason": reason})


def settle(session: Session, tenant: str, request_hash: str, chosen: str | None) -> bool:
    """What measuring again says of approved rewrites of the same order, inside a transaction that does more: ``chosen``
    is the SQL that won now (None: the original). The same one stays approved and is current again; where the original
    won, the earlier rewrite is disabled. Whether an earlier rewrite stands as it is, so that nothing new is to be
    reviewed."""
    query = (
        select(Review, Rewrite.chosen_sql)
        .join(Job, Job.id == Review.job_id)
        .join(Rewrite, Rewrite.id == Review.rewrite_id)
        .where(Review.tenant == tenant, Job.request_hash == request_hash)
        .where(Review.state == APPROVED, Review.currency == REMEASURE)
    )
    stands = False
    for row, sql in session.execute(query):
        if sql == chosen:
            row.currency, row.currency_reason, stands = CURRENT, "", True
            action, reason = "rewrite.current", "measured again, and it is still the fastest"
        elif chosen is None:
            row.state, row.reason, row.actor = DISABLED, "measured again: the original is as fast", "service"
            action, reason = "rewrite.disable", row.reason
        else:
            continue
        row.changed = time.time()
        note(session, tenant, "service", action, row.job_id, {"reason": reason})
    return stands


def _record(row: Review) -> ReviewRecord:
    return ReviewRecord(**{name: getattr(row, name) for name in _FIELDS})
