"""Plain files of SQL: statements told apart by sqlglot's tokenizer, piece by piece, so that a dump needs no more memory
than a few of its longest statements.

What psql reads apart from SQL is known as well ("psql" and "pg_dump" in the PostgreSQL documentation): lines that begin
with a backslash, and the rows that follow ``COPY ... FROM stdin;`` up to ``\\.``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlglot import tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from rewriter.batch.logs.entries import MAX_RECORD, MAX_STATEMENT, Entry, Reason
from rewriter.batch.logs.source import Source
from rewriter.batch.logs.statements import fault

_PIECE = 64 * 1024  # characters that are tokenized at once
_SHORT = 4 * 1024  # characters that are tokenized at every line that may end a statement
_MOST = 2 * MAX_STATEMENT  # that wait for the end of a statement
# Signs of all that may hold a semicolon or end a string in its own way. Without them, statements end where a line does.
_HARD = re.compile(r"[\"`\\$#{]|--|/\*|;(?!\s*\Z)")
_TRIES = 20  # ends of lines at which a statement with a broken string may end

_COPY = re.compile(r"\s*copy\b[^;]{0,9000}\bfrom\s+stdin\b[^;]{0,900};\s*\Z", re.IGNORECASE)


def read_sql(source: Source, dialect: str) -> Iterator[Entry]:
    """An entry for each statement, without times.

    SQL needs no lines, so here every statement counts as one; blanks and comments count as nothing.
    """
    splitter = _Splitter(source, dialect)
    in_copy = False
    for number, _, content in source.single_lines():
        reason = None
        if in_copy:
            reason = Reason.DATA
            in_copy = not content.startswith(b"\\.")
        elif content.startswith(b"\\"):
            reason = Reason.OTHER
        elif len(content) > MAX_RECORD:
            reason = Reason.TOO_LONG
        else:
            try:
                line = content.decode()
            except UnicodeDecodeError:
                reason = Reason.NOT_UTF8
        if reason is not None:
            source.skip(reason, number, 1, content)
            splitter.pass_line()
            continue
        in_copy = len(line) < 10_000 and _COPY.match(line) is not None
        yield from splitter.add(line, number, ends=in_copy)
    yield from splitter.rest()


class _Splitter:
    """Collects lines and gives out the statements that are complete."""

    def __init__(self, source: Source, dialect: str) -> None:
        self._source = source
        self._dialect = dialect
        self._parts: list[str] = []
        self._size = 0
        self._wanted = _PIECE
        self._plain = True  # no part has a sign of _HARD
        self._number = 1  # line on which the first part begins
        self._lost = False  # inside a statement that was given up

    def add(self, line: str, number: int, *, ends: bool) -> Iterator[Entry]:
        """One more line; ``ends`` says that a statement ends with it for certain."""
        if self._lost:
            self._lost = not line.rstrip().endswith(";")
            return
        if not self._parts:
            self._number = number
        self._parts.append(line)
        self._size += len(line)
        self._plain = self._plain and line.isascii() and _HARD.search(line) is None
        if ends:
            yield from self.rest()
        elif line.rstrip().endswith(";"):
            text = "".join(self._parts)
            if self._plain and not text.count("'") % 2:
                number = self._number
                self._keep("", number)
                yield from self._statement(text, number)
            elif self._size >= self._wanted or self._size < _SHORT:
                yield from self._split(text)
        elif self._size >= self._wanted:
            yield from self._split("".join(self._parts))

    def pass_line(self) -> None:
        """A line that is no SQL stands here, and counts for the numbers of those behind it."""
        if self._parts:
            self._parts.append("\n")
            self._size += 1

    def rest(self) -> Iterator[Entry]:
        """What is left when nothing follows."""
        text, number = "".join(self._parts), self._number
        self._keep("", number)
        tokens = self._tokens(text)
        if tokens is None:
            yield from self._recovered(text, number)
        else:
            yield from self._complete(text, number, tokens)
            if last := tokens[_after_last_semicolon(tokens) :]:
                yield from self._entry(text, last, number)

    def _split(self, text: str) -> Iterator[Entry]:
        number = self._number
        tokens = self._tokens(text)
        behind = _after_last_semicolon(tokens) if tokens is not None else 0
        if tokens is not None and behind:
            end = tokens[behind - 1].end + 1
            self._keep(text[end:], number + text.count("\n", 0, end))
            yield from self._complete(text, number, tokens)
        elif self._size < _MOST:
            self._wanted = 2 * self._size  # a long statement is not read anew with every line
        elif tokens is None:
            self._keep("", number)
            yield from self._recovered(text, number)
        else:
            self._keep("", number)
            self._lost = True
            self._source.skip(Reason.TOO_LONG, number, 1, text[:1000])

    def _keep(self, text: str, number: int) -> None:
        self._parts = [text] if text.strip() else []
        self._size = len(text)
        self._number = number
        self._wanted = self._size + _PIECE
        self._plain = not self._parts or (text.isascii() and _HARD.search(text) is None and ";" not in text)

    def _tokens(self, text: str) -> list[Token] | None:
        """None when a string, quoted name or comment does not end."""
        try:
            return tokenize(text, read=self._dialect)
        except (SqlglotError, RecursionError):
            return None

    def _complete(self, text: str, number: int, tokens: list[Token]) -> Iterator[Entry]:
        """Entries of the statements that a semicolon ends."""
        statement: list[Token] = []
        for token in tokens:
            if token.token_type != TokenType.SEMICOLON:
                statement.append(token)
            elif statement:
                yield from self._entry(text, statement, number)
                statement = []

    def _statement(self, text: str, number: int) -> Iterator[Entry]:
        """The entry of a statement that needs no tokenizer, with the semicolon that ends it."""
        begin = len(text) - len(text.lstrip())
        statement = text.strip()[:-1].rstrip()
        if statement:
            yield from self._given(statement, number + text.count("\n", 0, begin))

    def _entry(self, text: str, tokens: list[Token], number: int) -> Iterator[Entry]:
        begin, end = tokens[0].start, tokens[-1].end + 1
        yield from self._given(text[begin:end], number + text.count("\n", 0, begin))

    def _given(self, statement: str, line: int) -> Iterator[Entry]:
        if reason := fault(statement, self._dialect):
            self._source.skip(reason, line, 1, statement)
            return
        self._source.use(1)
        yield Entry(statement, None, 1, None, None, None, None, None, self._source.name, line)

    def _recovered(self, text: str, number: int) -> Iterator[Entry]:
        """What can be had from text with a string that does not end: stretches of lines that are whole by themselves.

        Where none begins, the lines up to the next that ends in a semicolon are given up.
        """
        lines = text.splitlines(keepends=True)
        begin = 0
        while begin < len(lines):
            ends = _ends(lines, begin)
            for end in ends:
                part = "".join(lines[begin : end + 1])
                tokens = self._tokens(part)
                if tokens is not None:
                    yield from self._complete(part, number + begin, tokens)
                    if left := tokens[_after_last_semicolon(tokens) :]:
                        yield from self._entry(part, left, number + begin)
                    begin = end + 1
                    break
            else:
                self._source.skip(Reason.TRUNCATED, number + begin, 1, lines[begin])
                begin = ends[0] + 1


def _ends(lines: list[str], begin: int) -> list[int]:
    """The next lines that end in a semicolon, or the last one."""
    found: list[int] = []
    for index in range(begin, len(lines)):
        if lines[index].rstrip().endswith(";"):
            found.append(index)
            if len(found) == _TRIES:
                return found
    return found if found and found[-1] == len(lines) - 1 else [*found, len(lines) - 1]


def _after_last_semicolon(tokens: list[Token]) -> int:
    for index in range(len(tokens), 0, -1):
        if tokens[index - 1].token_type == TokenType.SEMICOLON:
            return index
    return 0
