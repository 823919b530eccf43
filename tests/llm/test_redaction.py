"""What leaves and what comes back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from rewriter.errors import BadAnswer
from rewriter.llm import Redaction, read_answer
from rewriter.parse import parse, read_schema
from rewriter.records import Plan

SHOP = read_schema(
    "CREATE TABLE sale (id integer PRIMARY KEY, shop text, amount numeric(10, 2), day date, card bigint)", "postgres"
)
SQL = (
    "SELECT id, amount * 1.75 AS taxed /* secret-comment */ FROM sale -- secret-line\n"
    "WHERE shop = 'secret ''shop''' AND day >= DATE '1999-03-07' AND card IN (4111111111111111, 42) AND amount > 1"
    " AND shop LIKE '%secret%' LIMIT 25"
)


def test_no_literal_and_no_comment_leaves() -> None:
    sent = Redaction("postgres").sql(parse(SQL, SHOP).tree)
    for private in ("secret", "4111", "1999", "1.75", "42", "25"):
        assert private not in sent
    assert "amount > 1" in sent
    assert ":date_" in sent


def test_what_comes_back_means_the_same() -> None:
    query = parse(SQL, SHOP)
    redaction = Redaction("postgres")
    back = parse(redaction.restored(redaction.sql(query.tree)), SHOP)
    assert back.tree == query.tree


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_masked_names_come_back(dialect: str) -> None:
    catalog = read_schema("CREATE TABLE sale (id integer PRIMARY KEY, shop text)", dialect)
    query = parse("WITH mine AS (SELECT id, shop FROM sale WHERE shop = 'x') SELECT m.id FROM mine AS m", catalog)
    redaction = Redaction(dialect, masked=True)
    sent = redaction.sql(query.tree) + redaction.schema(catalog.tables)
    assert not {"sale", "shop", "mine"} & set(sent.replace("(", " ").replace(".", " ").replace(",", " ").split())
    assert parse(redaction.restored(redaction.sql(query.tree)), catalog).tree == query.tree


@given(st.text(min_size=1, max_size=40), st.integers(10, 10**18), st.decimals(0, 10**6, places=3))
def test_any_literal_survives_the_way_there_and_back(text: str, whole: int, exact: object) -> None:
    tree = (
        exp.select("id")
        .from_("sale")
        .where(
            exp.column("shop").eq(exp.Literal.string(text)),
            exp.column("card").eq(exp.Literal.number(whole)),
            exp.column("amount").eq(exp.Literal.number(str(exact))),
        )
    )
    redaction = Redaction("postgres")
    assert redaction.restored(redaction.sql(tree, pretty=False)) == tree.sql(dialect="postgres")


def test_a_placeholder_in_quotes_is_the_same_one() -> None:
    redaction = Redaction("postgres")
    redaction.sql(parse("SELECT id FROM sale WHERE shop = 'x'", SHOP).tree)
    assert redaction.restored("SELECT id FROM sale WHERE shop = ':str_1'") == "SELECT id FROM sale WHERE shop = 'x'"


def test_the_plan_leaves_without_values() -> None:
    redaction = Redaction("postgres")
    redaction.sql(parse(SQL, SHOP).tree)
    plan = Plan(
        "Seq Scan",
        {"relation name": "sale", "filter": "((shop = 'secret'::text) AND (card = 4111111111111111) AND (x = 77))"},
        rows=12345.0,
        cost=678.9,
    )
    sent = redaction.plan(plan)
    assert "secret" not in sent
    assert "4111" not in sent
    assert "77" not in sent
    assert "12345" not in sent
    assert ":int_" in sent


def test_errors_are_quoted_without_constants() -> None:
    redaction = Redaction("postgres")
    redaction.sql(parse(SQL, SHOP).tree)
    said = redaction.text("invalid input near 'secret ''shop''' and 4111111111111111")
    assert "4111" not in said


def test_rows_of_a_counterexample_leave_with_placeholders() -> None:
    redaction = Redaction("postgres")
    redaction.sql(parse("SELECT id FROM sale WHERE shop = 'secret' AND card = 4111", SHOP).tree)
    rows = [(1, "secret", None, 4111), (4112, "xsecret", "xsecret", 123456789)]
    assert redaction.rows(rows) == "(1, :str_1, NULL, :int_2)\n(:int_2 + 1, 'text 1', 'text 1', 1e+08)"


@pytest.mark.parametrize(
    "text",
    [
        '{"sql": "SELECT 1", "rules": ["one"], "analysis": "x"}',
        'Here you are:\n```json\n{"sql": "SELECT 1", "rules": ["one"]}\n```\nGood luck.',
        'I think {this} helps. {"rules": ["one"], "sql": "```sql\\nSELECT 1\\n```"}',
    ],
)
def test_answers_are_found(text: str) -> None:
    answer = read_answer(text)
    assert answer.sql == "SELECT 1"
    assert answer.rules == ("one",)


def test_sql_alone_is_an_answer() -> None:
    assert read_answer("```sql\nSELECT 1\n```").sql == "SELECT 1"
    assert read_answer("  with a as (select 1) select * from a").sql.startswith("with")


@pytest.mark.parametrize("text", ["", "no", "I cannot do that.", "{", "[1, 2]", "x" * 300_000, "{" * 10_000])
def test_what_is_no_answer_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BadAnswer):
        read_answer(text)


@given(st.text(max_size=300))
def test_reading_an_answer_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(BadAnswer):
        read_answer(text)
