"""Hostile nesting is refused in time and never ends the process."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.errors import InputError, QueryRejected, RewriterError
from rewriter.parse import parse, read_schema
from rewriter.parse.guard import MAX_BYTES, MAX_DEPTH

DDL = "CREATE TABLE t (a int, b int)"
CATALOGS = {dialect: read_schema(DDL, dialect) for dialect in ("postgres", "duckdb")}

# (before, opening, closing, after): what is between is repeated.
NESTED = {
    "brackets": ("SELECT ", "(", ")", "FROM t"),
    "calls": ("SELECT ", "abs(", ")", "FROM t"),
    "case": ("SELECT ", "CASE WHEN a = 1 THEN ", " END", "FROM t"),
    "scalar subqueries": ("SELECT ", "(SELECT ", ")", ""),
    "exists": ("SELECT 1 WHERE ", "EXISTS (SELECT 1 WHERE 1 = ", ")", ""),
    "not": ("SELECT ", "NOT ", "", "FROM t"),
    "minus": ("SELECT ", "- ", "", "FROM t"),
    "casts": ("SELECT ", "CAST(", " AS int)", "FROM t"),
    "subscripts": ("SELECT a", "", "[1]", " FROM t"),
    "arrays": ("SELECT ", "ARRAY[", "]", "FROM t"),
    "types": ("SELECT ", "date (", ")", "FROM t"),
    "limits": ("SELECT a FROM t LIMIT ", "(SELECT 1 LIMIT ", ")", ""),
}


def nested(kind: str, depth: int) -> str:
    before, opening, closing, after = NESTED[kind]
    return f"{before}{opening * depth}{'' if kind == 'subscripts' else ' 1 '}{closing * depth} {after}"


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize("kind", sorted(NESTED))
@pytest.mark.parametrize("depth", [30, 5_000, 100_000])
def test_hostile_depth_is_refused_and_never_takes_long(kind, depth, dialect):
    started = time.process_time()
    if depth == 30:  # may be read, but not for hours
        with contextlib.suppress(QueryRejected):
            parse(nested(kind, depth), CATALOGS[dialect])
    else:
        with pytest.raises(QueryRejected) as caught:
            parse(nested(kind, depth), CATALOGS[dialect])
        assert caught.value.code in ("too-deep", "too-large")
        assert caught.value.hint
    assert time.process_time() - started < 2


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize("kind", sorted(set(NESTED) - {"subscripts", "arrays", "minus", "types", "limits"}))
def test_a_depth_beyond_what_people_write_is_still_read(kind, dialect):
    assert parse(nested(kind, MAX_DEPTH - 10), CATALOGS[dialect]).columns


def test_depth_is_the_same_in_a_thread():
    seen: list[str] = []

    def work() -> None:
        for kind in sorted(NESTED):
            for depth in (MAX_DEPTH - 10, 3_000):
                try:
                    parse(nested(kind, depth), CATALOGS["duckdb"])
                except RewriterError as error:
                    seen.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen.count("too-deep") >= len(NESTED)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t WHERE " + " OR ".join(f"a = {n}" for n in range(500)),
        "SELECT a FROM t WHERE a IN (" + ",".join(map(str, range(3_000))) + ")",
        " UNION ALL ".join(["SELECT a FROM t"] * 60),
        "SELECT " + " + ".join(["a"] * 600) + " AS s FROM t",
        "SELECT '" + "(" * 1_000 + "' AS s, a AS \"" + "((" * 20 + '" FROM t -- ' + "(" * 1_000,
    ],
    ids=["or", "in", "union", "sum", "brackets in strings"],
)
def test_long_is_not_deep(sql):
    for catalog in CATALOGS.values():
        assert parse(sql, catalog).columns


PIECES = ["(", ")", "[", "]", "SELECT ", "a", " FROM t ", "CASE WHEN ", " END ", "NOT ", "-", "1", "'", '"', ",", "/*",
          "*/", "--", "\n", "$$", " UNION ", " WHERE ", "::int", " AND ", "WITH x AS (", " IN (", "\\", "E'", ";", "{",
          "interval ", " OVER (", "*", ".", "$1", "?", ":x", "%s", "\u00e9", "\x00"]  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([1, 1, 1, 2, 7, 400])), max_size=25),
    st.sampled_from(["postgres", "duckdb"]),
)
def test_any_text_is_a_query_or_a_clear_refusal(pieces, dialect):
    text = "".join(piece * times for piece, times in pieces)
    refusal = None
    try:
        parse(text, CATALOGS[dialect])
    except InputError as error:
        refusal = str(error)
    assert refusal is None or len(refusal) < 400


@pytest.mark.parametrize("text", ["", "  \n", ";;;", "-- nothing", "/* nothing */ ;"])
def test_nothing_is_no_statement(text):
    with pytest.raises(QueryRejected) as caught:
        parse(text, CATALOGS["postgres"])
    assert caught.value.code == "empty-query"


def test_size_is_counted_in_bytes():
    fits = "SELECT '" + "é" * 1_000 + "' AS s"
    assert parse(fits, CATALOGS["duckdb"])
    with pytest.raises(QueryRejected) as caught:
        parse("SELECT '" + "é" * (MAX_BYTES // 2) + "' AS s", CATALOGS["duckdb"])
    assert caught.value.code == "too-large"


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_a_syntax_error_tells_the_place_and_not_the_statement(dialect):
    with pytest.raises(QueryRejected) as caught:
        parse("SELECT a FROM t\nWHERE secret_literal = 'hunter2' AND ) = 1", CATALOGS[dialect])
    assert caught.value.code == "syntax-error"
    assert "line 2" in str(caught.value)
    assert "hunter2" not in str(caught.value) + caught.value.hint


# Texts that are small or flat and still cost much, each as large as it is accepted and then beyond it.
COSTLY = {
    "words": lambda count: "SELECT CASE " + "WHEN a = 1 THEN 2 " * (count // 7) + "END FROM t",
    "values": lambda count: "SELECT a FROM t WHERE a IN (" + ",".join(["1"] * (count // 2)) + ")",
    "outputs": lambda count: "SELECT a FROM t ORDER BY " + ",".join(["a"] * (count // 2)),
    "tables": lambda count: "SELECT 1 FROM " + ",".join(f"t AS x{n}" for n in range(count // 20)),
    "names for CTEs": lambda count: (
        "WITH c0 AS (SELECT a FROM t)"
        + "".join(f", c{n + 1} AS (SELECT a FROM c{n})" for n in range(count // 20))
        + " SELECT 1"
    ),
    "natural joins": lambda count: "SELECT * FROM t" + "".join(f" NATURAL JOIN t AS x{n}" for n in range(count // 200)),
    "aliases": lambda count: (
        "SELECT "
        + ",".join(f"a AS x{n}" for n in range(count // 12))
        + " FROM t ORDER BY "
        + ",".join(f"x{n}" for n in range(count // 12))
    ),
}


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
@pytest.mark.parametrize("kind", sorted(COSTLY))
def test_what_would_take_long_is_refused_at_once(kind, dialect):
    with pytest.raises(QueryRejected) as caught:
        parse(COSTLY[kind](60_000), CATALOGS[dialect])
    assert caught.value.code == "too-large"


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(COSTLY))
def test_what_is_accepted_is_read_within_seconds(kind):
    started = time.process_time()
    assert parse(COSTLY[kind](9_000), CATALOGS["postgres"]).columns
    assert time.process_time() - started < 5  # one, on a quiet machine
