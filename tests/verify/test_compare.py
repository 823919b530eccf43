from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.verify.compare import Segment, matches, same_bag, same_value, within

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.decimals(-3, 3, places=2),
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.text("ab", max_size=2),
    st.dates(date(2000, 1, 1), date(2000, 1, 3)),
)
rows = st.tuples(values, values)
bags = st.lists(rows, max_size=8)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, Decimal("1.00")),
        (Decimal("1.0"), Decimal("1.00")),
        (1, 1.0),
        (0.1 + 0.2, 0.3),
        (Decimal("0.3"), 0.1 + 0.2),
        (float("nan"), float("nan")),
        (None, None),
        (date(2000, 1, 1), datetime(2000, 1, 1)),
        (datetime(2000, 1, 1, 12, tzinfo=UTC), datetime(2000, 1, 1, 12)),
        ([1, 2], (1, Decimal("2.0"))),
    ],
)
def test_equal_values(left: object, right: object) -> None:
    assert same_value(left, right)
    assert same_value(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (None, 0),
        (None, ""),
        (True, 1),
        (False, 0.0),
        ("1", 1),
        ("a", "a "),
        ("a", "A"),
        (Decimal("1.00"), Decimal("1.01")),
        (2**63, 2**63 + 1),
        (1.0, 1.0001),
        (float("inf"), float("nan")),
        (date(2000, 1, 1), datetime(2000, 1, 1, 1)),
        ([1, 2], [2, 1]),
    ],
)
def test_different_values(left: object, right: object) -> None:
    assert not same_value(left, right)
    assert not same_value(right, left)


@given(bags, st.randoms())
def test_a_bag_equals_itself_in_any_order(bag: list[tuple[object, ...]], chance: random.Random) -> None:
    shuffled = list(bag)
    chance.shuffle(shuffled)
    assert same_bag(bag, shuffled)


@given(bags, rows)
def test_one_row_more_is_a_difference(bag: list[tuple[object, ...]], row: tuple[object, ...]) -> None:
    assert not same_bag(bag, [*bag, row])
    assert within(bag, [*bag, row])


def test_multiplicity_counts() -> None:
    assert not same_bag([(1,), (1,), (2,)], [(1,), (2,), (2,)])


def test_floats_match_within_tolerance_whatever_the_order() -> None:
    assert same_bag([(0.1 + 0.2, "a"), (1.0, "b")], [(1.0 + 1e-12, "b"), (0.3, "a")])
    assert not same_bag([(0.3, "a"), (1.0, "b")], [(0.3, "b"), (1.0, "a")])


def test_a_list_may_permute_only_within_its_ties() -> None:
    segments = [Segment(((1, "a"), (1, "b")), 2), Segment(((2, "c"),), 1)]
    assert matches(segments, [(1, "b"), (1, "a"), (2, "c")])
    assert not matches(segments, [(1, "a"), (2, "c"), (1, "b")])
    assert not matches(segments, [(1, "a"), (1, "a"), (2, "c")])


def test_a_cut_tie_group_may_give_any_of_its_rows() -> None:
    segments = [Segment(((1, "a"),), 1), Segment(((2, "b"), (2, "c"), (2, "d")), 2)]
    assert matches(segments, [(1, "a"), (2, "d"), (2, "b")])
    assert not matches(segments, [(1, "a"), (2, "b"), (2, "b")])
    assert not matches(segments, [(1, "a"), (2, "b")])
