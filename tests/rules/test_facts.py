"""What Facts claims must hold. Keys and nullability are checked against real rows on DuckDB."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from rewriter.parse import parse, read_schema
from rules.facts import Facts
from rules.sites import find_cte, relations

DDL = """
CREATE TABLE p (id integer PRIMARY KEY, g integer NOT NULL, n integer);
CREATE TABLE c (
  id integer PRIMARY KEY, p_id integer REFERENCES p (id), v integer, u integer UNIQUE, w integer NOT NULL UNIQUE);
CREATE TABLE h (a integer, b integer NOT NULL);
"""
CATALOG = read_schema(DDL, "duckdb")
FACTS = Facts(CATALOG)

QUERIES = [
    "SELECT p.id, p.g, p.n FROM p",
    "SELECT c.id, c.v, p.n FROM c JOIN p ON p.id = c.p_id",
    "SELECT c.id, c.v, p.g AS g, p.id AS pid FROM c LEFT JOIN p ON p.id = c.p_id",
    "SELECT p.id, c.v FROM c RIGHT JOIN p ON p.id = c.p_id",
    "SELECT h.a, COUNT(*) AS n, SUM(h.b) AS s, MAX(h.a) AS m FROM h GROUP BY h.a",
    "SELECT COUNT(*) AS n, MAX(h.b) AS m FROM h",
    "SELECT DISTINCT h.a, h.b FROM h",
    "SELECT h.a FROM h UNION SELECT p.n FROM p",
    "SELECT h.b FROM h UNION ALL SELECT p.g FROM p",
    "SELECT h.a, h.b FROM h, p WHERE h.b = p.id",
    "SELECT p.id, h.b FROM h, p WHERE h.b = p.id",
    "WITH t AS (SELECT h.b AS k, MIN(h.a) AS m FROM h GROUP BY h.b) SELECT t.k, t.m, p.g FROM t, p WHERE p.id = t.k",
    "SELECT x.k, x.n FROM (SELECT c.p_id AS k, COUNT(c.v) AS n FROM c GROUP BY c.p_id) AS x",
    "SELECT COALESCE(h.a, 0) AS z, CASE WHEN h.a > 1 THEN h.b END AS q, h.a + h.b AS s, h.b * 2 AS d FROM h",
    "SELECT h.a, h.b, SUM(h.b) AS s FROM h GROUP BY ROLLUP (h.a, h.b)",
    "SELECT c.w, c.u FROM c",
]

small = st.one_of(st.none(), st.integers(0, 3))
rows = st.fixed_dictionaries(
    {
        "p": st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), small), max_size=5, unique_by=lambda row: row[0]),
        "c": st.lists(st.tuples(st.integers(0, 4), small, small), max_size=5, unique_by=lambda row: row[0]),
        "h": st.lists(st.tuples(small, st.integers(0, 4)), max_size=6),
    }
)


@pytest.mark.parametrize("sql", QUERIES)
@settings(max_examples=20)
@given(data=rows)
def test_claimed_keys_and_nullability_hold(sql: str, data: dict[str, list[tuple[int | None, ...]]]) -> None:
    query = parse(sql, CATALOG)
    parents = {row[0] for row in data["p"]}
    with duckdb.connect(":memory:") as connection:
        connection.execute(DDL.replace("REFERENCES p (id)", ""))
        connection.executemany("INSERT INTO p VALUES (?, ?, ?)", data["p"]) if data["p"] else None
        children = [
            (key, parent if parent in parents else None, value, key, key + 10)
            for key, parent, value in data["c"]
            if key is not None
        ]
        connection.executemany("INSERT INTO c VALUES (?, ?, ?, ?, ?)", children) if children else None
        connection.executemany("INSERT INTO h VALUES (?, ?)", data["h"]) if data["h"] else None
        answer = connection.execute(query.sql()).fetchall()
    names = query.tree.named_selects
    for key in FACTS.keys(query.tree):
        positions = [names.index(name) for name in key]
        seen = [tuple(row[position] for position in positions) for row in answer]
        assert len(seen) == len(set(seen)), f"{set(key)} is no key"
    if isinstance(query.tree, exp.Select):
        for position, output in enumerate(query.tree.selects):
            if not FACTS.nullable(output):
                assert all(row[position] is not None for row in answer), f"{output.alias_or_name} is NULL"


def test_known_keys_are_found() -> None:
    """The properties would hold for a Facts that claims nothing; this pins what it must know."""

    def keys(sql: str) -> set[frozenset[str]]:
        return set(FACTS.keys(parse(sql, CATALOG).tree))

    assert frozenset({"id"}) in keys("SELECT p.id, p.n FROM p")
    assert frozenset({"w"}) in keys("SELECT c.w FROM c")
    assert frozenset({"u"}) not in keys("SELECT c.u FROM c")
    assert frozenset() in keys("SELECT COUNT(*) AS n FROM h")
    assert frozenset({"id"}) in keys("SELECT c.id, p.n FROM c JOIN p ON p.id = c.p_id")
    assert frozenset({"id"}) in keys("SELECT c.id, p.n FROM c LEFT JOIN p ON p.id = c.p_id")
    assert frozenset({"a"}) in keys("SELECT h.a, SUM(h.b) AS s FROM h GROUP BY h.a")
    assert not keys("SELECT h.b FROM h UNION ALL SELECT p.g FROM p")


def test_nullability_is_known_where_it_can_be() -> None:
    select = parse("SELECT p.g, p.n, COUNT(*) AS k FROM p GROUP BY p.g, p.n", CATALOG).tree
    assert [FACTS.nullable(output) for output in select.selects] == [False, True, False]


def test_foreign_keys_are_known() -> None:
    child, parent = relations(parse("SELECT 1 AS x FROM c, p", CATALOG).tree)  # type: ignore[arg-type]
    assert FACTS.references(child, ["p_id"], parent, ["id"])
    assert not FACTS.references(child, ["v"], parent, ["id"])
    assert not FACTS.references(parent, ["id"], child, ["p_id"])


@pytest.mark.parametrize(
    ("sql", "bound"),
    [
        ("WITH h AS (SELECT 1 AS a) SELECT h.a FROM h", True),
        ("WITH h AS (SELECT h.a FROM h) SELECT h.a FROM h", True),
        ("SELECT x.a FROM (WITH h AS (SELECT 1 AS a) SELECT h.a FROM h) AS x", True),
        ("SELECT h.a FROM h WHERE EXISTS (WITH h AS (SELECT 1 AS a) SELECT p.id FROM p)", False),
    ],
)
def test_cte_references_follow_sql_scoping(sql: str, bound: bool) -> None:
    """The last FROM h of each text; inside its own body a CTE's name still means the table."""
    query = parse(sql, CATALOG).tree
    tables = [table for table in query.find_all(exp.Table) if table.name == "h"]
    outermost = min(tables, key=lambda table: table.depth)
    assert (find_cte(outermost) is not None) is bound
    inner = [table for table in tables if table.find_ancestor(exp.CTE) is not None]
    assert all(find_cte(table) is None for table in inner)
