"""What may leave: SQL without its literals and comments, names masked where that is asked for; and the way back.

Literals become typed placeholders (``:str_1``, ``:date_2``, ``:int_3``, ``:num_4``), equal ones the same. Whole numbers
below ten stay: they shape a query (``year + 1``, ``LIMIT 1``) and tell nobody anything. Text is made from the tree, so
comments are gone, and what has no tree is never sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from rewriter.catalog import Catalog, Table
from rewriter.records import Plan, Row

SMALL = 10  # whole numbers below stay as they are
_ROUND = 1_000  # made-up numbers below are told as they are
_PLACEHOLDER = re.compile(r"'?:((?:str|date|int|num)_[0-9]+)\b'?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MASKED = re.compile(r"\bnam_[0-9]+\b")


class Redaction:
    """The placeholders of one conversation. ``masked``: names are replaced as well."""

    def __init__(self, dialect: str, *, masked: bool = False) -> None:
        self.dialect = dialect
        self.masked = masked
        self._literals: dict[tuple[str, str], str] = {}
        self._back: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._real: dict[str, str] = {}
        self._texts: dict[str, int] = {}
        self._bound: dict[tuple[str, str], str] = {}

    # --- out ---

    def sql(self, tree: exp.Expr, *, pretty: bool = True) -> str:
        """The text of a tree, as it may leave."""
        copy = tree.copy()
        for literal in list(copy.find_all(exp.Literal)):
            marker = self._marker(literal)
            if marker is not None:
                literal.replace(exp.Placeholder(this=marker))
        for hidden in list(copy.find_all(exp.HexString, exp.BitString, exp.National, exp.RawString, exp.ByteString)):
            hidden.replace(exp.Placeholder(this=self._known("str", hidden.sql(dialect=self.dialect))))
        if self.masked:
            for identifier in list(copy.find_all(exp.Identifier)):
                identifier.replace(exp.to_identifier(self._name(identifier.name)))
        text = copy.sql(dialect=self.dialect, comments=False, pretty=pretty)
        # Dialects write named placeholders in ways of their own.
        return re.sub(r"%\(((?:str|date|int|num)_\d+)\)s|[$@]((?:str|date|int|num)_\d+)\b", _colon, text)

    def schema(self, tables: Iterable[Table]) -> str:
        """The tables as short DDL: types, keys, foreign keys, row estimates. No defaults, no check texts, no values."""
        return "\n".join(map(self._table, tables))

    def plan(self, plan: Plan) -> str:
        """The plan as an indented outline: operators, relations, estimates, and conditions without their literals."""
        lines: list[str] = []
        self._outline(plan, 0, lines)
        return "\n".join(lines)

    def bind(self, values: Iterable[str | None]) -> None:
        """The values (as text) that the query's parameters have in what is told next: told as ``$1``, ``$2``, ..."""
        self._bound = {}
        for place, text in enumerate(values, start=1):
            kind = "num" if text and _NUMBER.fullmatch(text) else "date" if text and _DATE.match(text) else "str"
            if text and not (text.isdigit() and int(text) < SMALL):
                self._bound.setdefault((kind, text), f"${place}")

    def rows(self, rows: Iterable[Row]) -> str:
        """Rows of a counterexample, which are made up and yet may hold constants of the query: those are put back to
        their placeholders."""
        return "\n".join("(" + ", ".join(map(self.value, row)) + ")" for row in rows)

    def value(self, value: object) -> str:
        """A value of a counterexample. It is made up, yet often from constants of the query: one that is the same, or
        next to one, is told as that; a text is told by a name of its own, a large number by its size alone."""
        if value is None or isinstance(value, bool):
            return "NULL" if value is None else str(value).lower()
        if isinstance(value, (int, float, Decimal)):
            return self._near(value)
        text = str(value)
        known = next((marker for _, literal, marker in self._concealed() if literal == text), None)
        if known is not None:
            return known
        if isinstance(value, date):
            return self._near_date(value)
        if isinstance(value, time) or not text:
            return f"'{text}'"
        return f"'text {self._texts.setdefault(text, len(self._texts) + 1)}'"

    def _near(self, value: int | float | Decimal) -> str:
        for kind, literal, marker in self._concealed():
            if kind in ("int", "num"):
                apart = float(value) - float(literal)
                if abs(apart) < SMALL:
                    return marker if not apart else f"{marker} {'+' if apart > 0 else '-'} {abs(apart):g}"
        return str(value) if abs(float(value)) < _ROUND else f"{float(value):.0e}"

    def text(self, words: str) -> str:
        """A message of an engine, in which constants of the query may be quoted."""
        for _, literal, marker in sorted(self._concealed(), key=lambda item: -len(item[1])):
            if literal:
                words = words.replace(f"'{literal}'", marker).replace(f'"{literal}"', marker)
                words = re.sub(rf"(?<![\w.]){re.escape(literal)}(?![\w.])", marker, words)
        for real, name in self._names.items():
            words = re.sub(rf"\b{re.escape(real)}\b", name, words)
        return words

    def condition(self, text: str) -> str:
        """A condition of a plan with its literals as placeholders; a question mark when it cannot be read."""
        try:
            found = Dialect.get_or_raise(self.dialect).tokenize(text)
        except SqlglotError:
            return "?"
        return " ".join(map(self._word, found))

    def name(self, name: str) -> str:
        """A name as it may leave."""
        return self._name(name) if self.masked else name

    # --- back ---

    def restored(self, answer: str) -> str:
        """The model's SQL with literals and names as they are. A placeholder that was never given stays, and will not
        parse."""
        text = _PLACEHOLDER.sub(lambda found: self._back.get(found.group(1), found.group()), answer)
        if not self.masked:
            return text
        return _MASKED.sub(lambda found: self._quoted(found.group()), text)

    # --- how ---

    def _concealed(self) -> list[tuple[str, str, str]]:
        """(kind, text, what is told instead) of the query's constants and of its parameters' values."""
        literals = [(kind, text, f":{marker}") for (kind, text), marker in self._literals.items()]
        return literals + [(kind, text, marker) for (kind, text), marker in self._bound.items()]

    def _near_date(self, value: date) -> str:
        """A made-up day, which may lie next to one of the query's."""
        for kind, literal, marker in self._concealed():
            if kind == "date":
                try:
                    apart = date(value.year, value.month, value.day) - date.fromisoformat(literal[:10])
                except ValueError:
                    continue
                if abs(apart.days) < SMALL:
                    return f"{marker} {'+' if apart.days >= 0 else '-'} {abs(apart.days)} days"
        return f"'{value}'"

    def _marker(self, literal: exp.Literal) -> str | None:
        if literal.is_string:
            return self._known("date" if _DATE.match(literal.name) else "str", literal.name)
        if literal.name.isdigit():
            return None if int(literal.name) < SMALL else self._known("int", literal.name)
        return self._known("num", literal.name)

    def _known(self, kind: str, text: str) -> str:
        key = kind, text
        if key not in self._literals:
            marker = f"{kind}_{len(self._literals) + 1}"
            self._literals[key] = marker
            plain = kind in ("int", "num")
            self._back[marker] = text if plain else exp.Literal.string(text).sql(dialect=self.dialect)
        return self._literals[key]

    def _name(self, name: str) -> str:
        if name not in self._names:
            masked = f"nam_{len(self._names) + 1}"
            self._names[name], self._real[masked] = masked, name
        return self._names[name]

    def _quoted(self, masked: str) -> str:
        real = self._real.get(masked)
        return masked if real is None else exp.to_identifier(real, quoted=True).sql(dialect=self.dialect)

    def _table(self, table: Table) -> str:
        parts = []
        for column in table.columns:
            null = "" if column.nullable else " NOT NULL"
            parts.append(f"{self.name(column.name)} {column.type}{null}")
        if table.primary_key:
            parts.append(f"PRIMARY KEY ({self._list(table.primary_key)})")
        parts += [f"UNIQUE ({self._list(key)})" for key in table.unique]
        for key in table.foreign_keys:
            parent = f"{self.name(key.table)} ({self._list(key.referenced)})"
            parts.append(f"FOREIGN KEY ({self._list(key.columns)}) REFERENCES {parent}")
        rows = "" if table.rows is None else f"  -- about {rounded(table.rows)} rows"
        return f"{self.name(table.name)} ({', '.join(parts)}){rows}"

    def _list(self, names: Iterable[str]) -> str:
        return ", ".join(map(self.name, names))

    def _outline(self, plan: Plan, depth: int, lines: list[str]) -> None:
        told = [
            f"{key}: {self.condition(value)}"
            for key, value in plan.detail.items()
            if key in _PLAN_FIELDS and value and len(value) < 2_000
        ]
        rows = "" if plan.rows is None else f" rows={rounded(plan.rows)}"
        cost = "" if plan.cost is None else f" cost={rounded(plan.cost)}"
        lines.append(f"{'  ' * depth}{plan.operator}{rows}{cost}{' (' + '; '.join(told) + ')' if told else ''}")
        for child in plan.children:
            self._outline(child, depth + 1, lines)

    def _word(self, token: Token) -> str:
        if token.token_type is TokenType.NUMBER:
            small = token.text.isdigit() and int(token.text) < SMALL
            return token.text if small else self._placed(("int", "num"), token.text)
        if token.token_type is TokenType.STRING:
            return self._placed(("str", "date"), token.text)
        if token.token_type in _PLAIN:
            return self.name(str(token.text))
        return "?" if token.text[:1].isdigit() else str(token.text)

    def _placed(self, kinds: tuple[str, ...], text: str) -> str:
        known = (self._literals.get((kind, text)) for kind in kinds)
        return next((f":{marker}" for marker in known if marker is not None), "?")


_PLAN_FIELDS = frozenset(
    {"relation name", "index name", "join type", "filter", "index cond", "hash cond", "merge cond", "join filter",
     "group key", "cte name", "subplan name", "table", "filters", "conditions", "groups"}
)  # fmt: skip
_PLAIN = (TokenType.VAR, TokenType.IDENTIFIER)


def tables_of(tree: exp.Expr, catalog: Catalog) -> list[Table]:
    """The base tables that a query reads, each once."""
    found: dict[str, Table] = {}
    for source in tree.find_all(exp.Table):
        table = catalog.find(source.name, source.db or None)
        if table is not None and not table.is_view:
            found.setdefault(f"{table.schema}.{table.name}", table)
    return list(found.values())


def _colon(found: re.Match[str]) -> str:
    return f":{found.group(1) or found.group(2)}"


def rounded(number: float) -> str:
    """Two digits: estimates tell sizes, and nothing else."""
    return f"{float(f'{number:.2g}'):,.0f}"
