"""The real service: an API process with its worker process, on a store of its own, over a real socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ADMIN = "rk_admin_" + "0123456789abcdef" * 4
START = 90.0  # seconds that a loaded machine may take to start the service


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Speaks to the service at ``port`` with ``key``."""

    port: int
    key: str | None = ADMIN
    log: Path = field(default_factory=Path)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 120.0,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {"Authorization": f"Bearer {self.key}"} if self.key is not None else {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None and not isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def with_key(self, key: str | None) -> Client:
        return Client(self.port, key, self.log)

    def key_of(self, role: str, **more: Any) -> Client:
        """A client with a new key of a role."""
        made = self("POST", "/v1/api-keys", {"name": f"a {role}", "role": role, **more})
        assert made.status == 201
        return self.with_key(made.json["key"])

    def rewritten(self, sql: str, **order: Any) -> dict[str, Any]:
        """A rewrite that has been done."""
        body = {"sql": sql, "effort": "quick", "timeout": 20, **order}
        answer = self("POST", "/v1/rewrites", body, headers={"Prefer": "wait=60"})
        assert answer.status in (200, 202), answer.body
        found: dict[str, Any] = answer.json
        deadline = time.monotonic() + 90
        while found["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
            found = self("GET", f"/v1/rewrites/{found['id']}").json
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(place: Path, **environment: str) -> Iterator[Client]:
    """A service with its state in ``place``; ``environment`` holds further settings."""
    port, log = free_port(), place / "service.log"
    settings = {
        "REWRITER_STORE": f"sqlite:///{place / 'store.sqlite'}",
        "REWRITER_ADMIN_KEY": ADMIN,
        "REWRITER_CATALOG_SECONDS": "0",
        "REWRITER_RATE": "100000",
        **environment,
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rewriter", "serve", "--port", str(port)],
            env={**os.environ, **settings},
            cwd=Path(__file__).parents[2],
            stdout=output,
            stderr=output,
        )
    client = Client(port, log=log)
    try:
        deadline = time.monotonic() + START
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(OSError, http.client.HTTPException):
                ready = client("GET", "/readyz" if settings.get("REWRITER_WORKERS") != "0" else "/healthz")
                if ready.status == 200:
                    break
            time.sleep(0.1)
        yield client
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def service(shop_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """On the shop's database, with one worker."""
    with running(tmp_path_factory.mktemp("service"), REWRITER_TARGET=shop_url) as client:
        yield client
