"""Where snapshots come from: the service, polled by a daemon thread, and a copy on disk for a start without it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from rewriter.clients.feedback import Feedback
from rewriter.clients.http import Service
from rewriter.clients.snapshot import MAX_BODY, Snapshot, decode_public_key, read
from rewriter.errors import SnapshotError

log = logging.getLogger("rewriter.clients")

JITTER = 0.2  # share of the interval by which polls are spread, so that processes do not ask in step
MOST_BACKOFF = 16  # intervals


class Source:
    """Hands every new snapshot to ``receive``; ``start`` begins polling.

    ``interval`` is in seconds. ``copy`` is a file for the last good snapshot. It is checked like an answer of the
    service when it is read, so whoever can write to it can withhold rewrites and cannot make any.
    """

    def __init__(
        self,
        service: Service,
        target: str,
        public_key: str,
        receive: Callable[[Snapshot], None],
        feedback: Feedback,
        *,
        interval: float = 30.0,
        copy: Path | None = None,
    ) -> None:
        self.error: str | None = None
        self._service = service
        self._target = target
        self._public_key = decode_public_key(public_key)
        self._receive = receive
        self._feedback = feedback
        self._interval = interval
        self._copy = copy
        self._etag: str | None = None
        self._newest: datetime | None = None
        self._expires: datetime | None = None
        self._ending = threading.Event()
        self._poll_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read the copy on disk and begin polling. The first poll is made in the thread: nothing waits for it."""
        if self._thread is not None:
            return
        self._load_copy()
        self._thread = threading.Thread(target=self._run, name="rewriter-snapshots", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._feedback.urgent.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
            self._thread = None

    def poll(self) -> bool:
        """Ask once; whether a new snapshot came. Raises SnapshotError when there is none that can be used."""
        with self._poll_lock:
            try:
                fresh = self._poll()
                self.error = None
                return fresh
            except SnapshotError as error:
                self.error = error.code
                raise

    def _poll(self) -> bool:
        expired = self._expires is not None and self._expires <= datetime.now(UTC)
        headers = {"If-None-Match": self._etag} if self._etag is not None and not expired else {}
        answer = self._service.request("GET", f"/v1/snapshots/{quote(self._target, safe='')}", headers)
        if answer.status == 304:
            return False
        if answer.status != 200:
            raise SnapshotError(f"the service answers with status {answer.status}", code="snapshot-unreachable")
        signature = answer.headers.get("rewriter-signature", "")
        self._take(answer.body, signature)
        self._etag = answer.headers.get("etag")
        self._save_copy(answer.body, signature)
        return True

    def _take(self, body: bytes, signature: str) -> None:
        snapshot = read(body, signature, self._public_key, target=self._target, newest=self._newest)
        self._newest, self._expires = snapshot.issued, snapshot.expires
        self._receive(snapshot)

    def _run(self) -> None:
        failures = 0
        while not self._ending.is_set():
            known = self.error
            try:
                self.poll()
                failures = 0
            except SnapshotError as error:
                failures += 1
                if error.code != known:
                    log.warning("no new snapshot of approved rewrites: %s", error.code)
            except Exception as error:  # the thread must not end; a snapshot that is not renewed expires
                failures += 1
                log.warning("no new snapshot of approved rewrites: %s", type(error).__name__)
            self._send()
            pause = self._interval * min(2**failures, MOST_BACKOFF)
            self._feedback.urgent.wait(pause * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret
            if self._feedback.urgent.is_set():
                self._send()
                self._ending.wait(min(1.0, self._interval))  # a storm of errors is no storm of requests

    def _send(self) -> None:
        with contextlib.suppress(Exception):  # feedback is worth less than the application
            self._feedback.send(self._service)

    def _load_copy(self) -> None:
        if self._copy is None:
            return
        try:
            with self._copy.open("rb") as file:
                content = file.read(MAX_BODY + 1000)
            signature, _, body = content.partition(b"\n")
            self._take(body, signature.decode("ascii", "replace"))
        except FileNotFoundError:
            pass
        except SnapshotError as error:
            log.warning("the copy of the snapshot is not used: %s", error.code)
        except OSError as error:
            log.warning("the copy of the snapshot cannot be read: %s", type(error).__name__)

    def _save_copy(self, body: bytes, signature: str) -> None:
        """A file of the user's own, put in place whole."""
        if self._copy is None:
            return
        try:
            self._copy.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._copy.parent, prefix=self._copy.name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(signature.encode("ascii", "replace") + b"\n" + body)
                Path(name).replace(self._copy)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            log.warning("the copy of the snapshot cannot be written: %s", type(error).__name__)
