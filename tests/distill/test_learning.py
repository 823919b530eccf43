"""From pairs to rules: what comes out has the conditions that it needs, passes every check, and applies elsewhere."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from rewriter.candidates import default_sources
from rewriter.distill import Outcome, Pair, Reason, learn
from rewriter.distill.generalise import generalised
from rewriter.distill.localise import differences, sites
from rewriter.distill.reading import listed, recorded
from rewriter.distill.records import Refused
from rewriter.engines import DuckDB, Postgres
from rewriter.parse import parse, read_schema
from rewriter.pipeline import EFFORTS, rewrite
from rewriter.report import to_json
from rewriter.repository import Repository
from rewriter.store import Store
from rules.discovery import executable

CATALOG = read_schema(
    "CREATE TABLE shop (id int PRIMARY KEY, city text NOT NULL, owner text);"
    "CREATE TABLE sale (id int PRIMARY KEY, shop_id int REFERENCES shop (id), pieces int NOT NULL, rebate int, "
    "day date, paid timestamp, kind text NOT NULL, CHECK (pieces > 0));",
    "postgres",
)
PAIRS = Path(__file__).parent / "pairs.jsonl"
REFERENCE = (
    "SELECT s.id FROM sale s WHERE s.pieces > 2 AND EXISTS (SELECT 1 FROM shop q WHERE q.id = s.shop_id)",
    "SELECT s.id FROM sale s WHERE s.pieces > 2 AND s.shop_id IS NOT NULL",
)


def pair(before: str, after: str, **fields: object) -> Pair:
    return replace(Pair(parse(before, CATALOG), parse(after, CATALOG)), **fields)  # type: ignore[arg-type]


def conditions(before: str, after: str, hunter: DuckDB) -> tuple[str, ...] | None:
    """The conditions of the rule that a pair gives; None when it gives none."""
    given = pair(before, after)
    for difference in differences(given):
        for site in sites(given, difference, alone=True):
            with contextlib.suppress(Refused):
                return generalised(site, given, hunter).hypothesis.conditions
    return None


def test_the_demonstration_holds_twelve_pairs_or_more() -> None:
    found = list(listed(PAIRS.read_text(encoding="utf-8")))
    assert len(found) >= 12
    assert all(isinstance(it, Pair) for it in found)


def test_a_wrong_pair_a_known_one_and_one_without_gain_are_refused(hunter: DuckDB) -> None:
    wrong = pair(
        "SELECT s.id FROM sale s WHERE COALESCE(s.rebate, 9) > 5", "SELECT s.id FROM sale s WHERE s.rebate > 5"
    )
    known = pair("SELECT DISTINCT q.id, q.city FROM shop q", "SELECT q.id, q.city FROM shop q")
    slow = pair(*REFERENCE, ratio=1.01)
    outcomes = list(learn([wrong, known, slow], hunter, executable("postgres")))
    assert [it.refused for it in outcomes] == [Reason.NOT_EQUIVALENT, Reason.IN_CATALOGUE, Reason.NOTHING_GAINED]
    assert outcomes[0].script is not None
    assert "distinct_removed_by_key" in outcomes[1].detail


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_learnt_rule_is_applied_to_other_queries_without_a_model(
    hunter: DuckDB, shop: Postgres, tmp_path: Path
) -> None:
    given = pair(*REFERENCE, ratio=2.5, said="Look at table sale once.")
    (outcome,) = learn([given, pair(*REFERENCE, ratio=3.5)], hunter, executable("postgres"))
    document = outcome.document
    assert document is not None, outcome
    assert outcome.pairs == 2
    assert document.status == "draft"
    assert document.pattern is not None
    assert [it.text for it in document.pattern.conditions] == ["@x1 refers to @r1.@c1"]
    assert document.wrong
    assert not {"sale", "shop", "shop_id", "pieces"} & set(document.text.replace(".", " ").split())
    with contextlib.closing(Store(f"sqlite:///{tmp_path / 'store.sqlite'}")) as store:
        repository = Repository(store)
        repository.keep([outcome], approve=True)
        (applied,) = repository.executable()
        report = rewrite(
            "SELECT o.day, COUNT(*) AS n FROM sale o WHERE EXISTS (SELECT 1 FROM shop WHERE shop.id = o.shop_id) "
            "OR o.amount > 90 GROUP BY o.day",
            shop,
            hunter=hunter,
            policy=EFFORTS["quick"],
            sources=default_sources(rules=(applied,)),
        )
        by_rule = [it for it in report.trials if applied.name in it.rules]
        assert by_rule
        refused = [it for it in report.decision.losers if applied.name in it.candidate.rules and it.stage == "verify"]
        assert not refused
        again = list(learn([given], hunter, (*executable("postgres"), applied)))
        assert [it.refused for it in again] == [Reason.IN_CATALOGUE]
        identifier = store.record(report, to_json(report))
        read = list(recorded(store.accepted(), shop.catalog()))
        assert [it.origin for it in read if isinstance(it, Pair)] == (
            [f"rewrite {identifier}"] if report.decision.chosen is not None else []
        )


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("before", "after", "needed"),
    [
        # by type: 2.5 > 2, and 2.5 is less than 2 + 1
        (
            "SELECT s.id FROM sale s WHERE s.pieces >= s.rebate + 1",
            "SELECT s.id FROM sale s WHERE s.pieces > s.rebate",
            "is of type integer",
        ),
        # by NOT NULL
        ("SELECT COALESCE(s.pieces, 4) AS p FROM sale s", "SELECT s.pieces AS p FROM sale s", "`@x1` is not nullable"),
        # by what the constants happen to be, and by where it stands
        (
            "SELECT s.id FROM sale s WHERE COALESCE(s.rebate, 0) > 5",
            "SELECT s.id FROM sale s WHERE s.rebate > 5",
            "is not less than",
        ),
    ],
)
def test_what_holds_by_accident_of_the_pair_is_a_condition(
    before: str, after: str, needed: str, hunter: DuckDB
) -> None:
    found = conditions(before, after, hunter)
    assert found is not None
    assert needed in " ".join(found)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SELECT q.city FROM shop q WHERE q.id = 17 LIMIT 1", "SELECT q.city FROM shop q WHERE q.id = 17"),
        (
            "SELECT s.id FROM sale s WHERE s.pieces > 0 AND s.rebate = 2",  # a CHECK says so
            "SELECT s.id FROM sale s WHERE s.rebate = 2",
        ),
        (
            "SELECT s.id FROM sale s WHERE DATE_TRUNC('month', s.paid) = TIMESTAMP '2024-03-01 00:00:00'",
            "SELECT s.id FROM sale s WHERE s.paid >= TIMESTAMP '2024-03-01 00:00:00' "
            "AND s.paid < TIMESTAMP '2024-03-01 00:00:00' + INTERVAL '1 month'",
        ),
    ],
)
def test_what_no_condition_can_save_is_refused(before: str, after: str, hunter: DuckDB) -> None:
    assert conditions(before, after, hunter) is None


def test_outcomes_name_their_reason() -> None:
    line = json.dumps({"before": "SELECT 1 AS a", "after": "SELECT 1 AS a FROM", "schema": "CREATE TABLE t (a int);"})
    (outcome,) = listed(line)
    assert isinstance(outcome, Outcome)
    assert outcome.refused is Reason.UNREADABLE
