"""Keys of the service, what they spent, and the audit log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from rewriter.store import ledger
from rewriter.store.database import Sessions
from rewriter.store.service_tables import ApiKey, AuditEntry, KeySpending

USED_EVERY = 60.0  # seconds between two notes of a key's last use


@dataclass(frozen=True)
class KeyRecord:
    """A key without its secret. See ``ApiKey``."""

    id: str
    tenant: str
    name: str
    role: str
    digest: str
    rate: int | None
    day_tokens: int | None
    day_cost: float | None
    created: float
    created_by: str
    used: float | None
    revoked: float | None


@dataclass(frozen=True)
class AuditRecord:
    id: int
    at: float
    actor: str
    action: str
    object: str
    detail: Mapping[str, Any]


_KEY = tuple(KeyRecord.__dataclass_fields__)


@dataclass(frozen=True)
class Access:
    """Keys and audit. All methods raise StoreError."""

    sessions: Sessions

    def any_key(self) -> bool:
        with self.sessions() as session:
            return bool(session.scalar(select(func.count()).select_from(ApiKey)))

    def add_key(self, key: KeyRecord) -> None:
        with self.sessions() as session:
            session.add(ApiKey(**{name: getattr(key, name) for name in _KEY}))

    def key(self, identifier: str) -> KeyRecord | None:
        """The key with this visible part, of whatever tenant: it is how a caller's tenant becomes known."""
        with self.sessions() as session:
            row = session.get(ApiKey, identifier)
            if row is None:
                return None
            if row.used is None or time.time() - row.used > USED_EVERY:
                row.used = time.time()
            return _key(row)

    def keys(self, tenant: str) -> list[KeyRecord]:
        with self.sessions() as session:
            rows = session.scalars(select(ApiKey).where(ApiKey.tenant == tenant).order_by(ApiKey.created))
            return [_key(row) for row in rows]

    def revoke(self, tenant: str, identifier: str) -> KeyRecord | None:
        """The key, of no use from now on; None: there is none."""
        with self.sessions() as session:
            row = session.scalar(select(ApiKey).where(ApiKey.tenant == tenant, ApiKey.id == identifier))
            if row is None:
                return None
            row.revoked = row.revoked or time.time()
            return _key(row)

    def note(self, tenant: str, actor: str, action: str, what: str, detail: Mapping[str, Any] | None = None) -> None:
        """One line of the audit log."""
        with self.sessions() as session:
            note(session, tenant, actor, action, what, detail)

    def audit(self, tenant: str, before: int | None, limit: int, *, about: str | None = None) -> list[AuditRecord]:
        """The latest lines, newest first; those with an id below ``before``, about one object where that is given."""
        query = select(AuditEntry).where(AuditEntry.tenant == tenant)
        if before is not None:
            query = query.where(AuditEntry.id < before)
        if about is not None:
            query = query.where(AuditEntry.object == about)
        with self.sessions() as session:
            rows = session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit))
            return [AuditRecord(row.id, row.at, row.actor, row.action, row.object, dict(row.detail)) for row in rows]

    def spent(self, tenant: str, actor: str) -> tuple[int, float]:
        """Tokens and US dollars that an actor's jobs have paid to models on this day (UTC)."""
        with self.sessions() as session:
            row = session.scalar(select(KeySpending).filter_by(tenant=tenant, actor=actor, day=_today()))
            return (0, 0.0) if row is None else (row.tokens, row.cost)

    def spend(self, tenant: str, actor: str, tokens: int, cost: float) -> None:
        """Add to what an actor has spent on this day."""
        self.reserve(tenant, actor, tokens, cost, None, None)

    def reserve(
        self, tenant: str, actor: str, tokens: int, cost: float, most_tokens: int | None, most_cost: float | None
    ) -> bool:
        """Add to what an actor has spent on this day unless it would then be more than the most; whether it was."""
        key = {"tenant": tenant, "actor": actor, "day": _today()}
        return ledger.add(self.sessions, KeySpending, key, tokens, cost, most_tokens, most_cost)


def note(
    session: Session, tenant: str, actor: str, action: str, what: str, detail: Mapping[str, Any] | None = None
) -> None:
    """A line of the audit log inside a transaction that does what it tells."""
    session.add(AuditEntry(tenant=tenant, actor=actor, action=action, object=what[:128], detail=dict(detail or {})))


def _key(row: ApiKey) -> KeyRecord:
    return KeyRecord(**{name: getattr(row, name) for name in _KEY})


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
