"""Rules keep mixed-case and reserved names as the catalog has them."""

from __future__ import annotations

import duckdb
import pytest

from rewriter.parse import parse, read_schema
from rules.discovery import code, executable
from rules.facts import Facts

DDL = """
CREATE TABLE "Orders" ("Id" integer PRIMARY KEY, "order" integer, "Total" integer NOT NULL);
CREATE TABLE "Item" ("Id" integer PRIMARY KEY, "Order Id" integer NOT NULL, "select" integer);
"""
QUERIES = [
    'SELECT o."Id" FROM "Orders" o '
    'WHERE o."Total" > (SELECT AVG(p."Total") FROM "Orders" p WHERE p."order" = o."order")',
    'SELECT o."Id" FROM "Orders" o, "Item" i WHERE i."Order Id" = o."Id" AND i."select" = 1',
    'SELECT o."Id" FROM "Orders" o WHERE o."Id" IN (SELECT i."Order Id" FROM "Item" i)',
    'SELECT (SELECT MIN(i."select") FROM "Item" i WHERE i."Id" > 1) AS a, (SELECT MAX(i."Id") FROM "Item" i) AS "B"',
    'WITH "T" AS (SELECT o."order" AS "K", o."Total" FROM "Orders" o) '
    'SELECT a."K" FROM "T" a, "T" b WHERE a."K" = 1 AND b."K" = 2 AND a."Total" = b."Total"',
]


@pytest.mark.parametrize("sql", QUERIES)
def test_every_rewrite_binds_and_answers_alike(sql: str) -> None:
    catalog = read_schema(DDL, "postgres")
    query = parse(sql, catalog)
    made = [tree for rule in executable("postgres") for tree in code(rule)(query.tree, Facts(catalog))]
    assert made
    with duckdb.connect(":memory:") as connection:
        connection.execute(DDL)
        connection.execute('INSERT INTO "Orders" VALUES (1, 1, 5), (2, 1, 9), (3, 2, 4), (4, NULL, 1), (5, 2, 5)')
        connection.execute('INSERT INTO "Item" VALUES (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 5, NULL)')
        expected = sorted(map(repr, connection.execute(sql).fetchall()))
        for tree in made:
            again = parse(tree.sql(dialect="postgres"), catalog)
            assert sorted(map(repr, connection.execute(again.tree.sql(dialect="duckdb")).fetchall())) == expected
