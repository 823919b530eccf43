"""Parameters: a parameterised pair is tested with several choices of values, since it must agree for all of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

from sqlglot import exp

from rewriter.records import Query
from rewriter.verify.generate.domains import domain_of
from rewriter.verify.generate.relations import table_of
from rewriter.verify.script import literal

CHOICES = 4

Binding = Mapping[int, exp.Expr]


def bindings(query: Query, seed: int) -> tuple[Binding, ...]:
    """CHOICES ways to give each parameter a value of its type; one empty binding when there are no parameters."""
    types = {position: _type_of(node, query) for node, position in _markers(query.tree)}
    if not types:
        return ({},)
    chooser = random.Random(seed)  # noqa: S311 (reproducible test data, not a secret)
    return tuple(
        # NULL makes most predicates unknown, so only the last choice tries it.
        {
            position: _value(type_, query, chooser, nulls=0.3 if number == CHOICES - 1 else 0.0)
            for position, type_ in types.items()
        }
        for number in range(CHOICES)
    )


def bound(query: Query, binding: Binding) -> Query:
    """``query`` with values in place of its parameters."""
    return replace(query, tree=bound_tree(query.tree, binding), stated=bound_tree(query.stated, binding))


def bound_tree(tree: exp.Query, binding: Binding) -> exp.Query:
    copy = tree.copy()
    for node, position in list(_markers(copy)):
        if position in binding:
            node.replace(binding[position].copy())
    return copy


def described(binding: Binding, dialect: str) -> str:
    return ", ".join(f"${position} = {value.sql(dialect=dialect)}" for position, value in sorted(binding.items()))


def _markers(tree: exp.Query) -> Iterator[tuple[exp.Expr, int]]:
    for node in tree.find_all(exp.Parameter, exp.Placeholder):
        number = node.this.name if isinstance(node.this, exp.Expr) else str(node.this or "")
        if number.isdigit():
            yield node, int(number)


def _type_of(node: exp.Expr, query: Query) -> str:
    """The type that the surroundings of a parameter ask for; integer where they say nothing."""
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
    return "integer"


def _value(type_: str, query: Query, chooser: random.Random, nulls: float) -> exp.Expr:
    domain = domain_of(type_, query.dialect)
    options = (*domain.pool(), *domain.extremes())
    value = chooser.choice(options) if options and chooser.random() >= nulls else None
    plain: exp.Expr = exp.maybe_parse(literal(value), dialect=query.dialect)
    return exp.cast(plain, exp.DataType.build(type_, dialect=query.dialect))
