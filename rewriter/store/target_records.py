"""Registered targets, and the rules switched off for them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from rewriter.errors import Conflict
from rewriter.store.access import note
from rewriter.store.database import Sessions, again
from rewriter.store.service_tables import RegisteredTarget, RuleSwitch


@dataclass(frozen=True)
class TargetRecord:
    """See ``RegisteredTarget``."""

    tenant: str
    name: str
    reference: str | None
    sealed: str | None
    shown: str
    place: str
    runs: bool
    enabled: bool
    dialect: str | None = None
    engine: str | None = None
    catalog_hash: str | None = None
    catalog_version: str | None = None
    checked: float | None = None
    problem: str | None = None
    created: float = 0.0


_FIELDS = tuple(TargetRecord.__dataclass_fields__)


@dataclass(frozen=True)
class Targets:
    """The targets of one tenant. All methods raise StoreError."""

    sessions: Sessions
    tenant: str

    def add(self, target: TargetRecord, actor: str, *, replace: bool = False) -> TargetRecord:
        """Register a target. Raises Conflict when the name is taken and is not to be replaced."""

        def change(session: Session) -> TargetRecord:
            row = self._row(session, target.name)
            if row is not None and not replace:
                raise Conflict(f"there is a target {target.name!r} already", hint="remove it first, or choose a name")
            if row is None:
                row = RegisteredTarget(tenant=self.tenant, name=target.name, created=time.time())
                session.add(row)
            for name in ("reference", "sealed", "shown", "place", "runs", "enabled"):
                setattr(row, name, getattr(target, name))
            note(session, self.tenant, actor, "target.register", target.name, {"shown": target.shown})
            session.flush()
            return _record(row)

        return again(self.sessions, change)

    def find(self, name: str) -> TargetRecord | None:
        with self.sessions() as session:
            row = self._row(session, name)
            return None if row is None else _record(row)

    def listed(self) -> list[TargetRecord]:
        query = select(RegisteredTarget).where(RegisteredTarget.tenant == self.tenant)
        with self.sessions() as session:
            return [_record(row) for row in session.scalars(query.order_by(RegisteredTarget.name))]

    def checked(
        self, name: str, *, dialect: str, engine: str, catalog_hash: str, catalog_version: str
    ) -> TargetRecord | None:
        """What a look at the target has found."""
        with self.sessions() as session:
            row = self._row(session, name)
            if row is None:
                return None
            row.dialect, row.engine, row.problem = dialect, engine, None
            row.catalog_hash, row.catalog_version, row.checked = catalog_hash, catalog_version, time.time()
            return _record(row)

    def failed(self, name: str, problem: str) -> None:
        """Why a look at the target has failed."""
        with self.sessions() as session:
            row = self._row(session, name)
            if row is not None:
                row.problem = problem

    def switch(self, name: str, actor: str, *, enabled: bool | None, runs: bool | None) -> TargetRecord | None:
        with self.sessions() as session:
            row = self._row(session, name)
            if row is None:
                return None
            row.enabled = row.enabled if enabled is None else enabled
            row.runs = row.runs if runs is None else runs
            note(session, self.tenant, actor, "target.change", name, {"enabled": row.enabled, "runs": row.runs})
            return _record(row)

    def remove(self, name: str, actor: str) -> bool:
        with self.sessions() as session:
            row = self._row(session, name)
            if row is None:
                return False
            session.delete(row)
            note(session, self.tenant, actor, "target.remove", name)
            return True

    def switch_rule(self, target: str, rule: str, actor: str, *, enabled: bool) -> None:
        key = {"tenant": self.tenant, "target": target, "rule": rule}

        def change(session: Session) -> None:
            row = session.scalar(select(RuleSwitch).filter_by(**key))
            if row is None:
                session.add(RuleSwitch(**key, enabled=enabled, actor=actor))
            else:
                row.enabled, row.actor, row.changed = enabled, actor, time.time()
            note(session, self.tenant, actor, "rule.enable" if enabled else "rule.disable", rule, {"target": target})

        again(self.sessions, change)

    def rules_off(self, target: str) -> frozenset[str]:
        """The rules that are switched off for a target."""
        query = select(RuleSwitch.rule).filter_by(tenant=self.tenant, target=target, enabled=False)
        with self.sessions() as session:
            return frozenset(session.scalars(query))

    def _row(self, session: Session, name: str) -> RegisteredTarget | None:
        return session.scalar(select(RegisteredTarget).filter_by(tenant=self.tenant, name=name))


def all_targets(sessions: Sessions) -> list[TargetRecord]:
    """Of all tenants, for the periodic look at them."""
    with sessions() as session:
        return [_record(row) for row in session.scalars(select(RegisteredTarget))]


def _record(row: RegisteredTarget) -> TargetRecord:
    return TargetRecord(**{name: getattr(row, name) for name in _FIELDS})
