"""The store on SQLite and on Postgres."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from rewriter.errors import StoreError
from rewriter.records import Database, Report, Speedup, TableRows
from rewriter.report import to_json
from rewriter.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'store.sqlite'}"
    server: str = request.getfixturevalue("postgres_url")
    name = f"store_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


def test_what_is_recorded_is_found_again(url: str, report: Report) -> None:
    store = Store(url)
    document = to_json(report)
    first = store.record(report, document)
    second = store.record(report, document)
    entries = store.history(10)
    assert {entry.id for entry in entries} == {first, second}
    assert len(entries) == 2
    assert [entry.created for entry in entries] == sorted((entry.created for entry in entries), reverse=True)
    assert entries[0].chosen
    assert entries[0].verdict == "tested"
    assert store.rewrite(first) == document
    assert store.rewrite("nothing") is None
    assert store.history(10, tenant="somebody else") == []
    store.close()
    again = Store(url)
    assert len(again.history(1)) == 1
    again.close()


def test_a_rewrite_is_found_by_its_key_and_target(url: str, report: Report) -> None:
    store = Store(url)
    elsewhere = replace(report, target="postgresql://other/shop")
    here, there = store.record(report, to_json(report)), store.record(elsewhere, to_json(elsewhere))
    for target, expected in ((report.target, here), (elsewhere.target, there)):
        found = store.find(report.query.rewrite_key, target=target)
        assert found is not None
        assert found.id == expected
        assert [entry.id for entry in store.history(10, target=target)] == [expected]
    assert store.find("another key") is None
    assert store.find(report.query.rewrite_key, tenant="somebody else") is None
    store.close()


def test_a_lower_bound_stays_one(url: str, report: Report) -> None:
    bound = replace(report, decision=replace(report.decision, speedup=Speedup(1200.0, 900.0, 1500.0, at_least=True)))
    store = Store(url)
    store.record(bound, to_json(bound))
    (entry,) = store.history()
    assert entry.at_least
    store.close()


def test_no_credentials_and_any_text_are_kept(url: str, report: Report) -> None:
    """Generated strings may hold anything, NUL included, which Postgres's text type does not take."""
    loser = report.decision.losers[0]
    assert loser.verdict is not None
    assert loser.verdict.counterexample is not None
    odd = replace(loser.verdict.counterexample, database=Database((TableRows("t", ("c",), (("a\x00\udc80b",),)),)))
    decision = replace(report.decision, losers=(replace(loser, verdict=replace(loser.verdict, counterexample=odd)),))
    secret = replace(report, target="postgresql://me:pass-word@host:5432/shop?sslpassword=pass-word", decision=decision)
    store = Store(url)
    identifier = store.record(secret, to_json(secret))
    assert "pass-word" not in repr(store.history()) + json.dumps(store.rewrite(identifier))
    assert store.history(target=secret.target)[0].target == "postgresql://host:5432/shop"
    store.close()


OPEN_AND_RECORD = """
import pickle, sys
from rewriter.report import to_json
from rewriter.store import Store
report = pickle.loads(bytes.fromhex(sys.stdin.read()))
store = Store(sys.argv[1])
for _ in range(3):
    store.record(report, to_json(report))
store.close()
"""


def test_processes_may_open_and_write_a_new_store_at_once(url: str, report: Report) -> None:
    given = pickle.dumps(report).hex()
    command = [sys.executable, "-c", OPEN_AND_RECORD, url]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    with ThreadPoolExecutor(len(workers)) as pool:
        errors = [error for _, error in pool.map(lambda worker: worker.communicate(given), workers)]
    assert errors == ["", "", "", ""]
    store = Store(url)
    assert len(store.history(100)) == 12
    store.close()


def test_a_locked_store_is_a_clear_error(tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewriter.store.database.LOCK_WAIT", 0.1)
    path = tmp_path / "store.sqlite"
    store = Store(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked") as caught:
            store.record(report, to_json(report))
        assert "another process" in caught.value.hint
        assert store.history() == []  # readers go on
    assert store.record(report, to_json(report))
    store.close()


def test_a_store_that_cannot_be_written_is_a_clear_error(tmp_path: Path, report: Report) -> None:
    path = tmp_path / "store.sqlite"
    Store(f"sqlite:///{path}").close()
    store = Store(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(StoreError) as caught:
        store.record(report, to_json(report))
    assert "write" in caught.value.hint
    store.close()


def test_an_interrupted_migration_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk went away")

    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.create_index", fail)
        with pytest.raises(StoreError, match="disk"):
            Store(url)
    store = Store(url)
    assert store.history() == []
    store.close()


def test_the_tables_are_those_of_the_models(url: str) -> None:
    """The migrations and the models must not drift apart."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from rewriter.store.tables import Base

    Store(url).close()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert differences == []


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    Store(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="newer"):
        Store(url)


def test_an_unusable_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    (tmp_path / "text.sqlite").write_text("this is no database" * 100)
    for url in (
        f"sqlite:///{tmp_path / 'file' / 'store.sqlite'}",
        f"sqlite:///{tmp_path / 'text.sqlite'}",
        "nonsense",
        "sqlite://",
        "mysql://me:pass-word@host/none",
        "postgresql://me:before@pass-word:pass-word/none",
        "postgresql://me:pass-word@127.0.0.1:1/none",
    ):
        with pytest.raises(StoreError) as caught:
            Store(url)
        assert "pass-word" not in caught.value.message


def test_rule_trials_add_up(url: str) -> None:
    key = ("cte/inline_cte", "postgres", "cte+grouping")
    with contextlib.closing(Store(url)) as store:
        store.add_rule_trials({key: (1, 0, 0.0)})
        store.add_rule_trials({key: (2, 1, 0.5), ("join/other", "duckdb", "plain"): (1, 1, 1.0)})
        assert store.rule_trials()[key] == (3, 1, 0.5)
        assert len(store.rule_trials()) == 2
        assert not store.rule_trials(tenant="another")
