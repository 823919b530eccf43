"""Parameter markers: from the ``$n`` of a snapshot back to the style of the driver that submitted the original.

It is done once, when a snapshot is loaded. Where psycopg reads ``%`` as the start of a marker, it does so in strings
and comments as well, so every ``%`` of the text is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewriter.lexical import pieces

_NUMBERED = re.compile(r"(?<![\w$])\$(\d+)")
_NAMED = re.compile(r"%\(([^)]+)\)s\Z")


class Unusable(Exception):
    """An entry cannot be run through these drivers; the message says why, without SQL."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A rewrite in the driver's style.

    ``text`` is for a driver that reads ``%``, ``raw`` for one that does not; None where the original means something
    else, or nothing, in that reading. ``names`` are the keys of the parameters by position where they are named,
    ``count`` their number, and ``used`` the positions (from 0) that ``raw``'s markers stand for.
    """

    text: str | None
    raw: str | None
    names: tuple[str, ...] | None
    count: int
    used: tuple[int, ...]

    def values(self, parameters: Any) -> tuple[Any, ...] | None:
        """The values by position, None when ``parameters`` is not what the original needs."""
        if self.names is not None:
            if not isinstance(parameters, Mapping):
                return None
            try:
                return tuple(parameters[name] for name in self.names)
            except KeyError:
                return None
        if not parameters:
            return () if self.count == 0 else None
        if isinstance(parameters, Sequence) and not isinstance(parameters, (str, bytes)):
            return tuple(parameters) if len(parameters) == self.count else None
        return None

    def parameters(self, parameters: Any, values: tuple[Any, ...], percent: bool) -> Any:
        """What the driver is handed with the rewrite, when it was handed ``parameters`` with the original."""
        if not percent:
            return tuple(values[position] for position in self.used) if self.count else parameters
        if self.names is not None or self.count == 0:
            return parameters
        return {f"p{position}": value for position, value in enumerate(values, start=1)}


def bind(statement: str, sql: str, markers: Sequence[str]) -> Bound:
    """``sql`` (with ``$n``) in the style of ``markers``, which are those of ``statement`` by position.

    ``%s`` becomes ``%(pN)s``, because psycopg then sends one parameter for a value that the rewrite uses twice, and
    the server infers one type for it, as it did when the rewrite was verified. Raises Unusable.
    """
    numbers = {int(number) for code in _code(sql) for number in _NUMBERED.findall(code)}
    if any(not 1 <= number <= len(markers) for number in numbers):
        raise Unusable("the rewrite uses a parameter that the original does not have")
    if not markers:
        # Read by a driver, the original's %% is one sign; the service has read it as two.
        text = None if "%%" in statement else sql.replace("%", "%%")
        return Bound(text, sql, None, 0, ())
    if all(marker == "%s" for marker in markers):
        return Bound(_percent(sql, [f"%(p{n})s" for n in range(1, len(markers) + 1)]), None, None, len(markers), ())
    named = [_NAMED.match(marker) for marker in markers]
    if all(named):
        names = tuple(match.group(1) for match in named if match is not None)
        return Bound(_percent(sql, markers), None, names, len(markers), ())
    if list(markers) == [f"${n}" for n in range(1, len(markers) + 1)]:
        used = sorted(numbers)
        dense = {number: f"${place}" for place, number in enumerate(used, start=1)}
        return Bound(None, _replace(sql, dense), None, len(markers), tuple(number - 1 for number in used))
    raise Unusable("these drivers do not know the original's parameter markers")


def _percent(sql: str, markers: Sequence[str]) -> str:
    parts = []
    for kind, start, end in pieces(sql):
        part = sql[start:end].replace("%", "%%")
        parts.append(_NUMBERED.sub(lambda match: markers[int(match.group(1)) - 1], part) if kind == "code" else part)
    return "".join(parts)


def _replace(sql: str, new: Mapping[int, str]) -> str:
    return "".join(
        _NUMBERED.sub(lambda match: new[int(match.group(1))], sql[start:end]) if kind == "code" else sql[start:end]
        for kind, start, end in pieces(sql)
    )


def _code(sql: str) -> list[str]:
    return [sql[start:end] for kind, start, end in pieces(sql) if kind == "code"]
