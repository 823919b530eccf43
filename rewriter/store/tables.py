"""The store's tables. Every row carries its tenant; a single installation has the one tenant ``default``.

Counterexamples inside evidence are generated data; no rows of a target are ever kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DEFAULT_TENANT = "default"
NAME_LENGTH = 512  # characters of a target's name


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Base of all tables."""


class Target(Base):
    """A database that was worked on, by its name without credentials."""

    __tablename__ = "targets"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    engine: Mapped[str] = mapped_column(String(128))
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class StoredQuery(Base):
    """A statement, once per rewrite key."""

    __tablename__ = "queries"
    __table_args__ = (UniqueConstraint("tenant", "rewrite_key", "text_hash"), Index("ix_queries_group", "group_key"))

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    rewrite_key: Mapped[str] = mapped_column(String(64))
    group_key: Mapped[str] = mapped_column(String(64))
    text_hash: Mapped[str] = mapped_column(String(64))
    dialect: Mapped[str] = mapped_column(String(32))
    text: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class Rewrite(Base):
    """One run of the pipeline: its outcome and its whole report."""

    __tablename__ = "rewrites"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    query_id: Mapped[int] = mapped_column(ForeignKey("queries.id"))
    catalog_hash: Mapped[str] = mapped_column(String(64))
    chosen_sql: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    ratio: Mapped[float | None] = mapped_column(Float)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now, index=True)


class RuleTrial(Base):
    """What the single steps of a rule did to measured time, summed up by dialect and shape of the query."""

    __tablename__ = "rule_trials"
    __table_args__ = (UniqueConstraint("tenant", "rule", "dialect", "shape"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    rule: Mapped[str] = mapped_column(String(128))
    dialect: Mapped[str] = mapped_column(String(32))
    shape: Mapped[str] = mapped_column(String(128))
    trials: Mapped[int] = mapped_column(default=0)
    wins: Mapped[int] = mapped_column(default=0)
    gained: Mapped[float] = mapped_column(Float, default=0.0)


class StoredRule(Base):
    """A rule document that a person wrote or that was learnt. ``origin``: user, model or distilled; ``status``: draft,
    stable, retired or rejected; ``reason``: what the last check or person said; ``ratio``: original time / rewritten
    time of the rewrites that it was learnt from. ``enabled``: a stable one is applied only while this is true."""

    __tablename__ = "rule_documents"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    name: Mapped[str] = mapped_column(String(128))
    origin: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    enabled: Mapped[bool] = mapped_column(default=True)
    text: Mapped[str] = mapped_column(Text)
    group: Mapped[int | None]
    ratio: Mapped[float | None] = mapped_column(Float)
    reason: Mapped[str] = mapped_column(Text, default="")
    changed_by: Mapped[str] = mapped_column(String(128), default="")
    changed: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class StoredExchange(Base):
    """One question to a language model with its answer, word for word as sent and received."""

    __tablename__ = "exchanges"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    key: Mapped[str] = mapped_column(String(64), index=True)
    endpoint: Mapped[str] = mapped_column(String(NAME_LENGTH))
    model: Mapped[str] = mapped_column(String(128))
    purpose: Mapped[str] = mapped_column(String(128))
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    response: Mapped[dict[str, Any]] = mapped_column(JSON)
    attempts: Mapped[int]
    seconds: Mapped[float] = mapped_column(Float)
    cost: Mapped[float] = mapped_column(Float)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class Spending(Base):
    """What a model has cost on one day (UTC): tokens, and US dollars. Failed attempts that a server may charge for
    count."""

    __tablename__ = "spending"
    __table_args__ = (UniqueConstraint("tenant", "day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    day: Mapped[str] = mapped_column(String(10))
    tokens: Mapped[int]
    cost: Mapped[float] = mapped_column(Float)


class StoredCapabilities(Base):
    """What an endpoint can do with a model, as probed."""

    __tablename__ = "capabilities"
    __table_args__ = (UniqueConstraint("tenant", "endpoint", "model"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    endpoint: Mapped[str] = mapped_column(String(NAME_LENGTH))
    model: Mapped[str] = mapped_column(String(128))
    found: Mapped[dict[str, bool]] = mapped_column(JSON)


class StoredKnowledge(Base):
    """What a model's rewrites have taught: ``kind`` is rule, lesson or demonstration; one row for each ``text`` of a
    kind."""

    __tablename__ = "knowledge"
    __table_args__ = (UniqueConstraint("tenant", "kind", "text_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    kind: Mapped[str] = mapped_column(String(16))
    text_hash: Mapped[str] = mapped_column(String(64))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class Evidence(Base):
    """How the equivalence of one candidate of a rewrite is known, or what refuted it."""

    __tablename__ = "evidence"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    rewrite_id: Mapped[str] = mapped_column(ForeignKey("rewrites.id"), index=True)
    candidate: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[dict[str, Any]] = mapped_column(JSON)


class StoredMeasurement(Base):
    """The timings of one entrant of a race."""

    __tablename__ = "measurements"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), default=DEFAULT_TENANT)
    rewrite_id: Mapped[str] = mapped_column(ForeignKey("rewrites.id"), index=True)
    label: Mapped[str] = mapped_column(String(64))
    seconds: Mapped[list[float]] = mapped_column(JSON)
    stopped_after: Mapped[float | None] = mapped_column(Float)
    error: Mapped[str | None] = mapped_column(Text)
