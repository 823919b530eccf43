"""The real service for tests: a uvicorn server in a thread on loopback, a store in a folder, a worker in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from api.access import new_key
from api.app import create_app
from rewriter.service.worker import Worker
from rewriter.settings import Settings
from rewriter.store import Store

ADMIN = "rk_admin_0123456789abcdef0123456789abcdef"
SECRET = "a secret for tests, long enough"
RATE = 1_000_000  # requests a minute: tests of other things are not to meet the limit


@dataclass(frozen=True)
class House:
    """A running service. ``keys``: by who it is for."""

    base: str
    app: FastAPI
    settings: Settings
    store: Store
    keys: dict[str, str]
    client: httpx2.Client

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = "admin", **more: Any
    ) -> httpx2.Response:
        """One request. ``key``: a name of ``keys``, or a whole key; None: none."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {self.keys.get(key, key)}"
        if body is not None:
            more["json"] = body
        return self.client.request(method, path, headers=headers, **more)

    def make_key(self, name: str, role: str, tenant: str, **more: Any) -> str:
        key, record = new_key(tenant, name, role, "tests", **more)
        self.store.access().add_key(record)
        self.keys[name] = key
        return key


@contextlib.contextmanager
def served(settings: Settings, *, worker: bool = True) -> Iterator[House]:
    app = create_app(settings)
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        stop = threading.Event()
        working = None
        try:
            deadline = time.monotonic() + 30
            while not server.started:
                assert thread.is_alive(), "the service did not start"
                assert time.monotonic() < deadline, "the service does not start"
                time.sleep(0.01)
            if worker:
                working = threading.Thread(target=Worker(settings, stop).run, daemon=True)
                working.start()
            store = stack.enter_context(contextlib.closing(Store(settings.store_url)))
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            client = stack.enter_context(httpx2.Client(base_url=base, timeout=60))
            house = House(base, app, settings, store, {"admin": ADMIN}, client)
            for role in ("viewer", "operator"):
                house.make_key(role, role, "default")
            house.make_key("second admin", "admin", "default")
            for role in ("viewer", "operator", "admin"):
                house.make_key(f"other {role}", role, "other")
            house.make_key("revoked", "admin", "default")
            store.access().revoke("default", house.keys["revoked"].split("_")[1])
            yield house
        finally:
            stop.set()
            if working is not None:
                working.join(20)
            server.should_exit = True
            thread.join(20)
