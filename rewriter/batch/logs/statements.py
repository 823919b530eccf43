"""What can be told of a statement's text without parsing it: whether it is whole, and what kind it is."""

from __future__ import annotations

import re

from sqlglot import Dialect, tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from rewriter.batch.logs.entries import MAX_STATEMENT, Reason
from rewriter.batch.logs.templates import shape
from rewriter.errors import UsageError

_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}

_WORD = re.compile(r"[A-Za-z_]\w*|[();]|\S")
_DOLLAR_QUOTE = re.compile(r"\$(?:[A-Za-z_]\w*)?\$")
_HARD = ('"', "`", "\\", "$", "/*", "--", "#")  # signs around which dialects differ or counting fails
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"})
_READS = frozenset({"SELECT", "VALUES", "TABLE", "FROM"})

SELECT = "SELECT"


def check_dialect(name: str) -> None:
    """Raises UsageError for a dialect that sqlglot does not know."""
    try:
        Dialect.get_or_raise(name)
    except ValueError:
        raise UsageError(f"there is no SQL dialect {name!r}", hint="such as postgres, duckdb or mysql") from None


def fault(text: str, dialect: str = "postgres") -> Reason | None:
    """Why the statement cannot be used: empty, too long, with a NUL byte, or cut off inside a string or bracket."""
    if len(text) > MAX_STATEMENT:
        return Reason.TOO_LONG
    if "\0" in text:
        return Reason.NUL
    if _looks_whole(text):
        return None if text and not text.isspace() else Reason.EMPTY
    return Reason.TRUNCATED if _is_cut(text, dialect) else None


def kind(template: str) -> str:
    """``SELECT`` for what only reads (SELECT, VALUES, TABLE, WITH ... SELECT); else ``INSERT``, ``UPDATE``, ``DELETE``,
    ``MERGE``, ``REPLACE``, ``SELECT INTO``, ``several statements`` or ``utility``.

    ``template`` is a statement without strings, quoted names and comments (``templates.shape``).
    """
    words: list[str] = [word.upper() for word in _WORD.findall(template)]
    while words and words[-1] == ";":
        words.pop()
    if ";" in words:
        return "several statements"
    depth = 0
    first = clause = ""  # the word that begins the statement, and the clause of its outermost SELECT that we are in
    for index, word in enumerate(words):
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
        elif not first:
            first = word
            if word in _CHANGES:
                return word
            if word not in _READS and word != "WITH":
                return "utility"
            clause = word if depth == 0 and word != "WITH" else ""
        elif word in _CHANGES:
            in_table = words[index - 1] == "(" and words[index - 2] in {"AS", "MATERIALIZED"}
            is_main = first == "WITH" and depth == 0 and not clause
            is_name = words[index + 1 : index + 2] in ([","], ["AS"], ["("])  # of a common table expression
            if (in_table or is_main) and not is_name:
                return word
        elif depth == 0 and word in {"SELECT", "FROM"}:
            clause = word
        elif depth == 0 and word == "INTO" and clause == "SELECT":  # Postgres makes a table of the result
            return "SELECT INTO"
    return SELECT if first else "utility"


def _looks_whole(text: str) -> bool:
    """A count that settles nearly all statements; what it does not settle goes through the tokenizer."""
    return (
        text.count("(") == text.count(")")
        and text.count("[") == text.count("]")
        and not text.count("'") % 2
        and not text.count('"') % 2
        and not text.count("`") % 2
        and text.count("/*") == text.count("*/")
        and not ("$" in text and _DOLLAR_QUOTE.search(text))
    )


def _is_cut(text: str, dialect: str) -> bool:
    if not any(sign in text for sign in _HARD) and not text.count("'") % 2:
        template, _ = shape(text, dialect)  # a hundred times as fast as the tokenizer, and as good for these
        return any(template.count(opening) > template.count(closing) for opening, closing in ("()", "[]", "{}"))
    depth = 0
    try:
        for token in tokenize(text, read=dialect):
            if token.token_type in _OPENING:
                depth += 1
            elif token.token_type in _CLOSING:
                depth -= 1
    except SqlglotError:
        return True
    except RecursionError:
        return False
    return depth > 0
