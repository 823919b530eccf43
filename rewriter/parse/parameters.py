"""Parameter markers of every driver, normalised to ``$1``, ``$2``, ..."""

from __future__ import annotations

import re

from sqlglot import exp

from rewriter.errors import QueryRejected
from rewriter.lexical import pieces
from rewriter.records import Parameter

_MARKER = re.compile(
    r"""
    (?P<pyformat>%\(\w+\)s)
  | (?P<format>%s\b)
  | (?P<doubled>%%)
  | (?P<numbered>(?<![\w$])\$\d+)
  | (?P<named>(?<![:\w\]]):[A-Za-z_]\w*|(?<![\w$])\$[A-Za-z_]\w*)
  | (?P<question>\?(?![|&]))
    """,
    re.VERBOSE,
)
MAX_PARAMETERS = 65_535  # what Postgres's protocol can number (Int16 in Bind)
# A ``?`` is a marker where a value is expected; elsewhere it is Postgres's jsonb operator.
_VALUE_EXPECTED = re.compile(
    r"(?:^|[=<>(,+\-*/|]|\b(?:and|or|not|in|like|ilike|between|limit|offset|select|when|then|else|any|all|by|is|from|on"
    r"|where|having|interval|escape|values|distinct|similar|to|return|fetch|first|next|case|over|filter))\s*$",
    re.IGNORECASE,
)


def normalise(text: str) -> tuple[str, tuple[str, ...]]:
    """``text`` with every marker as ``$n``, and the markers as written, by position.

    Markers of the same name share a position; ``%s`` and ``?`` take one each. ``%%`` is un-doubled, but only where the
    text uses Python's ``%`` markers, because elsewhere it is two modulo signs. Raises QueryRejected.
    """
    spans = list(pieces(text))
    code = [text[start:end] for kind, start, end in spans if kind == "code"]
    python_style = any(re.search(r"%s\b|%\(\w+\)s", span) for span in code)
    markers = {int(number): f"${number}" for span in code for number in re.findall(r"(?<![\w$])\$(\d{1,19})", span)}
    if any(number not in range(1, MAX_PARAMETERS + 1) for number in markers):
        raise QueryRejected(f"parameters are numbered from 1 to {MAX_PARAMETERS:,}", code="syntax-error")
    positions: dict[str, int] = {}
    highest = max(markers, default=0)
    output: list[str] = []
    since_marker = " "  # what stands between the last marker and here

    for kind, start, end in spans:
        if kind != "code":
            output.append(text[start:end].replace("%%", "%") if python_style else text[start:end])
            since_marker += output[-1]
            continue
        done = start
        for match in _MARKER.finditer(text, start, end):
            marker = match.group()
            position = _position(match, text, highest + 1, positions)
            if position is None and not (match.group("doubled") and python_style):
                continue
            output.append(text[done : match.start()])
            since_marker += output[-1]
            done = match.end()
            if position is None:
                output.append("%")
                continue
            markers.setdefault(position, marker)
            highest = max(highest, position)
            # sqlglot takes ``$1,$2`` for a dollar quote with the tag ``1,``.
            gap = "" if re.search(r"\s", since_marker) else " "
            output.append(f"{gap}${position}")
            since_marker = ""
        output.append(text[done:end])
        since_marker += output[-1]
    if highest > MAX_PARAMETERS:
        raise QueryRejected(f"there are more than {MAX_PARAMETERS:,} parameters", code="too-large")
    return "".join(output), tuple(markers.get(position, f"${position}") for position in range(1, highest + 1))


def _position(match: re.Match[str], text: str, following: int, positions: dict[str, int]) -> int | None:
    """The position of a marker (``following`` if it is a new one); None if the match is no marker after all."""
    marker = match.group()
    if match.group("numbered"):
        return int(marker[1:])
    if match.group("doubled"):
        return None
    if match.group("question") and not _VALUE_EXPECTED.search(text[max(0, match.start() - 40) : match.start()]):
        return None
    if match.group("format") or match.group("question"):
        return following
    return positions.setdefault(marker, following)


def describe(tree: exp.Expr, markers: tuple[str, ...], dialect: str) -> tuple[Parameter, ...]:
    """The parameters of a parsed statement with the types that casts around them state."""
    types: dict[int, str] = {}
    for node in tree.find_all(exp.Parameter, exp.Placeholder):
        cast = node.parent
        if node.name.isdigit() and isinstance(cast, exp.Cast) and cast.this is node:
            types.setdefault(int(node.name), cast.to.sql(dialect=dialect))
    return tuple(Parameter(marker, position, types.get(position)) for position, marker in enumerate(markers, start=1))
