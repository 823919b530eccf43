"""Which answers an original allows, and how ties inside it are told."""

from __future__ import annotations

import pytest

from rewriter.catalog import Catalog
from rewriter.engines import DuckDB
from rewriter.engines.base import Limits
from rewriter.parse import parse
from rewriter.records import Database, Result, TableRows
from rewriter.verify.reference import reference
from rewriter.verify.ties import shaken

ROWS = ((1, "x", 5.0), (1, "y", 5.0), (2, "x", 7.0), (3, None, 1.0))
VISITS = Database((TableRows("visit", ("customer_id", "page", "seconds"), ROWS),))


def allows(shop: Catalog, hunter: DuckDB, text: str, *answer: object) -> bool:
    query = parse(text, shop)
    asked = reference(query.stated, len(query.columns))
    ((full,),) = hunter.run_on(shop, [VISITS], [asked.query], Limits())
    assert isinstance(full, Result), full
    rows = tuple(row if isinstance(row, tuple) else (row,) for row in answer)
    return asked.allows(full, Result((), (), rows))


@pytest.mark.parametrize(
    ("text", "answer", "allowed"),
    [
        ("SELECT customer_id FROM visit", (3, 2, 1, 1), True),
        ("SELECT customer_id FROM visit", (3, 2, 1), False),
        ("SELECT page FROM visit ORDER BY customer_id", ("y", "x", "x", None), True),
        ("SELECT page FROM visit ORDER BY customer_id", ("x", "x", "y", None), False),
        ("SELECT customer_id AS k FROM visit ORDER BY k DESC", (3, 2, 1, 1), True),
        ("SELECT customer_id AS k FROM visit ORDER BY k DESC", (1, 1, 2, 3), False),
        ("SELECT page FROM visit ORDER BY seconds * 2 LIMIT 2", (None, "y"), True),
        ("SELECT page FROM visit ORDER BY seconds * 2 LIMIT 2", (None, None), False),
        ("SELECT page FROM visit ORDER BY 1 NULLS FIRST LIMIT 2 OFFSET 1", ("x", "x"), True),
        ("SELECT customer_id FROM visit LIMIT 2", (1, 1), True),
        ("SELECT customer_id FROM visit LIMIT 2", (2, 3), True),
        ("SELECT customer_id FROM visit LIMIT 2", (2, 2), False),
        ("SELECT customer_id FROM visit LIMIT 2", (2,), False),
        ("SELECT customer_id FROM visit LIMIT 0", (), True),
        (
            "SELECT customer_id, SUM(seconds) AS s FROM visit GROUP BY 1 ORDER BY COUNT(*) DESC, 1 LIMIT 1",
            ((1, 10.0),),
            True,
        ),
        (
            "SELECT customer_id, SUM(seconds) AS s FROM visit GROUP BY 1 ORDER BY COUNT(*) DESC, 1 LIMIT 1",
            ((2, 7.0),),
            False,
        ),
        ("SELECT DISTINCT page FROM visit ORDER BY page NULLS LAST LIMIT 2", ("x", "y"), True),
        ("SELECT customer_id FROM visit UNION SELECT 9 ORDER BY customer_id DESC LIMIT 1", (9,), True),
        ("SELECT customer_id FROM visit UNION SELECT 9 ORDER BY customer_id DESC LIMIT 1", (3,), False),
    ],
)
def test_allowed_answers(shop: Catalog, hunter: DuckDB, text: str, answer: tuple[object, ...], allowed: bool) -> None:
    assert allows(shop, hunter, text, *answer) is allowed


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("SELECT page FROM visit ORDER BY seconds LIMIT 1", True),
        ("SELECT RANK() OVER (ORDER BY seconds) AS r FROM visit", True),
        ("SELECT SUM(seconds) OVER (ORDER BY customer_id) AS s FROM visit", True),
        ("SELECT page FROM (SELECT page FROM visit ORDER BY seconds LIMIT 1) v", False),
        ("SELECT ROW_NUMBER() OVER (ORDER BY seconds) AS r FROM visit", False),
        ("SELECT DISTINCT ON (customer_id) page FROM visit", False),
        ("SELECT STRING_AGG(page, ',') AS pages FROM visit", False),
    ],
)
def test_only_arbitrary_ties_are_shaken(shop: Catalog, text: str, settled: bool) -> None:
    assert (shaken(parse(text, shop).tree) is None) is settled


def test_shaking_shows_a_tie_that_row_order_may_hide(shop: Catalog, hunter: DuckDB) -> None:
    query = parse("SELECT page FROM (SELECT page FROM visit WHERE customer_id = 1 ORDER BY seconds LIMIT 1) v", shop)
    twin = shaken(query.tree)
    assert twin is not None
    (outcomes,) = hunter.run_on(shop, [VISITS], [twin] * 40, Limits())
    assert {outcome.rows for outcome in outcomes if isinstance(outcome, Result)} == {(("x",),), (("y",),)}
