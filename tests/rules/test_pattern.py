"""Patterns: what matches, what is put in its place, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewriter.errors import RuleFileError
from rewriter.parse import parse, read_schema
from rules.facts import Facts
from rules.pattern import parse_pattern

CATALOG = read_schema(
    "CREATE TABLE t (a int, b int NOT NULL, s text, d date); CREATE TABLE u (a int, b int);", "postgres"
)
PATH = Path("family/rule.md")


def results(find: str, replace: str, sql: str, *conditions: str) -> list[str]:
    """What the pattern makes of the WHERE of ``SELECT t.a FROM t WHERE <sql>``, or of a whole query."""
    pattern = parse_pattern([(find, 1), (replace, 2)], [(text, 3) for text in conditions], PATH)
    whole = sql.startswith(("SELECT", "WITH"))
    query = parse(sql if whole else f"SELECT t.a FROM t WHERE {sql}", CATALOG)
    before = query.sql()
    made = [tree.sql(dialect="postgres") for tree in pattern.rewrites(query.tree, Facts(CATALOG))]
    assert query.sql() == before
    return [text if whole else text.partition(" WHERE ")[2] for text in made]


@pytest.mark.parametrize(
    ("find", "replace", "sql", "expected"),
    [
        ("@x = @y", "@y = @x", "t.a = 1", "1 = t.a"),
        ("@x + 1", "@x", "t.a + 1 = 2", "t.a = 2"),
        ("@x + 1", "@x", "1 + t.a = 2", "t.a = 2"),
        ("@x > 3", "@x >= 4", "3 < t.a", "t.a >= 4"),
        ("@x = @x", "TRUE", "t.a + 1 = t.a + 1", "TRUE"),
        ("@x AND @x", "@x", "t.a = 1 AND t.b = 2 AND t.a = 1", "t.b = 2 AND t.a = 1"),
        ("@x = 1 OR @x = 2", "@x IN (1, 2)", "t.s IS NULL OR 2 = t.a OR t.a = 1", "t.s IS NULL OR t.a IN (1, 2)"),
        ("@x = 1", "@x = 1 OR @x = 2", "t.a = 1 AND t.b = 3", "(t.a = 1 OR t.a = 2) AND t.b = 3"),
        ("@x - @y", "@x + @y", "5 - (t.a - t.b) = 1", "(5 + (t.a - t.b)) = 1"),
        ("COALESCE(@x, @rest...)", "GREATEST(@x, @rest...)", "COALESCE(t.a, t.b, 3) = 1", "GREATEST(t.a, t.b, 3) = 1"),
        ("@x IN (@list...)", "NOT @x NOT IN (@list...)", "t.a IN (1, 2, 3)", "NOT NOT t.a IN (1, 2, 3)"),
    ],
)
def test_matches_and_replaces(find: str, replace: str, sql: str, expected: str) -> None:
    assert expected in results(find, replace, sql)


@pytest.mark.parametrize(
    ("find", "sql"),
    [
        ("@x = @x", "t.a = t.b"),
        ("@x - 1", "1 - t.a = 2"),
        ("@x > 3", "t.a >= 3"),
        ("@x = 1 AND @x = 2", "t.a = 1 AND t.b = 2"),
        ("@x = 1 AND @y = 2", "t.a = 1 OR t.b = 2"),
        ("COALESCE(@x, 1)", "COALESCE(t.a, t.b, 1) = 1"),
        ("MIN(@x)", "t.a = (SELECT MAX(u.a) FROM u)"),
        ("COUNT(@x)", "t.a = (SELECT COUNT(DISTINCT u.a) FROM u)"),
        ("@x LIKE @y", "t.s LIKE 'a!b' ESCAPE '!'"),
    ],
)
def test_does_not_match(find: str, sql: str) -> None:
    assert not results(find, "@x", sql)


def test_a_select_keeps_the_clauses_that_the_template_does_not_name() -> None:
    (made,) = results(
        "@x IN (SELECT DISTINCT @outputs...)",
        "@x IN (SELECT @outputs...)",
        "t.a IN (SELECT DISTINCT u.a FROM u WHERE u.b = t.b GROUP BY u.a)",
    )
    assert made == "t.a IN (SELECT u.a AS a FROM u AS u WHERE u.b = t.b GROUP BY u.a)"


@pytest.mark.parametrize(
    ("condition", "find", "yes", "no"),
    [
        ("in a filter", "@x = 1", "t.a = 1 OR t.s IS NULL", "NOT (t.a = 1)"),
        ("in a filter", "@x = 1", "CASE WHEN t.a = 1 THEN t.b END > 3", "CASE t.b = 2 WHEN t.a = 1 THEN TRUE END"),
        ("`@x` is not nullable", "@x = 1", "t.b = 1", "t.a = 1"),
        ("`@x` is a column", "@x = 1", "t.b = 1", "t.b + 1 = 1"),
        ("`@x` is of type date", "@x = @y", "t.d = CURRENT_DATE", "t.s = 'x'"),
        ("`@y` is a constant", "@x = @y", "t.a = 1 + 2", "t.a = t.b"),
        ("`@y` is a string literal without wildcards", "@x LIKE @y", "t.s LIKE 'abc'", "t.s LIKE 'a_c'"),
        ("`@y` differs from `@z`", "@x = @y OR @x = @z", "t.a = 1 OR t.a = 2", "t.a = 1 OR t.a = 1"),
        ("`@y` is not less than `@z`", "@x > @y AND @x > @z", "t.a > 2 AND t.a > -1", "t.s > 'b' AND t.s > 'a'"),
        ("`@y` is an integer literal from 1 to 9", "@x = @y", "t.a = 9", "t.a = 10"),
        ("without LIMIT", "@x IN (SELECT @o...)", "t.a IN (SELECT u.a FROM u)", "t.a IN (SELECT u.a FROM u LIMIT 1)"),
    ],
)
def test_conditions(condition: str, find: str, yes: str, no: str) -> None:
    put = f"NOT {find}" if "SELECT" in find else "@x IS NULL"
    assert results(find, put, yes, condition)
    assert not results(find, put, no, condition)


@pytest.mark.parametrize(
    ("blocks", "bullets", "place"),
    [
        ([("@x = 1", 5)], [], ":5"),
        ([("@x = 1", 5), ("@y = 1", 9)], [], ":9"),
        ([("@x = ", 5), ("@x", 9)], [], ":5"),
        ([("@x", 5), ("@x", 9)], [], ":5"),
        ([("a = 1", 5), ("TRUE", 9)], [], ":5"),
        ([("@x = 1", 5), ("SELECT FROM", 9)], [], ":9"),
        ([("@x = 1", 5), ("@x", 9)], [("`@x` is blue", 12)], ":12"),
        ([("@x = 1", 5), ("@x", 9)], [("`@z` is a column", 12)], ":12"),
        ([("f(@x...)", 5), ("f(@x)", 9)], [], ":9"),
        ([("COALESCE(@x...)", 5), ("1", 9)], [], ":5"),
    ],
)
def test_errors_name_the_line(blocks: list[tuple[str, int]], bullets: list[tuple[str, int]], place: str) -> None:
    with pytest.raises(RuleFileError) as caught:
        parse_pattern(blocks, bullets, PATH)
    assert f"rule.md{place}" in caught.value.message
