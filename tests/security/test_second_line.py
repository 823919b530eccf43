"""Past the parser: what a real Postgres makes of the same attacks when the engine is handed them as they are, and names
written so that a list of forbidden words would not know them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import psycopg
import pytest

from rewriter.engines import Postgres
from rewriter.engines.base import Limits
from rewriter.errors import InputError, RewriterError
from rewriter.parse import parse

SHORT = Limits(1.0, 10)
TABLES = ("made", "kept")

ATTACKS = [
    "SELECT 1; CREATE TABLE made (a int)",
    "COMMIT; CREATE TABLE made (a int); BEGIN",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK; SET default_transaction_read_only = off; CREATE TABLE made (a int)",
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "SET statement_timeout = 0",
    "SET ROLE postgres",
    "RESET ALL",
    "WITH x AS (INSERT INTO kept VALUES (2) RETURNING a) SELECT a FROM x",
    "WITH x AS (UPDATE kept SET a = 2 RETURNING a) SELECT a FROM x",
    "WITH x AS (DELETE FROM kept RETURNING a) SELECT a FROM x",
    "SELECT a INTO made FROM kept",
    "CREATE TEMP TABLE made AS SELECT 1",
    "SELECT a FROM kept FOR UPDATE",
    "DO $$ BEGIN INSERT INTO kept VALUES (2); END $$",
    "DO $$ BEGIN COMMIT; CREATE TABLE made (a int); END $$",
    "CALL leave()",
    "COPY kept TO '/tmp/rewriter-security-made'",
    "COPY kept TO PROGRAM 'touch /tmp/rewriter-security-made'",
    "EXPLAIN ANALYZE DELETE FROM kept",
    "EXPLAIN ANALYZE INSERT INTO kept VALUES (2)",
    "PREPARE p AS INSERT INTO kept VALUES (2)",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "SELECT lo_create(4711)",
    "SELECT lo_from_bytea(4711, 'x')",
    "SELECT setval('counter', 99)",
    "SELECT nextval('counter')",
    "SELECT query_to_xml('INSERT INTO kept VALUES (2) RETURNING a', true, true, '')",
    "SELECT * FROM ts_stat('DELETE FROM kept RETURNING NULL::tsvector')",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT set_config('default_transaction_read_only', 'off', false)",
    "SELECT pg_notify('x', 'y')",
    "SELECT pg_advisory_lock(4711)",
    "LOCK TABLE kept IN ACCESS SHARE MODE",
]


@pytest.fixture(scope="module")
def url(postgres_url: str) -> Iterator[str]:
    name = f"attacked_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    own = postgres_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (a int); INSERT INTO kept VALUES (1); CREATE SEQUENCE counter")
        connection.execute("CREATE PROCEDURE leave() LANGUAGE plpgsql AS 'BEGIN INSERT INTO kept VALUES (2); END'")
        connection.execute(
            "CREATE FUNCTION sleeping(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(9); "
            "RETURN 1; END'"
        )
        # A role that may write all that is here, but neither files of the server nor its settings.
        connection.execute("DROP ROLE IF EXISTS attacker")
        connection.execute("CREATE ROLE attacker LOGIN")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO attacker")
        connection.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO attacker")
        connection.execute("GRANT ALL ON SCHEMA public TO attacker")
    yield own.replace("//postgres:", "//attacker:")
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("DROP OWNED BY attacker")
        connection.execute("DROP ROLE attacker")


def state(url: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT to_regclass('made'), (SELECT array_agg(a) FROM kept), (SELECT is_called FROM counter),"
            " (SELECT count(*) FROM pg_largeobject_metadata),"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
        ).fetchone()


def test_what_gets_past_the_parser_changes_nothing_and_leaves_nothing_behind(url: str) -> None:
    """Under a role that may write tables; a target's should not even do that. (A superuser's COPY TO writes files of
    the server also in a read-only transaction: docs/security.md.)"""
    before = state(url)
    with contextlib.closing(Postgres(url)) as engine:
        for attack in ATTACKS:
            ways = (
                engine.explain,
                engine.bind,
                lambda sql: engine.run(sql, SHORT),
                lambda sql: engine.time(sql, SHORT),
            )
            for way in ways:
                for sql in (attack, f"{attack} /* $1 */"):
                    with contextlib.suppress(RewriterError, psycopg.Error, ValueError, IndexError, TypeError):
                        way(sql)
            assert engine.run("SHOW transaction_read_only", SHORT).rows == (("on",),), attack
            assert engine.run("SHOW statement_timeout", SHORT).rows == (("1s",),), attack
    assert state(url) == before
    assert not os.path.exists("/tmp/rewriter-security-made")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_sleep(9)",
        "SELECT set_config('statement_timeout', '0', true), pg_sleep(9)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(9)",
        "SELECT sleeping(1)",
    ],
)
def test_no_statement_outlives_its_limit(url: str, sql: str) -> None:
    with contextlib.closing(Postgres(url)) as engine:
        started = time.monotonic()
        with pytest.raises(RewriterError):
            engine.run(sql, SHORT)
        assert time.monotonic() - started < 8
        assert engine.run("SHOW statement_timeout", SHORT).rows == (("1s",),)


def written(name: str) -> list[str]:
    """A function's name in forms that mean the same to Postgres, or could be taken to."""
    escaped = "".join(f"\\{ord(letter):04x}" for letter in name)
    return [
        f'"{name}"', f'"{name.upper()}"', name.title(), f"pg_catalog.{name}", f'PG_Catalog."{name}"', f'U&"{escaped}"',
        f'U&"{escaped.replace(chr(92), "!")}" UESCAPE \'!\'', f"{name}/**/", f"{name}\n--\n",
        f'"pg_catalog" . "{name}"',
        f"public.{name}", f"{name}\u200b", name.replace("s", "\u017f"), f'"{name}\u0000"', f"{{fn {name}", f"[{name}]",
        f"`{name}`", name.replace("_", "\uff3f"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["pg_sleep", "set_config", "pg_read_file", "query_to_xml", "lo_import", "ts_stat"])
def test_no_way_of_writing_a_name_gets_it_past_the_policy(postgres: Postgres, name: str) -> None:
    catalog = postgres.catalog()
    for form in written(name):
        for sql in (f"SELECT {form}('x')", f"SELECT * FROM {form}('x')", f"SELECT 1 WHERE {form}('x') IS NULL"):
            with pytest.raises(InputError):
                parse(sql, catalog)
