"""The store on SQLite and on Postgres."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from rewriter.errors import StoreError
from rewriter.records import Report
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
    assert first != second
    entries = store.history(10)
    assert [entry.id for entry in entries] in ([second, first], [first, second])
    assert entries[0].chosen
    assert entries[0].verdict == "tested"
    assert store.rewrite(first) == document
    assert store.rewrite("nothing") is None
    assert store.history(10, tenant="somebody else") == []
    store.close()
    again = Store(url)
    assert len(again.history(1)) == 1
    again.close()


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
        "postgresql://me:pass-word@127.0.0.1:1/none",
    ):
        with pytest.raises(StoreError) as caught:
            Store(url)
        assert "pass-word" not in caught.value.message
