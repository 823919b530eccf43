"""Parameter markers of every driver, normalised to ``$1``, ``$2``, ..."""

from __future__ import annotations

import re

from sqlglot import exp

from rewriter.parse.lexical import code_spans
from rewriter.records import Parameter

_MARKER = re.compile(
    r"""
    (?P<pyformat>%\((?P<pyname>\w+)\)s)
  | (?P<format>%s)
  | (?P<doubled>%%)
  | (?P<numbered>\$\d+)
  | (?P<named>(?<![:\w\]]):[A-Za-z_]\w*)
  | (?P<question>\?(?![|&]))
    """,
    re.VERBOSE,
)
# A ``?`` is a marker where a value is expected; elsewhere it is Postgres's jsonb operator.
_VALUE_EXPECTED = re.compile(
    r"(?:^|[=<>(,+\-*/|]|\b(?:and|or|not|in|like|ilike|between|limit|offset|select|when|then|else|any|all|by|is|from|on|where"
    r"|having|interval|escape|values|distinct|similar|to|return|fetch|first|next|case|over|filter))\s*$",
    re.IGNORECASE,
)


def normalise(text: str) -> tuple[str, tuple[str, ...]]:
    """``text`` with every marker as ``$n``, and the markers as written, by position.

    Markers of the same name share a position; ``%s`` and ``?`` take one each. ``%%`` is un-doubled, but only where the
    text uses Python's ``%`` markers, because elsewhere it is two modulo signs.
    """
    spans = list(code_spans(text))
    python_style = any(re.search(r"%s\b|%\(\w+\)s", text[start:end]) for start, end in spans)
    positions: dict[str, int] = {}
    markers: dict[int, str] = {}
    numbered = [int(m.group()[1:]) for start, end in spans for m in re.finditer(r"\$\d+", text[start:end])]
    for number in numbered:
        markers[number] = f"${number}"
    pieces: list[str] = []
    last = 0

    def position_of(marker: str, named: bool) -> int:
        if named and marker in positions:
            return positions[marker]
        position = max(markers, default=0) + 1
        markers[position] = marker
        positions[marker] = position
        return position

    for start, end in spans:
        pieces.append(_undouble(text[last:start], python_style))
        for match in _MARKER.finditer(text, start, end):
            if match.start() < max(start, last):
                continue
            replacement = match.group()
            if match.group("pyformat"):
                replacement = f"${position_of(match.group(), True)}"
            elif match.group("format") and not text[match.end() : match.end() + 1].isalnum():
                replacement = f"${position_of('%s', False)}"
            elif match.group("doubled") and python_style:
                replacement = "%"
            elif match.group("named"):
                replacement = f"${position_of(match.group(), True)}"
            elif match.group("question") and _VALUE_EXPECTED.search(text[max(0, match.start() - 40) : match.start()]):
                replacement = f"${position_of('?', False)}"
            pieces.append(text[max(start, last) : match.start()])
            pieces.append(replacement)
            last = match.end()
        pieces.append(text[max(start, last) : end])
        last = end
    pieces.append(_undouble(text[last:], python_style))
    return "".join(pieces), tuple(markers[position] for position in sorted(markers))


def _undouble(opaque: str, python_style: bool) -> str:
    return opaque.replace("%%", "%") if python_style else opaque


def describe(tree: exp.Expr, markers: tuple[str, ...]) -> tuple[Parameter, ...]:
    """The parameters of a parsed statement with the types that casts around them state."""
    types: dict[int, str] = {}
    for node in tree.find_all(exp.Parameter):
        if node.name.isdigit() and isinstance(node.parent, exp.Cast):
            types.setdefault(int(node.name), node.parent.to.sql(dialect="postgres"))
    return tuple(Parameter(marker, position, types.get(position)) for position, marker in enumerate(markers, start=1))
