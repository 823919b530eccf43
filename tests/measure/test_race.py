"""Racing on a real engine, and what is concluded from timings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rewriter.engines import DuckDB
from rewriter.measure import RacePolicy, race
from rewriter.records import Measurement
from rewriter.statistics import speedup

FAST = "SELECT count(*) AS n FROM range(1000) AS r(i)"
SLOW = "SELECT count(*) AS n FROM range(20000) AS a(i), range(4000) AS b(j) WHERE (i * j) % 7 = 1"
ENDLESS = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) AS n FROM t"
POLICY = RacePolicy(timeout=3.0, seconds=1.0)


def test_everybody_is_timed_and_the_original_comes_first(hunter: DuckDB) -> None:
    original, same = race(hunter, FAST, [("r1", FAST)], policy=POLICY)
    assert (original.label, same.label) == ("original", "r1")
    assert len(original.seconds) >= 3
    assert len(same.seconds) >= 3
    assert original.rows == same.rows == 1


def test_a_quick_candidate_bounds_an_endless_original(hunter: DuckDB) -> None:
    original, quick = race(hunter, ENDLESS, [("quick", FAST)], policy=RacePolicy(timeout=1.0, seconds=1.0))
    assert original.stopped_after is not None
    assert original.stopped_after <= 1.0
    gain = speedup(original, quick)
    assert gain is not None
    assert gain.at_least
    assert gain.ratio > 10


def test_a_slow_candidate_is_stopped_at_a_multiple_of_the_best(hunter: DuckDB) -> None:
    _, quick, slow = race(hunter, FAST, [("quick", FAST), ("slow", ENDLESS)], policy=POLICY)
    assert quick.seconds
    assert slow.stopped_after is not None
    assert slow.stopped_after <= POLICY.shortest_limit


def test_another_number_of_rows_is_an_error(hunter: DuckDB) -> None:
    _, wrong = race(hunter, "SELECT 1 AS a", [("wrong", "SELECT i FROM range(3) AS r(i)")], policy=POLICY)
    assert wrong.error is not None
    assert "3 rows" in wrong.error


def test_a_candidate_that_fails_loses_only_itself(hunter: DuckDB) -> None:
    original, broken, fine = race(hunter, FAST, [("broken", "SELECT nothing"), ("fine", FAST)], policy=POLICY)
    assert broken.error
    assert not broken.seconds
    assert original.seconds
    assert fine.seconds


seconds = st.floats(min_value=1e-4, max_value=100.0)
runs = st.lists(seconds, min_size=1, max_size=11).map(tuple)


@given(runs, runs)
def test_the_interval_holds_the_ratio_and_mirrors(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    forward = speedup(Measurement("original", one), Measurement("r1", other))
    assert forward is not None
    assert forward.low <= forward.ratio * 1.0001
    assert forward.ratio <= forward.high * 1.0001
    assert forward.ratio > 0


@given(runs)
def test_equal_timings_are_no_win(times: tuple[float, ...]) -> None:
    gain = speedup(Measurement("original", times), Measurement("r1", times))
    assert gain is not None
    assert abs(gain.ratio - 1.0) < 1e-9
    assert gain.low <= 1.0001


def test_nothing_is_concluded_from_a_candidate_that_did_not_finish() -> None:
    done = Measurement("original", (1.0, 1.0, 1.0))
    assert speedup(done, Measurement("r1", (), stopped_after=0.5)) is None
    assert speedup(done, Measurement("r1", (), error="no")) is None
    assert speedup(Measurement("original", (), error="no"), done) is None
