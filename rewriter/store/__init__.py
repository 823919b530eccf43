"""The record of past work: SQLAlchemy tables, SQLite by default and Postgres by URL, Alembic migrations on opening."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine as Database
from sqlalchemy import create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from rewriter.errors import StoreError
from rewriter.records import Report
from rewriter.store.tables import DEFAULT_TENANT, Evidence, Rewrite, StoredMeasurement, StoredQuery, Target

__all__ = ["Entry", "Store"]


@dataclass(frozen=True)
class Entry:
    """One line of the history. ``ratio`` is original time / chosen time, None when the original was kept."""

    id: str
    created: datetime
    target: str
    statement: str
    chosen: bool
    ratio: float | None
    verdict: str | None
    reason: str


class Store:
    """Opens the store at ``url`` and brings its tables up to date. Raises StoreError; close it after use."""

    def __init__(self, url: str) -> None:
        self._database = _open(url)
        try:
            _migrate(self._database)
        except (SQLAlchemyError, CommandError, OSError) as error:
            self._database.dispose()
            raise StoreError(f"the store cannot be opened: {_plain(error)}", hint="check REWRITER_STORE") from None

    def close(self) -> None:
        self._database.dispose()

    def record(self, report: Report, document: dict[str, Any], *, tenant: str = DEFAULT_TENANT) -> str:
        """Keep ``report`` and its JSON form ``document``, in one transaction; returns the entry's id."""
        query, decision = report.query, report.decision
        with self._session() as session:
            target = session.scalar(select(Target).where(Target.tenant == tenant, Target.name == report.target))
            if target is None:
                target = Target(tenant=tenant, name=report.target, engine=report.engine)
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
                report=document,
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

    def history(self, limit: int = 20, *, tenant: str = DEFAULT_TENANT) -> list[Entry]:
        """The latest ``limit`` entries, newest first."""
        with self._session() as session:
            rows = session.execute(
                select(Rewrite, StoredQuery.text, Target.name)
                .join(StoredQuery, StoredQuery.id == Rewrite.query_id)
                .join(Target, Target.id == Rewrite.target_id)
                .where(Rewrite.tenant == tenant)
                .order_by(Rewrite.created.desc(), Rewrite.id)
                .limit(limit)
            )
            return [
                Entry(
                    entry.id,
                    entry.created,
                    target,
                    text,
                    entry.chosen_sql is not None,
                    entry.ratio,
                    (entry.report.get("verdict") or {}).get("kind"),
                    entry.reason,
                )
                for entry, text, target in rows
            ]

    def rewrite(self, identifier: str, *, tenant: str = DEFAULT_TENANT) -> dict[str, Any] | None:
        """The stored report of one entry, None when there is none."""
        with self._session() as session:
            entry = session.scalar(select(Rewrite).where(Rewrite.tenant == tenant, Rewrite.id == identifier))
            return dict(entry.report) if entry is not None else None

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._database, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            raise StoreError(f"the store failed: {_plain(error)}", hint="nothing was half written; try again") from None


def _open(url: str) -> Database:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError("the store's URL cannot be read", hint="sqlite:///FILE or postgresql://...") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:":
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store's directory cannot be made: {error.strerror}") from None
    try:
        database = create_engine(parsed)
    except (SQLAlchemyError, ImportError) as error:
        raise StoreError(f"the store cannot be opened: {_plain(error)}") from None
    if parsed.drivername == "sqlite":

        @event.listens_for(database, "connect")
        def _configure(connection: Any, _: object) -> None:
            # WAL lets readers work while one writes; the wait covers a second writer.
            for pragma in ("journal_mode = WAL", "busy_timeout = 5000", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")

    return database


def _migrate(database: Database) -> None:
    """Bring the tables to the newest revision; refuse a store that a newer version of the program has written."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    with database.begin() as connection:
        from alembic.runtime.migration import MigrationContext

        current = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in scripts.walk_revisions()}
        if current is not None and current not in known:
            raise StoreError("the store was written by a newer version", hint="upgrade rewriter, or use another store")
        if current == scripts.get_current_head():
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _plain(error: Exception) -> str:
    """The driver's own words, without SQL text, parameters or URLs."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip().splitlines() or [type(error).__name__])[0][:160]
