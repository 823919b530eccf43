"""The verified rewrites as one file of SQL: each with its original, both without comments, the evidence before them.

The statements come from logs and models. Comments are taken out of them, so whatever stands behind ``--`` is ours; and
what the server or psql might read as more than one statement is left out, which is told.
"""

from __future__ import annotations

from sqlglot import tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from rewriter.batch.reporting.record import BatchModel, GroupModel
from rewriter.batch.reporting.words import flat, gain, saved
from rewriter.errors import QueryRejected
from rewriter.parse.guard import check_text
from rewriter.report.text import visible

_STRINGS = "STRING NATIONAL_STRING RAW_STRING NATIONAL_RAW_STRING HEREDOC_STRING UNICODE_STRING BYTE_STRING"
_QUOTED = {TokenType.IDENTIFIER, *(getattr(TokenType, name) for name in _STRINGS.split())}


def to_patch(batch: BatchModel) -> str:
    """Every rewrite that is faster, those of the most time first."""
    return "\n".join(_pair(group, batch.dialect) for group in batch.faster)


def _pair(group: GroupModel, dialect: str) -> str:
    result = group.result
    assert result is not None
    told = [f"group {group.key}, rewrite {result.rewrite}"]
    if result.speedup is not None:
        told.append(gain(result.speedup))
    if result.evidence:
        told.append(result.evidence)
    told += [f"assumes: {text}" for text in (result.verdict.assumptions if result.verdict is not None else [])]
    told += [f"rule {step.rule}: {step.summary}" for step in result.steps]
    if result.saving is not None and group.seconds > 0:
        told.append(f"would save {saved(result.saving)}")
    parts = ["".join(f"-- {flat(line)}\n" for line in told)]
    for title, sql in (("original", result.original), ("rewrite", result.sql)):
        if sql is not None:
            plain = without_comments(sql, dialect)
            parts.append(
                f"-- {title}:\n{plain};\n"
                if plain is not None
                else f"-- {title}: left out, not certain to be one statement; see the report\n"
            )
    return "".join(parts)


def without_comments(sql: str, dialect: str) -> str | None:
    """The statement without its comments; None unless it certainly is one statement and nothing else."""
    try:
        check_text(sql)
        tokens = tokenize(sql, read=dialect)
        while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
            tokens.pop()
        text = _joined(sql, tokens)
        again = tokenize(text, read=dialect)
    except (QueryRejected, SqlglotError, RecursionError):
        return None
    is_same = [(one.token_type, one.text) for one in tokens] == [(one.token_type, one.text) for one in again]
    if not tokens or not is_same or any(_is_doubtful(token, text) for token in again) or visible(text) != text:
        return None
    return text


def _joined(sql: str, tokens: list[Token]) -> str:
    """The tokens as they stand, with what is between them unless it holds a comment."""
    parts: list[str] = []
    end = tokens[0].start if tokens else 0
    for token in tokens:
        between = sql[end : token.start]
        parts.append(between.replace("\r", "") if not between.strip() else "\n" if "\n" in between else " ")
        parts.append(sql[token.start : token.end + 1])
        end = token.end + 1
    return "".join(parts)


def _is_doubtful(token: Token, text: str) -> bool:
    """A second statement, a comment, or what psql takes for a command of its own (a backslash outside of quotes)."""
    if token.token_type == TokenType.SEMICOLON or token.comments:
        return True
    written = text[token.start : token.end + 1]
    return token.token_type not in _QUOTED and any(sign in written for sign in ("\\", "--", "/*", ";"))
