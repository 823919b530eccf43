"""Which values of parameters count as those of a snapshot: ``Entry.holds_for`` is JSON, an application has objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

Key = tuple[str, ...]


def key_of(values: Sequence[Any]) -> Key | None:
    """A key that two sets of values share only when they are the same, None when one has no JSON form.

    1, 1.0, true and "1" are four different values. Decimals, dates, times and UUIDs stand as their texts (ISO 8601).
    """
    key = []
    for value in values:
        if value is None or isinstance(value, (bool, int, float, str)):
            key.append(json.dumps(value))
        elif isinstance(value, (Decimal, UUID)):
            key.append(json.dumps(str(value)))
        elif isinstance(value, (date, datetime, time)):
            key.append(json.dumps(value.isoformat()))
        else:
            return None
    return tuple(key)


def keys_of(sets: Iterable[Sequence[Any]]) -> frozenset[Key]:
    """The keys of all ``sets``; one that has none is left out."""
    return frozenset(key for values in sets if (key := key_of(values)) is not None)
