"""The rung ``data``: results compared on the target's own data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from rewriter.cli import app
from rewriter.engines import Postgres, connect
from rewriter.engines.base import Engine
from rewriter.parse import parse
from rewriter.verify.data import Comparison, OnData


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "sales.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, shop INTEGER, price DOUBLE, day DATE NOT NULL)")
        connection.execute(
            "INSERT INTO sale SELECT i, CASE WHEN i % 7 > 0 THEN i % 7 END, i / 3,"
            " DATE '2026-01-01' + CAST(i % 30 AS INTEGER) FROM range(1000) t(i)"
        )
    return path


@pytest.fixture
def target(file: Path) -> Iterator[Engine]:
    engine = connect(f"duckdb:///{file}")
    yield engine
    engine.close()


def check(engine: Engine, one: str, two: str) -> OnData:
    return Comparison(parse(one, engine.catalog()), engine, 20.0).check(two)


def test_the_same_rows_in_another_order_have_the_same_digest(target: Engine) -> None:
    found = check(target, "SELECT shop, id FROM sale ORDER BY id", "SELECT shop, id FROM sale ORDER BY id DESC;")
    assert found.same
    assert found.rows == 1000
    assert "hashes" in found.how


@pytest.mark.parametrize(
    "other",
    [
        "SELECT shop FROM sale WHERE id > 0",
        "SELECT DISTINCT shop FROM sale",
        "SELECT COALESCE(shop, 0) FROM sale",
        "SELECT shop FROM sale UNION ALL SELECT 1",
    ],
)
def test_a_difference_is_seen(target: Engine, other: str) -> None:
    assert check(target, "SELECT shop FROM sale", other).same is False


def test_rounding_of_doubles_is_no_difference(target: Engine) -> None:
    found = check(
        target, "SELECT SUM(price) FROM sale", "SELECT SUM(s) FROM (SELECT SUM(price) s FROM sale GROUP BY day) t"
    )
    assert found.same


def test_limit_over_ties_may_choose(target: Engine) -> None:
    one = "SELECT id FROM sale ORDER BY day LIMIT 5"
    assert check(target, one, "SELECT id FROM sale ORDER BY day, id DESC LIMIT 5").same
    assert check(target, one, "SELECT id FROM sale ORDER BY id LIMIT 5").same is False


def test_columns_of_one_name_are_compared_too(target: Engine) -> None:
    assert check(target, "SELECT id, id FROM sale", "SELECT id, id FROM sale ORDER BY 1").same


def test_what_cannot_run_is_not_told(target: Engine) -> None:
    found = check(target, "SELECT id FROM sale", "SELECT CAST(CAST(day AS VARCHAR) AS INTEGER) FROM sale")
    assert found.same is None


def test_postgres_digests(postgres: Postgres) -> None:
    one = "SELECT g AS n, g % 3 AS m FROM generate_series(1, 50) AS g"
    values = "SELECT * FROM (VALUES (1, 1.0), (2, 2.50)) AS v (n, x)"
    assert check(postgres, values, "SELECT * FROM (VALUES (2, 2.50), (1, 1.0)) AS v (n, x)").how != "row by row"
    assert check(postgres, values, "SELECT * FROM (VALUES (2, 2.5), (1, 1)) AS v (n, x)").same
    assert check(postgres, values, one).same is False


def test_verify_on_data_and_replay(file: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "a.sql", tmp_path / "b.sql"
    one.write_text("SELECT id FROM sale WHERE day >= DATE '2026-01-05'", encoding="utf-8")
    two.write_text("SELECT DISTINCT id FROM sale WHERE NOT day < DATE '2026-01-05'", encoding="utf-8")
    target = ["--target", f"duckdb:///{file}"]
    told = CliRunner().invoke(app, ["verify", str(one), str(two), *target, "--on-data"])
    assert told.exit_code == 0, told.output
    assert "on the target's own data" in told.output
    verdict = {"kind": "proved", "seed": 3}
    report = tmp_path / "report.json"
    body = {"original": one.read_text(), "chosen": {"sql": two.read_text()}, "verdict": verdict}
    report.write_text(json.dumps(body), encoding="utf-8")
    again = CliRunner().invoke(app, ["verify", "--replay", str(report), *target])
    assert again.exit_code == 0, again.output
    assert "the report says proved" in again.output
    report.write_text(json.dumps({**body, "verdict": {"kind": "tested", "seed": 3}}), encoding="utf-8")
    assert "not reproduced" in CliRunner().invoke(app, ["verify", "--replay", str(report), *target]).output
    report.write_text("{}", encoding="utf-8")
    assert CliRunner().invoke(app, ["verify", "--replay", str(report), *target]).exit_code == 2
