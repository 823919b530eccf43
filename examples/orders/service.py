"""The part of the rewriter's service that an application speaks to, small enough for a demonstration: it signs
snapshots of entries made here, and takes feedback. Its knobs are faults for tests."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from examples.orders.database import TABLES
from rewriter.clients.probe import catalog_probe
from rewriter.clients.snapshot import CatalogProbe, Entry, Snapshot, encode_public_key, sign

KEY = "key of the demonstration"
TARGET = "orders"


class Service:
    """A server on loopback. ``status``: answered instead of 200; ``spoil``: changes body and signature on the way."""

    def __init__(self) -> None:
        self.private_key = Ed25519PrivateKey.generate()
        self.public_key = encode_public_key(self.private_key)
        self.status = 200
        self.spoil: Callable[[bytes, str], tuple[bytes, str]] | None = None
        self.asked = 0
        self.not_modified = 0
        self.events: list[dict[str, Any]] = []
        self._body, self._signature = b"", ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, snapshot: Snapshot) -> None:
        self._body, self._signature = sign(snapshot, self.private_key)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked += 1
                body, signature = service._body, service._signature
                if service.spoil is not None:
                    body, signature = service.spoil(body, signature)
                etag = '"' + hashlib.sha256(body).hexdigest() + '"'
                if self.headers.get("Authorization") != f"Bearer {KEY}" or self.path != f"/v1/snapshots/{TARGET}":
                    self._answer(404)
                elif service.status != 200:
                    self._answer(service.status, headers={"Location": "/elsewhere"})
                elif self.headers.get("If-None-Match") == etag:
                    service.not_modified += 1
                    self._answer(304)
                else:
                    self._answer(200, body, {"ETag": etag, "Rewriter-Signature": signature})

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if service.status == 200:
                    service.events.extend(json.loads(content)["events"])
                self._answer(204 if service.status == 200 else service.status)

            def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing is logged."""

        return Handler


def snapshot_of(
    url: str, entries: list[Entry], *, enabled: bool = True, lives: timedelta = timedelta(hours=1), **changes: Any
) -> Snapshot:
    """A snapshot for the database at ``url``, whose catalog is taken to be the one that was verified on."""
    probe = catalog_probe(TABLES)
    with psycopg.connect(url) as connection:
        row = connection.execute(probe).fetchone()
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "target": TARGET,
        "dialect": "postgres",
        "issued": now,
        "expires": now + lives,
        "enabled": enabled,
        "catalog_hash": "",
        "catalog_probe": CatalogProbe(sql=probe, value=row[0] if row else ""),
        "search_path": "public",
        "entries": tuple(entries),
    }
    return Snapshot(**(fields | changes))
