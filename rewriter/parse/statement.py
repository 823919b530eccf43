"""Text to a tree that is exactly one SELECT or set operation, decided on the tree and never on the text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.parser import Parser
from sqlglot.parsers.postgres import PostgresParser

from rewriter.errors import QueryRejected
from rewriter.parse.guard import allow_recursion, check_size, check_text, check_tokens, too_deep

# sqlglot reports what it cannot read on stderr as well; our own error says it already.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

# Steps that the parser may take. Ordinary statements need fewer than 2 for each token.
STEPS_PER_TOKEN = 20
FREE_STEPS = 10_000

# Everything else that may stand in a query. Conditions cover columns, literals, operators, predicates and functions.
_STRUCTURE = (
    exp.Query, exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit,
    exp.Offset, exp.Fetch, exp.Distinct, exp.With, exp.CTE, exp.Table, exp.TableAlias, exp.Alias, exp.Aliases,
    exp.Identifier, exp.Star, exp.Window, exp.WindowSpec, exp.Values, exp.Tuple, exp.Interval,
    exp.IntervalSpan, exp.DataType, exp.DataTypeParam, exp.Var, exp.Filter, exp.WithinGroup, exp.Lateral,
    exp.Rollup, exp.Cube, exp.GroupingSets, exp.TableSample, exp.Collate, exp.Qualify, exp.Kwarg,
    exp.PropertyEQ, exp.Unnest, exp.RespectNulls, exp.IgnoreNulls, exp.JSONPathPart, exp.LimitOptions,
    exp.Func, exp.Slice, exp.CurrentDate, exp.TimeUnit, exp.Placeholder, exp.Parameter, exp.AtTimeZone, exp.JSONPath,
)  # fmt: skip


def parse_statement(text: str, dialect: str) -> exp.Query:
    """The tree of the one query in ``text``; every function call notes the name it was written with (``written``).

    Raises QueryRejected: empty-query, too-large, too-deep, syntax-error, multiple-statements, unsupported-statement.
    """
    check_text(text)
    allow_recursion()
    try:
        trees = [tree for tree in _trees(text, dialect) if tree is not None and not isinstance(tree, exp.Semicolon)]
        if not trees:
            raise QueryRejected("there is no statement", hint="pass one SELECT", code="empty-query")
        if len(trees) > 1:
            raise QueryRejected(
                f"there are {len(trees)} statements", hint="pass exactly one SELECT", code="multiple-statements"
            )
        check_size(trees[0])
        tree = check_tree(trees[0])
        _note_names(tree, text)
        return tree
    except (ParseError, TokenError) as error:
        raise _syntax_error(error) from None
    except RecursionError:
        raise too_deep() from None
    except SqlglotError:
        raise QueryRejected("the statement cannot be parsed", code="syntax-error") from None


class _Bounded(Parser):
    """A parser that gives up instead of backtracking for ever: sqlglot tries type-like words (ARRAY[, DATE(, STRUCT()
    twice at each level, so thirty of them nested would take hours."""

    steps_left = 0

    def _advance(self, times: int = 1) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise too_deep()
        super()._advance(times)


class _PostgresParser(_Bounded, PostgresParser):
    """Keeps date_part a function: sqlglot reads it as EXTRACT, which returns numeric and not double precision."""

    FUNCTION_PARSERS: ClassVar = {
        name: parser for name, parser in PostgresParser.FUNCTION_PARSERS.items() if name != "DATE_PART"
    }


@cache
def _parser_of(dialect: str) -> type[_Bounded]:
    if dialect == "postgres":
        return _PostgresParser
    return type("_Parser", (_Bounded, Dialect.get_or_raise(dialect).parser_class), {})


def _trees(text: str, dialect: str) -> Sequence[exp.Expr | None]:
    reader = Dialect.get_or_raise(dialect)
    tokens = reader.tokenize(text)
    check_tokens(len(tokens))
    parser = _parser_of(dialect)(dialect=reader)
    parser.steps_left = FREE_STEPS + STEPS_PER_TOKEN * len(tokens)
    try:
        return parser.parse(tokens, text)
    except (IndexError, KeyError, AttributeError, TypeError, ValueError):
        # Faults of the parser on text that is no query at all (SHOW ALL at the end of the text).
        raise QueryRejected(
            "the statement cannot be parsed", hint="the parser fails on it", code="syntax-error"
        ) from None


def _note_names(tree: exp.Query, text: str) -> None:
    """sqlglot folds functions of one meaning into one class; what the user wrote decides the name of an unnamed output
    and which function the engine looks up."""
    for node in tree.find_all(exp.Func):
        start, end = node.meta.get("start"), node.meta.get("end")
        if isinstance(start, int) and isinstance(end, int):
            word = text[start : end + 1]
            node.meta["written"] = word[1:-1].replace('""', '"') if word.startswith('"') else word.lower()


def check_tree(tree: exp.Expr) -> exp.Query:
    """``tree`` if it is one query that reads and does nothing else; raises QueryRejected otherwise."""
    if not isinstance(tree, exp.Query) or isinstance(tree, exp.Table):
        raise _unsupported(_kind(tree))
    for node in tree.walk():
        if isinstance(node, exp.CTE) and not isinstance(node.this, exp.Query):
            raise _unsupported(f"{_kind(node.this)} inside WITH")
        if isinstance(node, exp.Select):
            if node.args.get("into"):
                raise _unsupported("SELECT INTO")
            if node.args.get("locks"):
                raise _unsupported("FOR UPDATE or FOR SHARE")
        if not isinstance(node, (exp.Condition, *_STRUCTURE)) or isinstance(node, (exp.Command, exp.Pivot)):
            raise _unsupported(_kind(node))
        if isinstance(node, exp.Table) and isinstance(node.this, (exp.Literal, exp.Parameter)):
            raise _unsupported("a file or parameter in the place of a table")
    selects = list(tree.find_all(exp.Select, exp.Values))
    if not selects:
        raise _unsupported(_kind(tree))
    while isinstance(tree, exp.Subquery) and _bare(tree) and isinstance(tree.this, exp.Query):
        tree = tree.this
    return tree


def _bare(tree: exp.Subquery) -> bool:
    """Whether parentheses around the whole statement carry nothing of their own (ORDER BY, LIMIT, WITH)."""
    return not any(value for key, value in tree.args.items() if key != "this")


def _kind(node: exp.Expr) -> str:
    if isinstance(node, exp.Command):
        return str(node.this).upper().split()[0] if node.this else "a command"
    return node.key.upper()


def _unsupported(what: str) -> QueryRejected:
    return QueryRejected(
        f"only one SELECT or set operation is accepted, not {what}",
        hint="statements that change data, settings or sessions are never run",
        code="unsupported-statement",
    )


def _syntax_error(error: SqlglotError) -> QueryRejected:
    """Where the parser stopped, and at most the word it stopped at."""
    details = getattr(error, "errors", None) or []
    if details:
        first = details[0]
        word = str(first.get("highlight") or "")[:40]
        where = f"line {first.get('line')}, column {first.get('col')}"
        return QueryRejected(
            f"syntax error at {where}" + (f", near {word!r}" if word else ""),
            hint=f"{first.get('description') or 'the parser cannot read on from there'}".split("\n")[0],
            code="syntax-error",
        )
    return QueryRejected("the statement cannot be parsed", hint="check quotes and comments", code="syntax-error")
