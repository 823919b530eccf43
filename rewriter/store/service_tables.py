"""The tables of the service: registered targets, jobs with their events, keys, reviews, the audit log.

Moments are seconds since the epoch (UTC): leases and waits are compared by machines, and SQLite keeps no time zones.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from rewriter.store.tables import Base


class RegisteredTarget(Base):
    """A database that an admin has registered. Its URL is named by ``reference`` (env:NAME, file:PATH) or is in
    ``sealed``, encrypted; ``shown`` is the URL without credentials. ``place`` tells databases apart, whatever they are
    called here. ``runs``: queries may be run on it, not only planned."""

    __tablename__ = "registered_targets"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str | None] = mapped_column(String(512))
    sealed: Mapped[str | None] = mapped_column(Text)
    shown: Mapped[str] = mapped_column(String(512))
    place: Mapped[str] = mapped_column(String(64))
    runs: Mapped[bool] = mapped_column(default=True)
    enabled: Mapped[bool] = mapped_column(default=True)
    dialect: Mapped[str | None] = mapped_column(String(32))
    engine: Mapped[str | None] = mapped_column(String(128))
    catalog_hash: Mapped[str | None] = mapped_column(String(64))
    catalog_version: Mapped[str | None] = mapped_column(String(64))
    checked: Mapped[float | None] = mapped_column(Float)
    problem: Mapped[str | None] = mapped_column(Text)
    created: Mapped[float] = mapped_column(Float, default=time.time)


class Job(Base):
    """One piece of work: a rewrite, a verification, a batch. ``attempt`` is its fencing token: only who holds the
    latest attempt may end it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_waiting", "state", "not_before"),
        Index("ix_jobs_tenant", "tenant", "kind", "created"),
        Index("ix_jobs_request", "tenant", "request_hash"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(64))
    place: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(128))
    state: Mapped[str] = mapped_column(String(16), default="queued")
    stage: Mapped[str] = mapped_column(String(32), default="")
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    request_hash: Mapped[str] = mapped_column(String(64))
    batch: Mapped[str | None] = mapped_column(String(32), index=True)
    rewrite_id: Mapped[str | None] = mapped_column(ForeignKey("rewrites.id"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    attempt: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(Float, default=0.0)
    lease: Mapped[float | None] = mapped_column(Float)
    worker: Mapped[str | None] = mapped_column(String(128))
    stop: Mapped[bool] = mapped_column(default=False)
    created: Mapped[float] = mapped_column(Float, default=time.time)
    started: Mapped[float | None] = mapped_column(Float)
    finished: Mapped[float | None] = mapped_column(Float)


class JobEvent(Base):
    """What happened in a job, in order of ``id``."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[float] = mapped_column(Float, default=time.time)


class Idempotency(Base):
    """What a client's Idempotency-Key stands for."""

    __tablename__ = "idempotency"
    __table_args__ = (UniqueConstraint("tenant", "actor", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(128))
    key: Mapped[str] = mapped_column(String(255))
    request_hash: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(String(32))
    created: Mapped[float] = mapped_column(Float, default=time.time)


class Worker(Base):
    """A process that works on jobs, and when it was last seen."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    started: Mapped[float] = mapped_column(Float, default=time.time)
    seen: Mapped[float] = mapped_column(Float, default=time.time)
    job_id: Mapped[str | None] = mapped_column(String(32))


class ApiKey(Base):
    """A key of the service. Only its SHA-256 is kept; ``id`` is the visible part of it. ``rate``: requests a minute;
    ``day_tokens`` and ``day_cost``: what language models may cost on one day for this key (None: the service's)."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(128))
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    rate: Mapped[int | None]
    day_tokens: Mapped[int | None]
    day_cost: Mapped[float | None] = mapped_column(Float)
    created: Mapped[float] = mapped_column(Float, default=time.time)
    created_by: Mapped[str] = mapped_column(String(128))
    used: Mapped[float | None] = mapped_column(Float)
    revoked: Mapped[float | None] = mapped_column(Float)


class KeySpending(Base):
    """What a key's jobs have paid to language models on one day (UTC)."""

    __tablename__ = "key_spending"
    __table_args__ = (UniqueConstraint("tenant", "actor", "day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(128))
    day: Mapped[str] = mapped_column(String(10))
    tokens: Mapped[int]
    cost: Mapped[float] = mapped_column(Float)


class AuditEntry(Base):
    """Who did what, when. ``detail`` never holds SQL, literals or credentials."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[float] = mapped_column(Float, default=time.time)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(128))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class Review(Base):
    """What people decided about a rewrite (``state``: waiting, approved, rejected, disabled; ``mode``: how far clients
    may go) and whether its evidence still holds (``currency``: current, invalid, remeasure)."""

    __tablename__ = "reviews"
    __table_args__ = (
        Index("ix_reviews_lookup", "tenant", "target", "exact_key"),
        Index("ix_reviews_state", "tenant", "state", "currency"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(64))
    rewrite_id: Mapped[str] = mapped_column(ForeignKey("rewrites.id"))
    rewrite_key: Mapped[str] = mapped_column(String(64))
    exact_key: Mapped[str] = mapped_column(String(64))
    catalog_hash: Mapped[str] = mapped_column(String(64))
    tables: Mapped[list[Any]] = mapped_column(JSON)
    rows: Mapped[float | None] = mapped_column(Float)
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    mode: Mapped[str] = mapped_column(String(16), default="shadow")
    reason: Mapped[str] = mapped_column(Text, default="")
    actor: Mapped[str] = mapped_column(String(128), default="")
    changed: Mapped[float] = mapped_column(Float, default=time.time)
    currency: Mapped[str] = mapped_column(String(16), default="current")
    currency_reason: Mapped[str] = mapped_column(Text, default="")
    saved_per_day: Mapped[float | None] = mapped_column(Float)


class RuleSwitch(Base):
    """A rule that is switched off (or on again) for a target."""

    __tablename__ = "rule_switches"
    __table_args__ = (UniqueConstraint("tenant", "target", "rule"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(64))
    rule: Mapped[str] = mapped_column(String(128))
    enabled: Mapped[bool]
    actor: Mapped[str] = mapped_column(String(128))
    changed: Mapped[float] = mapped_column(Float, default=time.time)
