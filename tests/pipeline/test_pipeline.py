"""The whole path on a real Postgres and without one."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest
from sqlglot import exp

from rewriter.candidates import default_sources
from rewriter.candidates.base import Budget, Depth, Proposal
from rewriter.engines import DuckDB, Postgres, SchemaOnly
from rewriter.errors import QueryRejected, UnknownName, UsageError
from rewriter.parse import read_schema
from rewriter.pipeline import Policy, rewrite
from rewriter.records import Candidate, Event, Feedback, Query, VerdictKind
from rules.facts import Facts
from tests.shop import SLOW

QUICK = Policy(timeout=20.0, search_seconds=3.0, candidates=10, verify_seconds=1.0, race_seconds=1.0, racers=3)


def test_a_slow_query_becomes_faster_with_evidence(shop: Postgres, hunter: DuckDB) -> None:
    events: list[Event] = []
    report = rewrite(SLOW, shop, policy=QUICK, hunter=hunter, progress=events.append, target="shop")
    assert report.decision.chosen is not None, report.decision.reason
    assert report.decision.speedup is not None
    assert report.decision.speedup.ratio > 1.1
    either = {"subquery/scalar_aggregate_to_join", "subquery/scalar_aggregate_to_window"}  # both take milliseconds
    assert either & set(report.decision.chosen.rules)
    assert report.verdict is not None
    assert report.verdict.kind.accepts
    assert any("PostgreSQL" in engine for engine in report.verdict.confirmed_on)
    assert report.original_plan is not None
    assert report.chosen_plan is not None
    assert {event.stage for event in events} >= {"parse", "candidates", "verify", "measure"}
    assert set(report.timings) == {"parse", "candidates", "verify", "measure"}


def test_the_original_is_kept_when_nothing_is_better(shop: Postgres, hunter: DuckDB) -> None:
    report = rewrite("SELECT count(*) FROM shop", shop, policy=QUICK, hunter=hunter)
    assert report.decision.chosen is None
    assert report.decision.reason


class _Saboteur:
    """Proposes a fast wrong rewrite, one that does not bind, and notes what it is told about them."""

    name = "saboteur"

    def __init__(self) -> None:
        self.told: list[Feedback] = []

    def candidates(
        self, query: Query, facts: Facts, budget: Budget, original: Feedback
    ) -> Generator[Proposal, Feedback, None]:
        assert original.seconds is not None
        wrong = query.tree.copy()
        wrong.set("where", None)
        candidate = Candidate("wrong", wrong, wrong.sql(dialect="postgres"), self.name)
        self.told.append((yield Proposal(candidate, Depth.VERDICT)))
        broken = query.tree.copy()
        for column in broken.find_all(exp.Column):
            column.set("this", exp.to_identifier("nowhere"))
        candidate = Candidate("broken", broken, broken.sql(dialect="postgres"), self.name)
        self.told.append((yield Proposal(candidate)))


def test_wrong_and_broken_candidates_are_told_and_never_raced(shop: Postgres, hunter: DuckDB) -> None:
    source = _Saboteur()
    report = rewrite(SLOW, shop, policy=QUICK, hunter=hunter, sources=[source])
    wrong, broken = source.told
    assert wrong.verdict is not None
    assert wrong.verdict.kind is VerdictKind.REFUTED
    assert wrong.verdict.counterexample is not None
    assert broken.rejected
    assert report.decision.chosen is None
    assert not [entry for entry in report.measurements if entry.label in ("wrong", "broken")]
    assert {loser.candidate.id: loser.stage for loser in report.decision.losers} == {
        "wrong": "verify",
        "broken": "bind",
    }


def test_a_schema_alone_gives_verified_candidates_and_no_choice(hunter: DuckDB) -> None:
    catalog = read_schema("CREATE TABLE sale (id int PRIMARY KEY, shop_id int, amount int NOT NULL)", "postgres")
    report = rewrite(SLOW, SchemaOnly(catalog), policy=QUICK, hunter=hunter)
    assert report.decision.chosen is None
    assert not report.measurements
    assert any("skipped" in note for note in report.notes)
    accepted = [loser for loser in report.decision.losers if loser.verdict and loser.verdict.kind.accepts]
    assert accepted


def test_a_proof_that_nobody_has_is_required_in_vain(shop: Postgres, hunter: DuckDB) -> None:
    strict = Policy(
        VerdictKind.PROVED, search_seconds=3.0, candidates=4, verify_seconds=0.5, race_seconds=0.5, racers=2
    )
    report = rewrite(f"SELECT id, ROW_NUMBER() OVER (ORDER BY id) FROM ({SLOW}) t", shop, policy=strict, hunter=hunter)
    assert report.decision.chosen is None


def test_a_proof_that_is_required_is_in_the_report(shop: Postgres, hunter: DuckDB) -> None:
    patient = replace(QUICK, require=VerdictKind.PROVED, verify_seconds=10.0)
    report = rewrite(SLOW, shop, policy=patient, hunter=hunter)
    assert report.decision.chosen is not None, report.decision.reason
    assert report.verdict is not None
    assert report.verdict.kind is VerdictKind.PROVED
    assert report.verdict.proof
    assert report.verdict.holds_for == "all"
    assert any("PostgreSQL" in engine for engine in report.verdict.confirmed_on)


def test_tests_that_kill_too_few_mutants_are_not_enough(shop: Postgres, hunter: DuckDB) -> None:
    demanding = replace(QUICK, least_killed=1.0)
    # SELECT DISTINCT over a key and a condition that always holds: mutants of both are equivalent and stay alive.
    sql = f"SELECT DISTINCT id, ROW_NUMBER() OVER (ORDER BY id) AS n FROM ({SLOW}) t WHERE id >= id"
    report = rewrite(sql, shop, policy=demanding, hunter=hunter)
    assert report.decision.chosen is None


def test_foreign_texts_are_raced_and_never_chosen(shop: Postgres, hunter: DuckDB) -> None:
    also = {"same": SLOW, "bad": "DELETE FROM sale"}
    report = rewrite(SLOW, shop, policy=QUICK, hunter=hunter, sources=[], also=also)
    labels = {entry.label: entry for entry in report.measurements}
    assert labels["also:same"].seconds or labels["also:same"].stopped_after
    assert labels["also:bad"].error
    assert report.decision.chosen is None


def test_parameters_need_values_to_be_measured(shop: Postgres, hunter: DuckDB) -> None:
    sql = SLOW + " AND s.id > %(least)s"
    without = rewrite(sql, shop, policy=QUICK, hunter=hunter)
    assert not without.measurements
    given = rewrite(sql, shop, policy=QUICK, hunter=hunter, parameter_sets=[(10,)])
    assert given.measurements
    with pytest.raises(UsageError):
        rewrite(sql, shop, policy=QUICK, hunter=hunter, parameter_sets=[(10, 11)])


def test_mistakes_in_the_statement_are_told_before_any_work(shop: Postgres, hunter: DuckDB) -> None:
    with pytest.raises(UnknownName):
        rewrite("SELECT amont FROM sale", shop, hunter=hunter)
    with pytest.raises(QueryRejected):
        rewrite("UPDATE sale SET amount = 0", shop, hunter=hunter)


@pytest.mark.parametrize(
    "change", [{"margin": 0.5}, {"timeout": 0.0}, {"require": VerdictKind.REFUTED}, {"least_killed": 2.0}]
)
def test_an_impossible_policy_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Policy(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(("runs", "asked"), [(0.0, True), (1e6, True), (1.0, False)])
def test_a_further_source_is_asked_only_where_the_query_costs_enough(shop: Postgres, runs: float, asked: bool) -> None:
    class Second:
        name = "second"
        called = False

        def candidates(
            self, query: Query, facts: Facts, budget: Budget, original: Feedback
        ) -> Generator[Proposal, Feedback, None]:
            Second.called = True
            yield from ()

    report = rewrite(SLOW, shop, policy=replace(QUICK, runs=runs), sources=[*default_sources(), Second()])
    assert Second.called is asked
    assert any("second was not asked" in note for note in report.notes) is not asked
