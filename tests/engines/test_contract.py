"""The contract of ``rewriter.engines.base``, run on every engine that runs queries."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from decimal import Decimal

import duckdb
import psycopg
import pytest
import sqlglot

from rewriter.catalog import Catalog, Column, Table
from rewriter.engines import DuckDB, Postgres, connect
from rewriter.engines.base import Engine, Limits
from rewriter.errors import BindError, EngineError, ExecutionError, QueryTimeout
from rewriter.records import Database, Result, TableRows

DDL = """
CREATE TABLE customer (id integer PRIMARY KEY, name varchar(20) NOT NULL, city varchar);
CREATE TABLE orders (
  id integer PRIMARY KEY, customer_id integer REFERENCES customer (id), total numeric(10, 2) CHECK (total >= 0),
  placed date NOT NULL, note varchar UNIQUE);
CREATE VIEW big AS SELECT id, total FROM orders WHERE total > 100;
INSERT INTO customer VALUES (1, 'Ann', 'Rome'), (2, 'Bob', NULL);
INSERT INTO orders VALUES (1, 1, 5.50, DATE '2024-01-01', 'a'), (2, 1, 500, DATE '2024-02-01', NULL),
  (3, NULL, 0, DATE '2024-03-01', 'c');
"""
LIMITS = Limits(seconds=10.0)
ENDLESS = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"


@pytest.fixture(scope="module", params=["postgres", "duckdb"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "duckdb":
        path = tmp_path_factory.mktemp("engine") / "shop.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute(DDL)
        with contextlib.closing(connect(f"duckdb://{path}")) as made:
            yield made
        return
    url: str = request.getfixturevalue("postgres_url")
    name = f"contract_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    target = url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute(DDL)
        connection.execute("ANALYZE")
    with contextlib.closing(connect(target)) as made:
        yield made


def test_catalog_has_what_the_ddl_promises(engine: Engine) -> None:
    catalog = engine.catalog()
    orders, customer, big = (catalog.find(name) for name in ("orders", "customer", "big"))
    assert orders is not None
    assert customer is not None
    assert big is not None
    assert orders.primary_key == ("id",)
    assert ("note",) in orders.unique
    assert [(key.columns, key.table, key.referenced) for key in orders.foreign_keys] == [
        (("customer_id",), "customer", ("id",))
    ]
    assert len(orders.checks) == 1
    assert [column.nullable for column in orders.columns] == [False, True, True, False, True]
    assert not any(column.nullable for column in customer.columns[:2])
    assert orders.rows == 3
    assert big.is_view
    assert "total" in str(big.definition)
    assert len(catalog.functions) > 100
    assert catalog.functions["random"] == "volatile"
    assert catalog.functions["abs"] == "immutable"
    assert catalog.hash == engine.catalog().hash


def test_run_returns_columns_types_and_exact_values(engine: Engine) -> None:
    result = engine.run("SELECT id, total, placed, customer_id FROM orders ORDER BY id", LIMITS)
    assert result.columns == ("id", "total", "placed", "customer_id")
    assert result.rows[0] == (1, Decimal("5.50"), datetime.date(2024, 1, 1), 1)
    assert result.rows[2][3] is None
    assert not result.truncated
    assert result.seconds > 0


def test_rows_beyond_the_limit_are_counted_and_not_kept(engine: Engine) -> None:
    result = engine.run("SELECT g FROM generate_series(1, 5000) AS s(g)", Limits(seconds=10, rows=10))
    assert len(result.rows) == 10
    assert result.truncated
    seconds, rows = engine.time("SELECT g FROM generate_series(1, 5000) AS s(g)", LIMITS)
    assert rows == 5000
    assert seconds > 0


def test_parameters_are_bound_and_not_pasted(engine: Engine) -> None:
    result = engine.run(
        "SELECT name FROM customer WHERE id = $1 OR name = $2", LIMITS, (2, "x'; DROP TABLE customer --")
    )
    assert result.rows == (("Bob",),)


def test_bind_describes_without_running(engine: Engine) -> None:
    columns = engine.bind("SELECT id, 1 / (id - id) AS never FROM orders")
    assert [name for name, _ in columns] == ["id", "never"]


def test_explain_gives_a_tree_with_cost(engine: Engine) -> None:
    plan = engine.explain("SELECT c.name FROM customer c JOIN orders o ON o.customer_id = c.id")
    nodes = [plan]
    for node in nodes:
        nodes.extend(node.children)
    assert len(nodes) >= 3
    assert plan.cost is not None
    assert plan.cost > 0


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT nothing FROM orders", BindError),
        ("SELECT * FROM nowhere", BindError),
        ("SELEC 1", BindError),
        ("SELECT CAST(name AS integer) FROM customer", ExecutionError),
    ],
)
def test_errors_are_ours_and_the_engine_goes_on(engine: Engine, sql: str, error: type[EngineError]) -> None:
    with pytest.raises(error) as caught:
        engine.run(sql, LIMITS)
    assert "\n" not in caught.value.message
    assert engine.run("SELECT 1 AS one", LIMITS).rows == ((1,),)


def test_a_query_that_never_ends_is_stopped(engine: Engine) -> None:
    with pytest.raises(QueryTimeout):
        engine.run(ENDLESS, Limits(seconds=0.5))
    assert engine.run("SELECT 1 AS one", LIMITS).rows == ((1,),)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO customer VALUES (9, 'Eve', NULL)",
        "DELETE FROM orders",
        "UPDATE customer SET city = 'X'",
        "CREATE TABLE made (a integer)",
        "DROP TABLE orders",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "SELECT 1 AS a INTO made",
        "COMMIT",
        "SELECT 1; DELETE FROM orders",
    ],
)
def test_nothing_can_be_written(engine: Engine, sql: str) -> None:
    """The guard never lets these through; the engine is the second wall."""
    with contextlib.suppress(EngineError):
        engine.run(sql, LIMITS)
    assert engine.run("SELECT count(*) AS n FROM orders", LIMITS).rows == ((3,),)
    assert engine.run("SELECT count(*) AS n FROM customer", LIMITS).rows == ((2,),)
    assert engine.catalog().find("made") is None


CATALOG = Catalog(
    "postgres",
    (
        Table(
            "t",
            (Column("a", "integer", False), Column("b", "numeric(10,2)"), Column("c", "character(5)")),
            "public",
            ("a",),
        ),
        Table("u", (Column("x", "integer"), Column("d", "date")), "public"),
        Table("customer", (Column("id", "integer"),), "other"),
    ),
    ("public",),
)
DATABASE = Database(
    (
        TableRows("t", ("a", "b", "c"), ((1, Decimal("1.5"), "x"), (2, None, None)), "public"),
        TableRows("u", ("x", "d"), ((1, datetime.date(2024, 1, 1)), (1, None)), "public"),
        TableRows("customer", ("id",), ((7,),), "other"),
    )
)
EMPTY = Database((TableRows("t", ("a",), (), "public"),))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT t.a, t.b FROM t ORDER BY t.a", [(1, Decimal("1.50")), (2, None)]),
        ("WITH t AS (SELECT a FROM public.t WHERE a > 1) SELECT t.a FROM t", [(2,)]),
        ("SELECT t.a, count(*) AS n FROM t JOIN u ON u.x = t.a GROUP BY t.a", [(1, 2)]),
        ("SELECT t.a, t.b FROM t WHERE t.a = 1 GROUP BY t.a", [(1, Decimal("1.50"))]),
        ("SELECT x.a FROM (WITH u AS (SELECT a FROM t) SELECT a FROM u WHERE a = 2) AS x", [(2,)]),
        ("SELECT customer.id FROM other.customer", [(7,)]),
        ("SELECT u.d FROM u WHERE u.d IS NOT NULL", [(datetime.date(2024, 1, 1),)]),
        (
            "WITH RECURSIVE r AS (SELECT a FROM t WHERE a = 1 UNION ALL SELECT r.a + 1 FROM r WHERE r.a < 3) "
            "SELECT a FROM r",
            [(1,), (2,), (3,)],
        ),
    ],
)
def test_generated_databases_are_read_instead_of_the_target(
    engine: Engine, sql: str, expected: list[tuple[object, ...]]
) -> None:
    query = sqlglot.parse_one(sql, read="postgres")
    assert isinstance(query, sqlglot.exp.Query)
    ((outcome,),) = engine.run_on(CATALOG, [DATABASE], [query], LIMITS)
    assert isinstance(outcome, Result), outcome
    assert sorted(map(repr, outcome.rows)) == sorted(map(repr, expected))


def test_many_databases_and_queries_give_one_outcome_each(engine: Engine) -> None:
    good = sqlglot.parse_one("SELECT count(*) AS n FROM t", read="postgres")
    bad = sqlglot.parse_one("SELECT 1 / (t.a - t.a) AS x, CAST(t.c AS integer) AS y FROM t", read="postgres")
    outcomes = engine.run_on(CATALOG, [DATABASE, EMPTY, DATABASE], [good, bad], LIMITS)  # type: ignore[list-item]
    counts = [row[0] for row in outcomes]
    assert [outcome.rows if isinstance(outcome, Result) else outcome for outcome in counts] == [
        ((2,),),
        ((0,),),
        ((2,),),
    ]
    assert isinstance(outcomes[0][1], EngineError)
    assert isinstance(outcomes[1][1], Result)


def test_names_hold_no_credentials(engine: Engine) -> None:
    assert "@" not in engine.name
    assert isinstance(engine, (DuckDB, Postgres))
