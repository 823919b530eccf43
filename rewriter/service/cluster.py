"""Workers on many hosts, called by Procrastinate (https://procrastinate.readthedocs.io) on the store's Postgres.

The jobs table stays the record, and claims, leases and results are those of the local runner; Procrastinate only tells
idle workers at once which job waits. So its own jobs are deleted when they end, one that gets lost is deferred again by
whoever sweeps next, and one that is deferred twice finds nothing to claim.

There is a queue for each kind of job, since that is what wants different hosts: a rewrite one near its target, a
verification nothing but cores, a batch the files of the log. The stages of one job share a connection, an engine and
what was learnt by measuring, so they are not cut apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Text, cast, column, exists, select, table
from sqlalchemy.orm import Session

from rewriter.errors import StoreError, UsageError
from rewriter.service.performing import BATCH, REWRITE, VERIFICATION
from rewriter.service.worker import LEASE, Worker
from rewriter.settings import Settings
from rewriter.store.database import plain
from rewriter.store.jobs import QUEUED, due
from rewriter.store.service_tables import Job

try:
    import procrastinate
    from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
    from procrastinate.jobs import Status
    from procrastinate.schema import SchemaManager
except ImportError:
    raise UsageError("Procrastinate is not installed", hint="pip install 'rewriter[cluster]'") from None

log = logging.getLogger(__name__)

KINDS = (REWRITE, VERIFICATION, BATCH)
TASK = "rewriter.work"
SWEEP = 1.0  # seconds between two looks for jobs that nobody was told of: retries, revivals, losses
MOST = 500  # jobs deferred in one sweep
HEARTBEAT = 3.0  # seconds between two heartbeats of a worker, for Procrastinate
STALLED = 20.0  # seconds without one, after which its task is taken from it
SCHEMA_LOCK = 0x72657778  # any number, as long as every version takes the same

_tasks = table("procrastinate_jobs", column("queueing_lock"), column("status"))


def conninfo_of(settings: Settings) -> str:
    """The store as libpq knows it. Raises UsageError for another store than Postgres."""
    scheme, mark, rest = settings.store_url.partition("://")
    if not scheme.startswith("postgres"):
        raise UsageError("Procrastinate needs a store on Postgres", hint="set REWRITER_STORE to postgresql://...")
    return f"postgresql{mark}{rest}"


def prepare(settings: Settings) -> None:
    """Make Procrastinate's tables where they are missing, once, whoever comes first. Raises StoreError, UsageError."""
    try:
        with psycopg.connect(conninfo_of(settings), connect_timeout=10) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            found = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
            if found is None or found[0] is None:
                connection.execute(SchemaManager.get_schema())
    except psycopg.Error as error:
        raise StoreError(f"Procrastinate's tables cannot be made: {plain(error)}", hint="see docs/cluster.md") from None


def announcing(settings: Settings) -> Callable[[Session, Job], None]:
    """What tells workers of a new job, in the transaction that adds it: both are there or neither."""
    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=conninfo_of(settings)))

    def announce(session: Session, job: Job) -> None:
        connection = session.connection().connection.driver_connection
        _task(app, job.id, job.kind, job.place, connection).defer(job_id=job.id)

    return announce


def _task(app: procrastinate.App, identifier: str, kind: str, place: str, connection: Any = None) -> Any:
    """``lock``: on one place one job at a time, as when claiming. ``queueing_lock``: told once, until it is begun."""
    return app.configure_task(
        TASK, queue=kind, lock=place, queueing_lock=identifier, **({"connection": connection} if connection else {})
    )


def _reason(error: Exception) -> str:
    return plain(error.__cause__ if isinstance(error.__cause__, Exception) else error)


class ClusterWorker:
    """Works on jobs of some kinds until ``stop`` is set. Raises StoreError, UsageError."""

    def __init__(self, settings: Settings, stop: threading.Event, kinds: Sequence[str] = KINDS) -> None:
        strange = sorted(set(kinds) - set(KINDS))
        if strange or not kinds:
            raise UsageError(
                f"there is no kind of job {', '.join(strange) or '(none)'}", hint=f"use {', '.join(KINDS)}"
            )
        prepare(settings)
        self._kinds = tuple(kinds)
        self._conninfo = conninfo_of(settings)
        self._stop = stop
        self._worker = Worker(settings, stop)
        self._worker.store.announce = announcing(settings)

    def run(self) -> None:
        """Work until told to stop. A store that is away for a while is waited for."""
        with self._worker.living():
            while not self._stop.is_set():
                try:
                    asyncio.run(self._served())
                except (ConnectorException, StoreError, psycopg.Error, OSError) as error:
                    log.warning("the store is not to be had: %s", _reason(error))
                self._stop.wait(SWEEP)

    async def _served(self) -> None:
        """Until told to stop, or until the store went away."""
        connector = procrastinate.PsycopgConnector(conninfo=self._conninfo, min_size=1, max_size=4, timeout=10.0)
        app = procrastinate.App(connector=connector)
        app.task(name=TASK)(self._work)
        async with app.open_async():
            serving = asyncio.create_task(
                app.run_worker_async(
                    queues=list(self._kinds),
                    concurrency=1,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    fetch_job_polling_interval=SWEEP,
                    update_heartbeat_interval=HEARTBEAT,
                    stalled_worker_timeout=STALLED,
                )
            )
            sweeping = asyncio.create_task(self._sweeping(app))
            try:
                while not self._stop.is_set() and not serving.done():
                    await asyncio.sleep(0.1)
            finally:
                sweeping.cancel()
                serving.cancel()  # waits for the job at hand, which sees that it is to stop
                await asyncio.gather(serving, sweeping, return_exceptions=True)
            if not self._stop.is_set() and not serving.cancelled() and (error := serving.exception()) is not None:
                raise error

    def _work(self, job_id: str) -> None:
        self._worker.once(only=job_id)

    async def _sweeping(self, app: procrastinate.App) -> None:
        """Defer what waits and nobody was told of, and free the places of workers that were lost."""
        while True:
            try:
                for stalled in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED):
                    if stalled.task_name == TASK and stalled.id is not None:
                        # Our own record says what becomes of the job; if it is to be done again, it is deferred below.
                        await app.job_manager.finish_job_by_id_async(stalled.id, Status.FAILED, delete_job=True)
                for identifier, kind, place in await asyncio.to_thread(self._unannounced):
                    with contextlib.suppress(AlreadyEnqueued):
                        await _task(app, identifier, kind, place).defer_async(job_id=identifier)
            except (ConnectorException, StoreError) as error:
                log.warning("jobs could not be deferred: %s", _reason(error))
            await asyncio.sleep(SWEEP)

    def _unannounced(self) -> list[tuple[str, str, str]]:
        """(id, kind, place) of the jobs that may be begun and of which no worker was told."""
        self._worker.queue.recover(LEASE)
        told = exists().where(_tasks.c.queueing_lock == Job.id, cast(_tasks.c.status, Text).in_(["todo", "doing"]))
        query = (
            select(Job.id, Job.kind, Job.place)
            .where(Job.state == QUEUED, due(time.time()), ~told)
            .order_by(Job.created, Job.id)
            .limit(MOST)
        )
        with self._worker.queue.sessions() as session:
            return [(one, kind, place) for one, kind, place in session.execute(query)]
