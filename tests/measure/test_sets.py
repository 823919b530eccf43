"""Races with several sets of parameter values: which sets, what they add up to, who is slow with one of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.engines import DuckDB
from rewriter.measure import RacePolicy, race_sets, spread, totals, usable
from rewriter.records import Measurement, SetRace
from rewriter.statistics import regression, speedup, total

seconds = st.floats(min_value=1e-3, max_value=100.0)
runs = st.lists(seconds, min_size=1, max_size=11).map(tuple)
ROWS = "SELECT i FROM range(1000) AS r(i) WHERE i < $1::BIGINT"
POLICY = RacePolicy(timeout=5.0, seconds=0.2)


@given(st.lists(st.tuples(runs, runs), min_size=1, max_size=5))
def test_a_total_is_the_sum_of_the_medians_and_lies_between_the_sets(
    pairs: list[tuple[tuple[float, ...], ...]],
) -> None:
    originals = [Measurement("original", one) for one, _ in pairs]
    others = [Measurement("r1", other) for _, other in pairs]
    for entries in (originals, others):
        assert total(entries).median == pytest.approx(sum(entry.median or 0.0 for entry in entries))
        assert len(total(entries).seconds) <= min(len(entry.seconds) for entry in entries)
    ratios = [gain.ratio for gain in map(speedup, originals, others) if gain is not None]
    whole = speedup(total(originals), total(others))
    assert whole is not None
    assert min(ratios) * 0.999 <= whole.ratio <= max(ratios) * 1.001


@given(runs)
def test_the_total_of_one_race_is_that_race(times: tuple[float, ...]) -> None:
    entry = Measurement("r1", times, rows=3)
    assert total([entry]) is entry


def test_whoever_fails_or_is_stopped_with_one_set_does_so_in_total() -> None:
    fine = Measurement("r1", (1.0, 1.0, 1.0), rows=5)
    stopped = total([fine, Measurement("r1", stopped_after=2.0)])
    assert stopped.stopped_after == 3.0
    assert not stopped.seconds
    assert total([fine, Measurement("r1", error="no")]).error == "no"
    assert total([fine, fine]).rows == 10


@given(st.lists(st.tuples(st.integers(0, 30)), max_size=40), st.integers(2, 8))
def test_the_spread_is_of_different_sets_from_first_to_last(sets: list[tuple[int]], most: int) -> None:
    chosen = spread(sets, most)
    different = list(dict.fromkeys(sets))
    assert len(chosen) == min(most, len(different)) == len(set(chosen.values()))
    assert all(sets[int(label.removeprefix("set ")) - 1] == row for label, row in chosen.items())
    if different:
        kept = list(chosen.values())
        assert (kept[0], kept[-1]) == (different[0], different[-1])


def test_every_set_has_a_race_of_its_own(hunter: DuckDB) -> None:
    races = race_sets(hunter, ROWS, [("r1", ROWS)], {"set 1": (10,), "set 2": (700,)}, policy=POLICY)
    assert [one.label for one in races] == ["set 1", "set 2"]
    assert [one.measurements[0].rows for one in races] == [10, 700]
    original, same = totals(races)
    assert (original.label, original.rows, same.rows) == ("original", 710, 710)
    assert original.median == pytest.approx(sum(one.measurements[0].median or 0.0 for one in races))


def test_whoever_is_wrong_with_one_set_does_not_run_with_the_next(hunter: DuckDB) -> None:
    wrong = "SELECT i FROM range(10) AS r(i) WHERE i < $1::BIGINT"
    sets = {"set 1": (700,), "set 2": (5,), "set 3": (6,)}
    races = race_sets(hunter, ROWS, [("wrong", wrong), ("right", ROWS)], sets, policy=POLICY)
    assert [[entry.label for entry in one.measurements] for one in races] == [
        ["original", "wrong", "right"],
        ["original", "right"],
        ["original", "right"],
    ]
    assert "10 rows" in (totals(races)[1].error or "")


def test_a_set_with_which_the_original_fails_says_nothing_of_the_candidates(hunter: DuckDB) -> None:
    fails = {"set 1": ("not a number",), "set 2": (5,)}
    races = race_sets(hunter, ROWS, [("r1", ROWS)], fails, policy=POLICY)
    assert [one.label for one in usable(races)] == ["set 2"]
    assert totals(usable(races))[1].seconds


def test_a_race_that_used_up_the_time_is_the_last(hunter: DuckDB) -> None:
    sets = {f"set {number}": (number,) for number in range(1, 6)}
    races = race_sets(hunter, ROWS, [("r1", ROWS)], sets, policy=RacePolicy(timeout=1e-6, seconds=1e-6))
    assert isinstance(races[0], SetRace)
    assert len(races) < len(sets)


@given(runs, runs)
def test_nobody_is_slower_both_ways(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    first, second = Measurement("original", one), Measurement("r1", other)
    found = regression(first, second)
    if found is not None:
        assert found.high < 1.0
        assert regression(second, first) is None


def test_a_regression_is_clear_beyond_noise_and_tolerance() -> None:
    original, slower = Measurement("original", (1.0, 1.0, 1.0)), Measurement("r1", (1.5, 1.5, 1.5))
    assert regression(original, slower) is not None
    assert regression(original, slower, tolerance=0.5) is None
    assert regression(original, slower, noise=0.6) is None
    assert regression(original, Measurement("r1", (0.7, 1.5, 1.3, 0.8, 1.2))) is None
    stopped = regression(original, Measurement("r1", stopped_after=4.0))
    assert stopped is not None
    assert stopped.ratio == 0.25
    assert regression(original, Measurement("r1", stopped_after=0.5)) is None
