"""Invented rows: every key points somewhere, the queries' constants occur, and nothing that is there is touched."""

from __future__ import annotations

import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from typer.testing import CliRunner

from tpc.__main__ import app

SCHEMA = """
CREATE TABLE kind_type (id integer NOT NULL PRIMARY KEY, kind character varying(15));
CREATE TABLE movie_link (id integer NOT NULL PRIMARY KEY, link_type_id integer NOT NULL, kind_id integer NOT NULL);
CREATE TABLE company_name (id integer NOT NULL PRIMARY KEY, name character varying NOT NULL,
  country_code character varying(6), imdb_id integer);
"""
QUERY = """
SELECT MIN(n.name) FROM company_name AS n, kind_type AS k
WHERE k.kind IN ('movie', 'o''clock') AND n.country_code = '[us]' AND n.name LIKE '%Film%'
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "1a.sql").write_text(QUERY)
    (tmp_path / "schema.sql").write_text(SCHEMA)
    (tmp_path / "index.sql").write_text("CREATE INDEX kind_id_movie_link ON movie_link (kind_id);")
    return tmp_path


@pytest.fixture
def database(postgres_url: str) -> str:
    name = f"job_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))


def test_rows_are_invented(folder: Path, database: str) -> None:
    done = CliRunner().invoke(app, ["job", str(folder), "--target", database])
    assert done.exit_code == 0, done.output
    with psycopg.connect(database) as connection:

        def count(rest: str) -> int:
            row = connection.execute(f"SELECT count(*) FROM {rest}".encode()).fetchone()
            assert row is not None
            return int(row[0])

        assert count("kind_type") == 7
        assert count("kind_type WHERE kind IN ('movie', 'o''clock')") == 2
        assert count("company_name") == 8000
        assert 0 < count("company_name WHERE country_code = '[us]'") < 8000
        assert 0 < count("company_name WHERE name LIKE '%Film%'") < 8000
        assert count("movie_link WHERE kind_id NOT IN (SELECT id FROM kind_type)") == 0
        assert count("movie_link") == 3000
    again = CliRunner().invoke(app, ["job", str(folder), "--target", database])
    assert again.exit_code == 3
    assert "exists" in again.output
    with psycopg.connect(database) as connection:
        assert count("company_name") == 8000


def test_another_schema_is_refused(folder: Path, database: str) -> None:
    (folder / "schema.sql").write_text("CREATE TABLE salaries (id integer PRIMARY KEY)")
    done = CliRunner().invoke(app, ["job", str(folder), "--target", database])
    assert done.exit_code == 2
    assert "not that of the benchmark" in done.output


def test_a_suites_queries_are_written(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["texts", str(tmp_path / "h"), "--suite", "h"])
    assert done.exit_code == 0, done.output
    assert sorted(path.stem for path in (tmp_path / "h").glob("*.sql")) == sorted(map(str, range(1, 23)))
