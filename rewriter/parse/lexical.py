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


def code_spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each stretch of ``text`` that is neither string, quoted name nor comment."""
    position = 0
    while position < len(text):
        match = _OPAQUE.search(text, position)
        if match is None:
            yield position, len(text)
            return
        start = match.start()
        if match.group("escaped") and start > 0 and (text[start - 1].isalnum() or text[start - 1] in "_$"):
            # The e belongs to a word before the quote (such as ``like'x'``): the string starts one further.
            yield position, start + 1
            match = _OPAQUE.match(text, start + 1)
            assert match is not None
        elif match.group("dollar") and start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_"):
            yield position, match.end()
            position = match.end()
            continue
        elif start > position:
            yield position, start
        if match.group("block"):
            position = _end_of_block(text, match.end())
        elif match.group("dollar"):
            end = text.find(match.group("dollar"), match.end())
            position = len(text) if end < 0 else end + len(match.group("dollar"))
        else:
            position = match.end()


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


def without_terminator(text: str) -> str:
    """``text`` up to the last semicolon that only blanks, comments and semicolons follow, without trailing blanks.

    Comments at the end go as well: a line comment would swallow whatever an engine has to put behind the statement.
    """
    end = 0
    position = 0
    for start, stop in [*code_spans(text), (len(text), len(text))]:
        opaque = text[position:start]
        if opaque and not opaque.startswith(("--", "/*")):
            end = start
        code = text[start:stop].rstrip(" \t\r\n\f\v;")
        if code:
            end = start + len(code)
        position = stop
    return text[:end]
