"""Loading: rows arrive as they are, keys are declared, nothing of anybody else is touched, no password is told."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import duckdb
import psycopg
import pytest

from rewriter.engines import connect
from rewriter.errors import RewriterError, UsageError
from tpc.load import load, target_for
from tpc.source import opened
from tpc.suites import DS, H, Suite

# Two tables such as no generator makes: every value that a text format is likely to lose, and a foreign key that fails.
ODD = Suite(
    "odd",
    "none",
    "none",
    "none",
    {"part": "id", "note": "id"},
    {"note": [("part_id", "part", "id"), ("lost_id", "part", "id")]},
)
NOTES = [
    (1, 1, 1, None, 1.5),
    (2, None, None, "", None),
    (3, 1, 7, r"\N", 0.0),
    (4, 1, 1, 'a "quoted", comma\nand line', -1e300),
    (5, 1, 1, r"\. back\slash", 2.5),
    (6, 1, 1, "naïve 東京 'x'", 1.0),
    (7, 1, 1, "NULL", 1.0),
]


def silent(what: str, done: int, total: int) -> None:
    """Nobody listens."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REWRITER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def odd(cache: Path) -> Suite:
    (cache / "tpc").mkdir(parents=True)
    with duckdb.connect(str(cache / "tpc" / f"{ODD.label(1)}.duckdb")) as connection:
        connection.execute("CREATE TABLE part (id INTEGER NOT NULL)")
        connection.execute(
            "CREATE TABLE note (id INTEGER NOT NULL, part_id INTEGER, lost_id INTEGER, t VARCHAR, d DOUBLE)"
        )
        connection.execute("INSERT INTO part VALUES (1)")
        connection.executemany("INSERT INTO note VALUES (?, ?, ?, ?, ?)", NOTES)
    return ODD


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database of its own."""
    name = f"load_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def rows_of(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def test_every_value_arrives_in_postgres_as_it_is(odd: Suite, empty_url: str) -> None:
    load(odd, 1, empty_url, silent)
    assert rows_of(empty_url, "SELECT id, part_id, lost_id, t, d FROM note ORDER BY id") == NOTES


def test_foreign_keys_that_do_not_hold_are_named_and_not_declared(odd: Suite, empty_url: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    notes = load(odd, 1, empty_url, lambda *what: told.append(what))
    assert any("note (lost_id)" in note for note in notes)
    assert all(done <= total for _, done, total in told if total)
    for url in (empty_url, f"duckdb://{tmp_path}/odd.duckdb"):
        load(odd, 1, url, silent)
        with contextlib.closing(connect(url)) as engine:
            note, part = engine.catalog().find("note"), engine.catalog().find("part")
        assert note is not None
        assert part is not None
        assert part.primary_key == ("id",)
        assert note.primary_key == ("id",)
        assert [key.columns for key in note.foreign_keys] == [("part_id",)]


def test_a_second_load_changes_nothing(odd: Suite, empty_url: str, cache: Path) -> None:
    load(odd, 1, empty_url, silent)
    before = rows_of(empty_url, "SELECT oid, relfilenode FROM pg_class ORDER BY oid")
    for path in (cache / "tpc").glob("*.duckdb"):
        path.unlink()  # what is loaded needs no data any more
    assert "already" in load(odd, 1, empty_url, silent)[0]
    assert rows_of(empty_url, "SELECT oid, relfilenode FROM pg_class ORDER BY oid") == before


@pytest.mark.parametrize("at", ["generating", "part", "note", "primary keys", "foreign keys", "statistics"])
def test_an_interrupted_load_is_done_again(odd: Suite, empty_url: str, at: str) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if what == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(odd, 1, empty_url, interrupt)
    assert "rows loaded" in load(odd, 1, empty_url, silent)[0]
    assert rows_of(empty_url, "SELECT count(*) FROM note") == [(len(NOTES),)]


@pytest.mark.parametrize("theirs", ["part", "note"])
def test_tables_of_somebody_else_are_never_touched(odd: Suite, empty_url: str, theirs: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute(f"CREATE TABLE {theirs} AS SELECT 42 AS precious")
    with pytest.raises(UsageError, match=theirs):
        load(odd, 1, empty_url, silent)
    assert rows_of(empty_url, f"SELECT precious FROM {theirs}") == [(42,)]


def test_another_scale_does_not_take_the_place_of_the_first(odd: Suite, empty_url: str, tmp_path: Path) -> None:
    load(odd, 1, empty_url, silent)
    file = f"duckdb://{tmp_path}/odd.duckdb"
    load(odd, 1, file, silent)
    for url in (empty_url, file):
        with pytest.raises(UsageError):
            load(odd, 2, url, silent)
    assert rows_of(empty_url, "SELECT count(*) FROM note") == [(len(NOTES),)]


def test_a_file_that_is_no_load_of_ours_is_kept(odd: Suite, tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    path.write_text("not a database")
    with pytest.raises(UsageError):
        load(odd, 1, f"duckdb://{path}", silent)
    assert path.read_text() == "not a database"


def test_a_damaged_data_file_is_named(odd: Suite, cache: Path, tmp_path: Path) -> None:
    (cache / "tpc" / f"{odd.label(1)}.duckdb").write_text("garbage" * 1000)
    with pytest.raises(RewriterError) as caught:
        load(odd, 1, f"duckdb://{tmp_path}/odd.duckdb", silent)
    assert odd.label(1) in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@[bad",
        "postgresql://u:%hunter2@localhost/x",
        "postgresql://u:hunter2@localhost:1/x",
        "postgresql://u:hunter2@localhost:port/x",
        "postgresql://u:hunter2@localhost/x?nonsense=1",
        "mysql://u:hunter2@host/x",
        "duckdb:///no/such/folder/anywhere.duckdb",
        "duckdb://:memory:",
        "somewhere",
    ],
)
def test_a_target_that_cannot_be_used_is_one_error_without_the_password(cache: Path, url: str) -> None:
    with pytest.raises(RewriterError) as caught:
        load(H, 0.01, url, silent)
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_generated_data_satisfies_the_declared_keys(cache: Path, tmp_path: Path) -> None:
    told: list[str] = []
    target = tmp_path / "h.duckdb"
    notes = load(H, 0.01, f"duckdb://{target}", lambda what, done, total: told.append(what))
    assert len(notes) == 1
    assert "lineitem" in told
    with contextlib.closing(connect(f"duckdb://{target}")) as engine:
        catalog = engine.catalog()
    for name in H.primary_keys:
        table = catalog.find(name)
        assert table is not None
        assert table.primary_key == tuple(H.primary_keys[name].split(", "))
        assert len(table.foreign_keys) == len(H.foreign_keys.get(name, []))
    with opened(H, cache / "tpc" / "tpch_0_01.duckdb") as source:
        assert source.rows("lineitem") > 50_000


def test_each_scale_has_a_place_of_its_own() -> None:
    assert target_for(DS, 0.1, "embedded:") == "embedded:?dbname=tpcds_0_1"
    assert target_for(DS, 0.1, "embedded:?dbname=") == "embedded:?dbname=tpcds_0_1"
    assert target_for(H, 10, "embedded:here?dbname=mine") == "embedded:here?dbname=mine"
    assert target_for(DS, 1.0, "postgresql://host/db") == "postgresql://host/db"
