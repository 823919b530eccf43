"""Whatever happens to a rewrite, the application gets the original's result and keeps its transaction.

Each case runs through every driver that has a hook and at every place of a transaction, on the real Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from rewriter.clients import Client
from rewriter.clients import psycopg as rewriter_psycopg
from rewriter.clients import sqlalchemy as rewriter_sqlalchemy
from rewriter.clients.probe import catalog_probe
from rewriter.clients.snapshot import CatalogProbe, Entry, Mode
from tests.clients.conftest import MakeClient, entry_for

PLACES = ["alone", "first", "within"]
DRIVERS = ["psycopg", "psycopg-async", "sqlalchemy", "sqlalchemy-async"]
WRITE = "INSERT INTO purchase VALUES (0, 1, 'city 1', 'open', '2026-01-01', 1)"
STATEMENT = {
    "psycopg": "SELECT count(*), 'original' FROM customer WHERE id > %s",
    "sqlalchemy": "SELECT count(*), 'original' FROM customer WHERE id > %(low)s",
}
MARKER = {"psycopg": "%s", "sqlalchemy": "%(low)s"}
GOOD = "SELECT count(*), 'rewrite' FROM customer WHERE $1 < id"
FAILING = "SELECT count(*) / ($1 - $1), 'rewrite' FROM customer WHERE id > $1"

Execute = Callable[..., Awaitable[Any]]


def kind_of(driver: str) -> str:
    return driver.removesuffix("-async")


def entry(driver: str, sql: str, **changes: Any) -> Entry:
    return entry_for(STATEMENT[kind_of(driver)], sql, (MARKER[kind_of(driver)],), **changes)


async def through(driver: str, client: Client, url: str, autocommit: bool, work: Callable[[Execute], Any]) -> Any:
    """``await work(execute)`` on one connection of the driver, ended by a rollback. ``execute(text, values)`` gives the
    first row, without arguments the connection."""
    sqlalchemy_url = url.replace("postgresql://", "postgresql+psycopg://")
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    if driver == "psycopg":
        cursors = rewriter_psycopg.cursor_factory(client)
        with psycopg.connect(url, cursor_factory=cursors, autocommit=autocommit) as connection:

            async def execute(statement: str = "", values: Any = None) -> Any:
                if not statement:
                    return connection
                cursor = connection.execute(statement, values)
                return cursor.fetchone() if cursor.description else None

            result = await work(execute)
            connection.rollback()
            return result
    if driver == "psycopg-async":
        async_cursors = rewriter_psycopg.async_cursor_factory(client)
        async with await psycopg.AsyncConnection.connect(
            url, cursor_factory=async_cursors, autocommit=autocommit
        ) as async_connection:

            async def execute_async(statement: str = "", values: Any = None) -> Any:
                if not statement:
                    return async_connection
                cursor = await async_connection.execute(statement, values)
                return await cursor.fetchone() if cursor.description else None

            result = await work(execute_async)
            await async_connection.rollback()
            return result
    if driver == "sqlalchemy":
        engine = create_engine(sqlalchemy_url, **options)
        rewriter_sqlalchemy.install(engine, client)
        with engine.connect() as wrapped:

            async def execute_wrapped(statement: str = "", values: Any = None) -> Any:
                if not statement:
                    return wrapped.connection.driver_connection
                found = wrapped.exec_driver_sql(statement, values and {"low": values[0]})
                return tuple(found.one()) if found.returns_rows else None

            result = await work(execute_wrapped)
        engine.dispose()
        return result
    async_engine = create_async_engine(sqlalchemy_url, **options)
    rewriter_sqlalchemy.install(async_engine, client)
    async with async_engine.connect() as async_wrapped:

        async def execute_async_wrapped(statement: str = "", values: Any = None) -> Any:
            if not statement:
                return (await async_wrapped.get_raw_connection()).driver_connection
            found = await async_wrapped.exec_driver_sql(statement, values and {"low": values[0]})
            return tuple(found.one()) if found.returns_rows else None

        result = await work(execute_async_wrapped)
    await async_engine.dispose()
    return result


def run(driver: str, place: str, client: Client, url: str, before: str | None = None) -> tuple[Any, Any]:
    """(row of the statement, number of rows that the same transaction has written before)."""

    async def work(execute: Execute) -> tuple[Any, Any]:
        if before is not None:
            await execute(before)
        if place == "within":
            await execute(WRITE)
        row = await execute(STATEMENT[kind_of(driver)], (10,))
        written = await execute("SELECT count(*) FROM purchase WHERE id = 0")
        return row, written

    row, written = asyncio.run(through(driver, client, url, place == "alone", work))
    return row, written[0]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("place", PLACES)
def test_every_driver_at_every_place(driver: str, place: str, orders_url: str, make_client: MakeClient) -> None:
    good = make_client(orders_url, [entry(driver, GOOD)])
    written = int(place == "within")
    assert run(driver, place, good, orders_url) == ((50, "rewrite"), written)
    assert good.counts == {"rewritten": 1}

    failing = make_client(orders_url, [entry(driver, FAILING)])
    assert run(driver, place, failing, orders_url) == ((50, "original"), written)
    assert failing.status()["off"] == {"e1": "error 22012"}
    assert run(driver, place, failing, orders_url) == ((50, "original"), written)
    assert failing.counts == {"error": 1}

    # An error of another statement than the rewrite.
    probe = CatalogProbe(sql="SELECT no_such_column::text FROM customer", value="")
    broken = make_client(orders_url, [entry(driver, GOOD)], catalog_probe=probe)
    assert run(driver, place, broken, orders_url) == ((50, "original"), written)
    assert broken.counts == {"error": 1}


@pytest.mark.parametrize("driver", ["psycopg", "sqlalchemy"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("SET search_path = pg_catalog, public", "search-path"),
        ("CREATE TEMPORARY TABLE customer AS SELECT * FROM public.customer", "temporary-tables"),
        ("SET default_transaction_isolation = 'serializable'", "serializable"),
        ("SET TimeZone = 'Asia/Tokyo'", "catalog"),
    ],
)
def test_a_session_that_was_not_verified_gets_the_original(
    driver: str, place: str, before: str, reason: str, orders_url: str, make_client: MakeClient
) -> None:
    client = make_client(orders_url, [entry(driver, GOOD)])
    if "default_transaction" in before and place != "alone":
        before = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    row, written = run(driver, place, client, orders_url, before)
    assert (row, written) == ((50, "original"), int(place == "within"))
    assert client.counts == {reason: 1}


def test_a_constraint_dropped_while_the_rewrite_runs_counts(orders_url: str, make_client: MakeClient) -> None:
    """The check before would have passed: only the one after can know."""
    slow = "SELECT count(*), 'rewrite' FROM customer, pg_sleep(0.4) WHERE id > $1"
    client = make_client(orders_url, [entry("psycopg", slow)])
    cursors = rewriter_psycopg.cursor_factory(client)

    def drop() -> None:
        time.sleep(0.1)
        with psycopg.connect(orders_url, autocommit=True) as other:
            other.execute("ALTER TABLE purchase ALTER customer_id DROP NOT NULL")

    thread = threading.Thread(target=drop)
    with psycopg.connect(orders_url, cursor_factory=cursors, autocommit=True) as connection:
        thread.start()
        row = connection.execute(STATEMENT["psycopg"], (10,)).fetchone()
        thread.join()
        assert row == (50, "original")
        assert client.counts == {"catalog": 1}
        assert connection.execute(STATEMENT["psycopg"], (10,)).fetchone() == (50, "original")
        with psycopg.connect(orders_url, autocommit=True) as other:
            other.execute("ALTER TABLE purchase ALTER customer_id SET NOT NULL")
        assert connection.execute(STATEMENT["psycopg"], (10,)).fetchone() == (50, "rewrite")


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_error_of_the_original_is_the_applications(driver: str, orders_url: str, make_client: MakeClient) -> None:
    """And does not switch off a rewrite that fails in the same way."""
    statement = f"SELECT count(*) / {MARKER[kind_of(driver)]}::int FROM customer"
    sql = "SELECT count(id) / $1::int FROM customer"
    client = make_client(orders_url, [entry_for(statement, sql, (MARKER[kind_of(driver)],))])

    async def work(execute: Execute) -> Any:
        with pytest.raises(Exception, match="division by zero") as caught:
            await execute(statement, (0,))
        return caught.value

    error = asyncio.run(through(driver, client, orders_url, True, work))
    assert client.status()["off"] == {}
    if driver.startswith("sqlalchemy"):
        assert error.statement == statement
        assert error.params == {"low": 0}


@pytest.mark.parametrize("place", PLACES)
def test_running_out_of_time_is_the_rewrites_fault(place: str, orders_url: str, make_client: MakeClient) -> None:
    slow = "SELECT count(*), 'rewrite' FROM customer, pg_sleep(5) WHERE id > $1"
    client = make_client(orders_url, [entry("psycopg", slow)])
    result = run("psycopg", place, client, orders_url, "SET statement_timeout = 200")
    assert result == ((50, "original"), int(place == "within"))
    assert client.status()["off"] == {"e1": "error 57014"}


def test_cancelling_stops_the_statement_and_blames_nobody(orders_url: str, make_client: MakeClient) -> None:
    slow = "SELECT count(*), 'rewrite' FROM customer, pg_sleep(20) WHERE id > $1"
    client = make_client(orders_url, [entry("psycopg", slow)])
    with psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client)) as connection:
        timer = threading.Timer(0.2, connection.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(STATEMENT["psycopg"], (10,))
        timer.join()
    assert client.status()["off"] == {}


def test_a_lost_connection_is_told_and_the_rewrite_is_off(orders_url: str, make_client: MakeClient) -> None:
    slow = "SELECT count(*), 'rewrite' FROM customer, pg_sleep(20) WHERE id > $1"
    client = make_client(orders_url, [entry("psycopg", slow)])
    with contextlib.closing(
        psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client))
    ) as connection:
        process = connection.info.backend_pid

        def kill() -> None:
            time.sleep(0.2)
            with psycopg.connect(orders_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (process,))

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(psycopg.OperationalError):
            connection.execute(STATEMENT["psycopg"], (10,))
        thread.join()
    assert client.status()["off"] == {"e1": "error connection-lost"}


def test_savepoints_and_blocks_of_the_application_stay(orders_url: str, make_client: MakeClient) -> None:
    client = make_client(orders_url, [entry("psycopg", FAILING)])
    cursors = rewriter_psycopg.cursor_factory(client)
    with psycopg.connect(orders_url, cursor_factory=cursors) as connection, connection.transaction():
        connection.execute(WRITE)
        with contextlib.suppress(psycopg.errors.UniqueViolation), connection.transaction():
            assert connection.execute(STATEMENT["psycopg"], (10,)).fetchone() == (50, "original")
            connection.execute(WRITE)
        row = connection.execute("SELECT count(*) FROM purchase WHERE id = 0").fetchone()
        assert row == (1,)
        raise psycopg.Rollback
    assert client.counts == {"error": 1}


def test_other_ways_to_run_a_statement_are_left_alone(orders_url: str, make_client: MakeClient) -> None:
    client = make_client(orders_url, [entry("psycopg", GOOD)])
    statement = STATEMENT["psycopg"]
    with psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client)) as connection:
        with connection.cursor(name="on_the_server") as cursor:
            assert cursor.execute(statement, (10,)).fetchone() == (50, "original")
        plain = connection.cursor()
        plain.executemany(statement, [(10,), (20,)], returning=True)
        assert plain.fetchone() == (50, "original")
        with connection.pipeline():
            assert connection.execute(statement, (10,)).fetchone() == (50, "original")
        assert list(plain.stream(statement, (10,))) == [(50, "original")]
        assert connection.execute(statement.encode(), (10,)).fetchone() == (50, "original")
        connection.rollback()
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        assert connection.execute(statement, (10,)).fetchone() == (50, "original")
    engine = create_engine(orders_url.replace("postgresql://", "postgresql+psycopg://"))
    streaming = make_client(orders_url, [entry("sqlalchemy", GOOD)])
    remove = rewriter_sqlalchemy.install(engine, streaming)
    with engine.connect() as wrapped:
        options = wrapped.execution_options(stream_results=True)
        assert tuple(options.exec_driver_sql(STATEMENT["sqlalchemy"], {"low": 10}).one()) == (50, "original")
    assert not streaming.counts
    remove()
    with engine.connect() as wrapped:
        assert tuple(wrapped.exec_driver_sql(STATEMENT["sqlalchemy"], {"low": 10}).one()) == (50, "original")
    engine.dispose()


def test_numbered_parameters_and_none_at_all(orders_url: str, make_client: MakeClient) -> None:
    numbered = entry_for("SELECT $1::int, $2::text", "SELECT 2 * $1::int, 'rewrite'", ("$1", "$2"))
    bare = entry_for("SELECT 'original', 100 % 7", "SELECT 'rewrite', 100 % 7", id="e2")
    client = make_client(orders_url, [numbered, bare])
    cursors: Any = rewriter_psycopg.cursor_factory(client, psycopg.RawCursor)
    with psycopg.connect(orders_url, cursor_factory=cursors) as connection:
        assert connection.execute("SELECT $1::int, $2::text", (4, "x")).fetchone() == (8, "rewrite")
        assert connection.execute(bare.statement).fetchone() == ("rewrite", 2)
    with psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client)) as connection:
        assert connection.execute(bare.statement).fetchone() == ("rewrite", 2)


def test_the_text_that_sqlalchemy_compiles_is_found(orders_url: str, make_client: MakeClient) -> None:
    statement = "SELECT name FROM customer WHERE name LIKE 'customer 1%%' AND id = %(id)s::INTEGER"
    seen = []
    engine = create_engine(orders_url.replace("postgresql://", "postgresql+psycopg://"))
    from sqlalchemy import event

    event.listen(engine, "after_cursor_execute", lambda *given: seen.append(given[2]))
    sql = "SELECT 'rewrite' || name FROM customer WHERE id = $1::integer AND name LIKE 'customer 1%'"
    client = make_client(orders_url, [entry_for(statement, sql, ("%(id)s",))])
    rewriter_sqlalchemy.install(engine, client)
    from sqlalchemy import Integer, bindparam

    query = text("SELECT name FROM customer WHERE name LIKE 'customer 1%' AND id = :id")
    with engine.connect() as connection:
        rows = connection.execute(query.bindparams(bindparam("id", 17, Integer))).all()
    engine.dispose()
    assert client.counts == {"rewritten": 1}
    assert seen[-1].startswith("SELECT 'rewrite'")
    assert rows == [("rewritecustomer 17",)]


@pytest.mark.parametrize("mode", ["shadow", "canary", "on"])
def test_a_comparison_on_another_connection_switches_a_wrong_rewrite_off(
    mode: Mode, orders_url: str, make_client: MakeClient
) -> None:
    client = make_client(
        orders_url,
        [entry("psycopg", GOOD, mode=mode)],
        shadow=1.0,
        canary=1.0,
        shadow_connect=lambda: psycopg.connect(orders_url),
    )
    with psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client)) as connection:
        first = connection.execute(STATEMENT["psycopg"], (10,)).fetchone()
        assert first == (50, "original" if mode == "shadow" else "rewrite")
        client.drain()
        assert client.status()["off"] == {"e1": "mismatch rows"}
        assert connection.execute(STATEMENT["psycopg"], (10,)).fetchone() == (50, "original")


def test_threads_that_share_a_connection_take_turns(orders_url: str, make_client: MakeClient) -> None:
    """Else what they write while the rewrite runs would be undone with it."""
    failing = "SELECT count(*) / ($1 - $1), 'rewrite' FROM customer, pg_sleep(0.2) WHERE id > $1"
    client = make_client(orders_url, [entry("psycopg", failing)])
    with psycopg.connect(orders_url, cursor_factory=rewriter_psycopg.cursor_factory(client)) as connection:

        def write(number: int) -> None:
            time.sleep(0.02 * number)
            connection.execute(WRITE.replace("(0,", f"({-number},"))

        rollback = connection.rollback

        def late() -> None:  # as if the scheduler had let the others run first
            time.sleep(0.1)
            rollback()

        connection.rollback = late  # type: ignore[method-assign]
        threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 11)]
        for thread in threads:
            thread.start()
        assert connection.execute(STATEMENT["psycopg"], (10,)).fetchone() == (50, "original")
        for thread in threads:
            thread.join()
        assert connection.execute("SELECT count(*) FROM purchase WHERE id < 0").fetchone() == (10,)
        rollback()


def test_tasks_that_share_a_connection_take_turns(orders_url: str, make_client: MakeClient) -> None:
    failing = "SELECT count(*) / ($1 - $1), 'rewrite' FROM customer, pg_sleep(0.2) WHERE id > $1"
    client = make_client(orders_url, [entry("psycopg", failing)])

    async def work(execute: Execute) -> Any:
        async def write(number: int) -> None:
            await asyncio.sleep(0.02 * number)
            await execute(WRITE.replace("(0,", f"({-number},"))

        row, *_ = await asyncio.gather(execute(STATEMENT["psycopg"], (10,)), *map(write, range(1, 11)))
        return row, await execute("SELECT count(*) FROM purchase WHERE id < 0")

    assert asyncio.run(through("psycopg-async", client, orders_url, False, work)) == ((50, "original"), (10,))


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE purchase ALTER customer_id DROP NOT NULL",
        "ALTER TABLE purchase DROP CONSTRAINT purchase_customer_id_fkey",
        "ALTER TABLE purchase DROP CONSTRAINT purchase_pkey",
        "ALTER TABLE purchase ALTER total TYPE numeric(12, 3)",
        "ALTER TABLE purchase RENAME city TO town",
        "ALTER TABLE purchase ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; SET ROLE somebody",
        "CREATE TABLE child () INHERITS (purchase)",
        "ALTER TABLE purchase RENAME TO other",
        "CREATE OR REPLACE VIEW spent AS SELECT (2 * total)::numeric(10, 2) AS total FROM purchase",
        "CREATE UNIQUE INDEX ON purchase (day, id)",
    ],
)
def test_the_probe_sees_what_a_verdict_rests_on(orders_url: str, change: str) -> None:
    relations = [("public", "customer"), ("public", "purchase"), (None, "spent"), ("public", 'od"d\\')]
    probe = catalog_probe(relations)
    with psycopg.connect(orders_url) as connection:
        connection.execute("CREATE VIEW spent AS SELECT total FROM purchase")
        connection.execute("CREATE ROLE somebody; GRANT ALL ON SCHEMA public TO somebody")
        before = connection.execute(probe).fetchone()
        connection.execute("ANALYZE purchase; CREATE INDEX ON purchase (day)")  # change no verdict
        assert connection.execute(probe).fetchone() == before
        if "ALTER total TYPE" in change:
            connection.execute("DROP VIEW spent")
            before = connection.execute(probe).fetchone()
        connection.execute(change)
        assert connection.execute(probe).fetchone() != before
        connection.rollback()
