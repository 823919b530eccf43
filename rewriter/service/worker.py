"""A worker: claims jobs, keeps their leases while it works on them, and records how they ended.

It is a process of its own, also where the service runs on one machine: searching and verifying would hold the API's
interpreter, and a process can be killed without the API noticing more than a lease that runs out.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewriter.errors import RewriterError, StoreError, UsageError, place_of
from rewriter.records import Event
from rewriter.service.performing import Ending, Performer, waits
from rewriter.service.targets import check, reason_of
from rewriter.service.uploads import discard
from rewriter.service.vault import Vault, digest, vault_of
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.jobs import CANCELLED, DEAD, DONE, FAILED, JobRecord

log = logging.getLogger(__name__)

LEASE = 30.0  # seconds that a worker may be silent before its job is given to another
BEAT = 5.0  # seconds between two signs of life
IDLE = 0.25  # seconds between two looks at an empty queue
TOLD = 0.2  # seconds between two events of the same stage
LOOKS = 30.0  # seconds between two looks at every target's catalog
PATIENCE = 300.0  # seconds that a worker with a result in hand waits for a store that is away
UNTOLD = 1000  # events that are kept for a store that is away


class Stopped(Exception):
    """The job is to stop: cancelled, lost to another worker, or the worker itself is to end."""


class Worker:
    """Works on jobs until ``stop`` is set. Raises StoreError when the store cannot be opened at all."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self.settings = settings
        self.stop = stop
        self.name = f"{machine()}{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.store = Store(settings.store_url)
        self.vault: Vault = vault_of(settings)
        self.queue = self.store.queue()
        self.performer = Performer(settings, self.store, self.vault)
        self.current: JobRecord | None = None
        self._lost: JobRecord | None = None

    def run(self) -> None:
        """Work until told to stop. A store that is away for a while is waited for."""
        with self.living():
            while not self.stop.is_set():
                try:
                    if not self.once():
                        self.stop.wait(IDLE)
                except StoreError as error:
                    log.warning("the store is not to be had: %s", error.message)
                    self.stop.wait(BEAT)

    @contextlib.contextmanager
    def living(self) -> Iterator[None]:
        """Gives signs of life meanwhile; closes the store in the end."""
        threads = [
            threading.Thread(target=self._beat, name="beat", daemon=True),
            threading.Thread(target=self._watch_targets, name="targets", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            with contextlib.suppress(StoreError):
                self.queue.gone(self.name)
            for thread in threads:
                thread.join(BEAT)
            self.store.close()

    def once(self, only: str | None = None) -> bool:
        """Work on one job, of this id where one is given; False when there was none. Raises StoreError."""
        job = self.queue.claim(self.name, LEASE, only=only)
        if job is None:
            return False
        self.current = job
        try:
            self._work(job)
        finally:
            self.current = None
        return True

    def _work(self, job: JobRecord) -> None:
        telling = _Telling(self, job)
        try:
            ending = self.performer.perform(job, telling.progress, telling.tell)
            telling.flush()
            # Not ended so, it was to stop or is no longer ours; then this does nothing either.
            if not self._end(job, DONE, ending):
                self._end(job, CANCELLED)
        except Stopped:
            if self.stop.is_set() and self._lost is not job:
                self.queue.release(job)
            else:
                self._end(job, CANCELLED)
        except RewriterError as error:
            self._failed(job, error)
        except Exception as error:  # whatever a job does, the worker goes on
            # Not its text, which may quote SQL: the type and the place are enough to find it.
            log.error("job %s failed: %s at %s", job.id, type(error).__name__, place_of(error))
            body = {"code": "internal", "detail": type(error).__name__, "hint": "report what the worker's log says"}
            self._end(job, FAILED, lambda _: {"problem": body})

    def _end(self, job: JobRecord, state: str, outcome: Ending | None = None) -> bool:
        """Whether the job was ours to end."""
        ended = self._insist(lambda: self.queue.end(job, state, outcome))
        if ended:
            discard(self.settings, job.request)
        return ended

    def _insist(self, change: Callable[[], bool]) -> bool:
        """What a change of the store came to; a store that is away is waited for, because the work is done. (Whether a
        change whose answer was lost was made shows when it is tried again: it is fenced.) Raises StoreError."""
        deadline, pause = time.monotonic() + PATIENCE, IDLE
        while True:
            try:
                return change()
            except StoreError as error:
                if self.stop.is_set() or time.monotonic() > deadline:
                    raise
                log.warning("an outcome waits for the store: %s", error.message)
            self.stop.wait(pause)
            pause = min(2 * pause, BEAT)

    def _failed(self, job: JobRecord, error: RewriterError) -> None:
        problem = reason_of(error)
        wait = waits(error, job.attempt)
        if wait is not None:
            seconds = wait * random.uniform(0.5, 1.5)  # noqa: S311 (jitter)
            self._insist(lambda: self.queue.release(job, wait=seconds, problem=problem))
            return
        # What was worth trying again and still failed is left for people to look at.
        state = DEAD if waits(error, 0) is not None else FAILED
        self._end(job, state, lambda _: {"problem": problem})

    def _beat(self) -> None:
        """Signs of life, in a thread of its own; a worker that does nothing looks for jobs of those that are dead."""
        while not self.stop.is_set():
            job = self.current
            try:
                self.queue.seen(self.name, job.id if job is not None else None)
                if job is None:
                    self.queue.abandoned(machine(), alive)
                elif not self.queue.beat(job, LEASE):
                    self._lost = job
            except StoreError as error:
                log.warning("no sign of life could be given: %s", error.message)
            except Exception as error:  # without it, no job of this worker would be safe
                log.error("no sign of life could be given: %s at %s", type(error).__name__, place_of(error))
            self.stop.wait(BEAT if job is None else BEAT / 5)

    def _watch_targets(self) -> None:
        """Now and then a look at every target's catalog; apart from the signs of life, because a target may take long
        to answer."""
        while not self.stop.wait(LOOKS):
            try:
                if self.current is None:
                    self._look()
            except Exception as error:  # the next look may do better
                log.warning("the targets could not be looked at: %s at %s", type(error).__name__, place_of(error))

    def _look(self) -> None:
        """Read the catalogs of all targets, so that evidence on one that has changed is taken back."""
        for record in self.store.all_targets():
            if self.stop.is_set() or self.current is not None:
                return
            with contextlib.suppress(RewriterError):
                check(self.store, record, self.settings, self.vault)

    def check_stopped(self) -> None:
        """Raises Stopped when the current job is not to go on."""
        if self.stop.is_set() or (self.current is not None and self._lost is self.current):
            raise Stopped


class _Telling:
    """Turns the pipeline's progress into the job's events: every new stage at once, within a stage the latest now and
    then."""

    def __init__(self, worker: Worker, job: JobRecord) -> None:
        self._worker = worker
        self._job = job
        self._waiting: list[tuple[str, Mapping[str, Any]]] = []
        self._stage = ""
        self._told = 0.0

    def progress(self, event: Event) -> None:
        self._worker.check_stopped()
        body = {"stage": event.stage, "message": event.message, "done": event.done, "total": event.total}
        if event.data:
            self._waiting.append(("candidate", dict(event.data)))
        if self._waiting and self._waiting[-1][0] == "progress" and event.stage == self._stage:
            self._waiting[-1] = ("progress", body)
        else:
            self._waiting.append(("progress", body))
        now = time.monotonic()
        if event.stage != self._stage or now - self._told > TOLD:
            self._stage, self._told = event.stage, now
            self.flush()

    def tell(self, kind: str, body: Mapping[str, Any]) -> None:
        self._waiting.append((kind, body))

    def flush(self) -> None:
        if not self._waiting:
            return
        try:
            self._worker.queue.tell(self._job, self._waiting)
            self._waiting = []
        except StoreError:
            # News can wait, the work goes on; whether the job is still ours is found out by its beat and its end.
            self._waiting = self._waiting[-UNTOLD:]


@functools.cache
def machine() -> str:
    """How the names of all workers begin whose processes can be seen from here: the host, and a digest of its boot and
    of the process namespace (containers may share a host's name, and hosts may be called alike)."""
    parts = [f"{uuid.getnode()}"]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return f"{socket.gethostname()[:64]}:{digest(' '.join(parts))[:12]}:"


def alive(worker: str) -> bool:
    """Whether a worker of this machine is still a process. (Its number may have been given to another one by now; then
    its lease decides.)"""
    with contextlib.suppress(ValueError, IndexError):
        number = int(worker.rsplit(":", 2)[1])
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
    return True


def run_worker(settings: Settings, kinds: Sequence[str] = ()) -> None:
    """Work until SIGTERM or SIGINT; the job at hand then goes back to the queue. ``kinds``: of jobs to work on; none:
    all. Raises StoreError, UsageError."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if settings.queue == "procrastinate":
        from rewriter.service.cluster import KINDS, ClusterWorker  # only here: an extra

        ClusterWorker(settings, stop, kinds or KINDS).run()
        return
    if kinds:
        raise UsageError(
            "only with Procrastinate may a worker choose kinds of jobs", hint="REWRITER_QUEUE=procrastinate"
        )
    Worker(settings, stop).run()
