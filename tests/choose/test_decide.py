"""The decision: never worse, a reason for every loser."""

from __future__ import annotations

import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from rewriter.choose import ChoicePolicy, decide
from rewriter.records import Candidate, Measurement, Step, Verdict, VerdictKind

TREE = sqlglot.parse_one("SELECT 1 AS a")
assert isinstance(TREE, exp.Select)
TESTED = Verdict(VerdictKind.TESTED, "tested", "no difference found")
POLICY = ChoicePolicy(margin=1.1)


def candidate(name: str, steps: int = 1) -> Candidate:
    return Candidate(name, TREE, f"SELECT {'1' * steps}", "rules", tuple(Step("f/r", "does it") for _ in range(steps)))


def times(label: str, *seconds: float) -> Measurement:
    return Measurement(label, seconds)


def test_the_fastest_wins_and_the_others_have_reasons() -> None:
    entrants = [(candidate("a"), TESTED), (candidate("b"), TESTED), (candidate("c"), TESTED)]
    measured = [times("original", 1, 1, 1), times("a", 0.5, 0.5, 0.5), times("b", 0.1, 0.1, 0.1), times("c", 2, 2, 2)]
    decision = decide(entrants, measured, POLICY)
    assert decision.chosen is not None
    assert decision.chosen.id == "b"
    assert decision.speedup is not None
    assert round(decision.speedup.ratio) == 10
    assert {loser.candidate.id for loser in decision.losers} == {"a", "c"}
    assert all(loser.reason for loser in decision.losers)


def test_of_equals_the_simpler_wins() -> None:
    entrants = [(candidate("long", 3), TESTED), (candidate("short", 1), TESTED)]
    measured = [times("original", 1, 1, 1), times("long", 0.1, 0.1, 0.1), times("short", 0.102, 0.102, 0.102)]
    decision = decide(entrants, measured, POLICY)
    assert decision.chosen is not None
    assert decision.chosen.id == "short"


def test_a_noisy_gain_is_no_win() -> None:
    measured = [times("original", 1.0, 0.8, 1.6, 0.9, 1.5), times("a", 0.9, 1.4, 0.7, 1.5, 0.8)]
    assert decide([(candidate("a"), TESTED)], measured, POLICY).chosen is None


def test_a_gain_within_the_clocks_noise_is_no_win() -> None:
    measured = [times("original", 0.0004, 0.0004, 0.0004), times("a", 0.0002, 0.0002, 0.0002)]
    assert decide([(candidate("a"), TESTED)], measured, POLICY).chosen is None


def test_an_unverified_candidate_never_wins() -> None:
    unknown = Verdict(VerdictKind.UNKNOWN, "tested", "not supported")
    measured = [times("original", 1, 1, 1), times("a", 0.1, 0.1, 0.1)]
    assert decide([(candidate("a"), unknown)], measured, POLICY).chosen is None
    strict = ChoicePolicy(require=VerdictKind.PROVED)
    assert decide([(candidate("a"), TESTED)], measured, strict).chosen is None


def test_wrong_row_counts_and_stopped_runs_lose() -> None:
    measured = [
        times("original", 1, 1, 1),
        Measurement("a", (0.1,), error="returned 3 rows where the original returned 2"),
        Measurement("b", (), stopped_after=0.5),
    ]
    decision = decide([(candidate("a"), TESTED), (candidate("b"), TESTED)], measured, POLICY)
    assert decision.chosen is None
    assert len(decision.losers) == 2


def test_a_stopped_original_gives_a_lower_bound() -> None:
    measured = [Measurement("original", (), stopped_after=60.0), times("a", 0.1, 0.1, 0.1)]
    decision = decide([(candidate("a"), TESTED)], measured, POLICY)
    assert decision.speedup is not None
    assert decision.speedup.at_least
    assert "at least" in decision.reason


def test_without_the_originals_answer_only_a_majority_is_believed() -> None:
    def answer(label: str, rows: int) -> Measurement:
        return Measurement(label, (0.1, 0.1, 0.1), rows=rows)

    original = Measurement("original", (), stopped_after=60.0)
    entrants = [(candidate("a"), TESTED), (candidate("b"), TESTED), (candidate("c"), TESTED)]
    split = decide(entrants[:2], [original, answer("a", 5), answer("b", 6)], POLICY)
    assert split.chosen is None
    assert all("rows" in loser.reason for loser in split.losers)
    most = decide(entrants, [original, answer("a", 5), answer("b", 6), answer("c", 6)], POLICY)
    assert most.chosen is not None
    assert most.chosen.id in ("b", "c")
    assert next(loser for loser in most.losers if loser.candidate.id == "a").reason.startswith("returned 5 rows")


def test_large_gains_are_told_in_plain_digits() -> None:
    measured = [times("original", 30, 30, 30), times("a", 0.02, 0.02, 0.02)]
    assert "1,500 times" in decide([(candidate("a"), TESTED)], measured, POLICY).reason


def test_nothing_measured_nothing_chosen() -> None:
    assert decide([(candidate("a"), TESTED)], [], POLICY).chosen is None
    assert decide([], [times("original", 1, 1, 1)], POLICY).chosen is None


run = st.lists(st.floats(min_value=0.001, max_value=10.0), min_size=1, max_size=7).map(tuple)


@given(run, st.lists(run, max_size=4))
def test_never_worse_and_nobody_forgotten(original: tuple[float, ...], others: list[tuple[float, ...]]) -> None:
    entrants = [(candidate(f"r{number}"), TESTED) for number in range(len(others))]
    measured = [Measurement("original", original), *(Measurement(f"r{n}", t) for n, t in enumerate(others))]
    decision = decide(entrants, measured, POLICY)
    if decision.chosen is not None:
        own = next(entry for entry in measured if entry.label == decision.chosen.id)
        assert (measured[0].median or 0) >= POLICY.margin * (own.median or 0) * 0.999
    told = {loser.candidate.id for loser in decision.losers} | ({decision.chosen.id} if decision.chosen else set())
    assert told == {entry.id for entry, _ in entrants}
