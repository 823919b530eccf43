"""Parameter markers go back to the driver's style without changing what the server sees."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.clients.markers import Unusable, bind
from rewriter.clients.values import key_of, keys_of

# What stands between the parameters of a rewrite: every place where a % or a $ means something else.
DECORATIONS = [
    "'100%' || E'\\'%s$1'", "$tag$ $1 %(x)s 50% $tag$", '5 % 3 /* $1 %s */', '1 AS "a%$1"', "'%%' -- $1 100%\n",
]  # fmt: skip
VALUES = st.one_of(
    st.integers(-(2**31), 2**31),
    st.text("ab'%$\\ ", max_size=4),
    st.dates(datetime.date(1900, 1, 1)),
    st.decimals(-1000, 1000, places=2),
    st.booleans(),
    st.none(),
)
NAMES = ["x", "status_1", "p1", "p2", "ünï", "a b"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, tuple[str, ...], list[Any], list[int], list[str]]:
    """(style, markers, values, positions used by the rewrite in turn, what stands between them)."""
    values = draw(st.lists(VALUES, max_size=4))
    style = draw(st.sampled_from(["named", "positional", "numbered"]))
    count = len(values)
    markers = {
        "named": [f"%({name})s" for name in draw(st.permutations(NAMES))[:count]],
        "positional": ["%s"] * count,
        "numbered": [f"${n}" for n in range(1, count + 1)],
    }[style]
    used = draw(st.lists(st.integers(1, count), max_size=6)) if count else []
    between = draw(st.lists(st.sampled_from(DECORATIONS), min_size=1, max_size=3))
    return style, tuple(markers), values, used, between


def typed(value: Any) -> str:
    kinds = {bool: "boolean", int: "bigint", str: "text", datetime.date: "date", Decimal: "numeric"}
    return kinds.get(type(value), "text")


@given(case=cases())
def test_the_converted_text_returns_what_numbered_parameters_return(postgres_url: str, case: Any) -> None:
    style, markers, values, used, between = case
    parts = [f"${n}::{typed(values[n - 1])}" for n in used] + between
    sql = "SELECT " + ", ".join(parts[::2] + parts[1::2])
    bound = bind("SELECT 1", sql, markers)
    named = style == "named"
    given_: Any = dict(zip(bound.names or (), values, strict=True)) if named else tuple(values)
    found = bound.values(given_)
    assert found == tuple(values)
    percent = style != "numbered"
    text = bound.text if percent else bound.raw
    assert text is not None
    # The reference: the same text through a cursor that knows nothing but $n. All parameters have to be mentioned.
    spare = [f"${n}::{typed(value)} IS NULL" for n, value in enumerate(values, start=1)]
    reference = f"SELECT r.* FROM ({sql}\n) AS r WHERE num_nulls({', '.join([*spare, 'true'])}) >= 0"
    connection = connected(postgres_url)
    expected = psycopg.RawCursor(connection).execute(reference, values).fetchall()
    cursor: Any = psycopg.Cursor(connection) if percent else psycopg.RawCursor(connection)
    assert cursor.execute(text, bound.parameters(given_, found, percent)).fetchall() == expected
    if not markers:  # read without %, as by cursor.execute(text) alone
        assert psycopg.Cursor(connection).execute(bound.raw or "").fetchall() == expected


_connections: dict[str, psycopg.Connection[Any]] = {}


def connected(url: str) -> psycopg.Connection[Any]:
    if url not in _connections:
        _connections[url] = psycopg.connect(url, autocommit=True)
    return _connections[url]


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Any:
    yield
    while _connections:
        _connections.popitem()[1].close()


def test_a_value_used_twice_is_one_parameter_of_one_type(postgres_url: str) -> None:
    """As it was when the rewrite was verified: two ``%s`` would be typed apart."""
    sql = "SELECT $1::date + 1, pg_typeof($1)::text"
    bound = bind("SELECT %s", sql, ("%s",))
    row = connected(postgres_url).execute(bound.text or "", bound.parameters(("2026-01-01",), ("2026-01-01",), True))
    assert row.fetchone() == (datetime.date(2026, 1, 2), "date")


def test_parameters_that_do_not_fit_are_left_to_the_original() -> None:
    named, positional = bind("", "SELECT $1", ("%(x)s",)), bind("", "SELECT $1", ("%s",))
    assert named.values({"y": 1}) is None
    assert named.values((1,)) is None
    assert named.values(None) is None
    assert named.values({"x": 1, "more": 2}) == (1,)
    assert positional.values((1, 2)) is None
    assert positional.values({"x": 1}) is None
    assert positional.values("a") is None


@pytest.mark.parametrize("markers", [(":x",), ("?",), ("%s", "%(x)s"), ("$2", "$1")])
def test_styles_that_the_drivers_do_not_know_are_left_out(markers: tuple[str, ...]) -> None:
    with pytest.raises(Unusable):
        bind("", "SELECT $1", markers)


def test_a_parameter_from_nowhere_is_left_out() -> None:
    with pytest.raises(Unusable):
        bind("", "SELECT $2", ("%s",))


def test_doubled_percent_signs_without_parameters_mean_two_things() -> None:
    """The service has read ``%%`` as two signs; a driver that is given parameters reads one."""
    assert bind("SELECT '%%'", "SELECT '%%'", ()).text is None
    assert bind("SELECT '%%'", "SELECT '%%'", ()).raw == "SELECT '%%'"


def test_values_are_the_same_only_when_their_types_are() -> None:
    different = [1, 1.0, True, "1", None, Decimal("1.00"), datetime.date(2026, 1, 1)]
    assert len({key_of([value]) for value in different}) == len(different)
    held = keys_of([[1, "2026-01-01"], [2, None]])
    assert key_of([1, datetime.date(2026, 1, 1)]) in held
    assert key_of([2, None]) in held
    assert key_of([1, None]) not in held
    assert key_of([object()]) is None
