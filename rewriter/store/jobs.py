"""Jobs: durable pieces of work with a state, events, and exactly one recorded result.

A worker claims a job and renews its lease as a sign of life. A job whose lease is not renewed any more (the worker was
killed) becomes claimable again; the attempt number and the worker's name are its fencing token, which keeps the earlier
worker, should it still live, from ending it a second time.

Whether a lease is still renewed is judged by watching it change, on the watcher's own monotonic clock, and not by what
it says: clocks of several hosts differ, and clocks are set (Gray and Cheriton, SOSP 1989, on leases and faulty clocks).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    Update,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session, aliased

from rewriter.errors import Conflict
from rewriter.store.database import Sessions, again
from rewriter.store.service_tables import Idempotency, Job, JobEvent, Worker

QUEUED, RUNNING, DONE, FAILED, CANCELLED, DEAD = "queued", "running", "done", "failed", "cancelled", "dead"
ENDED = frozenset({DONE, FAILED, CANCELLED, DEAD})
CRASHES = 3  # attempts that may end without a word before a job is given up
CLAIM_LOCK = 0x72657771  # any number, as long as every version takes the same
LONGEST_WAIT = 600.0  # seconds; a job that seems to wait for longer was put back before the clock was set back
REMEMBERED = 86400.0  # seconds for which a worker that was killed stays on record


@dataclass(frozen=True)
class JobRecord:
    """One job as it stands. Moments are seconds since the epoch. ``result``: what a verification or batch came to;
    ``rewrite_id``: the stored report of a rewrite; ``problem``: code, detail and hint of why it ended without."""

    id: str
    tenant: str
    kind: str
    target: str
    place: str
    actor: str
    state: str
    stage: str
    request: Mapping[str, Any]
    request_hash: str
    batch: str | None
    rewrite_id: str | None
    result: Mapping[str, Any] | None
    problem: Mapping[str, Any] | None
    attempt: int
    worker: str | None
    not_before: float
    stop: bool
    created: float
    started: float | None
    finished: float | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class NewJob:
    """A job to be submitted."""

    kind: str
    target: str
    place: str
    actor: str
    request: Mapping[str, Any]
    request_hash: str
    batch: str | None = None


@dataclass(frozen=True)
class JobEventRecord:
    id: int
    kind: str
    body: Mapping[str, Any]
    at: float


@dataclass(frozen=True)
class Filter:
    """Which jobs to list, newest first; ``before``: (created, id) of the last one already seen."""

    kind: str | None = None
    state: str | None = None
    target: str | None = None
    batch: str | None = None
    before: tuple[float, str] | None = None
    limit: int = 50


Ending = Callable[[Session], Mapping[str, Any]]
Announce = Callable[[Session, Job], None]
_FIELDS = tuple(JobRecord.__dataclass_fields__)


@dataclass(frozen=True)
class Jobs:
    """The jobs of one tenant. All methods raise StoreError. ``announce``: see ``Store``."""

    sessions: Sessions
    tenant: str = "default"
    announce: Announce | None = None

    def submit(self, job: NewJob, *, idempotency_key: str | None = None) -> tuple[JobRecord, bool]:
        """The job, and whether it is new. Under a known idempotency key the earlier job is returned. Raises Conflict
        when that key was used for another request."""

        def add(session: Session) -> tuple[JobRecord, bool]:
            if idempotency_key is not None:
                known = session.scalar(
                    select(Idempotency).filter_by(tenant=self.tenant, actor=job.actor, key=idempotency_key)
                )
                if known is not None:
                    if known.request_hash != job.request_hash:
                        raise Conflict(
                            "this Idempotency-Key was used for another request",
                            hint="use a new key for a new request",
                            code="idempotency-conflict",
                        )
                    return _record(session.get_one(Job, known.job_id)), False
            row = self.add(session, job)
            if idempotency_key is not None:
                session.add(
                    Idempotency(
                        tenant=self.tenant,
                        actor=job.actor,
                        key=idempotency_key,
                        request_hash=job.request_hash,
                        job_id=row.id,
                    )
                )
            session.flush()
            return _record(row), True

        return again(self.sessions, add)

    def add(self, session: Session, job: NewJob) -> Job:
        """Submit a job inside a transaction that does more."""
        row = Job(id=uuid.uuid4().hex, tenant=self.tenant, **_values(job))
        session.add(row)
        session.flush()
        session.add(JobEvent(tenant=self.tenant, job_id=row.id, kind=QUEUED, body={}))
        if self.announce is not None:
            self.announce(session, row)
        return row

    def find(self, identifier: str) -> JobRecord | None:
        with self.sessions() as session:
            row = session.scalar(select(Job).where(Job.tenant == self.tenant, Job.id == identifier))
            return None if row is None else _record(row)

    def of(self, identifiers: Sequence[str]) -> dict[str, JobRecord]:
        """By id, those that there are."""
        query = select(Job).where(Job.tenant == self.tenant, Job.id.in_(identifiers))
        with self.sessions() as session:
            return {row.id: _record(row) for row in session.scalars(query)}

    def latest(self, kind: str, target: str, request_hash: str) -> JobRecord | None:
        """The newest job for the same request that has ended well or is still on its way."""
        query = select(Job).where(
            Job.tenant == self.tenant,
            Job.kind == kind,
            Job.target == target,
            Job.request_hash == request_hash,
            Job.state.in_([QUEUED, RUNNING, DONE]),
            Job.stop.is_(False),
        )
        with self.sessions() as session:
            row = session.scalar(query.order_by(Job.created.desc(), Job.id.desc()).limit(1))
            return None if row is None else _record(row)

    def listed(self, which: Filter) -> list[JobRecord]:
        query = select(Job).where(Job.tenant == self.tenant)
        for column, value in (
            (Job.kind, which.kind),
            (Job.state, which.state),
            (Job.target, which.target),
            (Job.batch, which.batch),
        ):
            if value is not None:
                query = query.where(column == value)
        if which.before is not None:
            created, identifier = which.before
            query = query.where(or_(Job.created < created, and_(Job.created == created, Job.id < identifier)))
        query = query.order_by(Job.created.desc(), Job.id.desc()).limit(which.limit)
        with self.sessions() as session:
            return [_record(row) for row in session.scalars(query)]

    def counts(self, batch: str | None = None) -> dict[str, int]:
        """How many jobs there are by state; of one batch where that is given."""
        query = select(Job.state, func.count()).where(Job.tenant == self.tenant).group_by(Job.state)
        if batch is not None:
            query = query.where(Job.batch == batch)
        with self.sessions() as session:
            return {state: int(number) for state, number in session.execute(query)}

    def events(self, identifier: str, after: int = 0, most: int = 500) -> list[JobEventRecord]:
        query = (
            select(JobEvent)
            .where(JobEvent.tenant == self.tenant, JobEvent.job_id == identifier, JobEvent.id > after)
            .order_by(JobEvent.id)
            .limit(most)
        )
        with self.sessions() as session:
            return [JobEventRecord(row.id, row.kind, dict(row.body), row.at) for row in session.scalars(query)]

    def cancel(self, identifier: str) -> JobRecord | None:
        """Stop a job, and the jobs of a batch: what waits ends now, what runs ends at its next step."""

        def change(session: Session) -> JobRecord | None:
            row = session.scalar(select(Job).where(Job.tenant == self.tenant, Job.id == identifier))
            if row is None:
                return None
            ours = and_(Job.tenant == self.tenant, or_(Job.id == identifier, Job.batch == identifier))
            # First the mark, which a job keeps that a worker takes or gives back at this moment.
            _change(session, update(Job).where(ours, Job.state.in_([QUEUED, RUNNING])).values(stop=True))
            waiting = session.scalars(select(Job.id).where(ours, Job.state == QUEUED)).all()
            taken = update(Job).where(Job.id.in_(waiting), Job.state == QUEUED)
            _change(session, taken.values(state=CANCELLED, finished=time.time()))
            session.add_all(JobEvent(tenant=self.tenant, job_id=one, kind=CANCELLED, body={}) for one in waiting)
            session.flush()
            session.refresh(row)
            return _record(row)

        return again(self.sessions, change)

    def revive(self, identifier: str) -> JobRecord | None:
        """Put a job that was given up, failed or was cancelled into the queue again, with all its attempts; of a batch,
        also such jobs among its rewrites."""

        def change(session: Session) -> JobRecord | None:
            row = session.scalar(select(Job).where(Job.tenant == self.tenant, Job.id == identifier))
            if row is None:
                return None
            ours = and_(Job.tenant == self.tenant, or_(Job.id == identifier, Job.batch == identifier))
            over = Job.state.in_([DEAD, FAILED, CANCELLED])
            fresh = {"state": QUEUED, "attempt": 0, "problem": None, "finished": None, "stop": False, "not_before": 0.0}
            for one in session.scalars(select(Job.id).where(ours, over)).all():
                if _change(session, update(Job).where(Job.id == one, over).values(**fresh)):
                    session.add(JobEvent(tenant=self.tenant, job_id=one, kind=QUEUED, body={"revived": True}))
            session.flush()
            session.refresh(row)
            return _record(row)

        return again(self.sessions, change)


@dataclass(frozen=True)
class Queue:
    """What workers do with the jobs of all tenants. One for each process: it remembers which leases it has seen
    renewed. All methods raise StoreError."""

    sessions: Sessions
    _watch: _Watch = field(default_factory=lambda: _Watch())

    def claim(self, worker: str, lease: float, *, only: str | None = None) -> JobRecord | None:
        """The oldest job that may be worked on now, with a lease of so many seconds; None: there is none. On one place
        (database) one job runs at a time, because measuring two at once would measure neither."""

        def take(session: Session) -> JobRecord | None:
            _one_at_a_time(session)
            now = time.time()
            self._recover(session, lease)
            busy = aliased(Job)
            query = (
                select(Job)
                .where(
                    Job.state == QUEUED,
                    due(now),
                    ~exists().where(busy.place == Job.place, busy.state == RUNNING),
                )
                .order_by(Job.created, Job.id)
                .limit(1)
            )
            if only is not None:
                query = query.where(Job.id == only)
            row = session.scalar(query)
            if row is None:
                return None
            row.state, row.attempt, row.worker = RUNNING, row.attempt + 1, worker
            row.lease, row.started, row.stage = now + lease, row.started or now, "start"
            session.add(JobEvent(tenant=row.tenant, job_id=row.id, kind=RUNNING, body={"attempt": row.attempt}))
            session.flush()
            return _record(row)

        return again(self.sessions, take)

    def recover(self, lease: float) -> None:
        """Take back the jobs whose worker has not renewed its lease for so many seconds, as far as this process has
        watched. Claiming does so too."""

        def change(session: Session) -> None:
            _one_at_a_time(session)
            self._recover(session, lease)

        again(self.sessions, change)

    def _recover(self, session: Session, lease: float) -> None:
        running = session.scalars(select(Job).where(Job.state == RUNNING)).all()
        late = self._watch.silent({row.id: (row.attempt, row.worker, row.lease) for row in running}, lease)
        for row in running:
            if row.id in late:
                _lose(session, row)
        session.flush()

    def abandoned(self, worker_prefix: str, alive: Callable[[str], bool]) -> int:
        """Take back the jobs of workers of this machine that are known to be dead; how many."""
        theirs = select(Job).where(Job.state == RUNNING, Job.worker.startswith(worker_prefix, autoescape=True))

        def gone(session: Session) -> list[Job]:
            return [row for row in session.scalars(theirs) if row.worker is not None and not alive(row.worker)]

        def change(session: Session) -> int:
            _one_at_a_time(session)
            rows = gone(session)
            for row in rows:
                _lose(session, row)
            old = delete(Worker).where(Worker.seen < time.time() - REMEMBERED)
            session.execute(old.execution_options(synchronize_session=False))
            return len(rows)

        with self.sessions() as session:
            if not gone(session):
                return 0
        return again(self.sessions, change)

    def beat(self, job: JobRecord, lease: float) -> bool:
        """Renew the lease; False when the job is to stop or is no longer ours."""
        with self.sessions() as session:
            if not _change(session, _ours(job).values(lease=time.time() + lease)):
                return False
            return session.scalar(select(Job.stop).where(Job.id == job.id)) is False

    def tell(self, job: JobRecord, events: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Add events; those of a stage move the job there. Nothing is written when the job is no longer ours."""
        stages = [str(body["stage"])[:32] for _, body in events if "stage" in body]
        with self.sessions() as session:
            if _change(session, _ours(job).values(stage=stages[-1] if stages else Job.stage)):
                session.add_all(
                    JobEvent(tenant=job.tenant, job_id=job.id, kind=kind, body=dict(body)) for kind, body in events
                )

    def end(self, job: JobRecord, state: str, outcome: Ending | None = None) -> bool:
        """End a job and record its outcome, in one transaction: ``outcome`` writes what belongs to it and returns the
        job's last fields. False, with nothing written, when another attempt has taken over, or when it is done but was
        to stop meanwhile: a batch that was cancelled orders nothing any more."""

        def change(session: Session) -> bool:
            # First the state, so that of two who end a job the second finds it ended before it has written anything.
            ours = _ours(job) if state != DONE else _ours(job).where(Job.stop.is_(False))
            if not _change(session, ours.values(state=state, lease=None, finished=time.time())):
                return False
            fields = dict(outcome(session)) if outcome is not None else {}
            if fields:
                session.execute(update(Job).where(Job.id == job.id).values(**fields))
            body = {name: fields[name] for name in ("rewrite_id", "problem") if fields.get(name)}
            session.add(JobEvent(tenant=job.tenant, job_id=job.id, kind=state, body=body))
            return True

        return again(self.sessions, change)

    def release(self, job: JobRecord, *, wait: float = 0.0, problem: Mapping[str, Any] | None = None) -> bool:
        """Give a job back to the queue, to be claimed after ``wait`` seconds; one that was to stop is cancelled. An
        interruption that is not the job's fault (no ``problem``) does not count as an attempt."""
        values: dict[str, Any] = {"state": QUEUED, "lease": None, "not_before": time.time() + wait}
        if problem is None:
            values["attempt"] = job.attempt - 1
        else:
            values["problem"] = dict(problem)
        with self.sessions() as session:
            if _change(session, _ours(job).where(Job.stop.is_(False)).values(**values)):
                body = {"wait": wait, "problem": dict(problem)} if problem is not None else {}
                session.add(JobEvent(tenant=job.tenant, job_id=job.id, kind=QUEUED, body=body))
                return True
        return self.end(job, CANCELLED)

    def seen(self, worker: str, job: str | None) -> None:
        """A worker is alive, and what it works on."""

        def change(session: Session) -> None:
            row = session.get(Worker, worker)
            if row is None:
                session.add(Worker(id=worker, job_id=job))
            else:
                row.seen, row.job_id = time.time(), job

        again(self.sessions, change)

    def gone(self, worker: str) -> None:
        """A worker has ended as it should."""
        with self.sessions() as session:
            row = session.get(Worker, worker)
            if row is not None:
                session.delete(row)

    def workers(self, within: float) -> list[tuple[str, float, str | None]]:
        """(id, seconds since last seen, job) of the workers seen within so many seconds."""
        now = time.time()
        with self.sessions() as session:
            rows = session.scalars(
                select(Worker).where(Worker.seen.between(now - within, now + within)).order_by(Worker.id)
            )
            return [(row.id, now - row.seen, row.job_id) for row in rows]

    def numbers(self) -> list[tuple[str, str, int]]:
        """(kind, state, jobs) of all tenants."""
        with self.sessions() as session:
            rows = session.execute(select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state))
            return [(kind, state, int(number)) for kind, state, number in rows]

    def waiting(self) -> list[tuple[str, str]]:
        """(id, place) of all jobs that wait."""
        with self.sessions() as session:
            query: Select[str, str] = select(Job.id, Job.place).where(Job.state == QUEUED)
            return [(one, place) for one, place in session.execute(query.order_by(Job.created, Job.id))]


def due(now: float) -> ColumnElement[bool]:
    """Whether a job that waits may be begun."""
    return or_(Job.not_before <= now, Job.not_before > now + LONGEST_WAIT)


class _Watch:
    """Since when which lease has stood as it stands, as this process saw it."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, float]] = {}
        self._looked = 0.0

    def silent(self, leases: Mapping[str, object], seconds: float) -> set[str]:
        """The jobs whose lease has not changed for so many seconds."""
        now = time.monotonic()
        if now - self._looked > seconds / 2:
            self._seen.clear()  # who could not look (the store was away) has not seen silence
        self._looked = now
        before = self._seen
        self._seen = {
            job: before[job] if job in before and before[job][0] == lease else (lease, now)
            for job, lease in leases.items()
        }
        return {job for job, (_, since) in self._seen.items() if now - since >= seconds}


def _lose(session: Session, row: Job) -> None:
    """A job whose worker is lost waits again; after too many attempts it is given up."""
    now = time.time()
    if row.stop:
        row.state, row.finished = CANCELLED, now
    elif row.attempt >= CRASHES:
        row.state, row.finished = DEAD, now
        row.problem = {
            "code": "worker-lost",
            "detail": f"given up after {row.attempt} attempts, in the last of which its worker was lost",
            "hint": "look at the workers' log, then put it into the queue again",
        }
    else:
        row.state, row.not_before = QUEUED, now
    row.lease = None
    session.add(JobEvent(tenant=row.tenant, job_id=row.id, kind=row.state, body={"worker": "lost"}))


def _ours(job: JobRecord) -> Update:
    """The job, as long as this attempt of this worker is the latest."""
    return update(Job).where(
        Job.id == job.id, Job.attempt == job.attempt, Job.worker == job.worker, Job.state == RUNNING
    )


def _change(session: Session, statement: Update) -> bool:
    """Whether it changed anything."""
    done = session.execute(statement.execution_options(synchronize_session=False))
    return isinstance(done, CursorResult) and done.rowcount > 0


def _one_at_a_time(session: Session) -> None:
    """Claims follow each other: SQLite takes its write lock, Postgres an advisory one, until the transaction ends."""
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("UPDATE workers SET seen = seen WHERE id = ''"))
    else:
        session.execute(text(f"SELECT pg_advisory_xact_lock({CLAIM_LOCK})"))


def _values(job: NewJob) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "target": job.target,
        "place": job.place,
        "actor": job.actor,
        "request": dict(job.request),
        "request_hash": job.request_hash,
        "batch": job.batch,
    }


def _record(row: Job) -> JobRecord:
    return JobRecord(**{name: getattr(row, name) for name in _FIELDS})
