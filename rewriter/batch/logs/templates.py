"""Statements without their literals, by one pass of a regular expression at C speed.

Statements with the same template are parsed once. A template is finer than a group: white space and quoting tell
templates apart and not groups. The key of a group is a function of the template alone (``canonical``), so that it does
not matter which of its statements was seen first.
"""

from __future__ import annotations

import re

MARK = "\0"  # no statement contains it, see ``statements.fault``
_STRING = f"'{MARK}'"

# Every alternative is linear, and possessive, so that long strings need no memory. What is
# not closed reaches to the end. A number does not start inside a word.
_STRINGS = r"'[^']*+(?:''[^']*+)*+(?:'|\Z)"
_COMMENTS = r"--[^\r\n]*+|/\*.*?(?:\*/|\Z)"
_NUMBERS = r"[0-9](?<![\w$.\u0080-\U0010ffff][0-9])[0-9_]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?(?!\w)"
_DOLLARS = r"\$(?P<tag>[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*|)\$.*?(?:\$(?P=tag)\$|\Z)"
_ESCAPED = r"[eE]'(?<![\w$]..)[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+(?:'|\Z)"

_POSTGRES = re.compile(rf"({_STRINGS}|\"[^\"]*+(?:\"|\Z)|{_NUMBERS}|{_COMMENTS})", re.DOTALL)
_POSTGRES_ALL = re.compile(rf"{_ESCAPED}|{_STRINGS}|\"[^\"]*+(?:\"|\Z)|{_NUMBERS}|{_COMMENTS}|{_DOLLARS}", re.DOTALL)
_MYSQL = re.compile(
    rf"('[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+(?:'|\Z)|\"[^\"\\]*+(?:(?:\\.|\"\")[^\"\\]*+)*+(?:\"|\Z)|`[^`]*+(?:`|\Z)|{_NUMBERS}|{_COMMENTS}|\#[^\r\n]*)",
    re.DOTALL,
)

# libpg_query's fingerprint does not tell lists of constants apart by their length.
_LIST = re.compile(rf"(\b[iI][nN]\s*\(\s*)'?{MARK}'?(?:\s*,\s*'?{MARK}'?)+(?=\s*\))")


def shape(statement: str, dialect: str) -> tuple[str, tuple[str, ...]]:
    """(template, literals): the template has MARK for each number and a string of MARK for each string, quoted names as
    they are and no comments."""
    if dialect == "mysql":
        pieces = _MYSQL.split(statement)
        names = "`"
    elif "$" in statement or "\\" in statement:
        pieces = _split(statement)
        names = '"'
    else:
        pieces = _POSTGRES.split(statement)
        names = '"'
    literals: list[str] = []
    for index in range(1, len(pieces), 2):
        piece = pieces[index]
        first = piece[0]
        if first == names:
            continue
        if first in "-/#":
            pieces[index] = " "
        else:
            literals.append(piece)
            pieces[index] = MARK if "0" <= first <= "9" else _STRING
    return "".join(pieces), tuple(literals)


def with_short_lists(template: str) -> str:
    """The template with each list of constants after IN shortened to one; for Postgres, whose fingerprint does so."""
    return _LIST.sub(rf"\g<1>{MARK}", template)


def canonical(template: str) -> str:
    """The plainest statement with this template."""
    return template.replace(MARK, "1")


def _split(statement: str) -> list[str]:
    """As ``re.split``, but with the whole match alone, because dollar quotes need a group of their own."""
    pieces: list[str] = []
    position = 0
    for match in _POSTGRES_ALL.finditer(statement):
        pieces.append(statement[position : match.start()])
        pieces.append(match.group())
        position = match.end()
    pieces.append(statement[position:])
    return pieces
