"""What a model is told of the engine's statistics and estimates: figures of this query, and nothing private."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from rewriter.candidates.model.estimates import estimates
from rewriter.engines import DuckDB, Postgres
from rewriter.llm import Redaction
from rewriter.parse import parse, read_schema
from rewriter.records import Plan, Query

TESTED = (
    "SELECT x.id FROM shop x WHERE x.city = 'city 4711'"
    " AND EXISTS (SELECT 1 FROM sale s WHERE s.shop_id = x.id AND s.amount > 4712 AND s.id = 4713)"
)


def told(engine: Postgres | DuckDB, sql: str, *, masked: bool = False) -> str:
    query = parse(sql, engine.catalog())
    redaction = Redaction(query.dialect, masked=masked)
    redaction.sql(query.tree)
    return estimates(query, engine.explain(query.statement), redaction)


def test_sizes_keys_values_and_selectivities(shop: Postgres) -> None:
    text = told(shop, "SELECT s.id FROM sale s WHERE s.amount > 48 AND s.shop_id = 17")
    assert "sale: about 6,000 rows" in text
    assert "(id)" in text
    assert "sale.shop_id: about 200 distinct values, 30 rows each" in text
    assert "sale where" in text
    (share,) = [line for line in text.splitlines() if line.startswith("sale where")]
    assert " of 6,000 rows (0.00" in share
    assert "shop: " not in text


def test_the_indexes_that_the_plan_uses_are_named(shop: Postgres) -> None:
    assert "sale_pkey" in told(shop, "SELECT s.day FROM sale s WHERE s.id = 4711")
    assert "sale_pkey" not in told(shop, "SELECT s.day FROM sale s WHERE s.id = 4711", masked=True)


def test_a_test_for_existence_tells_how_many_rows_match() -> None:
    catalog = read_schema("CREATE TABLE shop (id int); CREATE TABLE sale (shop_id int)", "postgres")
    query = parse("SELECT id FROM shop x WHERE EXISTS (SELECT 1 FROM sale s WHERE s.shop_id = x.id)", catalog)
    scans = (Plan("Seq Scan", {"relation name": "shop"}, 200.0), Plan("Hash", {}, 30.0))
    for kind, word in (("Semi", "a match"), ("Anti", "no match")):
        plan = Plan("Hash Join", {"join type": kind}, 50.0, 9.0, scans)
        assert f"rows that find {word} in the subquery: about 50 of 200 outer rows (0.25)" in estimates(
            query, plan, Redaction("postgres")
        )


@pytest.fixture
def duck(tmp_path: Path) -> Iterator[DuckDB]:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE shop AS SELECT i AS id, 'city ' || i AS city FROM range(200) AS r(i)")
        connection.execute("CREATE TABLE sale AS SELECT i AS id, i % 200 AS shop_id, i AS amount FROM range(6000) r(i)")
    engine = DuckDB(tmp_path / "shop.duckdb")
    yield engine
    engine.close()


@pytest.mark.parametrize("masked", [False, True])
def test_no_constant_leaves_and_no_name_where_names_are_masked(shop: Postgres, duck: DuckDB, masked: bool) -> None:
    for engine in (shop, duck):
        text = told(engine, TESTED, masked=masked)
        assert "about 6,000 rows" in text
        assert not any(secret in text for secret in ("4711", "4712", "4713"))
        if masked:
            assert not any(name in text for name in ("sale", "shop", "city", "amount"))


def test_duckdb_tells_selectivities_too(duck: DuckDB) -> None:
    assert "sale where" in told(duck, "SELECT s.id FROM sale s WHERE s.amount > 4712")


def test_nothing_known_nothing_told() -> None:
    catalog = read_schema("CREATE TABLE sale (shop_id int)", "postgres")
    query: Query = parse("SELECT shop_id FROM sale", catalog)
    assert estimates(query, None, Redaction("postgres")) == ""
