"""A fresh service on loopback with a store of its own, to be measured from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from rewriter.engines import embedded
from rewriter.errors import UsageError

KEY = "rk_load_" + "0123456789abcdef" * 4
START = 60.0  # seconds that a process may take to start
SHOP = """
CREATE TABLE shop (id integer PRIMARY KEY, city text NOT NULL);
CREATE TABLE sale (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shop, amount numeric(8, 2) NOT NULL);
INSERT INTO shop SELECT g, 'city ' || g % 5 FROM generate_series(1, 200) g;
INSERT INTO sale SELECT g, 1 + g % 200, g % 97 FROM generate_series(1, 6000) g;
ANALYZE;
"""


def shop(directory: Path) -> str:
    """The URL of a small database on a Postgres of its own."""
    url = embedded.start(directory / "shop")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SHOP)
    return url


class Caller:
    """One connection that is kept open; not for several threads."""

    def __init__(self, port: int, key: str = KEY) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON."""
        status, raw = self.raw(method, path, None if body is None else json.dumps(body).encode())
        return status, json.loads(raw)

    def raw(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Served:
    """``process``: the server's id."""

    port: int
    process: int

    def caller(self) -> Caller:
        return Caller(self.port)


@contextlib.contextmanager
def serving(factory: str, environment: Mapping[str, str], *, ready: str) -> Iterator[Served]:
    """An application by uvicorn with the settings of ``rewriter serve``, once it answers at ``ready``. Raises
    UsageError when it does not start."""
    port = free_port()
    command = ["uvicorn", "--factory", factory, "--port", str(port), "--log-level", "warning", "--no-access-log"]
    process = subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, **environment})
    try:
        _wait(lambda: _answers(port, ready), process)
        yield Served(port, process.pid)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise UsageError("the service to be measured did not start", hint="see what it printed")
        time.sleep(0.1)


def _answers(port: int, path: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        caller = Caller(port)
        try:
            return caller.raw("GET", path, None)[0] == 200
        finally:
            caller.close()
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def quantile(seconds: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by this share of all (nearest rank)."""
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


def resident(process: int) -> float:
    """Megabytes of memory that a process holds (RSS)."""
    found = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=False)  # noqa: S607
    return int(found.stdout or 0) / 1024


def children(process: int) -> list[int]:
    """The processes that a process has started and that still live."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)  # noqa: S607
    return [int(one) for one in found.stdout.split()]
