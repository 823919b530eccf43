"""The example application's database on the real Postgres, small, and a service on loopback that signs snapshots."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from examples.orders import database
from examples.orders.service import KEY, TARGET, Service, snapshot_of
from rewriter.clients import Client
from rewriter.clients.snapshot import CatalogProbe, Entry

MakeClient = Callable[..., Client]


@pytest.fixture(scope="session")
def worker() -> str:
    """Tests in several processes share a server and no database."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.fixture(scope="session")
def orders_base(postgres_url: str, worker: str) -> str:
    return database.create(postgres_url, f"orders_{worker}", customers=60, purchases=600)


@pytest.fixture
def orders_url(orders_base: str) -> Iterator[str]:
    """A database that a test may change: what it does to constraints and rows is undone."""
    yield orders_base
    with psycopg.connect(orders_base, autocommit=True) as connection:
        connection.execute("DELETE FROM purchase WHERE id <= 0")
        connection.execute("ALTER TABLE purchase ALTER customer_id SET NOT NULL")


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    yield server
    server.close()


@pytest.fixture
def make_client(service: Service) -> Iterator[MakeClient]:
    """``make_client(url, entries, **options)``: a client that has polled once, or with no URL has not. Its thread runs
    with ``start=True``."""
    made: list[Client] = []

    def make(
        url: str | None,
        entries: list[Entry],
        *,
        start: bool = False,
        catalog_probe: CatalogProbe | None = None,
        **options: Any,
    ) -> Client:
        if url is not None:
            changes = {"catalog_probe": catalog_probe} if catalog_probe is not None else {}
            service.publish(snapshot_of(url, entries, **changes))
        settings: dict[str, Any] = {"key": KEY, "public_key": service.public_key, "interval": 0.05, "shadow": 0.0}
        client = Client(service.url, TARGET, **(settings | options))
        made.append(client)
        if url is not None:
            client.poll()
        return client.start() if start else client

    yield make
    for client in made:
        client.close()


def entry_for(statement: str, sql: str, parameters: tuple[str, ...] = (), **changes: Any) -> Entry:
    """An approved entry."""
    fields: dict[str, Any] = {
        "id": "e1",
        "statement": statement,
        "sql": sql,
        "parameters": parameters,
        "rules": ("subquery/some_rule",),
        "verdict": "proved",
        "speedup": 10.0,
        "ordered": False,
        "baseline_seconds": 1.0,
        "approved": datetime(2026, 11, 1, tzinfo=UTC),
        "mode": "on",
    }
    return Entry(**(fields | changes))
