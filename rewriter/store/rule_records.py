"""The part of the store that concerns rule documents: those that users wrote, and those that were learnt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from rewriter.errors import UsageError
from rewriter.store.database import Sessions, again
from rewriter.store.tables import DEFAULT_TENANT, StoredRule, now


@dataclass(frozen=True)
class RuleRecord:
    """One rule document as it is kept; fields as of the table ``rule_documents``."""

    name: str
    origin: str
    status: str
    enabled: bool
    text: str
    group: int | None
    ratio: float | None
    reason: str
    changed_by: str
    changed: datetime


class RuleRecords:
    """Of one tenant. All methods raise StoreError. ``sessions`` opens one transaction."""

    def __init__(self, sessions: Sessions, tenant: str = DEFAULT_TENANT) -> None:
        self._sessions = sessions
        self._tenant = tenant

    def all(self) -> list[RuleRecord]:
        """By name."""
        query = select(StoredRule).where(StoredRule.tenant == self._tenant).order_by(StoredRule.name)
        with self._sessions() as session:
            return [_record(row) for row in session.scalars(query)]

    def find(self, name: str) -> RuleRecord | None:
        with self._sessions() as session:
            row = self._row(session, name)
            return None if row is None else _record(row)

    def add(
        self, name: str, origin: str, text: str, by: str, *, ratio: float | None = None, group: int | None = None
    ) -> None:
        """Keep a new draft. Raises UsageError when the name is taken."""

        def change(session: Session) -> None:
            if self._row(session, name) is not None:
                raise UsageError(f"there is a rule {name!r} already", hint="give it another name, or edit that one")
            fields = {"origin": origin, "status": "draft", "text": text, "ratio": ratio, "group": group}
            session.add(StoredRule(tenant=self._tenant, name=name, changed_by=by, **fields))

        again(self._sessions, change)

    def change(self, name: str, by: str, **fields: Any) -> None:
        """Set fields of a rule. Raises UsageError when there is none of that name."""

        def change(session: Session) -> None:
            row = self._row(session, name)
            if row is None:
                raise UsageError(f"the store has no rule {name!r}", hint="rewriter rules list --all names them")
            for key, value in {**fields, "changed_by": by, "changed": now()}.items():
                setattr(row, key, value)

        again(self._sessions, change)

    def _row(self, session: Session, name: str) -> StoredRule | None:
        return session.scalar(select(StoredRule).where(StoredRule.tenant == self._tenant, StoredRule.name == name))


def _record(row: StoredRule) -> RuleRecord:
    return RuleRecord(
        row.name,
        row.origin,
        row.status,
        row.enabled,
        row.text,
        row.group,
        row.ratio,
        row.reason,
        row.changed_by,
        row.changed,
    )
