"""Racing on a real engine, and what is concluded from timings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.engines import DuckDB
from rewriter.engines.base import Limits
from rewriter.errors import QueryTimeout
from rewriter.measure import RacePolicy, race
from rewriter.records import Measurement, Row
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


def test_an_original_that_is_quick_bounds_endless_candidates(hunter: DuckDB) -> None:
    endless = [(f"r{number}", ENDLESS) for number in range(3)]
    original, *others = race(hunter, FAST, endless, policy=RacePolicy(timeout=30.0, seconds=1.0))
    assert original.seconds
    assert all(entry.stopped_after is not None and entry.stopped_after <= 4.0 for entry in others)


class _Schedule:
    """An engine whose runs take declared times on a clock of its own, so that schedules can be checked exactly."""

    def __init__(self, times: dict[str, float], rows: dict[str, int] | None = None) -> None:
        self.times = times
        self.rows = rows or {}
        self.spent: dict[str, float] = dict.fromkeys(times, 0.0)

    def time(self, sql: str, limits: Limits, parameters: Row = ()) -> tuple[float, int]:
        self.spent[sql] += min(self.times[sql], limits.seconds)
        if self.times[sql] > limits.seconds:
            raise QueryTimeout("stopped")
        return self.times[sql], self.rows.get(sql, 1)


def scheduled(engine: _Schedule, *others: str, guests: tuple[str, ...] = (), **policy: Any) -> dict[str, Measurement]:
    pairs, visitors = [(name, name) for name in others], [(name, name) for name in guests]
    done = race(engine, "original", pairs, guests=visitors, policy=RacePolicy(**policy))  # type: ignore[arg-type]
    assert [entry.label for entry in done] == ["original", *others, *guests]
    return {entry.label: entry for entry in done}


def test_one_quick_candidate_at_the_end_of_the_line_saves_the_others_time() -> None:
    engine = _Schedule({"original": 900.0, **{f"r{n}": 900.0 for n in range(7)}, "quick": 0.2})
    done = scheduled(engine, *(f"r{n}" for n in range(7)), "quick", timeout=60.0)
    assert done["quick"].stopped_after is None
    assert all(engine.spent[f"r{n}"] < 3.0 for n in range(7))
    assert done["original"].stopped_after == 60.0


def test_a_wrong_candidate_does_not_cut_the_right_ones_short() -> None:
    engine = _Schedule({"original": 8.0, "wrong": 0.001, "right": 4.0}, {"wrong": 7})
    done = scheduled(engine, "wrong", "right")
    assert done["wrong"].error is not None
    assert done["right"].stopped_after is None
    assert done["right"].seconds


def test_guests_bound_nobody_and_are_bounded_by_the_original() -> None:
    times = {"original": 4.0, "right": 2.0, "lucky": 0.01, "slow": 3.9, "hopeless": 900.0}
    done = scheduled(_Schedule(times), "right", guests=("lucky", "slow", "hopeless"))
    assert all(done[name].stopped_after is None for name in ("original", "right", "lucky", "slow"))
    assert done["hopeless"].stopped_after == 6.0
    alone = scheduled(_Schedule(times), guests=("slow",))
    assert alone["slow"].seconds


def test_long_runs_are_repeated_only_while_the_outcome_is_open() -> None:
    clear = _Schedule({"original": 15.0, "r1": 0.1})
    assert len(scheduled(clear, "r1")["r1"].seconds) >= 3
    assert clear.spent["original"] <= 16.0
    still_open = _Schedule({"original": 5.0, "r1": 4.5})
    assert len(scheduled(still_open, "r1")["original"].seconds) >= 3
    too_long = _Schedule({"original": 50.0, "r1": 45.0})
    assert len(scheduled(too_long, "r1")["original"].seconds) == 1


durations = st.one_of(st.floats(0.001, 2.0), st.floats(2.0, 500.0))


@given(durations, st.lists(durations, max_size=6), st.lists(durations, max_size=2), st.sampled_from([5.0, 60.0]))
def test_a_race_costs_what_its_policy_allows(
    original: float, others: list[float], guests: list[float], timeout: float
) -> None:
    names, visitors = [f"r{n}" for n in range(len(others))], tuple(f"g{n}" for n in range(len(guests)))
    times = zip(["original", *names, *visitors], [original, *others, *guests], strict=True)
    engine = _Schedule(dict(times))
    done = scheduled(engine, *names, guests=visitors, timeout=timeout)
    policy = RacePolicy(timeout=timeout)
    for label, spent in engine.spent.items():
        entry = done[label]
        assert not entry.error
        assert len(entry.seconds) <= policy.rounds[1] + 1
        # At most the rising steps, the full limit once, three runs to be sure, and the budget for repetitions.
        runs = max(engine.times[label], policy.shortest_limit)
        assert spent <= 1.3 * timeout + 3 * min(runs, policy.seconds) + policy.seconds + 2
        assert entry.seconds or entry.stopped_after is not None
    quickest = min([original, *others])
    for name, time in zip(names, others, strict=True):
        if time == quickest and time <= timeout:
            assert done[name].seconds, "the quickest always gets to its end"
    if original <= timeout and original <= 1.4 * quickest:
        assert done["original"].seconds


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


@pytest.mark.parametrize("runs", [1, 2])
def test_few_runs_make_no_narrow_claim(runs: int) -> None:
    gain = speedup(Measurement("original", (1.2,) * runs), Measurement("r1", (1.0,) * runs))
    assert gain is not None
    assert gain.low < 1.0 < gain.ratio < gain.high


def test_nothing_is_concluded_from_a_candidate_that_did_not_finish() -> None:
    done = Measurement("original", (1.0, 1.0, 1.0))
    assert speedup(done, Measurement("r1", (), stopped_after=0.5)) is None
    assert speedup(done, Measurement("r1", (), error="no")) is None
    assert speedup(Measurement("original", (), error="no"), done) is None
