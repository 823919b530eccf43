"""The part of the store that concerns language models: exchanges, spending, capabilities, knowledge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from rewriter.store import ledger
from rewriter.store.database import Sessions, again
from rewriter.store.tables import DEFAULT_TENANT, Spending, StoredCapabilities, StoredExchange, StoredKnowledge


class ModelRecords:
    """Of one tenant. All methods raise StoreError. ``sessions`` opens one transaction."""

    def __init__(self, sessions: Sessions, tenant: str = DEFAULT_TENANT) -> None:
        self._sessions = sessions
        self._tenant = tenant

    def exchange(self, key: str) -> Mapping[str, Any] | None:
        """The latest exchange under a key, its fields by name."""
        query = select(StoredExchange).where(StoredExchange.tenant == self._tenant, StoredExchange.key == key)
        with self._sessions() as session:
            row = session.scalar(query.order_by(StoredExchange.id.desc()).limit(1))
            return None if row is None else {name: getattr(row, name) for name in _EXCHANGE}

    def add_exchange(self, fields: Mapping[str, Any]) -> None:
        with self._sessions() as session:
            session.add(StoredExchange(tenant=self._tenant, **{name: fields[name] for name in _EXCHANGE}))

    def spent(self) -> tuple[int, float]:
        """Tokens and US dollars of this day (UTC)."""
        with self._sessions() as session:
            row = session.scalar(select(Spending).filter_by(tenant=self._tenant, day=_today()))
            return (0, 0.0) if row is None else (row.tokens, row.cost)

    def spend(self, tokens: int, cost: float) -> None:
        """Add to this day's spending."""
        self.reserve(tokens, cost, None, None)

    def reserve(self, tokens: int, cost: float, most_tokens: int | None, most_cost: float | None) -> bool:
        """Add to this day's spending unless it would then be more than the most; whether it was."""
        key = {"tenant": self._tenant, "day": _today()}
        return ledger.add(self._sessions, Spending, key, tokens, cost, most_tokens, most_cost)

    def capabilities(self, endpoint: str, model: str) -> Mapping[str, bool] | None:
        """What was probed; None when it was not."""
        with self._sessions() as session:
            key = {"tenant": self._tenant, "endpoint": endpoint, "model": model}
            row = session.scalar(select(StoredCapabilities).filter_by(**key))
            return None if row is None else dict(row.found)

    def keep_capabilities(self, endpoint: str, model: str, found: Mapping[str, bool]) -> None:
        key = {"tenant": self._tenant, "endpoint": endpoint, "model": model}

        def add(session: Session) -> None:
            row = session.scalar(select(StoredCapabilities).filter_by(**key))
            if row is None:
                session.add(StoredCapabilities(**key, found=dict(found)))
            else:
                row.found = dict(found)

        again(self._sessions, add)

    def knowledge(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Kind and body of all that was learnt, oldest first."""
        with self._sessions() as session:
            rows = session.scalars(
                select(StoredKnowledge).where(StoredKnowledge.tenant == self._tenant).order_by(StoredKnowledge.id)
            )
            return [(row.kind, dict(row.body)) for row in rows]

    def learn(self, kind: str, text: str, body: Mapping[str, Any]) -> None:
        """Keep ``body`` as what is known under ``text``, in place of what was."""
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        key = {"tenant": self._tenant, "kind": kind, "text_hash": mark}

        def add(session: Session) -> None:
            row = session.scalar(select(StoredKnowledge).filter_by(**key))
            if row is None:
                session.add(StoredKnowledge(**key, body=dict(body)))
            else:
                row.body = dict(body)

        again(self._sessions, add)


_EXCHANGE = ("key", "endpoint", "model", "purpose", "request", "response", "attempts", "seconds", "cost")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
