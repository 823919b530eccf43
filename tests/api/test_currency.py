"""Evidence and measurements that age: what another catalog, more rows and a second measurement make of a review."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rewriter.service.orders import RewriteOrder
from rewriter.service.targets import check, place_of
from rewriter.service.vault import Vault
from rewriter.service.worker import Worker
from rewriter.settings import Settings
from rewriter.store import Store
from rewriter.store.jobs import NewJob
from rewriter.store.reviews import APPROVED, CURRENT, INVALID, REMEASURE
from rewriter.store.target_records import TargetRecord
from tests.shop import DDL, SLOW

TENANT = "default"


@pytest.fixture
def database(postgres_url: str) -> str:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS ageing WITH (FORCE)")
        connection.execute("CREATE DATABASE ageing")
    url = postgres_url.replace("/postgres?", "/ageing?")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(DDL)
    return url


@pytest.fixture
def worker(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker in this process, told by hand when to work, over the target ``shop``."""
    monkeypatch.setenv("REWRITER_TARGET_SHOP", database)
    settings = Settings(store=f"sqlite:///{tmp_path / 'store.sqlite'}", secret="a secret of this test")  # type: ignore[arg-type]
    worker = Worker(settings, threading.Event())
    record = TargetRecord(TENANT, "shop", "env:REWRITER_TARGET_SHOP", None, "shop", place_of(database), True, True)
    worker.store.targets(TENANT).add(record, "test")
    with contextlib.closing(worker.store):
        yield worker


def order(store: Store, database: str) -> str:
    body = RewriteOrder(sql=SLOW, target="shop", effort="quick", timeout=20)
    job = NewJob("rewrite", "shop", place_of(database), "test", body.request(), body.digest())
    return store.jobs(TENANT).submit(job)[0].id


def looked(worker: Worker) -> None:
    record = worker.store.targets(TENANT).find("shop")
    assert record is not None
    check(worker.store, record, worker.settings, Vault("a secret of this test"))


def run(database: str, statement: str) -> None:
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(statement)


@pytest.mark.slow
def test_growth_asks_for_another_measurement_that_settles_it(worker: Worker, database: str) -> None:
    store, reviews = worker.store, worker.store.reviews(TENANT)
    first = order(store, database)
    assert worker.once()
    assert reviews.decide(first, "test", state=APPROVED, reason="", mode="on") is not None
    looked(worker)
    assert reviews.find(first).currency == CURRENT  # type: ignore[union-attr]
    run(database, "INSERT INTO sale SELECT 10000 + g, 1 + g % 200, g % 97, NULL FROM generate_series(1, 9000) g")
    run(database, "ANALYZE")
    looked(worker)
    aged = reviews.find(first)
    assert aged is not None
    assert (aged.currency, aged.usable) == (REMEASURE, True)
    looked(worker)
    waiting = [job for job, _ in store.queue().waiting()]
    assert len(waiting) == 1, "it is ordered again, and only once"
    assert worker.once()
    settled = reviews.find(first)
    assert settled is not None
    later = reviews.find(waiting[0])
    # Measured again, either it is still what wins, or something else does and waits for a person.
    assert (settled.currency == CURRENT) != (later is not None)


@pytest.mark.slow
def test_what_a_statement_does_not_name_changes_nothing(worker: Worker, database: str) -> None:
    reviews = worker.store.reviews(TENANT)
    job = order(worker.store, database)
    assert worker.once()
    for harmless in ("CREATE TABLE other (id int)", "CREATE VIEW seen AS SELECT id FROM sale", "DROP VIEW seen"):
        run(database, harmless)
        looked(worker)
        assert reviews.find(job).currency == CURRENT, harmless  # type: ignore[union-attr]
    run(database, "ALTER TABLE sale ALTER amount TYPE numeric(12, 2)")
    looked(worker)
    assert reviews.find(job).currency == INVALID  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_table_that_hides_another_changes_what_a_name_means(worker: Worker, database: str) -> None:
    reviews = worker.store.reviews(TENANT)
    run(database, "CREATE SCHEMA early; ALTER DATABASE ageing SET search_path = early, public")
    job = order(worker.store, database)
    assert worker.once()
    run(database, "CREATE TABLE early.sale (LIKE public.sale INCLUDING ALL)")
    looked(worker)
    assert reviews.find(job).currency == INVALID  # type: ignore[union-attr]
