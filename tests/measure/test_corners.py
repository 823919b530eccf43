"""Which constants can be varied, what the target says of their columns, and what becomes of the texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB, Postgres
from rewriter.engines.base import Limits
from rewriter.measure import corners
from rewriter.measure.corners import Role
from rewriter.parse import parse, read_schema

DDL = """
CREATE TABLE shop (id integer PRIMARY KEY, city text NOT NULL);
CREATE TABLE sale (id integer PRIMARY KEY, shop_id integer, amount numeric(8, 2) NOT NULL, day date);
"""
CATALOG = read_schema(DDL, "postgres")


def found(original: str, rewrite: str, catalog: Catalog = CATALOG) -> dict[str, set[Role]]:
    one, two = parse(original, catalog).tree, parse(rewrite, catalog).tree
    return {predicate.name: set(predicate.constants) for predicate in corners.predicates(one, two, catalog)}


RANGE = "SELECT s.id FROM sale s WHERE s.day >= DATE '2024-02-01' AND s.day < DATE '2024-03-01'"


SHOPS = "SELECT id FROM sale WHERE shop_id BETWEEN 20 AND 40"
JOIN = "SELECT s.id FROM sale s JOIN shop x ON x.id = s.shop_id WHERE x.id = 20"
BOUNDS = {Role.LOWER, Role.UPPER}


@pytest.mark.parametrize(
    ("original", "rewrite", "expected"),
    [
        (RANGE, RANGE, {"sale.day": BOUNDS}),
        (RANGE, RANGE.replace("s.day >= DATE '2024-02-01'", "DATE '2024-02-01' <= s.day"), {"sale.day": BOUNDS}),
        (SHOPS, "SELECT id FROM sale WHERE shop_id >= 20 AND shop_id <= 40", {"sale.shop_id": BOUNDS}),
        (JOIN, "SELECT * FROM (SELECT s.id FROM sale s, shop x WHERE x.id = 20) t", {"shop.id": {Role.EQUAL}}),
        # The rewrite also holds it against a column that is equal.
        (JOIN, f"{JOIN} AND s.shop_id = 20", {"shop.id": {Role.EQUAL}}),
    ],
)
def test_constants_of_plain_comparisons_can_be_varied(
    original: str, rewrite: str, expected: dict[str, set[Role]]
) -> None:
    assert found(original, rewrite) == expected


@pytest.mark.parametrize(
    ("original", "rewrite"),
    [
        # another constant, another way of comparing, a place that is no comparison, in the rewrite
        ("SELECT id FROM sale WHERE shop_id <= 40", "SELECT id FROM sale WHERE shop_id < 41"),
        ("SELECT id FROM sale WHERE shop_id <= 40", "SELECT id FROM sale WHERE NOT shop_id > 40"),
        ("SELECT id FROM sale WHERE shop_id = 40", "SELECT id FROM sale WHERE shop_id = 40 LIMIT 40"),
        # one constant for two columns, two bounds of one kind, a range of which one end is no constant, a list
        ("SELECT id FROM sale WHERE shop_id > 40 AND amount > 40", None),
        ("SELECT id FROM sale WHERE shop_id > 40 AND shop_id > 50", None),
        ("SELECT id FROM sale WHERE day >= DATE '2024-02-01' AND day < DATE '2024-02-01' + INTERVAL '1 month'", None),
        ("SELECT id FROM sale WHERE shop_id > 40 AND shop_id IN (50, 60)", None),
        # no column of a base table, an expression
        ("SELECT n FROM (SELECT count(*) AS n FROM sale GROUP BY shop_id) t WHERE n > 40", None),
        ("SELECT id FROM sale WHERE shop_id + 1 > 40", None),
    ],
)  # fmt: skip
def test_other_constants_stay(original: str, rewrite: str | None) -> None:
    assert found(original, rewrite or original) == {}


def test_one_constant_in_two_ranges_stays() -> None:
    sql = "SELECT a.id FROM sale a, sale b WHERE a.shop_id > 20 AND b.shop_id > 20 AND b.shop_id < 30"
    assert found(sql, sql) == {}


def test_the_largest_tables_come_first(shop: Postgres) -> None:
    sql = "SELECT s.id FROM sale s JOIN shop x ON x.id = s.shop_id WHERE x.id > 3 AND s.amount > 50"
    assert list(found(sql, sql, shop.catalog())) == ["sale.amount", "shop.id"]


SLOW_RANGE = "SELECT s.id FROM sale s WHERE s.amount > 50 AND s.day BETWEEN DATE '2024-02-01' AND DATE '2024-03-01'"


def rows(engine: Postgres | DuckDB, tree: exp.Expr) -> int:
    return engine.time(tree.sql(dialect=engine.dialect), Limits())[1]


def test_corners_let_few_or_many_rows_through(shop: Postgres) -> None:
    tree = parse(SLOW_RANGE, shop.catalog()).tree
    made = corners.corners(shop, corners.predicates(tree, tree, shop.catalog()))
    assert len(made) == 5
    counts = {tuple(corner.levels.values()): rows(shop, corners.substituted(tree, corner.constants)) for corner in made}
    assert counts["low", "low"] < counts["mid", "mid"] < counts["high", "high"]
    assert counts["low", "low"] <= min(counts["low", "high"], counts["high", "low"])
    assert counts["high", "high"] > 5000


def test_equality_has_corners_where_values_are_not_equally_frequent(hunter: DuckDB) -> None:
    catalog = read_schema("CREATE TABLE t (a integer, b integer)", "duckdb")
    with_rows = _Answering(hunter, "SELECT CASE WHEN i < 90 THEN 7 ELSE i END AS a, i AS b FROM range(100) AS r(i)")
    skewed, flat = (
        corners.predicates(tree, tree, catalog)
        for tree in (parse(f"SELECT 1 FROM t WHERE {name} = 50", catalog).tree for name in "ab")
    )
    made = corners.corners(with_rows, skewed)
    constants = {corner.levels["t.a"]: next(iter(corner.constants.values())).name for corner in made}
    assert constants["high"] == "7"
    assert int(constants["low"]) >= 90
    assert corners.corners(with_rows, flat) == ()


class _Answering:
    """An engine with one table ``t``."""

    dialect = "duckdb"

    def __init__(self, engine: DuckDB, definition: str) -> None:
        self.engine, self.definition = engine, definition

    def run(self, sql: str, limits: Limits, parameters: tuple[object, ...] = ()) -> object:
        return self.engine.run(re.sub(r'FROM "t"', f"FROM ({self.definition}) AS t", sql), limits)


@given(
    st.integers(0, 10**9), st.decimals(allow_nan=False, allow_infinity=False, places=2), st.dates(), st.text(max_size=8)
)
def test_other_constants_keep_the_shape(number: int, amount: object, day: object, text: str) -> None:
    sql = (
        "SELECT s.id, x.city FROM sale s JOIN shop x ON x.id = s.shop_id WHERE s.shop_id >= 20 AND s.amount < 30.5"
        " AND s.day = DATE '2024-02-01' AND x.city > 'Bern' AND s.id <> 4"
    )
    tree = parse(sql, CATALOG).tree
    assert isinstance(tree, exp.Query)
    values = {(False, "20"): number, (False, "30.5"): amount, (True, "2024-02-01"): day, (True, "Bern"): text}
    constants = {key: corners._written(key, value) for key, value in values.items()}
    other = corners.substituted(tree, constants)
    assert blank(other) == blank(tree)
    assert {literal.name for literal in other.find_all(exp.Literal)} == {c.name for c in constants.values()} | {"4"}
    assert tree.sql() == parse(sql, CATALOG).tree.sql()
    back = {(c.is_string, c.name): exp.Literal(this=key[1], is_string=key[0]) for key, c in constants.items()}
    if len(back) == len(constants) and (False, "4") not in back:
        assert corners.substituted(other, back) == tree


def blank(tree: exp.Query) -> exp.Query:
    copy = tree.copy()
    for literal in list(copy.find_all(exp.Literal)):
        literal.replace(exp.Literal(this="", is_string=literal.is_string))
    return copy
