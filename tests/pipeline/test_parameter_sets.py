"""Statements with parameters and several sets of values for them, on a real Postgres."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest

from rewriter.candidates.base import Budget, Depth, Draft, Proposal
from rewriter.engines import DuckDB, Postgres
from rewriter.errors import UsageError
from rewriter.llm import Redaction
from rewriter.parse import parse
from rewriter.pipeline import Policy, rewrite
from rewriter.records import Feedback, Query, Report, VerdictKind
from rewriter.report import to_html, to_json, to_markdown
from rewriter.verify import Verifier
from rules.facts import Facts
from tests.shop import SLOW

QUICK = Policy(timeout=20.0, search_seconds=3.0, candidates=10, verify_seconds=1.0, race_seconds=1.0, racers=3)
BY_DAY = SLOW + " AND s.id > $1"
JOINED = (
    "WITH m AS MATERIALIZED (SELECT DISTINCT t.shop_id, 1.2 * avg(t.amount) OVER (PARTITION BY t.shop_id) AS lim"
    " FROM sale t)"
    " SELECT s.id FROM sale s JOIN m ON m.shop_id = s.shop_id WHERE s.amount > m.lim AND s.id > $1"
)
MANY, FEW = (5000,), (5999,)  # with the second the original has next to nothing to do, and the join has everything


class Proposing:
    """Proposes one text, and keeps what it is told of it."""

    name = "proposing"

    def __init__(self, sql: str) -> None:
        self.draft = Draft("d1", sql, self.name)
        self.told: list[Feedback] = []

    def candidates(
        self, query: Query, facts: Facts, budget: Budget, original: Feedback
    ) -> Generator[Proposal, Feedback, None]:
        self.told.append((yield Proposal(self.draft, Depth.VERDICT)))


def run(shop: Postgres, hunter: DuckDB, *sets: tuple[object, ...], policy: Policy = QUICK, sql: str = JOINED) -> Report:
    return rewrite(BY_DAY, shop, policy=policy, hunter=hunter, sources=[Proposing(sql)], parameter_sets=sets)


def test_what_is_chosen_is_slow_with_no_set(shop: Postgres, hunter: DuckDB) -> None:
    report = run(shop, hunter, MANY, FEW)
    assert report.decision.chosen is None
    (loser,) = report.decision.losers
    assert loser.stage == "measure"
    assert "set 2" in loser.reason
    assert [one.label for one in report.sets] == ["set 1", "set 2"]


@pytest.mark.slow
def test_a_regression_that_is_allowed_is_shown(shop: Postgres, hunter: DuckDB) -> None:
    report = run(shop, hunter, MANY, FEW, policy=replace(QUICK, regression=0.0))
    assert report.decision.chosen is not None, report.decision.reason
    document = to_json(report)
    many, few = document["sets"]
    assert many["ratio"] > 1.1 > 1.0 > few["ratio"]
    assert few["slower"]
    assert not many["slower"]
    assert few["low"] <= few["ratio"] <= few["high"] < 1.0
    total = document["speedup"]["ratio"]
    assert few["ratio"] < total < many["ratio"]
    assert document["verdict"]["kind"] != "proved"  # it would hold for all values
    assert document["holds_for"] == "observed"
    assert document["parameter_sets"] == {"set 1": [5000], "set 2": [5999]}
    for page in (to_markdown(report), to_html(report)):
        assert "set 2" in page
        assert "slower" in page


def test_every_set_must_fit(shop: Postgres, hunter: DuckDB) -> None:
    with pytest.raises(UsageError):
        run(shop, hunter, MANY, (1, 2))


ONLY_BELOW = "SELECT s.id FROM sale s WHERE s.day < $1"
WRONG_FROM_2031 = "SELECT s.id FROM sale s WHERE s.day < $1 AND s.day < DATE '2031-05-17'"


def test_given_values_are_among_those_tested(shop: Postgres, hunter: DuckDB) -> None:
    """A rewrite that is wrong for late days alone, which generated values need not reach."""
    query = parse(ONLY_BELOW, shop.catalog())
    wrong = parse(WRONG_FROM_2031, shop.catalog()).tree
    given = {"set 1": ("2024-01-05",), "set 2": ("2038-11-30",)}
    verdict = Verifier(query, hunter, shop, given=given).screen(wrong)
    assert verdict.kind is VerdictKind.REFUTED
    found = verdict.counterexample
    assert found is not None
    assert len(found.parameters) == 1
    same = Verifier(query, hunter, shop, given=given, proofs=False).certify(query.tree.copy(), seconds=2.0)
    assert same.kind is VerdictKind.TESTED
    assert same.observed == given
    # A value that is no day makes the original fail: nothing was tested with it, and that is not claimed.
    odd = {"set 1": ("2024-01-05",), "set 2": ("no day",)}
    part = Verifier(query, hunter, shop, given=odd, proofs=False).certify(query.tree.copy(), seconds=2.0)
    assert part.observed == {"set 1": ("2024-01-05",)}


def test_given_values_stay_out_of_reasons(shop: Postgres, hunter: DuckDB) -> None:
    query = parse("SELECT s.id FROM sale s WHERE s.id = $1", shop.catalog())
    wrong = parse("SELECT s.id FROM sale s WHERE s.id = $1 AND s.id <> 770077", shop.catalog()).tree
    verdict = Verifier(query, hunter, shop, given={"set 1": (770077,)}).screen(wrong)
    assert verdict.kind is VerdictKind.REFUTED
    assert "770077" not in verdict.reason


def test_parameter_values_of_a_counterexample_are_told_to_a_model_by_their_markers() -> None:
    redaction = Redaction("postgres")
    redaction.bind(("770077", None, "2038-11-30", "secret town"))
    told = redaction.rows([(770077, 770078, "secret town", "2038-11-30")]) + redaction.text("It is 'secret town'.")
    assert "7700" not in told
    assert "2038" not in told
    assert "secret" not in told
    assert {"$1", "$3", "$4"} <= set(
        told.replace("(", " ").replace(")", " ").replace(",", " ").replace(".", "").split()
    )
