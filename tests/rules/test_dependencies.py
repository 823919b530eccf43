"""Derived facts: what is claimed holds on real rows, and what should be derived is."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Sequence
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from rewriter.errors import RewriterError
from rewriter.parse import parse, read_schema
from rules.dependencies import Dependencies, Dependency
from rules.facts import Facts
from rules.sites import selects

SCHEMA = """
CREATE TABLE t (a int PRIMARY KEY, b int, c int NOT NULL);
CREATE TABLE u (a int, b int, c int NOT NULL UNIQUE);
CREATE TABLE v (a int NOT NULL, b int NOT NULL, c int, PRIMARY KEY (a, b));
"""
CATALOG = read_schema(SCHEMA, "duckdb")
FACTS = Facts(CATALOG)
EXAMPLES = int(os.environ.get("REWRITER_DEPENDENCIES", "150"))


def outputs(sql: str) -> Dependencies:
    return FACTS.outputs(parse(sql, CATALOG).tree)


def named(*names: str) -> frozenset[tuple[str, str]]:
    return frozenset(("", name) for name in names)


@pytest.mark.parametrize(
    ("sql", "left", "right"),
    [
        ("SELECT t.a, t.b, t.c FROM t", ["a"], ["b", "c"]),
        ("SELECT t.a, u.b, u.c FROM t JOIN u ON t.a = u.a", ["c"], ["a", "b"]),
        ("SELECT t.b, u.a AS x, t.c FROM t JOIN u ON t.a = u.a", ["x"], ["b", "c"]),
        ("SELECT t.b, t.c FROM t WHERE t.a = 3", [], ["b", "c"]),
        ("SELECT u.a, t.b FROM u LEFT JOIN t ON t.a = u.a", ["a"], ["b"]),
        ("SELECT t.b, COUNT(*) AS n, SUM(t.c) AS s FROM t GROUP BY t.b", ["b"], ["n", "s"]),
        ("SELECT x.b, x.n FROM (SELECT t.b, COUNT(*) AS n FROM t GROUP BY t.b) x", ["b"], ["n"]),
        ("WITH x AS (SELECT t.a, t.b + 1 AS d FROM t) SELECT x.a, x.d FROM x", ["a"], ["d"]),
        ("SELECT t.b, t.b + t.c AS d, t.c FROM t", ["b", "c"], ["d"]),
        ("SELECT t.a, t.c FROM t EXCEPT SELECT u.a, u.c FROM u", ["a"], ["c"]),
        ("SELECT COUNT(*) AS n, MAX(t.b) AS m FROM t", [], ["n", "m"]),
    ],
)
def test_dependencies_are_derived(sql: str, left: Sequence[str], right: Sequence[str]) -> None:
    assert outputs(sql).determines(named(*left), named(*right))


@pytest.mark.parametrize(
    ("sql", "left", "right"),
    [
        ("SELECT t.b, t.c FROM t", ["b"], ["c"]),
        ("SELECT u.a, t.b FROM u LEFT JOIN t ON t.a = u.a AND u.b = 1", ["a"], ["b"]),
        ("SELECT t.a, t.b FROM t UNION ALL SELECT u.a, u.b FROM u", ["a"], ["b"]),
        ("SELECT t.a, u.b FROM t FULL JOIN u ON t.a = u.a", ["a"], ["b"]),
        ("SELECT t.b, COUNT(*) AS n FROM t GROUP BY ROLLUP (t.b)", ["b"], ["n"]),
        ("SELECT t.a, random() AS r FROM t JOIN u ON t.c = u.a", ["a"], ["r"]),
        ("SELECT t.b, ROW_NUMBER() OVER (ORDER BY t.a) AS n FROM t", ["b"], ["n"]),
    ],
)
def test_what_does_not_hold_is_not_claimed(sql: str, left: Sequence[str], right: Sequence[str]) -> None:
    assert not outputs(sql).determines(named(*left), named(*right))


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("SELECT t.a, t.b FROM t", ["a"]),
        ("SELECT t.a, u.c FROM t JOIN u ON t.b = u.b", ["a", "c"]),
        ("SELECT u.c, t.b FROM t JOIN u ON t.a = u.a", ["c"]),
        ("SELECT v.a, v.c FROM v WHERE v.b = 2", ["a"]),
        ("SELECT DISTINCT t.b, t.c FROM t", ["b", "c"]),
        ("SELECT t.b, MAX(t.c) AS m FROM t GROUP BY t.b", ["b"]),
        ("SELECT t.b, t.c, MAX(t.a) AS m FROM t WHERE t.c = 1 GROUP BY t.b, t.c", ["b"]),
        ("SELECT x.k, u.b FROM (SELECT t.b AS k, COUNT(*) AS n FROM t GROUP BY t.b) x JOIN u ON u.c = x.k", ["k"]),
        ("SELECT t.b FROM t INTERSECT SELECT u.b FROM u", ["b"]),
        ("SELECT MAX(t.b) AS m FROM t", []),
    ],
)
def test_keys_are_derived(sql: str, key: Sequence[str]) -> None:
    assert outputs(sql).unique(named(*key))


def test_constants_equal_columns_and_columns_without_null_are_derived() -> None:
    found = outputs("SELECT t.b, u.a, t.c, 7 AS d FROM t JOIN u ON t.b = u.a WHERE t.c = 4 AND u.b > 1")
    assert {name for _, name in found.constants} == {"c", "d"}
    assert found.same(("", "b"), ("", "a"))
    assert named("a", "b", "c", "d") <= found.not_null
    assert not found.same(("", "b"), ("", "c"))


# Generated queries: the pieces are few, their combinations many.
_TABLES = ("t", "u", "v")
_COLUMNS = ("a", "b", "c")


def _query(draw: Any, depth: int = 0) -> str:
    def pick(items: Sequence[Any]) -> Any:
        return items[draw(st.integers(0, len(items) - 1))]

    names, froms = [], ""
    for place in range(pick([1, 2, 2, 3])):
        name = f"r{depth}_{place}"
        nested = depth < 1 and pick([False, False, True])
        source = f"({_query(draw, depth + 1)})" if nested else pick(_TABLES)
        if place == 0:
            froms = f"{source} {name}"
        else:
            on = f"{pick(names)}.{pick(_COLUMNS)} = {name}.{pick(_COLUMNS)}"
            more = pick(["", "", f" AND {pick(names)}.{pick(_COLUMNS)} = 1", f" AND {name}.{pick(_COLUMNS)} > 0"])
            froms += f" {pick(['JOIN', 'JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN'])} {source} {name} ON {on}{more}"
        names.append(name)

    def column() -> str:
        return f"{pick(names)}.{pick(_COLUMNS)}"

    conditions = [
        pick(
            [
                f"{column()} = {pick([0, 1, 2])}",
                f"{column()} = {column()}",
                f"{column()} > {column()}",
                f"NOT {column()} IS NULL",
                f"{column()} IN (0, 1)",
            ]
        )
        for _ in range(pick([0, 1, 2]))
    ]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    kind = pick(["plain", "plain", "group", "distinct", "union", "except", "limit"])
    if kind == "group":
        one, other = column(), column()
        counted = pick(["COUNT(*)", f"MAX({column()})"])
        grouping = f"GROUP BY {one}, {other}"
        return f"SELECT {one} AS a, {other} AS b, {counted} AS c FROM {froms}{where} {grouping}"
    outputs = f"{column()} AS a, {pick([column(), f'{column()} + 1', '1'])} AS b, {column()} AS c"
    select = f"SELECT {'DISTINCT ' if kind == 'distinct' else ''}{outputs} FROM {froms}{where}"
    if kind in ("union", "except") and depth == 0:
        other = _query(draw, 1)
        return f"{select} {pick(['UNION', 'UNION ALL']) if kind == 'union' else 'EXCEPT'} {other}"
    return select


def _rows(seed: int) -> dict[str, list[tuple[Any, ...]]]:
    dice = random.Random(seed)

    def value() -> int | None:
        return dice.choice([None, 0, 1, 2, 3])

    keys = dice.sample(range(5), dice.randrange(5))
    others = dice.sample(range(5), dice.randrange(5))
    pairs = dice.sample(list(itertools.product(range(3), range(3))), dice.randrange(6))
    return {
        "t": [(key, value(), dice.randrange(4)) for key in keys],
        "u": [(value(), value(), key) for key in others],
        "v": [(one, other, value()) for one, other in pairs],
    }


def _broken(claims: Dependencies, names: Sequence[tuple[str, str]], rows: Sequence[tuple[Any, ...]]) -> str | None:
    """The first claim that the rows contradict."""
    at = {name: place for place, name in enumerate(names)}
    for name in claims.not_null:
        if any(row[at[name]] is None for row in rows):
            return f"{name} is NULL"
    for name, literal in claims.constants.items():
        if any(row[at[name]] != int(literal.name) for row in rows):
            return f"{name} is not {literal}"
    for group in claims.equal:
        if any(len({row[at[name]] for name in group}) > 1 or row[at[next(iter(group))]] is None for row in rows):
            return f"{sorted(group)} differ"
    steps = [
        *claims.functional,
        *(Dependency(claims_left, claims.closure(claims_left)) for claims_left in _small(claims)),
    ]
    for step in steps:
        seen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for row in rows:
            left = tuple(row[at[name]] for name in sorted(step.left))
            right = tuple(row[at[name]] for name in sorted(step.right))
            if seen.setdefault(left, right) != right:
                return f"{sorted(step.left)} does not determine {sorted(step.right)}"
    for columns in _small(claims):
        if claims.unique(columns):
            picked = [tuple(row[at[name]] for name in sorted(columns)) for row in rows]
            if len(set(picked)) != len(picked):
                return f"{sorted(columns)} is no key"
    return None


def _small(claims: Dependencies) -> list[frozenset[tuple[str, str]]]:
    """All sets of up to two columns."""
    columns = sorted(claims.columns)
    return [frozenset(them) for size in range(3) for them in itertools.combinations(columns, size)]


@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(st.data())
def test_every_claim_holds_on_the_rows(data: st.DataObject) -> None:
    sql = _query(data.draw)
    try:
        query = parse(sql, CATALOG)
    except RewriterError:
        return
    tree = query.tree
    whole = FACTS.outputs(tree)
    with duckdb.connect(":memory:") as connection:
        connection.execute(SCHEMA)
        for seed in range(6):
            for table, rows in _rows(seed).items():
                connection.execute(f"DELETE FROM {table}")
                if rows:
                    connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)
            found = connection.execute(tree.sql(dialect="duckdb")).fetchall()
            if whole.columns:
                names = [("", name) for name in tree.named_selects]
                assert _broken(whole, names, found) is None, f"{_broken(whole, names, found)}: {sql}"
            for select in selects(tree):
                claims = FACTS.dependencies(select)
                if not claims.columns:
                    continue
                names = sorted(claims.columns)
                probe = select.copy()
                for clause in ("group", "having", "distinct", "order", "limit", "with_"):
                    probe.set(clause, None)
                probe.set("expressions", [exp.column(column, table=table) for table, column in names])
                rows_of = connection.execute(probe.sql(dialect="duckdb")).fetchall()
                assert _broken(claims, names, rows_of) is None, f"{_broken(claims, names, rows_of)}: {probe.sql()}"
