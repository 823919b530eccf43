"""The record of past work: SQLAlchemy tables, SQLite by default and Postgres by URL, Alembic migrations on opening."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Select, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from rewriter.errors import StoreError, UsageError
from rewriter.records import Report
from rewriter.store.access import Access
from rewriter.store.database import again, hint, open_database, plain
from rewriter.store.jobs import Announce, Jobs, Queue
from rewriter.store.model_records import ModelRecords
from rewriter.store.reviews import Reviews
from rewriter.store.rule_records import RuleRecord, RuleRecords
from rewriter.store.tables import (
    DEFAULT_TENANT,
    NAME_LENGTH,
    Evidence,
    Rewrite,
    RuleTrial,
    StoredMeasurement,
    StoredQuery,
    Target,
)
from rewriter.store.target_records import TargetRecord, Targets, all_targets

__all__ = [
    "Access",
    "Entry",
    "Jobs",
    "ModelRecords",
    "Queue",
    "Reviews",
    "RuleRecord",
    "RuleRecords",
    "Store",
    "Targets",
    "record_report",
]


@dataclass(frozen=True)
class Entry:
    """One line of the history. ``ratio`` is original time / chosen time, None when the original was kept; ``at_least``:
    the original was stopped at its limit, so the true ratio is higher."""

    id: str
    created: datetime
    target: str
    statement: str
    chosen: bool
    ratio: float | None
    verdict: str | None
    reason: str
    at_least: bool = False


class Store:
    """Opens the store at ``url`` and brings its tables up to date. Raises StoreError; close it after use.
    ``announce`` is called with each new job, in the transaction that adds it."""

    def __init__(self, url: str) -> None:
        self._database = open_database(url)
        self.announce: Announce | None = None

    def close(self) -> None:
        self._database.dispose()

    def record(self, report: Report, document: dict[str, Any], *, tenant: str = DEFAULT_TENANT) -> str:
        """Keep ``report`` and its JSON form ``document``, in one transaction; returns the entry's id.

        Credentials in the target's name are left out. Raises StoreError, with nothing half written.
        """
        return again(self._session, lambda session: record_report(session, report, document, tenant))

    def history(self, limit: int = 20, *, target: str | None = None, tenant: str = DEFAULT_TENANT) -> list[Entry]:
        """The latest ``limit`` entries, newest first; of one target where that is given."""
        return self._entries(_entries(tenant, target).limit(limit))

    def find(self, rewrite_key: str, *, target: str | None = None, tenant: str = DEFAULT_TENANT) -> Entry | None:
        """The newest entry under a rewrite key, the only key under which a rewrite may be used again."""
        found = self._entries(_entries(tenant, target).where(StoredQuery.rewrite_key == rewrite_key).limit(1))
        return found[0] if found else None

    def rewrite(self, identifier: str, *, tenant: str = DEFAULT_TENANT) -> dict[str, Any] | None:
        """The stored report of one entry, None when there is none."""
        with self._session() as session:
            entry = session.scalar(select(Rewrite).where(Rewrite.tenant == tenant, Rewrite.id == identifier))
            return dict(entry.report) if entry is not None else None

    def catalog_hash(self, identifier: str, *, tenant: str = DEFAULT_TENANT) -> str | None:
        """The hash of the catalog that one entry was made on."""
        with self._session() as session:
            query = select(Rewrite.catalog_hash).where(Rewrite.tenant == tenant, Rewrite.id == identifier)
            return session.scalar(query)

    def rule_trials(self, *, tenant: str = DEFAULT_TENANT) -> dict[tuple[str, str, str], tuple[int, int, float]]:
        """By (rule, dialect, shape): trials, wins and the orders of magnitude of time gained in these."""
        with self._session() as session:
            rows = session.scalars(select(RuleTrial).where(RuleTrial.tenant == tenant))
            return {(row.rule, row.dialect, row.shape): (row.trials, row.wins, row.gained) for row in rows}

    def add_rule_trials(
        self, more: Mapping[tuple[str, str, str], tuple[int, int, float]], *, tenant: str = DEFAULT_TENANT
    ) -> None:
        """Add what has been learnt to what is known."""
        for (rule, dialect, shape), numbers in more.items():
            key = {"tenant": tenant, "rule": rule, "dialect": dialect, "shape": shape}
            again(self._session, partial(_add_trials, key, *numbers))

    def accepted(
        self, limit: int = 500, *, target: str | None = None, tenant: str = DEFAULT_TENANT
    ) -> list[dict[str, Any]]:
        """The reports of the latest rewrites that were chosen, newest first, each rewritten statement once; each with
        its ``id``."""
        with self._session() as session:
            rows = session.execute(_entries(tenant, target).where(Rewrite.chosen_sql.is_not(None)).limit(limit))
            found: dict[int, dict[str, Any]] = {}
            for row, _, _ in rows:
                found.setdefault(row.query_id, {**row.report, "id": row.id})
            return list(found.values())

    def rules(self, *, tenant: str = DEFAULT_TENANT) -> RuleRecords:
        """Rule documents that users wrote or that were learnt."""
        return RuleRecords(self._session, tenant)

    def models(self, *, tenant: str = DEFAULT_TENANT) -> ModelRecords:
        """What concerns language models."""
        return ModelRecords(self._session, tenant)

    def jobs(self, tenant: str) -> Jobs:
        return Jobs(self._session, tenant, self.announce)

    def queue(self) -> Queue:
        """The jobs of all tenants, for workers."""
        return Queue(self._session)

    def targets(self, tenant: str) -> Targets:
        return Targets(self._session, tenant)

    def all_targets(self) -> list[TargetRecord]:
        return all_targets(self._session)

    def reviews(self, tenant: str) -> Reviews:
        return Reviews(self._session, tenant)

    def access(self) -> Access:
        """Keys and the audit log."""
        return Access(self._session)

    def _entries(self, statement: Select[Rewrite, str, str]) -> list[Entry]:
        with self._session() as session:
            return [_entry(row, text, target) for row, text, target in session.execute(statement)]

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._database, expire_on_commit=False) as session, session.begin():
                yield session
        except IntegrityError:
            raise
        except DataError:
            # Only what callers give can be wrong in this way; it is no fault of the store, which would be tried again.
            raise UsageError("a text or number cannot be kept", hint="NUL characters cannot, for one") from None
        except SQLAlchemyError as error:
            raise StoreError(f"the store failed: {plain(error)}", hint=hint(error)) from None


def _add_trials(key: Mapping[str, str], trials: int, wins: int, gained: float, session: Session) -> None:
    if session.scalar(select(RuleTrial.id).filter_by(**key)) is None:
        session.add(RuleTrial(**key, trials=trials, wins=wins, gained=gained))
        return
    more = {"trials": RuleTrial.trials + trials, "wins": RuleTrial.wins + wins, "gained": RuleTrial.gained + gained}
    session.execute(update(RuleTrial).filter_by(**key).values(more))


def _entries(tenant: str, target: str | None) -> Select[Rewrite, str, str]:
    statement = (
        select(Rewrite, StoredQuery.text, Target.name)
        .join(StoredQuery, StoredQuery.id == Rewrite.query_id)
        .join(Target, Target.id == Rewrite.target_id)
        .where(Rewrite.tenant == tenant)
        .order_by(Rewrite.created.desc(), Rewrite.id)
    )
    return statement if target is None else statement.where(Target.name == _public(target))


def _entry(row: Rewrite, text: str, target: str) -> Entry:
    speedup, verdict = row.report.get("speedup") or {}, row.report.get("verdict") or {}
    return Entry(
        id=row.id,
        created=row.created,
        target=target,
        statement=text,
        chosen=row.chosen_sql is not None,
        ratio=row.ratio,
        verdict=verdict.get("kind"),
        reason=row.reason,
        at_least=bool(speedup.get("at_least")),
    )


def record_report(session: Session, report: Report, document: dict[str, Any], tenant: str) -> str:
    """``Store.record`` inside a transaction that does more."""
    query, decision, name = report.query, report.decision, _public(report.target)
    target = session.scalar(select(Target).where(Target.tenant == tenant, Target.name == name))
    if target is None:
        target = Target(tenant=tenant, name=name, engine=report.engine)
        session.add(target)
    text_hash = hashlib.sha256(query.text.encode()).hexdigest()
    stored = session.scalar(
        select(StoredQuery).where(
            StoredQuery.tenant == tenant,
            StoredQuery.rewrite_key == query.rewrite_key,
            StoredQuery.text_hash == text_hash,
        )
    )
    if stored is None:
        stored = StoredQuery(
            tenant=tenant,
            rewrite_key=query.rewrite_key,
            group_key=query.group_key,
            text_hash=text_hash,
            dialect=query.dialect,
            text=query.text,
        )
        session.add(stored)
    session.flush()
    entry = Rewrite(
        id=uuid.uuid4().hex[:12],
        tenant=tenant,
        target_id=target.id,
        query_id=stored.id,
        catalog_hash=query.catalog.hash,
        chosen_sql=decision.chosen.sql if decision.chosen else None,
        reason=decision.reason,
        ratio=decision.speedup.ratio if decision.speedup else None,
        report={**document, "target": name},
    )
    session.add(entry)
    session.flush()
    verdicts = [(loser["candidate"]["id"], loser["verdict"]) for loser in document["losers"]]
    if decision.chosen is not None:
        verdicts.append((decision.chosen.id, document["verdict"]))
    session.add_all(
        Evidence(
            tenant=tenant,
            rewrite_id=entry.id,
            candidate=candidate,
            kind=verdict["kind"],
            method=verdict["method"],
            verdict=verdict,
        )
        for candidate, verdict in verdicts
        if verdict is not None
    )
    session.add_all(
        StoredMeasurement(
            tenant=tenant,
            rewrite_id=entry.id,
            label=measurement.label,
            seconds=list(measurement.seconds),
            stopped_after=measurement.stopped_after,
            error=measurement.error,
        )
        for measurement in report.measurements
    )
    return entry.id


def _public(target: str) -> str:
    """A target's name without credentials, should whoever names it have left them in."""
    parts = urlsplit(target)
    if "@" in parts.netloc or "password" in parts.query:
        target = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    return target[:NAME_LENGTH]
