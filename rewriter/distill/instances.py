"""Uses of a pair of templates that nobody wrote: random schemas that promise what the conditions ask for and nothing
more, and random queries around the templates.

A promise that is not asked for is not given: columns may be NULL, nothing is unique, nothing refers to anything. So a
condition that is missing shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from rewriter.distill.records import Hypothesis, Variable
from rewriter.distill.types import COMPARABLE, NAMED, compound, constant, drawn_type, kind_of, plainest
from rewriter.errors import RewriterError
from rewriter.parse import parse, read_schema
from rewriter.records import Query
from rules.facts import Facts
from rules.pattern import Pattern, filled, parse_pattern
from rules.pattern_names import LIST, ONE
from rules.sites import relation_name, relations

PATH = Path("learnt/rule.md")
SIMPLE_TRIES = 4
LOOKED_AT = 2  # results of a pattern that are looked at for one query


@dataclass(frozen=True, eq=False)
class Instance:
    """A schema (DDL), a query over it, and what the pattern makes of it, parsed anew."""

    schema: str
    query: Query
    results: tuple[Query, ...]


@dataclass
class _Table:
    name: str
    columns: dict[str, str] = field(default_factory=dict)  # name to type
    filled: set[str] = field(default_factory=set)  # columns that are NOT NULL
    keys: list[tuple[str, ...]] = field(default_factory=list)
    unique: list[str] = field(default_factory=list)  # of which NULLs may repeat
    references: list[tuple[str, _Table, str]] = field(default_factory=list)


def pattern_of(hypothesis: Hypothesis, *without: str, only: str | None = None) -> Pattern:
    """The pattern of a hypothesis, without some conditions, or with one alone. Raises RuleFileError."""
    conditions = hypothesis.conditions if only is None else (only,)
    bullets = [(text, 3) for text in conditions if text not in without]
    return parse_pattern([(hypothesis.find, 1), (hypothesis.replace, 2)], bullets, PATH)


def instances(
    hypothesis: Hypothesis,
    wanted: int,
    seed: int,
    *,
    violating: tuple[str, ...] = (),
    plain: int = 1,
    tries: int = 12,
) -> Iterator[Instance]:
    """Up to ``wanted`` uses on which the pattern makes something; ``violating``: conditions that they do not all meet.
    The first ``plain`` of them are as simple as can be. ``tries`` is how many are drawn for each one that is wanted."""
    pattern = pattern_of(hypothesis)
    against = [pattern_of(hypothesis, only=text) for text in violating]
    seen: set[str] = set()
    given = 0
    for number in range(wanted * tries):
        if given == wanted:
            return
        # Some conditions cannot be broken as simply as that.
        simple = given < plain and number < SIMPLE_TRIES
        found = _use(hypothesis, pattern, Random(f"{seed} {number}"), plain=simple)
        if found is None or found.query.nondeterminism or found.query.sql() in seen:
            continue
        if against and all(_makes(one, found.query) for one in against):
            continue
        seen.add(found.query.sql())
        given += 1
        yield found


def _makes(pattern: Pattern, query: Query) -> bool:
    return next(pattern.rewrites(query.tree, Facts(query.catalog)), None) is not None


def _use(hypothesis: Hypothesis, pattern: Pattern, random: Random, *, plain: bool) -> Instance | None:
    try:
        schema, text = _Maker(hypothesis, pattern, random, plain=plain).made()
        catalog = read_schema(schema, hypothesis.dialect)
        query = parse(text, catalog)
        results = []
        for tree in pattern.rewrites(query.tree, Facts(catalog)):
            results.append(parse(tree.sql(dialect=query.dialect), catalog))
            if len(results) == LOOKED_AT:
                break
    except (RewriterError, SqlglotError):
        return None
    return Instance(schema, query, tuple(results)) if results else None


class _Maker:
    """One use. Names are drawn anew each time and are those of nobody's tables."""

    def __init__(self, hypothesis: Hypothesis, pattern: Pattern, random: Random, *, plain: bool) -> None:
        self.hypothesis = hypothesis
        self.find = pattern.templates[0].find
        self.random = random
        self.plain = plain
        self.stem = 1 if plain else random.randint(1, 60)
        self.tables: list[_Table] = []
        self.by_variable: dict[str, _Table] = {}
        self.aliases: dict[str, tuple[str, _Table]] = {}
        self.values: dict[str, exp.Expr | tuple[exp.Expr, ...]] = {}
        self.kinds: dict[str, str] = {}
        self.columns = 0

    def made(self) -> tuple[str, str]:
        self._relations()
        self._columns()
        outermost = self.find.find(exp.Select)
        self.open = (outermost is not None and not outermost.args.get("from_") and outermost) or None
        self.inner = self._relation("i") if self.open is not None and isinstance(self.find, exp.Subquery) else None
        for variable in self.hypothesis.variables.values():
            if variable.kind in ("expression", "constant"):
                self.values[ONE + variable.name] = _read(self._value(variable))
            elif variable.kind == "list":
                self.values[LIST + variable.name] = tuple(map(_read, self._list(variable)))
        names = {name: value for name, value in self.values.items() if isinstance(value, (exp.Identifier, exp.Table))}
        node = filled(self.find.copy(), self.values, {**self.values, **names})
        text = self._wrapped(self._placed(node))  # which may add tables
        return "\n".join(map(_ddl, self.tables)), text

    # Schema

    def _table(self) -> _Table:
        table = _Table(f"t{self.stem + len(self.tables)}")
        self.tables.append(table)
        self._column(table, "integer")
        self._column(table, "integer")
        for _ in range(0 if self.plain else self.random.randint(0, 2)):
            self._column(table, drawn_type("", self.random))
        return table

    def _column(self, table: _Table, type_: str) -> str:
        self.columns += 1
        name = f"c{self.columns}"
        table.columns[name] = type_
        return name

    def _relation(self, stem: str) -> tuple[str, _Table]:
        return f"{stem}{self.stem}", self._table()

    def _relations(self) -> None:
        for variable in self.hypothesis.variables.values():
            if variable.kind == "table":
                self.by_variable[variable.name] = self._table()
        for variable in self.hypothesis.variables.values():
            if variable.kind == "relation" and variable.name not in self.hypothesis.outer:
                # A derived table has columns of its own, which its outputs name.
                table = self.by_variable.get(variable.table)
                self.aliases[variable.name] = (f"{variable.name}_{self.stem}", table or _Table(""))
            elif variable.kind == "relation":
                match = re.search(rf"@{variable.name}\.@\w+` is a column of `@(\w+)`", "\n".join(self._conditions()))
                table = self.by_variable[match.group(1)] if match else self._table()
                self.aliases[variable.name] = (f"b{self.stem}", table)
            elif variable.kind == "output":
                self.values[ONE + variable.name] = exp.to_identifier(f"{variable.name}_{self.stem}")
        for name, table in self.by_variable.items():
            self.values[ONE + name] = exp.to_table(table.name)
        for name, (alias, _) in self.aliases.items():
            self.values[ONE + name] = exp.to_identifier(alias)
        outer = [self.aliases[name] for name in self.hypothesis.outer]
        self.base = outer[0] if outer else self._relation("b")

    def _conditions(self) -> tuple[str, ...]:
        return self.hypothesis.conditions

    def _asks(self, *sentence: str) -> bool:
        return any(text in sentence for text in self._conditions())

    def _columns(self) -> None:
        for variable in self.hypothesis.variables.values():
            if variable.kind != "column":
                continue
            self.columns += 1
            name, type_ = f"c{self.columns}", self._type(variable)
            self.values[ONE + variable.name] = exp.to_identifier(name)
            for relation in variable.relations:
                _, table = self.aliases[relation]
                table.columns.setdefault(name, type_)
                self._promises(f"@{relation}.@{variable.name}", table, name)
        for text in self._conditions():
            match = re.fullmatch(r"`@(\w+)\.@(\w+)` refers to `@(\w+)\.@(\w+)`", text)
            if match is not None:
                one, column, other, referenced = match.groups()
                self._refer(self.aliases[one][1], self._named(column), self.aliases[other][1], self._named(referenced))

    def _named(self, variable: str) -> str:
        value = self.values[ONE + variable]
        return value.name if isinstance(value, exp.Identifier) else ""

    def _promises(self, shown: str, table: _Table, name: str) -> None:
        if self._asks(f"`{shown}` is not nullable"):
            table.filled.add(name)
        if self._asks(f"`{shown}` is a key of the rows"):
            table.keys.append((name,))

    def _refer(self, table: _Table, column: str, parent: _Table, referenced: str) -> None:
        table.columns[column] = parent.columns[referenced]
        if (referenced,) not in parent.keys:
            parent.unique.append(referenced)
        table.references.append((column, parent, referenced))

    # Values

    def _kind(self, variable: Variable) -> str:
        """The kind of a variable's type in this use: its own, or any where no condition asks for it. What had the same
        kind in the pair has the same kind here."""
        own = kind_of(variable.type)
        if own in self.kinds and not self._literal(variable):
            return self.kinds[own]
        if self._literal(variable):
            return own
        asked, beside = self._asked(own)
        if asked is not None:
            self.kinds[own] = asked
        elif self.plain:
            self.kinds[own] = own
        else:
            # Beside a literal there is no choice but what compares with it.
            others = COMPARABLE.get(own, (own,)) if beside else (own, own, *NAMED, "double")
            self.kinds[own] = self.random.choice(others)
        return self.kinds[own]

    def _literal(self, variable: Variable) -> bool:
        """Whether only a literal can meet the conditions on a variable."""
        shown = f"`@{variable.name}`"
        return any(
            (text.startswith(f"{shown} is a") and " literal" in text)
            or (shown in text and (" differs from " in text or " is not less than " in text))
            for text in self._conditions()
        )

    def _asked(self, own: str) -> tuple[str | None, bool]:
        """The kind that some condition asks for on a variable of a kind, and whether one of that kind is a literal."""
        asked, literal = None, False
        for text in self._conditions():
            match = re.fullmatch(r"`@(?:\w+\.@)?(\w+)` is (?:of type (\w+)|an? (\w+) literal.*)", text)
            if match is not None and kind_of(self.hypothesis.variables[match.group(1)].type) == own:
                asked, literal = match.group(2) or asked, literal or bool(match.group(3))
        return asked, literal

    def _type(self, variable: Variable) -> str:
        kind = self._kind(variable)
        return plainest(kind) if self.plain else drawn_type(kind, self.random)

    def _value(self, variable: Variable) -> str:
        shown, kind = f"@{variable.name}", self._kind(variable)
        literal = self._literal(variable)
        if literal or self._asks(f"`{shown}` is a constant"):
            return constant(kind, self.random, literal=literal)
        if variable.kind == "constant" and self.plain:
            return constant(kind, self.random)
        alias, table = self.inner or self.base
        column = self._column(table, self._type(variable))
        filled_ = self._asks(f"`{shown}` is not nullable")
        self._reference(shown, table, column)
        if self._asks(f"`{shown}` is a key of the rows"):
            table.keys.append((column,))
        draw = self.random.random()
        if filled_:
            table.filled.add(column)
        if self._asks(f"`{shown}` is a column") or table.keys or self.plain or draw < 0.45:
            return f"{alias}.{column}"
        if kind == "boolean" and draw < 0.7:
            return f"{alias}.{next(iter(table.columns))} > 1"
        if draw < 0.6:
            return constant(kind, self.random)
        if draw < 0.7 and self.aliases:
            name, (other, local) = self.random.choice(sorted(self.aliases.items()))
            if local.name and name not in self.hypothesis.outer:
                return f"{other}.{self._column(local, self._type(variable))}"
        return compound(
            kind, f"{alias}.{column}", f"{alias}.{next(iter(table.columns))}", self.random, nullable=not filled_
        )

    def _reference(self, shown: str, table: _Table, column: str) -> None:
        for text in self._conditions():
            match = re.fullmatch(rf"`{shown}` refers to `@(\w+)\.@(\w+)`", text)
            if match is not None:
                self._refer(table, column, self.aliases[match.group(1)][1], self._named(match.group(2)))

    def _list(self, variable: Variable) -> Iterator[str]:
        """The rest of a list: outputs or conditions over what the SELECT around it reads."""
        (place, *_) = (node for node in self.find.find_all(exp.Column) if node.name == LIST + variable.name)
        select = place.find_ancestor(exp.Select)
        names = [relation_name(item).removeprefix(ONE) for item in relations(select)] if select is not None else []
        read = [self.aliases[name] for name in names if self.aliases[name][1].name] or [self.inner or self.base]
        outputs = isinstance(place.parent, exp.Select)
        least = 1 if outputs and isinstance(place.parent, exp.Select) and len(place.parent.expressions) == 1 else 0
        for _ in range(least if self.plain else self.random.randint(least, 2)):
            alias, table = self.random.choice(read)
            numbers = [name for name, type_ in table.columns.items() if type_ == "integer"]
            column = f"{alias}.{self.random.choice(numbers)}"
            if outputs:
                yield column
            else:
                yield self.random.choice((f"{column} > 1", f"{column} IS NULL", f"{column} <> 2", f"{column} = 1"))

    # The query around

    def _placed(self, node: exp.Expr) -> str:
        place, (alias, table) = self.hypothesis.place, self.base
        if isinstance(node, exp.Subquery) and self.inner is not None and isinstance(node.this, exp.Select):
            self._clauses(node.this, self.inner, correlated=True)
        elif isinstance(node, exp.Select):
            if self.open is not None:
                self._clauses(node, self.base, correlated=False)
            return node.sql(dialect=self.hypothesis.dialect)
        text = node.sql(dialect=self.hypothesis.dialect)
        first, second = (f"{alias}.{name}" for name in list(table.columns)[:2])
        source = f"{table.name} AS {alias}"
        if self.plain:
            if place == "condition":
                return f"SELECT {first} AS o1 FROM {source} WHERE {text}"
            return (
                f"SELECT {text} AS o1 FROM {source}"
                if place == "aggregate"
                else (f"SELECT {first} AS o1, {text} AS o2 FROM {source}")
            )
        source = self._joined(source, first)
        if place == "condition":
            return self.random.choice(
                (
                    f"SELECT {first} AS o1 FROM {source} WHERE {text} AND {second} > 1",
                    f"SELECT {first} AS o1 FROM {source} WHERE ({text}) OR {second} = 2",
                    f"SELECT {second} AS o1, COUNT(*) AS o2 FROM {source} WHERE {text} GROUP BY {second}",
                    f"SELECT {first} AS o1, ({text}) AS o2 FROM {source}",
                    f"SELECT {first} AS o1 FROM {source} WHERE NOT ({text})",
                    f"SELECT CASE WHEN {text} THEN {first} ELSE 0 END AS o1 FROM {source}",
                    f"SELECT DISTINCT {first} AS o1 FROM {source} WHERE {text}",
                )
            )
        if place == "aggregate":
            return self.random.choice(
                (
                    f"SELECT {text} AS o1 FROM {source}",
                    f"SELECT {second} AS o1, {text} AS o2 FROM {source} GROUP BY {second}",
                    f"SELECT {text} AS o1 FROM {source} WHERE {second} > 1",
                    f"SELECT {second} AS o1, {text} AS o2 FROM {source} GROUP BY ROLLUP ({second})",
                    f"SELECT {second} AS o1 FROM {source} GROUP BY {second} HAVING {text} IS NOT NULL",
                )
            )
        return self.random.choice(
            (
                f"SELECT {first} AS o1, {text} AS o2 FROM {source}",
                f"SELECT {first} AS o1 FROM {source} WHERE {text} IS NULL",
                f"SELECT {first} AS o1 FROM {source} WHERE {text} IS NOT NULL AND {second} > 1",
                f"SELECT DISTINCT {text} AS o1 FROM {source}",
            )
        )

    def _joined(self, source: str, column: str) -> str:
        """A FROM clause, at times with another table joined to it."""
        if self.random.random() < 0.55:
            return source
        other = self._table()
        kind = self.random.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"))
        return f"{source} {kind} {other.name} AS j{self.stem} ON j{self.stem}.{next(iter(other.columns))} = {column}"

    def _clauses(self, select: exp.Select, read: tuple[str, _Table], *, correlated: bool) -> None:
        """Clauses that the template leaves open, put into its SELECT in place."""
        alias, table = read
        first, second = (f"{alias}.{name}" for name in list(table.columns)[:2])
        source = f"{table.name} AS {alias}"
        if not self.plain:
            source = self._joined(source, first)
        parts: list[str] = []
        if correlated:
            parts.append(f"{second} = {self.base[0]}.{list(self.base[1].columns)[1]}")
        if not self.plain and self.random.random() < 0.4:
            parts.append(f"{first} > 1")
        tail = ""
        draw = 1.0 if self.plain else self.random.random()
        outputs = ", ".join(output.unalias().sql() for output in select.expressions)
        if draw < 0.15 and not select.args.get("group"):
            tail = f" GROUP BY {outputs}"
        elif draw < 0.25 and not select.args.get("distinct"):
            select.set("distinct", exp.Distinct())
        elif draw < 0.4 and not select.args.get("order"):
            tail = f" ORDER BY {outputs}" + (" LIMIT 2" if draw < 0.32 and not select.args.get("limit") else "")
        elif draw < 0.55 and not select.args.get("offset"):
            tail = " OFFSET 1"
        where = f" WHERE {' AND '.join(parts)}" if parts and not select.args.get("where") else ""
        shape = sqlglot.parse_one(f"SELECT 1 FROM {source}{where}{tail}", read="postgres")
        for key, value in shape.args.items():
            if value and key not in ("expressions", "kind") and not select.args.get(key):
                select.set(key, value)

    def _wrapped(self, text: str) -> str:
        """The query itself, or what reads it as a derived table or a CTE."""
        draw = 1.0 if self.plain else self.random.random()
        names = f"w{self.stem}"
        if draw < 0.12:
            return f"SELECT * FROM ({text}) AS {names}"
        if draw < 0.24:
            return f"WITH {names} AS ({text}) SELECT * FROM {names}"
        if draw < 0.3:
            return f"WITH {names} AS ({text}) SELECT COUNT(*) AS n FROM {names}"
        return text


def _read(text: str) -> exp.Expr:
    """An expression of the generated text, which is in Postgres's dialect."""
    return sqlglot.parse_one(text, read="postgres")


def _ddl(table: _Table) -> str:
    parts = [
        f"{name} {type_}" + (" NOT NULL" if name in table.filled or any(name in key for key in table.keys) else "")
        for name, type_ in table.columns.items()
    ]
    for number, key in enumerate(dict.fromkeys(table.keys)):
        parts.append(f"{'PRIMARY KEY' if number == 0 else 'UNIQUE'} ({', '.join(key)})")
    parts += [f"UNIQUE ({name})" for name in dict.fromkeys(table.unique)]
    parts += [
        f"FOREIGN KEY ({column}) REFERENCES {parent.name} ({referenced})"
        for column, parent, referenced in table.references
    ]
    return f"CREATE TABLE {table.name} (\n  " + ",\n  ".join(parts) + "\n);"
