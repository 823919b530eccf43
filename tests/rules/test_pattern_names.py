"""Patterns over tables, names and columns: what matches, what is carried over, and what would change its meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewriter.errors import RuleFileError
from rewriter.parse import parse, read_schema
from rules.facts import Facts
from rules.pattern import parse_pattern

CATALOG = read_schema(
    "CREATE TABLE p (id int PRIMARY KEY, name text NOT NULL, a int);"
    "CREATE TABLE c (id int PRIMARY KEY, pid int REFERENCES p (id), a int, b int NOT NULL);",
    "postgres",
)
TO_NOT_NULL = ("EXISTS(SELECT 1 FROM @t AS @r WHERE @r.@k = @x)", "@x IS NOT NULL")
TO_IN = (
    "EXISTS(SELECT 1 FROM @t AS @r WHERE @r.@k = @x AND @rest...)",
    "@x IN (SELECT @r.@k FROM @t AS @r WHERE @rest...)",
)
TO_MAX = ("(SELECT @v ORDER BY @v DESC LIMIT 1)", "(SELECT MAX(@v))")


def made(templates: tuple[str, str], sql: str, *conditions: str) -> list[str]:
    find, replace = templates
    pattern = parse_pattern([(find, 1), (replace, 2)], [(text, 3) for text in conditions], Path("family/rule.md"))
    query = parse(sql, CATALOG)
    return [parse(tree.sql(dialect="postgres"), CATALOG).sql() for tree in pattern.rewrites(query.tree, Facts(CATALOG))]


def test_a_reference_is_told_by_its_columns() -> None:
    sql = "SELECT c.b FROM c WHERE EXISTS (SELECT p.name FROM p WHERE p.id = c.{})"
    condition = "`@x` refers to `@r.@k`"
    assert made(TO_NOT_NULL, sql.format("pid"), condition) == ["SELECT c.b AS b FROM c AS c WHERE c.pid IS NOT NULL"]
    assert not made(TO_NOT_NULL, sql.format("a"), condition)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT c.b FROM c WHERE EXISTS (SELECT 1 FROM p WHERE p.id = c.pid LIMIT 0)",
        "SELECT c.b FROM c WHERE EXISTS (SELECT 1 FROM p WHERE p.id = c.pid GROUP BY p.name HAVING COUNT(*) > 1)",
        "SELECT c.b FROM c WHERE EXISTS (SELECT COUNT(*) FROM p WHERE p.id = c.pid)",
        "SELECT c.b FROM c WHERE EXISTS (SELECT 1 FROM p JOIN c AS d ON d.id = p.a WHERE p.id = c.pid)",
        "SELECT c.b FROM c WHERE EXISTS (SELECT 1 FROM p WHERE p.id = c.pid AND p.name = 'x')",
    ],
)
def test_a_select_that_shows_its_from_is_shown_whole(sql: str) -> None:
    assert not made(TO_NOT_NULL, sql)


def test_what_belongs_to_the_subquery_does_not_leave_it() -> None:
    assert not made(TO_NOT_NULL, "SELECT c.b FROM c WHERE EXISTS (SELECT 1 FROM p WHERE p.id = p.a)")


def test_the_rest_of_a_condition_may_be_nothing_or_much() -> None:
    base = "SELECT c.b FROM c WHERE EXISTS (SELECT 1 FROM p WHERE p.id = c.pid{})"
    assert made(TO_IN, base.format("")) == [
        "SELECT c.b AS b FROM c AS c WHERE c.pid IN (SELECT p.id AS id FROM p AS p)"
    ]
    (much,) = made(TO_IN, base.format(" AND p.a > 1 AND (p.a < 9 OR p.name = 'x')"))
    assert much.endswith("WHERE p.a > 1 AND (p.a < 9 OR p.name = 'x'))")
    outside = base.format(" AND p.a > c.b")
    assert made(TO_IN, outside)
    assert not made(TO_IN, outside, "`@rest` reads only `@r`")


def test_a_scalar_subquery_is_one_only_where_a_value_stands() -> None:
    scalar = "(SELECT c.b FROM c WHERE c.pid = p.id ORDER BY c.b DESC LIMIT 1)"
    (result,) = made(TO_MAX, f"SELECT p.id, {scalar} AS m FROM p")
    assert "SELECT MAX(c.b) AS b FROM c AS c WHERE c.pid = p.id) AS m" in result
    assert not made(TO_MAX, "SELECT q.b FROM (SELECT c.b FROM c ORDER BY c.b DESC LIMIT 1) AS q")
    assert not made(TO_MAX, "SELECT p.id FROM p WHERE p.a IN (SELECT c.b FROM c ORDER BY c.b DESC LIMIT 1)")
    offset = "SELECT p.id, (SELECT c.b FROM c ORDER BY c.b DESC LIMIT 1 OFFSET 2) AS m FROM p"
    assert made(TO_MAX, offset)
    assert not made(TO_MAX, offset, "without OFFSET")


def test_no_name_is_captured() -> None:
    templates = ("@x = 1", "EXISTS(SELECT 1 FROM c AS d1 WHERE d1.a = @x)")
    (result,) = made(templates, "SELECT d1.a FROM p AS d1 WHERE d1.a = 1")
    assert "FROM c AS d1_2 WHERE d1_2.a = d1.a" in result


def test_a_table_read_twice_is_one_table() -> None:
    templates = (
        "NOT EXISTS(SELECT 1 FROM @t AS @r WHERE @r.@k > @o.@k)",
        "@o.@k = (SELECT MAX(m.@k) FROM @t AS m)",
    )
    condition = "`@o.@k` is a column of `@t`"
    assert made(templates, "SELECT q.b FROM c AS q WHERE NOT EXISTS (SELECT 1 FROM c AS r WHERE r.b > q.b)", condition)
    assert not made(
        templates, "SELECT q.a FROM p AS q WHERE NOT EXISTS (SELECT 1 FROM c AS r WHERE r.a > q.a)", condition
    )
    query = "SELECT q.b FROM c AS q WHERE NOT EXISTS (SELECT 1 FROM c AS r WHERE r.b > q.b)"
    assert made(templates, f"WITH c AS (SELECT p.a AS b FROM p) {query}", condition)


def test_a_key_of_the_rows_is_one_of_all_that_are_joined() -> None:
    templates, condition = ("COUNT(DISTINCT @x)", "COUNT(@x)"), "`@x` is a key of the rows"
    assert made(templates, "SELECT COUNT(DISTINCT c.id) AS n FROM c JOIN p ON p.id = c.pid", condition)
    assert not made(templates, "SELECT COUNT(DISTINCT p.id) AS n FROM c JOIN p ON p.id = c.pid", condition)


def test_a_clause_that_both_have_is_kept() -> None:
    templates = ("SELECT @outs... HAVING COUNT(*) > 0", "SELECT @outs... WHERE TRUE")
    (result,) = made(templates, "SELECT c.a FROM c WHERE c.b > 1 GROUP BY c.a HAVING COUNT(*) > 0")
    assert "c.b > 1" in result


@pytest.mark.parametrize(
    ("find", "replace"),
    [
        ("EXISTS(SELECT 1 FROM @x AS @r WHERE @r.@k = @x)", "@x IS NULL"),  # a name here, an expression there
        ("@x IN (SELECT @r.@k FROM @t AS @r)", "@x IN (SELECT @r.@other FROM @t AS @r)"),
        ("@x IN (SELECT @r.@k FROM @t AS @r)", "@x IN (SELECT @r.@k FROM @u AS @r)"),
    ],
)
def test_what_nothing_binds_is_an_error_with_its_line(find: str, replace: str) -> None:
    with pytest.raises(RuleFileError, match=r"rule\.md:[12]: "):
        made((find, replace), "SELECT 1 AS one")
