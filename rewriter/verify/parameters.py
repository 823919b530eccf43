"""Parameters: a parameterised pair is tested with several choices of values, since it must agree for all of them.

Some choices are generated, the others are sets of values that the user has given or a log has shown.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from rewriter.records import Query, Row, Value
from rewriter.verify.generate.domains import domain_of
from rewriter.verify.generate.relations import table_of
from rewriter.verify.script import literal

CHOICES = 4  # generated ones
MOST_GIVEN = 8  # given ones; each has databases of its own, because they are made from the constants of the query


@dataclass(frozen=True)
class Binding:
    """A value for each parameter, by position. ``label`` names a given set; it is empty for generated values."""

    values: Mapping[int, exp.Expr]
    label: str = ""

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The values as text, None for NULL, by position."""
        return tuple(_text(value) for _, value in sorted(self.values.items()))

    def described(self, dialect: str) -> str:
        """The choice for people: given values are private, and told by their label alone."""
        if self.label:
            return f"the values of {self.label}"
        return ", ".join(f"${place} = {value.sql(dialect=dialect)}" for place, value in sorted(self.values.items()))


def bindings(
    query: Query, seed: int, given: Mapping[str, Row] | None = None, choices: int = CHOICES
) -> tuple[Binding, ...]:
    """``choices`` ways to give each parameter a value of its type, then up to MOST_GIVEN of the sets ``given`` by
    label; one empty binding when there are no parameters."""
    # Of several places of one parameter, one that tells its type.
    types: dict[int, str | None] = {}
    for node, position in _markers(query.tree):
        types[position] = types.get(position) or _type_of(node, query)
    if not types:
        return (Binding({}),)
    chooser = random.Random(seed)  # noqa: S311 (reproducible test data, not a secret)
    generated = tuple(
        # NULL makes most predicates unknown, so only the last choice tries it.
        Binding(
            {
                position: _value(type_ or "integer", query, chooser, nulls=0.3 if number == choices - 1 else 0.0)
                for position, type_ in types.items()
            }
        )
        for number in range(choices)
    )
    seen = list((given or {}).items())[:MOST_GIVEN]
    return generated + tuple(
        Binding({place: _typed(row[place - 1], type_, query) for place, type_ in types.items()}, label)
        for label, row in seen
    )


def bound(query: Query, binding: Binding) -> Query:
    """``query`` with values in place of its parameters."""
    return replace(query, tree=bound_tree(query.tree, binding), stated=bound_tree(query.stated, binding))


def bound_to(query: Query, row: Row, tree: exp.Query | None = None) -> Query:
    """``query``, or another ``tree`` in its place, with the values of ``row``."""
    found = query if tree is None else replace(query, tree=tree)
    return bound(found, bindings(query, 0, {"row": row})[-1]) if row else found


def bound_tree(tree: exp.Query, binding: Binding) -> exp.Query:
    copy = tree.copy()
    for node, position in list(_markers(copy)):
        if position in binding.values:
            node.replace(binding.values[position].copy())
    return copy


def _markers(tree: exp.Query) -> Iterator[tuple[exp.Expr, int]]:
    for node in tree.find_all(exp.Parameter, exp.Placeholder):
        number = node.this.name if isinstance(node.this, exp.Expr) else str(node.this or "")
        if number.isdigit():
            yield node, int(number)


def _type_of(node: exp.Expr, query: Query) -> str | None:
    """The type that the surroundings of a parameter ask for; None where they say nothing."""
    parent = node.parent
    if isinstance(parent, exp.Cast):
        return parent.to.sql(dialect=query.dialect)
    while isinstance(parent, (exp.Paren, exp.Neg)):
        parent = parent.parent
    if isinstance(parent, (exp.Like, exp.ILike)):
        return "text"
    if isinstance(parent, (exp.Binary, exp.Between, exp.In)):
        for column in parent.find_all(exp.Column):
            for source in query.tree.find_all(exp.Table):
                table = table_of(source, query.catalog)
                found = table.column(column.name) if table is not None else None
                if found is not None:
                    return found.type
    return None


def _value(type_: str, query: Query, chooser: random.Random, nulls: float) -> exp.Expr:
    domain = domain_of(type_, query.dialect)
    options = (*domain.pool(), *domain.extremes())
    value = chooser.choice(options) if options and chooser.random() >= nulls else None
    plain: exp.Expr = exp.maybe_parse(literal(value), dialect=query.dialect)
    return exp.cast(plain, exp.DataType.build(type_, dialect=query.dialect))


def _typed(value: Value, type_: str | None, query: Query) -> exp.Expr:
    """A given value as the type asked for; where nothing asks, as it is."""
    plain: exp.Expr = exp.maybe_parse(literal(value), dialect=query.dialect)
    return plain if type_ is None else exp.cast(plain, exp.DataType.build(type_, dialect=query.dialect))


def _text(value: exp.Expr) -> str | None:
    while isinstance(value, exp.Cast):
        value = value.this
    if isinstance(value, exp.Null):
        return None
    return value.name if isinstance(value, exp.Literal) else value.sql()
