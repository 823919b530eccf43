"""Comparing two answers: the same bag or list, with floats that may differ by rounding."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.clients import shadow
from rewriter.clients.psycopg import PairRunner
from rewriter.clients.shadow import Answer, RewriteFailed, differ, same_bag
from rewriter.verify import compare

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(0, 2), st.sampled_from([0.0, 1.0, 1.0 + 1e-12, 1.5, math.nan]),
    st.sampled_from(["a", "nan"]), st.sampled_from([Decimal("1.0"), Decimal("1.00"), Decimal("2")]),
)  # fmt: skip
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0.0, 1.0, 1.0 + 1e-12, math.nan])))


@given(rows=st.lists(st.tuples(VALUES, VALUES)), turned=st.randoms())
def test_a_bag_is_itself_in_any_order(rows: list[tuple[Any, Any]], turned: Any) -> None:
    other = list(rows)
    turned.shuffle(other)
    assert same_bag(rows, other)
    assert not same_bag(rows, [*other, ("more", None)])
    if rows:
        assert not same_bag(rows, [*other[1:], ("another", None)])


@given(left=ROWS, right=ROWS)
def test_it_agrees_with_the_verifiers_comparison(left: list[Any], right: list[Any]) -> None:
    assert same_bag(left, right) == compare.same_bag(left, right)


def answer(*rows: tuple[Any, ...], names: str = "a", code: int = 23) -> Answer:
    return Answer(tuple((name, code) for name in names), len(rows), list(rows), 0.1)


def test_what_counts_as_a_difference() -> None:
    one, two = answer((1,), (2,)), answer((2,), (1,))
    assert differ(one, one, ordered=True) is None
    assert differ(one, two, ordered=False) is None
    assert differ(one, two, ordered=True) == "order"
    assert differ(one, answer((1,), (1,)), ordered=False) == "rows"
    assert differ(one, answer((1,)), ordered=False) == "row-count"
    assert differ(one, answer((1,), (2,), names="b"), ordered=False) == "columns"
    assert differ(one, answer((1,), (2,), code=20), ordered=False) == "columns"
    assert differ(answer((1e15,)), answer((1e15 + 0.125,)), ordered=True) is None
    assert differ(answer((1.0,)), answer((1.001,)), ordered=True) == "rows"


@pytest.fixture
def runner(postgres_url: str) -> Any:
    made = PairRunner(psycopg.connect(postgres_url))
    yield made
    made.close()


def test_both_run_on_the_same_data(runner: PairRunner) -> None:
    now = ("SELECT transaction_timestamp(), current_setting('transaction_read_only') || %s", ("x",))
    first, second = runner.pair(now, now, True)
    assert first.rows == second.rows
    assert first.rows is not None
    assert first.rows[0][1] == "onx"


def test_whose_fault_an_error_is(runner: PairRunner) -> None:
    good, bad = ("SELECT 1", None), ("SELECT 1 / 0", None)
    for _ in range(8):  # which one runs first is left to chance
        with pytest.raises(RewriteFailed, match="22012"):
            runner.pair(good, bad, False)
        with pytest.raises(psycopg.errors.DivisionByZero):
            runner.pair(bad, good, False)
    assert runner.pair(good, good, False)[0].rows == [(1,)]


def test_of_large_results_the_numbers_of_rows_are_compared(runner: PairRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewriter.clients.psycopg.MOST_ROWS", 5)
    series = "SELECT * FROM generate_series(1, $1)"
    first, second = runner.pair((series, (8,)), (series, (7,)), False)
    assert (first.rows, second.rows, first.count, second.count) == (None, None, 8, 7)
    assert differ(first, second, False) == "row-count"
    assert differ(first, first, False) is None


def test_a_full_queue_drops_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MOST_WAITING", 2)

    class Never:
        """No connection can be made."""

        def __init__(self) -> None:
            raise OSError

    from rewriter.clients.guard import Circuit

    made = shadow.Shadow(Never)
    circuit = Circuit("e", 1.0, lambda _: None)
    for _ in range(20):
        made.submit(shadow.Comparison(circuit, ("", None), ("", None), False, True))
    made.drain()
    made.close()
    assert (made.compared, made.skipped, circuit.off) == (0, 20, None)
