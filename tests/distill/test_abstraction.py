"""From a pair to templates: the smallest difference, names and constants that are nobody's, and what cannot be said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewriter.distill.abstraction import Manner, abstracted, constants
from rewriter.distill.localise import differences, sites
from rewriter.distill.reading import listed
from rewriter.distill.records import Outcome, Pair, Reason, Refused
from rewriter.errors import UsageError
from rewriter.parse import parse, read_schema

CATALOG = read_schema(
    "CREATE TABLE shop (id int PRIMARY KEY, city text NOT NULL, owner text);"
    "CREATE TABLE sale (id int PRIMARY KEY, shop_id int REFERENCES shop (id), pieces int NOT NULL, rebate int, "
    "day date, kind text NOT NULL);",
    "postgres",
)
PAIRS = Path(__file__).parent / "pairs.jsonl"


def pair(before: str, after: str) -> Pair:
    return Pair(parse(before, CATALOG), parse(after, CATALOG))


def templates(before: str, after: str, rung: int = 0, kept: frozenset[str] = frozenset()) -> tuple[str, str]:
    given = pair(before, after)
    (difference,) = differences(given)
    hypothesis = abstracted(list(sites(given, difference, alone=True))[rung], Manner(kept=kept))
    return hypothesis.find, hypothesis.replace


def all_templates(given: Pair) -> list[str]:
    return [
        abstracted(site, Manner()).find
        for difference in differences(given)
        for site in sites(given, difference, alone=True)
    ]


@pytest.mark.parametrize(
    ("before", "after", "find", "replace"),
    [
        (
            "SELECT s.id FROM sale s WHERE s.pieces > 2 AND EXISTS (SELECT 7 FROM shop AS q WHERE q.id = s.shop_id)",
            "SELECT s.id FROM sale s WHERE s.pieces > 2 AND s.shop_id IS NOT NULL",
            "EXISTS(SELECT 1 FROM @t1 AS @r1 WHERE @r1.@c1 = @x1)",
            "@x1 IS NOT NULL",
        ),
        (
            "SELECT s.kind, COUNT(DISTINCT s.id) AS n FROM sale s WHERE s.kind = 'x' GROUP BY s.kind",
            "SELECT s.kind, COUNT(s.id) AS n FROM sale s WHERE s.kind = 'x' GROUP BY s.kind",
            "COUNT(DISTINCT @x1)",
            "COUNT(@x1)",
        ),
        (
            "SELECT q.id FROM shop q WHERE EXISTS (SELECT 1 FROM sale s WHERE s.shop_id = q.id AND s.kind = 'secret')",
            "SELECT q.id FROM shop q WHERE q.id IN (SELECT s.shop_id FROM sale s WHERE s.kind = 'secret')",
            "EXISTS(SELECT 1 FROM @t1 AS @r1 WHERE @r1.@c1 = @x1 AND @rest1...)",
            "@x1 IN (SELECT @r1.@c1 FROM @t1 AS @r1 WHERE @rest1...)",
        ),
    ],
)
def test_the_smallest_difference_becomes_a_pair_of_templates(before: str, after: str, find: str, replace: str) -> None:
    assert templates(before, after) == (find, replace)


def test_a_larger_part_is_the_next_try() -> None:
    before = "SELECT s.id FROM sale s WHERE COALESCE(s.rebate, 3) > 5"
    after = "SELECT s.id FROM sale s WHERE s.rebate > 5"
    assert templates(before, after, 0) == ("COALESCE(@x1, @x2)", "@x1")
    find, replace = templates(before, after, 1)
    assert find.startswith("COALESCE(@x1, @x")
    assert replace.startswith("@x1 > @x")


def test_differences_that_stand_apart_are_two() -> None:
    given = pair(
        "SELECT s.pieces + 0 AS p FROM sale s WHERE COALESCE(s.rebate, 0) > 5",
        "SELECT s.pieces AS p FROM sale s WHERE s.rebate > 5",
    )
    assert len(differences(given)) == 2
    for difference in differences(given):
        (first, *_) = sites(given, difference, alone=False)
        assert first.before.sql() != first.after.sql()
        assert first.after.sql() != given.after.sql()


def test_constants_that_say_nothing_may_stay() -> None:
    before, after = (
        "SELECT s.id FROM shop s WHERE s.owner || '' = 'Ada'",
        "SELECT s.id FROM shop s WHERE s.owner = 'Ada'",
    )
    assert templates(before, after) == ("@x1 || @x2", "@x1")
    assert templates(before, after, kept=frozenset({"''"})) == ("@x1 || ''", "@x1")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (
            "SELECT s.id FROM shop s WHERE LEFT(s.city, 3) = 'Osl'",
            "SELECT s.id FROM shop s WHERE s.city LIKE 'Osl%'",
            Reason.BEYOND_PATTERNS,
        ),
        (
            "SELECT s.id FROM sale s WHERE s.pieces > 3",
            "WITH w AS (SELECT t.id FROM sale t WHERE t.pieces > 3) SELECT w.id FROM w",
            Reason.BEYOND_PATTERNS,
        ),
        (
            "SELECT (SELECT s.id FROM sale s ORDER BY s.id LIMIT 7) AS x",
            "SELECT (SELECT s.id FROM sale s ORDER BY s.id, s.pieces LIMIT 7) AS x",
            Reason.BEYOND_PATTERNS,
        ),
        (
            "SELECT s.id FROM sale s WHERE s.pieces / 2 >= 3",  # -3 / 2 is -1, and -3 is less than -1 * 2
            "SELECT s.id FROM sale s WHERE s.pieces >= 3 * 2",
            Reason.UNTESTED,
        ),
        ("SELECT id FROM sale", "SELECT s.id AS id FROM sale s", Reason.NOTHING_GAINED),
        (
            "SELECT id FROM sale WHERE pieces > 1 AND (rebate > 2 OR kind = 'x')",
            "SELECT id FROM sale WHERE (kind = 'x' OR rebate > 2) AND pieces > 1",
            Reason.NOTHING_GAINED,
        ),
        ("SELECT sale.id FROM sale", "SELECT id FROM sale", Reason.NOTHING_GAINED),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(before: str, after: str, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        all_templates(pair(before, after))
    assert refused.value.reason is reason


def test_no_template_holds_a_name_or_a_constant_of_its_pair() -> None:
    seen = 0
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        (given,) = listed(line)
        assert isinstance(given, Pair)
        try:
            found = differences(given)
        except Refused:
            continue
        tables = given.before.catalog.tables
        names = {table.name for table in tables} | {column.name for table in tables for column in table.columns}
        for difference in found:
            for site in sites(given, difference, alone=len(found) == 1):
                try:
                    hypothesis = abstracted(site, Manner(kept=frozenset(constants(site)) & {"0", "1", "''"}))
                except Refused:
                    continue
                seen += 1
                words = set(f"{hypothesis.find} {hypothesis.replace}".replace("@", " ").replace(".", " ").split())
                assert not words & names
                strings = json.dumps([hypothesis.find, hypothesis.replace])
                assert "'" not in strings.replace("''", "")
    assert seen > 15


def test_a_file_of_pairs_names_the_line_that_is_none() -> None:
    good = json.dumps({"before": "SELECT 1 AS a", "after": "SELECT 1 AS a", "schema": "CREATE TABLE t (a int);"})
    bad_sql = json.dumps({"before": "DROP TABLE t", "after": "SELECT 1", "schema": "CREATE TABLE t (a int);"})
    first, second = listed(f"{good}\n\n{bad_sql}\n")
    assert isinstance(first, Pair)
    assert isinstance(second, Outcome)
    assert second.refused is Reason.UNREADABLE
    with pytest.raises(UsageError, match="line 2"):
        list(listed(f"{good}\n{{}}\n"))
