"""What is decided before a parser sees the text: how large and how deeply nested it is.

sqlglot descends recursively; nesting that its stack cannot hold must be refused in linear time and never crash the
process. The limits are far above what people and generators write.
"""

from __future__ import annotations

import re
import sys

from sqlglot import exp

from rewriter.errors import QueryRejected
from rewriter.lexical import pieces

MAX_BYTES = 256 * 1024
MAX_DEPTH = 100  # brackets, CASE, runs of prefix operators and of subscripts, added up
MAX_TOKENS = 25_000  # reading and qualifying takes about 0.1 ms for each: a list of 12,000 values is read in a second
MAX_NODES = 100_000  # nodes of the parsed tree
# Qualification takes quadratic time in these; the first is what Postgres itself allows.
MAX_OUTPUTS = 1_664  # outputs of one SELECT
MAX_RELATIONS = 1_000  # tables and common table expressions named in the whole statement
MAX_MERGING = 100  # joins that merge columns: NATURAL, USING
MAX_TREE_DEPTH = 2_000  # levels of the parsed tree; long chains (a + b + c ...) are deep without being nested
# sqlglot needs about 25 Python frames a level of brackets; Python's own limit of 1000 would allow 40 levels.
RECURSION_LIMIT = 12_000

_NESTING = re.compile(
    r"(?P<again>\]\s*\[)|(?P<opening>[(\[{]|\bcase\b)|(?P<closing>[)\]}]|\bend\b)|(?P<prefixes>(?:(?:\bnot\b|[-+~@|/!])\s*){3,})",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"not|\S", re.IGNORECASE)


def check_text(text: str) -> None:
    """Raises QueryRejected (empty-query, too-large, too-deep, syntax-error) for text that must not reach the parser."""
    if "\x00" in text:
        raise QueryRejected("the statement contains a NUL character", code="syntax-error")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise QueryRejected(
            f"the statement has {size:,} bytes; at most {MAX_BYTES:,} are accepted",
            hint="long value lists are better joined from a table",
            code="too-large",
        )
    depth = chained = 0
    blank = True
    for kind, start, end in pieces(text):
        if kind != "code":
            blank = blank and kind == "comment"
            continue
        span = text[start:end]
        blank = blank and not span.strip(" \t\r\n\f\v;")
        for match in _NESTING.finditer(span):
            here = depth
            if match.group("again"):  # a[1][1][1]: no nesting, but sqlglot needs quadratic time for it
                chained += 1
                here = depth + chained
            elif match.group("opening"):
                here = depth = depth + 1
            elif match.group("closing"):
                depth = max(0, depth - 1)
            else:
                here = depth + len(_PREFIX.findall(match.group()))
            if here > MAX_DEPTH:
                raise too_deep()
    if blank:
        raise QueryRejected("there is no statement", hint="pass one SELECT", code="empty-query")


def check_tokens(count: int) -> None:
    """Raises QueryRejected (too-large) for a text of more tokens than can be read in a moment."""
    if count > MAX_TOKENS:
        raise QueryRejected(
            f"the statement has {count:,} words and signs; at most {MAX_TOKENS:,} are accepted",
            hint="long value lists are better joined from a table",
            code="too-large",
        )


def check_size(tree: exp.Expr) -> None:
    """Raises QueryRejected (too-large, too-deep) for a tree that later stages could not walk, or not in time."""
    open_nodes = [(tree, 1)]
    parts = relations = merging = 0
    while open_nodes:
        node, depth = open_nodes.pop()
        if depth > MAX_TREE_DEPTH:
            raise too_deep()
        parts += 1
        relations += isinstance(node, (exp.Table, exp.CTE))
        merging += isinstance(node, exp.Join) and bool(node.args.get("using") or node.method)
        outputs = len(node.expressions) if isinstance(node, exp.Select) else 0
        for count, most, what in (
            (parts, MAX_NODES, "parts"),
            (outputs, MAX_OUTPUTS, "outputs in one SELECT"),
            (relations, MAX_RELATIONS, "tables"),
            (merging, MAX_MERGING, "joins with NATURAL or USING"),
        ):
            if count > most:
                raise QueryRejected(f"the statement has more than {most:,} {what}", code="too-large")
        open_nodes.extend((child, depth + 1) for child in node.iter_expressions())


def too_deep() -> QueryRejected:
    return QueryRejected(
        f"the statement is nested too deeply (at most {MAX_DEPTH} levels of brackets and CASE)",
        hint="split it with WITH",
        code="too-deep",
    )


def allow_recursion() -> None:
    """Let Python descend as deep as the guard allows, in this process from now on: whoever copies, walks or prints an
    accepted tree later needs it too. Frames of Python code live on the heap, not on the C stack."""
    if sys.getrecursionlimit() < RECURSION_LIMIT:
        sys.setrecursionlimit(RECURSION_LIMIT)
