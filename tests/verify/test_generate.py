"""Generated databases keep every constraint and reach the queries' results."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB
from rewriter.parse import parse, read_schema
from rewriter.records import Database
from rewriter.verify.generate import Generator, relations, unsupported
from rewriter.verify.generate.domains import Kind, domain_of
from rewriter.verify.reference import reference
from rewriter.verify.script import script
from rewriter.verify.trials import Bench

EVERYTHING = (
    "SELECT c.*, o.*, i.* FROM customer c JOIN orders o ON o.customer_id = c.id JOIN item i ON i.order_id = o.id"
    " WHERE o.status = 'paid' AND i.quantity > 3 AND c.city LIKE 'Ro%' AND o.day BETWEEN '2001-01-01' AND '2001-03-31'"
)


def databases(catalog: Catalog, text: str, seed: int, count: int) -> list[Database]:
    query = parse(text, catalog)
    found = relations(catalog, (query.tree,))
    return list(islice(iter(Generator(catalog, found, (query.tree,), seed)), count))


def load(catalog: Catalog, text: str, database: Database) -> None:
    """Load through a script that declares all constraints; DuckDB raises when one is broken."""
    query = parse(text, catalog)
    body = script("duckdb", "duckdb", relations(catalog, (query.tree,)), database, query.tree, query.tree)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(body)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_databases_keep_all_constraints(shop: Catalog, seed: int) -> None:
    for database in databases(shop, EVERYTHING, seed, 12):
        load(shop, EVERYTHING, database)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (
            "CREATE TABLE person (id INTEGER PRIMARY KEY, boss INTEGER NOT NULL REFERENCES person (id), a INTEGER)",
            "SELECT p.a FROM person p JOIN person b ON p.boss = b.id WHERE b.a > 3",
        ),
        (
            "CREATE TABLE a (x INTEGER, y INTEGER, PRIMARY KEY (x, y));"
            "CREATE TABLE b (x INTEGER NOT NULL, y INTEGER NOT NULL, UNIQUE (x),"
            " FOREIGN KEY (x, y) REFERENCES a (x, y))",
            "SELECT * FROM a JOIN b ON a.x = b.x WHERE b.y = 5",
        ),
        (
            "CREATE TABLE t (low INTEGER NOT NULL, high INTEGER NOT NULL, kind VARCHAR(2), CHECK (low < high),"
            " CHECK (kind IN ('a', 'bb') OR low > 10))",
            "SELECT * FROM t WHERE high < 4",
        ),
        (
            "CREATE TABLE t (flag BOOLEAN UNIQUE, at TIMESTAMP PRIMARY KEY, small DECIMAL(2,1) NOT NULL)",
            "SELECT * FROM t WHERE small = 9.9",
        ),
    ],
)
def test_awkward_constraints_are_kept_too(schema: str, text: str) -> None:
    catalog = read_schema(schema, "duckdb")
    made = databases(catalog, text, 1, 30)
    for database in made:
        load(catalog, text, database)
    assert sum(database.size > 0 for database in made) > 20


def test_the_seed_decides_the_databases(shop: Catalog) -> None:
    assert databases(shop, EVERYTHING, 5, 30) == databases(shop, EVERYTHING, 5, 30)
    assert databases(shop, EVERYTHING, 5, 30) != databases(shop, EVERYTHING, 6, 30)


def test_only_what_the_query_reads_is_generated(shop: Catalog) -> None:
    (database, *_) = databases(shop, "SELECT name FROM customer WHERE city = 'Rome'", 0, 1)
    assert [(table.table, set(table.columns)) for table in database.tables] == [("customer", {"name", "city"})]


def test_columns_of_a_check_and_of_a_foreign_key_come_together() -> None:
    catalog = read_schema(
        "CREATE TABLE p (a INTEGER, b INTEGER, PRIMARY KEY (a, b));"
        "CREATE TABLE c (a INTEGER, b INTEGER, u INTEGER, v INTEGER, CHECK (u < v),"
        " FOREIGN KEY (a, b) REFERENCES p (a, b))",
        "duckdb",
    )
    query = parse("SELECT c.u FROM c JOIN p ON p.a = c.a", catalog)
    columns = {relation.table.name: set(relation.names) for relation in relations(catalog, (query.tree,))}
    assert columns == {"p": {"a", "b"}, "c": {"a", "b", "u", "v"}}


def test_a_foreign_key_chain_through_an_unread_table_is_kept() -> None:
    catalog = read_schema(
        "CREATE TABLE top (k INTEGER PRIMARY KEY);"
        "CREATE TABLE mid (k INTEGER PRIMARY KEY REFERENCES top (k));"
        "CREATE TABLE low (k INTEGER NOT NULL REFERENCES mid (k))",
        "duckdb",
    )
    text = "SELECT low.k FROM low LEFT JOIN top ON top.k = low.k WHERE top.k IS NULL"
    for database in databases(catalog, text, 0, 40):
        rows = {table.table: set(table.rows) for table in database.tables}
        assert rows["low"] <= rows["mid"] <= rows["top"]


@pytest.mark.parametrize(
    "text",
    [
        EVERYTHING,
        "SELECT customer_id FROM orders GROUP BY customer_id HAVING COUNT(*) > 20",
        "SELECT customer_id FROM orders WHERE status = 'sent' GROUP BY customer_id HAVING SUM(total) > 5000",
        "SELECT c.id FROM customer c WHERE c.city = 'Oslo' AND c.credit > 1.3 * (SELECT AVG(d.credit) FROM customer d"
        " WHERE d.city = c.city)",
        "WITH y AS (SELECT customer_id, EXTRACT(year FROM day) AS year, SUM(total) AS s FROM orders"
        " GROUP BY customer_id, EXTRACT(year FROM day))"
        " SELECT a.customer_id FROM y a JOIN y b ON a.customer_id = b.customer_id"
        " WHERE a.year = 2001 AND b.year = 2002 AND b.s > a.s",
        "SELECT c.name FROM customer c WHERE SUBSTRING(c.name, 1, 2) IN ('Al', 'Bo') AND NOT EXISTS"
        " (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        "SELECT v.page FROM visit v JOIN customer c ON v.customer_id = c.id + 53 WHERE v.seconds >= 12.5",
        "SELECT u.kind FROM (SELECT 'c' AS kind, city AS v FROM customer UNION ALL SELECT 'o', status FROM orders) u"
        " WHERE u.kind = 'o' AND u.v = 'paid'",
    ],
)
def test_most_databases_reach_the_result(shop: Catalog, hunter: DuckDB, text: str) -> None:
    query = parse(text, shop)
    bench = Bench(hunter, shop, reference(query.stated, len(query.columns)), relations(shop, (query.tree,)))
    trials = bench.trials(databases(shop, text, 3, 64))
    assert sum(trial.non_empty for trial in trials) >= 24


def test_threshold_groups_have_the_size_on_either_side(shop: Catalog) -> None:
    text = "SELECT customer_id FROM orders GROUP BY customer_id HAVING COUNT(*) > 7"
    sizes: set[int] = set()
    for database in databases(shop, text, 0, 200):
        (orders,) = [table for table in database.tables if table.table == "orders"]
        position = orders.columns.index("customer_id")
        sizes.update(Counter(row[position] for row in orders.rows).values())
    assert {7, 8} <= sizes


def test_nulls_and_duplicates_appear_where_they_may(shop: Catalog) -> None:
    tables = [
        table.rows
        for database in databases(shop, "SELECT page, seconds FROM visit WHERE seconds > 1", 0, 60)
        for table in database.tables
    ]
    assert any(None in row for rows in tables for row in rows)
    assert any(len(rows) != len(set(rows)) for rows in tables)
    assert any(not rows for rows in tables)


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("INTEGER", 2.5, (2, 3)),
        ("SMALLINT", 32767, (32767, 32766)),
        ("INTEGER", "Rome", ()),
        ("BOOLEAN", True, (True,)),
        ("CHAR(2)", "abc", ()),
    ],
)
def test_neighbours_stay_inside_the_domain(type_: str, value: object, expected: tuple[object, ...]) -> None:
    assert domain_of(type_, "postgres").near(value)[: len(expected) or None] == expected


@given(st.sampled_from(["INTEGER", "DECIMAL(4,1)", "VARCHAR(2)", "DATE", "TIMESTAMP", "DOUBLE", "UUID", "TIME"]))
def test_fresh_values_are_new_and_valid(type_: str) -> None:
    domain = domain_of(type_, "duckdb")
    values = [domain.fresh(number) for number in range(60)]
    assert len(set(values)) == 60
    assert not set(values) & set(domain.pool())
    assert all(domain.coerce(value) == value for value in values)


def test_a_required_column_of_an_unknown_type_is_said(shop: Catalog) -> None:
    catalog = read_schema("CREATE TABLE t (a INTEGER[] NOT NULL, b JSON)", "duckdb")
    query = parse("SELECT a, b FROM t", catalog)
    assert domain_of("JSON", "duckdb").kind is Kind.OTHER
    assert "t.a" in (unsupported(relations(catalog, (query.tree,))) or "")


def test_generating_leaves_the_query_alone(shop: Catalog) -> None:
    query = parse("SELECT i.line FROM item i WHERE i.quantity > ALL (SELECT j.quantity FROM item j)", shop)
    found = relations(shop, (query.tree,))
    list(islice(Generator(shop, found, (query.tree,), 1), 3))
    for node in query.tree.walk():
        while node.parent is not None:
            node = node.parent
        assert node is query.tree
