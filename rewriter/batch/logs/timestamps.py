"""Points in time as logs write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)([.,]\d{1,9})? ?(?:(Z|[A-Za-z]{3,5})|([+-]\d\d)(?::?(\d\d))?)?\s*\Z"
)

_PLAIN = (len("2026-01-01 00:00:00 UTC"), len("2026-01-01 00:00:00.000 UTC"))


def read_time(text: str | None) -> datetime | None:
    """The time with its zone, or None. Abbreviations other than UTC and GMT are not unique in the world (IST, CST), so
    the clock is then read as UTC: good for order within a log and for nothing else."""
    if text and text[-4:] == " UTC" and text[10:11] == " " and len(text) in _PLAIN:
        try:
            return datetime.fromisoformat(f"{text[:-4]}+00:00")  # as most servers write it
        except ValueError:
            pass
    match = _TIME.match(text) if text else None
    if match is None:
        return None
    date, clock, fraction, _, hours, minutes = match.groups()
    digits = (fraction[1:7].ljust(6, "0")) if fraction else "000000"
    zone = f"{hours}:{minutes or '00'}" if hours else "+00:00"
    try:
        return datetime.fromisoformat(f"{date}T{clock}.{digits}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_epoch(text: str) -> datetime | None:
    """Seconds since 1970 as a time in UTC, or None."""
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None
