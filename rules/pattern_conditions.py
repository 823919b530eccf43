"""Conditions of pattern rules: sentences about what the metavariables stand for, and about the place of the match."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

from sqlglot import exp

from rewriter.errors import RuleFileError
from rules.facts import Facts
from rules.sites import find_cte, owner

SELECT = "?select"  # under which the SELECT is bound that the template's SELECT has matched
Bound = exp.Expr | tuple[exp.Expr, ...]
Values = Mapping[str, Bound]
Test = Callable[[exp.Expr, list[exp.Expr], Facts], bool]

_TYPES: Mapping[str, frozenset[object]] = {
    "date": frozenset({exp.DataType.Type.DATE}),
    "timestamp": frozenset({exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ}),
    "integer": frozenset(
        {exp.DataType.Type.SMALLINT, exp.DataType.Type.INT, exp.DataType.Type.BIGINT, exp.DataType.Type.TINYINT}
    ),
    "text": frozenset({exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR}),
    "boolean": frozenset({exp.DataType.Type.BOOLEAN}),
    "number": frozenset({*exp.DataType.INTEGER_TYPES, exp.DataType.Type.DECIMAL}),
}


@dataclass(frozen=True)
class Condition:
    """One sentence. ``names`` are the metavariables that it speaks of."""

    text: str
    names: tuple[str, ...]
    test: Test

    def holds(self, node: exp.Expr, bindings: Values, facts: Facts) -> bool:
        """Whether it is true of a match at ``node``. A metavariable that the template at hand lacks passes."""
        matched = bindings.get(SELECT)
        if not self.names:
            return self.test(node, [matched] if isinstance(matched, exp.Select) else [], facts)
        found: list[tuple[exp.Expr, ...]] = []
        for name in self.names:
            value = bindings.get(f"?one:{name}", bindings.get(f"?list:{name}"))
            if value is None:
                return True
            found.append(value if isinstance(value, tuple) else (value,))
        return all(self.test(node, list(values), facts) for values in product(*found))


def parse_condition(text: str, place: str) -> Condition:
    """The condition that a bullet states. Raises RuleFileError naming ``place``."""
    sentence = " ".join(text.replace("`", "").rstrip(".").split())
    for form, make in _FORMS:
        match = re.fullmatch(form.replace("@", r"@([a-z][a-z0-9_]*(?:\.@[a-z][a-z0-9_]*)?)"), sentence)
        if match is not None:
            groups = match.groups()
            count = form.count("@")
            names = tuple(name.replace("@", "") for name in groups[:count])
            return Condition(sentence, names, make(*groups[count:]))
    raise RuleFileError(
        f"{place}: the condition {sentence!r} is not known", hint=f"use: {'; '.join(known_conditions())}"
    )


def known_conditions() -> list[str]:
    """All forms that a condition may have."""
    return [
        form.replace(
            "(date|timestamp|integer|number|text|boolean)", "date, timestamp, integer, number, text or boolean"
        )
        .replace("@", "@x", 1)
        .replace("from @", "from @y")
        .replace("than @", "than @y")
        .replace("as @", "as @y")
        .replace("to @", "to @y")
        .replace("of @", "of @y")
        .replace("only @", "only @y")
        .replace("with @", "with @y")
        .replace(r"(\d+)", "N")
        for form, _ in _FORMS
    ]


def _is_type(kind: str) -> Test:
    return lambda _, values, facts: facts.type(values[0]).this in _TYPES[kind]


def _not_nullable() -> Test:
    return lambda _, values, facts: not facts.nullable(values[0])


def _deterministic() -> Test:
    return lambda _, values, facts: facts.deterministic(values[0]) and values[0].find(exp.Query) is None


def _column() -> Test:
    return lambda _, values, __: isinstance(values[0], exp.Column)


def _literal() -> Test:
    return lambda _, values, __: isinstance(values[0], exp.Literal)


def _integer_literal() -> Test:
    return lambda _, values, __: _number(values[0]) is not None


def _string_literal() -> Test:
    return lambda _, values, __: isinstance(values[0], exp.Literal) and values[0].is_string


def _between(low: str, high: str) -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], __: Facts) -> bool:
        number = _number(values[0])
        return number is not None and int(low) <= number <= int(high)

    return test


def _constant() -> Test:
    return lambda _, values, facts: (
        values[0].find(exp.Column, exp.Query, exp.Null, exp.Placeholder, exp.Parameter) is None
        and facts.deterministic(values[0])
        and values[0].find(exp.Anonymous) is None
    )


def _plain_text() -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], __: Facts) -> bool:
        value = values[0]
        return isinstance(value, exp.Literal) and value.is_string and not re.search(r"[%_\\]", value.name)

    return test


def _differs() -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], __: Facts) -> bool:
        one, other = values
        if isinstance(one, exp.Literal) and isinstance(other, exp.Literal) and one.is_string and other.is_string:
            return one.name.rstrip() != other.name.rstrip()
        left, right = _number(one), _number(other)
        return left is not None and right is not None and left != right

    return test


def _at_least() -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], __: Facts) -> bool:
        left, right = _number(values[0]), _number(values[1])
        return left is not None and right is not None and left >= right

    return test


def _same_type() -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], facts: Facts) -> bool:
        one, other = facts.type(values[0]), facts.type(values[1])
        return one == other and not one.is_type("unknown", "null")

    return test


def _key() -> Test:
    """Whether no two rows of a SELECT, before it groups, agree on the columns given."""

    def test(_: exp.Expr, values: list[exp.Expr], facts: Facts) -> bool:
        columns = [value for value in values if isinstance(value, exp.Column)]
        homes = [owner(column) for column in columns]
        if len(columns) != len(values) or homes[0] is None or any(home is not homes[0] for home in homes):
            return False
        return facts.dependencies(homes[0]).unique((column.table, column.name) for column in columns)

    return test


def _refers() -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], facts: Facts) -> bool:
        child, parent = values
        if not isinstance(child, exp.Column) or not isinstance(parent, exp.Column):
            return False
        one, other = facts.source(child), facts.source(parent)
        if one is None or other is None:
            return False
        return facts.references(one[0], [child.name], other[0], [parent.name])

    return test


def _column_of() -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], facts: Facts) -> bool:
        column, table = values
        found = facts.source(column) if isinstance(column, exp.Column) else None
        if found is None or not isinstance(found[0], exp.Table) or not isinstance(table, exp.Table):
            return False
        return (found[0].name, found[0].db) == (table.name, table.db) and find_cte(found[0]) is find_cte(table)

    return test


def _reads_only() -> Test:
    def test(_: exp.Expr, values: list[exp.Expr], __: Facts) -> bool:
        value, name = values
        return value.find(exp.Query) is None and all(column.table == name.name for column in value.find_all(exp.Column))

    return test


def _filter() -> Test:
    return lambda node, _, __: in_filter(node)


def _without(clause: str) -> Test:
    keys = {
        "LIMIT": ("limit", "offset", "fetch"),
        "OFFSET": ("offset",),
        "GROUP BY": ("group", "having"),
        "ORDER BY": ("order",),
        "DISTINCT": ("distinct",),
    }[clause]

    return lambda _, values, __: not any(select.args.get(key) for select in values for key in keys)


def _number(node: exp.Expr) -> int | None:
    """The value of an integer literal, with a sign or without."""
    if isinstance(node, exp.Neg):
        inner = _number(node.this)
        return -inner if inner is not None else None
    if isinstance(node, exp.Literal) and not node.is_string and re.fullmatch(r"\d+", node.name):
        return int(node.name)
    return None


def in_filter(node: exp.Expr) -> bool:
    """Whether NULL counts as FALSE where a condition stands: in WHERE, HAVING, ON or FILTER, or after WHEN, with no
    more than AND, OR and brackets around it."""
    child, above = node, node.parent
    while isinstance(above, (exp.And, exp.Or, exp.Paren)):
        child, above = above, above.parent
    if isinstance(above, (exp.Where, exp.Having)):
        return True
    if isinstance(above, exp.Join):
        return child.arg_key == "on"
    return (
        isinstance(above, exp.If)
        and child.arg_key == "this"
        and isinstance(above.parent, exp.Case)
        and above.parent.this is None
    )


_FORMS: tuple[tuple[str, Callable[..., Test]], ...] = (
    (r"@ is not nullable", _not_nullable),
    (r"@ is deterministic", _deterministic),
    (r"@ is a column", _column),
    (r"@ is a literal", _literal),
    (r"@ is an integer literal", _integer_literal),
    (r"@ is a string literal", _string_literal),
    (r"@ is a string literal without wildcards", _plain_text),
    (r"@ is an integer literal from (\d+) to (\d+)", _between),
    (r"@ is a constant", _constant),
    (r"@ is of type (date|timestamp|integer|number|text|boolean)", _is_type),
    (r"@ has the same type as @", _same_type),
    (r"@ differs from @", _differs),
    (r"@ is not less than @", _at_least),
    (r"@ is a key of the rows", _key),
    (r"@ with @ is a key of the rows", _key),
    (r"@ refers to @", _refers),
    (r"@ is a column of @", _column_of),
    (r"@ reads only @", _reads_only),
    (r"in a filter", _filter),
    (r"without (LIMIT|OFFSET|GROUP BY|ORDER BY|DISTINCT)", _without),
)
