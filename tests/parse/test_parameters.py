from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.errors import QueryRejected
from rewriter.parse import parse, read_schema
from rewriter.parse.parameters import MAX_PARAMETERS, normalise

DDL = "CREATE TABLE t (a int, s text, j jsonb)"


@pytest.mark.parametrize(
    ("text", "statement", "markers"),
    [
        ("SELECT a FROM t WHERE a = $2 AND s = $1", "SELECT a FROM t WHERE a = $2 AND s = $1", ("$1", "$2")),
        ("SELECT a FROM t WHERE a = ? AND s = ?", "SELECT a FROM t WHERE a = $1 AND s = $2", ("?", "?")),
        ("SELECT a FROM t WHERE a = :x OR a > :y OR :x = 1",
         "SELECT a FROM t WHERE a = $1 OR a > $2 OR $1 = 1", (":x", ":y")),
        ("SELECT a FROM t WHERE a = %(x)s", "SELECT a FROM t WHERE a = $1", ("%(x)s",)),
        ("SELECT %s FROM t WHERE s LIKE '5%%' AND a %% 2 > 0",
         "SELECT $1 FROM t WHERE s LIKE '5%' AND a % 2 > 0", ("%s",)),
        ("SELECT a FROM t WHERE s LIKE '%s' AND a % 2 = 1", "SELECT a FROM t WHERE s LIKE '%s' AND a % 2 = 1", ()),
        ("SELECT s::text FROM t WHERE s = ':x' /* :y */", "SELECT s::text FROM t WHERE s = ':x' /* :y */", ()),
        ("SELECT a FROM t WHERE j ? 'k' AND a = ?", "SELECT a FROM t WHERE j ? 'k' AND a = $1", ("?",)),
        ('SELECT a AS "?" FROM t WHERE a=?', 'SELECT a AS "?" FROM t WHERE a=$1', ("?",)),
        ("SELECT a FROM t WHERE a IN ($1,$2,$3)", "SELECT a FROM t WHERE a IN ($1, $2, $3)", ("$1", "$2", "$3")),
        ("SELECT a FROM t WHERE a = $3", "SELECT a FROM t WHERE a = $3", ("$1", "$2", "$3")),
        ("SELECT $$ $1 :x ? $$, a$1 FROM t", "SELECT $$ $1 :x ? $$, a$1 FROM t", ()),
    ],
)  # fmt: skip
def test_markers_of_every_driver_become_numbers(text, statement, markers):
    assert normalise(text) == (statement, markers)


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_a_cast_states_the_type(dialect):
    query = parse("SELECT a FROM t WHERE a = %(i)s::INTEGER AND s = :s", read_schema(DDL, dialect))
    assert [(p.marker, p.position) for p in query.parameters] == [("%(i)s", 1), (":s", 2)]
    assert query.parameters[0].type in ("INT", "INTEGER")
    assert query.parameters[1].type is None


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_parameters_survive_qualification(dialect):
    query = parse("SELECT a FROM t WHERE a BETWEEN ? AND ? AND s = ANY(?)", read_schema(DDL, dialect))
    assert re.findall(r"\$\d+", query.sql()) == ["$1", "$2", "$3"]


@given(st.text(alphabet="ax$1?:%s'\"-/*() \n", max_size=40))
def test_a_normalised_text_stays_as_it_is(text):
    once, markers = normalise(text)
    if not markers:
        assert normalise(once) == (once, ())


@pytest.mark.parametrize("number", ["0", str(MAX_PARAMETERS + 1), "9" * 30, "1" * 100_000])
def test_numbers_that_no_protocol_carries_are_refused(number):
    with pytest.raises(QueryRejected):
        parse(f"SELECT a FROM t WHERE a = ${number}", read_schema(DDL, "postgres"))


def test_a_hundred_thousand_markers_are_refused_at_once():
    with pytest.raises(QueryRejected) as caught:
        parse("SELECT " + "?," * 100_000, read_schema(DDL, "postgres"))
    assert caught.value.code == "too-large"
