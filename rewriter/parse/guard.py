"""What is decided before a parser sees the text: how large and how deeply nested it is.

sqlglot descends recursively; nesting that its stack cannot hold must be refused in linear time and never crash the
process. The limits are far above what people and generators write.
"""

from __future__ import annotations

import re
import sys

from rewriter.errors import QueryRejected
from rewriter.parse.lexical import code_spans

MAX_BYTES = 256 * 1024
MAX_DEPTH = 100  # brackets, CASE and runs of NOT or unary signs, added up
MAX_NODES = 100_000  # nodes of the parsed tree
# sqlglot needs about 25 Python frames a level; Python's own limit of 1000 would allow 40 levels.
RECURSION_LIMIT = 12_000

_NESTING = re.compile(r"[(\[{]|[)\]}]|\bcase\b|\bend\b|(?:\bnot\b\s*){2,}|(?:[-+~]\s*){4,}", re.IGNORECASE)


def check_text(text: str) -> None:
    """Raises QueryRejected (empty-query, too-large, too-deep) for text that must not reach the parser."""
    if "\x00" in text:
        raise QueryRejected("the statement contains a NUL character", code="syntax-error")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise QueryRejected(
            f"the statement has {size:,} bytes; at most {MAX_BYTES:,} are accepted",
            hint="long value lists are better joined from a table",
            code="too-large",
        )
    depth = deepest = 0
    blank = True
    for start, end in code_spans(text):
        span = text[start:end]
        blank = blank and not span.strip(" \t\r\n;")
        for match in _NESTING.finditer(span):
            token = match.group().lower()
            if token in ("(", "[", "{", "case"):
                depth += 1
            elif token in (")", "]", "}", "end"):
                depth = max(0, depth - 1)
            else:
                deepest = max(deepest, depth + len(token.replace("not", "n").replace(" ", "")))
            deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            raise too_deep()
    if blank and not text.strip():
        raise QueryRejected("there is no statement", hint="pass one SELECT", code="empty-query")


def too_deep() -> QueryRejected:
    return QueryRejected(
        f"the statement is nested more than {MAX_DEPTH} levels deep",
        hint="split it with WITH",
        code="too-deep",
    )


def allow_recursion() -> None:
    """Let Python descend as deep as the guard allows. Frames of Python code live on the heap, not on the C stack."""
    if sys.getrecursionlimit() < RECURSION_LIMIT:
        sys.setrecursionlimit(RECURSION_LIMIT)
