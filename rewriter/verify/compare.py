"""When two answers count as the same: values, bags of rows, and lists up to ties.

Exact numbers (integers, decimals) are equal when their values are, whatever their scale; a float is equal to a number
within a relative tolerance; everything else is equal when it is identical. NULL equals NULL here, as in DISTINCT.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from rewriter.records import Row, Value

RELATIVE = 1e-9
RELATIVE_SINGLE = 1e-5  # 4-byte floats
ABSOLUTE = 1e-9


@dataclass(frozen=True)
class Segment:
    """A run of rows of the reference that tie in its ORDER BY. ``taken`` of them belong to the answer."""

    rows: tuple[Row, ...]
    taken: int


def same_value(left: Value, right: Value, tolerance: float = RELATIVE) -> bool:
    """Whether two values of an answer count as equal."""
    left, right = canonical(left), canonical(right)
    if isinstance(left, float) or isinstance(right, float):
        if isinstance(left, bool) or isinstance(right, bool):
            return False
        if isinstance(left, (int, float, Decimal)) and isinstance(right, (int, float, Decimal)):
            return _close(left, right, tolerance)
        return False
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(same_value(a, b, tolerance) for a, b in zip(left, right, strict=True))
    return bool(_key(left) == _key(right))


def same_row(left: Row, right: Row, tolerance: float = RELATIVE) -> bool:
    return len(left) == len(right) and all(same_value(a, b, tolerance) for a, b in zip(left, right, strict=True))


def same_bag(left: Sequence[Row], right: Sequence[Row], tolerance: float = RELATIVE) -> bool:
    """Whether two answers hold the same rows equally often, in any order."""
    return len(left) == len(right) and within(left, right, tolerance)


def within(part: Sequence[Row], whole: Sequence[Row], tolerance: float = RELATIVE) -> bool:
    """Whether ``part`` is a sub-bag of ``whole``."""
    if len(part) > len(whole):
        return False
    available = Counter(map(_row_key, whole))
    missing: list[Row] = []
    for row in part:
        key = _row_key(row)
        if available[key] > 0:
            available[key] -= 1
        else:
            missing.append(row)
    if not missing:
        return True
    if not any(_has_float(row) for row in (*missing, *whole)):
        return False
    spare: list[Row] = []
    for row in whole:
        key = _row_key(row)
        if available[key] > 0:
            available[key] -= 1
            spare.append(row)
    for row in missing:
        for position, other in enumerate(spare):
            if same_row(row, other, tolerance):
                del spare[position]
                break
        else:
            return False
    return True


def matches(segments: Iterable[Segment], rows: Sequence[Row], tolerance: float = RELATIVE) -> bool:
    """Whether ``rows`` is an answer that the segments allow: from each segment in turn, ``taken`` of its rows in any
    order."""
    position = 0
    for segment in segments:
        part = rows[position : position + segment.taken]
        if len(part) < segment.taken or not within(part, segment.rows, tolerance):
            return False
        position += segment.taken
    return position == len(rows)


def canonical(value: Value) -> Value:
    """One representative for values that differ only in how a driver writes them."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, Decimal) and not value.is_finite():
        return float(value)
    if isinstance(value, list):
        return tuple(canonical(item) for item in value)
    if isinstance(value, dict):
        return tuple(sorted((str(key), canonical(item)) for key, item in value.items()))
    return value


def tolerance_for(types: Iterable[str]) -> float:
    """The relative tolerance that the float types among ``types`` need."""
    single = {"float", "float4", "real"}
    return RELATIVE_SINGLE if any(name.lower() in single for name in types) else RELATIVE


def _key(value: Value) -> Value:
    """A hashable key, equal for equal exact values. True and 1 differ, 1 and 1.00 do not."""
    value = canonical(value)
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, tuple):
        return tuple(_key(item) for item in value)
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _row_key(row: Row) -> tuple[Value, ...]:
    return tuple(_key(value) for value in row)


def _has_float(row: Row) -> bool:
    return any(isinstance(canonical(value), (float, tuple)) for value in row)


def _close(left: int | float | Decimal, right: int | float | Decimal, tolerance: float) -> bool:
    try:
        one, other = float(left), float(right)
    except OverflowError:
        return False
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=ABSOLUTE)
