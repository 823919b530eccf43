"""One pass over SQL text that knows strings, quoted names, comments and dollar quotes.

Whatever looks at raw text (the depth guard, parameter markers) looks only at what this calls ``code``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Every alternative is linear: no nested quantifiers, so hostile text cannot make it backtrack.
_OPAQUE = re.compile(
    r"""
    (?P<comment>--[^\r\n]*)
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*'?)
  | (?P<string>'(?:[^']|'')*'?)
  | (?P<name>"(?:[^"]|"")*"?)
  | (?P<dollar>\$(?P<tag>[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$)
  | (?P<block>/\*)
    """,
    re.VERBOSE | re.DOTALL,
)


def pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of consecutive stretches of ``text``: ``code``, ``comment`` or ``value`` (strings, quoted
    names). What is not closed reaches to the end."""
    position = 0
    while position < len(text):
        match = _OPAQUE.search(text, position)
        if match is None:
            yield "code", position, len(text)
            return
        start = match.start()
        word_before = start > 0 and (text[start - 1].isalnum() or text[start - 1] in "_$")
        if match.group("escaped") and word_before:
            # The e ends a word that stands before the quote (such as ``like'x'``): the string starts one further.
            yield "code", position, start + 1
            match = _OPAQUE.match(text, start + 1)
            assert match is not None
        elif match.group("dollar") and word_before:
            yield "code", position, match.end()
            position = match.end()
            continue
        elif start > position:
            yield "code", position, start
        position = match.end()
        kind = "value"
        if match.group("block"):
            kind, position = "comment", _end_of_block(text, match.end())
        elif match.group("comment"):
            kind = "comment"
        elif match.group("dollar"):
            end = text.find(match.group("dollar"), match.end())
            position = len(text) if end < 0 else end + len(match.group("dollar"))
        yield kind, match.start(), position


def code_spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each stretch of ``text`` that is neither string, quoted name nor comment."""
    return ((start, end) for kind, start, end in pieces(text) if kind == "code")


def without_terminator(text: str) -> str:
    """``text`` up to the semicolons that only blanks and comments follow.

    Comments at the end go as well: a line comment would swallow whatever an engine has to put behind the statement.
    """
    last = 0
    for kind, start, end in pieces(text):
        if kind == "value":
            last = end
        elif kind == "code":
            kept = text[start:end].rstrip(" \t\r\n\f\v;")
            last = start + len(kept) if kept else last
    return text[:last]


def _end_of_block(text: str, position: int) -> int:
    """The end of a block comment that starts before ``position``; they nest (SQL standard and Postgres)."""
    depth = 1
    marks = re.compile(r"/\*|\*/")
    while depth:
        mark = marks.search(text, position)
        if mark is None:
            return len(text)
        depth += 1 if mark.group() == "/*" else -1
        position = mark.end()
    return position
