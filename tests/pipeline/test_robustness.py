"""Rewrites with other constants than their own, on a real Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import replace

import pytest

from rewriter.candidates.base import Budget, Depth, Proposal
from rewriter.engines import DuckDB, Postgres
from rewriter.parse import parse
from rewriter.pipeline import Policy, rewrite
from rewriter.records import Candidate, Feedback, Query, Report, quiet
from rewriter.report import to_json, to_markdown
from rewriter.robustness import Corners, slow_corner
from rules.facts import Facts
from tests.pipeline.test_parameter_sets import Proposing

QUICK = Policy(timeout=20.0, search_seconds=3.0, candidates=10, verify_seconds=1.0, race_seconds=2.0, racers=3)
OF_SHOPS = "SELECT x.id FROM shop x WHERE x.id <= 150 AND (SELECT sum(t.id) FROM sale t WHERE t.shop_id = x.id) > 10"
JOINED = (
    "WITH m AS (SELECT t.shop_id, sum(t.id) AS n FROM sale t WHERE t.shop_id <= 150 GROUP BY t.shop_id)"
    " SELECT x.id FROM shop x JOIN m ON m.shop_id = x.id WHERE x.id <= 150 AND m.n > 10"
)
# The same whatever the filter lets through, where the original is done at once when that is next to nothing.
HEAVY = (
    "WITH m AS MATERIALIZED (SELECT DISTINCT t.shop_id, sum(t.id) OVER (PARTITION BY t.shop_id) AS n FROM sale t)"
    " SELECT x.id FROM shop x JOIN m ON m.shop_id = x.id WHERE x.id <= 150 AND m.n > 10"
)


def run(shop: Postgres, hunter: DuckDB, sql: str, rewritten: str, *, robust: bool) -> Report:
    policy = replace(QUICK, robust=robust)
    return rewrite(sql, shop, policy=policy, hunter=hunter, sources=[Proposing(rewritten)])


def made(shop: Postgres, hunter: DuckDB, query: Query) -> Corners:
    def stage(name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    return Corners(shop, hunter, query, (), 10.0, 1.0, 0, stage, quiet)


def candidate(sql: str, query: Query) -> Candidate:
    return Candidate("c1", parse(sql, query.catalog).tree, sql, "test")


def test_a_robust_rewrite_is_measured_at_its_corners(shop: Postgres, hunter: DuckDB) -> None:
    report = run(shop, hunter, OF_SHOPS, JOINED, robust=True)
    assert report.decision.chosen is not None, [loser.reason for loser in report.decision.losers]
    found = to_json(report)["robustness"]
    assert found["how"] == "measured"
    assert {tuple(corner["levels"]) for corner in found["corners"]} == {("shop.id",)}
    assert {corner["levels"]["shop.id"] for corner in found["corners"]} == {"low", "mid", "high"}
    assert found["worst"] == min(corner["ratio"] for corner in found["corners"])
    assert found["share_not_slower"] == 1.0
    assert "other constants" in to_markdown(report)


def test_a_rewrite_that_is_slow_at_a_corner_loses_where_that_is_asked(shop: Postgres, hunter: DuckDB) -> None:
    report = run(shop, hunter, OF_SHOPS, HEAVY, robust=True)
    assert report.decision.chosen is None
    (loser,) = report.decision.losers
    assert "shop.id low" in loser.reason
    assert report.robustness is None


def test_otherwise_it_is_noted_by_the_engines_estimates(shop: Postgres, hunter: DuckDB) -> None:
    report = run(shop, hunter, OF_SHOPS, HEAVY, robust=False)
    assert report.decision.chosen is not None
    assert report.robustness is not None
    assert report.robustness.how == "plan"
    levels = {corner.levels["shop.id"]: corner.gain.ratio for corner in report.robustness.corners}
    assert levels["low"] < levels["high"]
    slow = slow_corner(report.robustness, 1 / QUICK.margin)
    assert (slow in report.notes) is (slow is not None)


def test_a_rewrite_that_holds_for_its_own_constants_only_is_found(shop: Postgres, hunter: DuckDB) -> None:
    query = parse("SELECT s.id FROM sale s WHERE s.amount > 96 AND s.shop_id > 10 AND s.id > 12", shop.catalog())
    same = candidate("SELECT s.id FROM sale s WHERE s.id > 12 AND s.shop_id > 10 AND s.amount > 96", query)
    corners = made(shop, hunter, query)
    assert corners.refuted(same) is None
    twice = parse("SELECT s.id FROM sale s WHERE s.id > 10 AND s.shop_id > 12 AND s.id = s.shop_id", shop.catalog())
    implied = candidate("SELECT s.id FROM sale s WHERE s.shop_id > 12 AND s.id = s.shop_id", twice)
    reason = made(shop, hunter, twice).refuted(implied)
    assert reason is not None
    assert "its own constants" in reason


def test_values_of_the_target_stay_out_of_what_is_said(shop: Postgres, hunter: DuckDB) -> None:
    query = parse("SELECT s.id FROM sale s WHERE s.day > DATE '2019-05-05'", shop.catalog())
    found = made(shop, hunter, query).estimated(candidate(query.text, query), 1.0)
    assert found.how == "plan"
    assert "2024" not in repr(found)


def test_parameters_have_corners_too(shop: Postgres, hunter: DuckDB) -> None:
    query = parse("SELECT s.id FROM sale s WHERE s.day > $1 AND s.id > $2", shop.catalog())
    corners = replace(made(shop, hunter, query), values=("2024-02-03", 17))
    found = corners.measured(candidate(query.text, query), 0.001, 1.0)
    assert found.how == "measured"
    assert {tuple(corner.levels) for corner in found.corners} == {("sale.day", "sale.id")}


def test_nothing_to_vary_is_said(shop: Postgres, hunter: DuckDB) -> None:
    query = parse("SELECT count(*) FROM sale", shop.catalog())
    found = made(shop, hunter, query).estimated(candidate(query.text, query))
    assert (found.how, found.corners) == ("none", ())
    assert found.reason
    assert found.share_not_slower is None


class Asking(Proposing):
    """Asks for the last check of LITHE."""

    def candidates(
        self, query: Query, facts: Facts, budget: Budget, original: Feedback
    ) -> Generator[Proposal, Feedback, None]:
        self.told.append((yield Proposal(self.draft, Depth.ROBUST)))


@pytest.mark.parametrize(("rewritten", "kept"), [pytest.param(JOINED, True, marks=pytest.mark.slow), (HEAVY, False)])
def test_a_source_may_ask_for_a_robust_rewrite(shop: Postgres, hunter: DuckDB, rewritten: str, kept: bool) -> None:
    source = Asking(rewritten)
    report = rewrite(OF_SHOPS, shop, policy=QUICK, hunter=hunter, sources=[source])
    (told,) = source.told
    assert told.verdict is not None
    assert (told.rejected is None) is kept
    assert (report.decision.chosen is not None) is kept
