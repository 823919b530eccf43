"""What Postgres itself does not stop, our engine must (measured facts: a read-only transaction is no sandbox)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from rewriter.engines import Postgres, connect, without_credentials
from rewriter.engines.base import Limits
from rewriter.errors import BindError, EngineError, QueryTimeout, TargetLost, TargetUnreachable, UsageError

LIMITS = Limits(seconds=10.0)


def test_two_statements_are_refused_by_the_protocol(postgres: Postgres) -> None:
    with pytest.raises(BindError):
        postgres.run("COMMIT; BEGIN READ WRITE; CREATE TEMP TABLE x (a int); SELECT 1", LIMITS)


def test_two_statements_are_refused_where_a_generic_plan_is_wanted(postgres: Postgres) -> None:
    with pytest.raises(BindError):
        postgres.explain("SELECT 1 WHERE 1 = $1; COMMIT; CREATE TABLE public.escaped (a int); SELECT 1")
    assert postgres.run("SELECT to_regclass('public.escaped') IS NULL", Limits(5.0, 1)).rows == ((True,),)


def test_switching_the_timeout_off_does_not_help(postgres: Postgres) -> None:
    started = time.monotonic()
    with pytest.raises(QueryTimeout):
        postgres.run("SELECT set_config('statement_timeout', '0', true), pg_sleep(30)", Limits(seconds=0.5))
    assert time.monotonic() - started < 20


def test_a_loop_that_outlives_the_servers_timeout_is_cancelled(postgres_url: str) -> None:
    """The statement that follows one that switched the timeout off runs under our limit again."""
    engine = Postgres(postgres_url)
    engine.run("SELECT set_config('statement_timeout', '0', false)", LIMITS)
    with pytest.raises(QueryTimeout):
        engine.run("SELECT pg_sleep(30)", Limits(seconds=0.5))
    engine.close()


def test_explain_of_a_sleeping_immutable_function_is_stopped(postgres_url: str) -> None:
    """Plain EXPLAIN runs immutable functions, so it has the limits of a run."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION sleeper() RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(0.4); RETURN 1; END $$"
        )
    engine = Postgres(postgres_url)
    started = time.monotonic()
    engine.explain("SELECT 1 WHERE sleeper() = 1")
    assert time.monotonic() - started >= 0.3
    engine.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SET TRANSACTION READ WRITE",
        "SELECT pg_notify('a', 'b')",
        "DO $$ BEGIN PERFORM 1; END $$",
        "ANALYZE",
        "LOCK TABLE pg_class IN ACCESS SHARE MODE",
    ],
)
def test_what_a_read_only_transaction_lets_pass_leaves_nothing_behind(postgres: Postgres, sql: str) -> None:
    """Some of these succeed on the server; the rollback undoes them, and the guard refuses all of them before."""
    with contextlib.suppress(EngineError):
        postgres.run(sql, LIMITS)
    with pytest.raises(EngineError):
        postgres.run("CREATE TABLE left_behind (a int)", LIMITS)
    held = "SELECT count(*) AS n FROM pg_locks WHERE relation = 'pg_class'::regclass AND pid = pg_backend_pid()"
    assert postgres.run(held, LIMITS).rows == ((0,),)


def test_advisory_locks_do_not_outlive_the_transaction_they_are_taken_in(postgres: Postgres) -> None:
    postgres.run("SELECT pg_advisory_xact_lock(4711)", LIMITS)
    assert postgres.run("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'", LIMITS).rows == ((0,),)


def test_explain_with_parameters_uses_a_generic_plan(postgres: Postgres) -> None:
    plan = postgres.explain("SELECT relname FROM pg_class WHERE oid = $1")
    assert "$1" in " ".join(" ".join(node.detail.values()) for node in (plan, *plan.children))


def test_a_wrong_password_is_never_shown() -> None:
    with pytest.raises(TargetUnreachable) as caught:
        connect("postgresql://somebody:s3cret-word@127.0.0.1:1/nowhere")
    assert "s3cret-word" not in caught.value.message + caught.value.hint


def test_an_unknown_database_is_told(postgres_url: str) -> None:
    with pytest.raises(TargetUnreachable, match="no_such_database"):
        connect(postgres_url.replace("/postgres?", "/no_such_database?"))


def test_unknown_kinds_of_target_are_refused() -> None:
    for url in ("mysql://host/db", "nothing", "http://example.invalid"):
        with pytest.raises(UsageError):
            connect(url)


def test_urls_are_shown_without_credentials() -> None:
    assert without_credentials("postgresql://me:secret@db:5432/shop?sslpassword=x") == "postgresql://db:5432/shop"


def test_constraints_that_do_not_bind_are_left_out(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS odd CASCADE")
        connection.execute("CREATE SCHEMA odd")
        connection.execute("CREATE TABLE odd.p (id int PRIMARY KEY, a int, b int)")
        connection.execute("CREATE UNIQUE INDEX ON odd.p (a) WHERE b > 0")
        connection.execute("CREATE UNIQUE INDEX ON odd.p ((a + b))")
        connection.execute("CREATE UNIQUE INDEX ON odd.p (b)")
        connection.execute("CREATE TABLE odd.c (p int REFERENCES odd.p, q int UNIQUE DEFERRABLE)")
        connection.execute("ALTER TABLE odd.c ADD FOREIGN KEY (q) REFERENCES odd.p NOT VALID")
        connection.execute("ALTER TABLE odd.c ADD CHECK (p > 0) NOT VALID")
        connection.execute("CREATE TABLE odd.base (id int PRIMARY KEY)")
        connection.execute("CREATE TABLE odd.heir () INHERITS (odd.base)")
        connection.execute("CREATE OR REPLACE FUNCTION odd.mine() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
    engine = Postgres(postgres_url)
    catalog = engine.catalog()
    engine.close()
    base = catalog.find("base", "odd")
    assert base is not None
    assert base.primary_key == (), "rows of an heir may repeat the parent's key"
    assert "mine" not in catalog.functions
    parent, child = catalog.find("p", "odd"), catalog.find("c", "odd")
    assert parent is not None
    assert child is not None
    assert parent.unique == (("b",),)
    assert child.unique == ()
    assert [key.columns for key in child.foreign_keys] == [("p",)]
    assert child.checks == ()


_SERVER = """
import sys, time, warnings
warnings.simplefilter("ignore")
from rewriter.engines import embedded
from pathlib import Path
print(embedded.start(Path(sys.argv[1])), flush=True)
time.sleep(120)
"""


def test_a_server_killed_during_a_query_is_a_clear_error(tmp_path: Path) -> None:
    data = tmp_path / "server"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(data)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        engine = connect(process.stdout.readline().strip())
        postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
        # SIGQUIT is Postgres's immediate shutdown: every session is cut off.
        killer = subprocess.Popen([sys.executable, "-c", f"import os,time; time.sleep(1); os.kill({postmaster}, 3)"])
        with pytest.raises((TargetLost, TargetUnreachable)) as caught:
            engine.run("SELECT count(*) AS n FROM generate_series(1, 300000000)", Limits(seconds=60))
        assert caught.value.hint
        killer.wait()
        engine.close()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        assert os.path.exists(data)
