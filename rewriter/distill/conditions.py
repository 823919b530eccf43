"""The conditions that a pair itself meets: the most that a rule learnt from it may ask for, and less than that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from rewriter.distill.instances import pattern_of
from rewriter.distill.records import Hypothesis, Pair, Variable
from rewriter.distill.types import NAMED, kind_of
from rules.facts import Facts


@dataclass(frozen=True)
class Ask:
    """Conditions that stand or fall together, and what is asked for in their place when they fall. ``fact``: they
    speak of the schema."""

    texts: tuple[str, ...]
    instead: tuple[str, ...] = ()
    fact: bool = False


def lasting(hypothesis: Hypothesis) -> tuple[str, ...]:
    """Conditions that are never given up: the rest of a condition is read in its own place and nowhere else."""
    return tuple(
        f"`@{variable.name}` is deterministic"
        for variable in hypothesis.variables.values()
        if variable.kind == "list" and variable.name.startswith("rest")
    )


def met(hypothesis: Hypothesis, pair: Pair) -> list[Ask]:
    """What holds of the pair, in the order in which it is tried to do without."""
    facts = Facts(pair.before.catalog)

    def holds(text: str) -> bool:
        pattern = pattern_of(replace(hypothesis, conditions=()), only=text)
        return next(pattern.rewrites(pair.before.tree, facts), None) is not None

    found: list[Ask] = []
    for ask in _possible(hypothesis):
        kept = tuple(text for text in ask.texts if holds(text))
        if kept:
            found.append(replace(ask, texts=kept))
    return found


def _possible(hypothesis: Hypothesis) -> Iterator[Ask]:
    variables = list(hypothesis.variables.values())
    columns = [(f"@{relation}.@{it.name}", it) for it in variables if it.kind == "column" for relation in it.relations]
    values = [(f"@{it.name}", it) for it in variables if it.kind == "expression"]
    yield from _structure(hypothesis, columns)
    yield from _about_place(hypothesis)
    for shown, _ in (*values, *columns):
        yield Ask((f"`{shown}` is a key of the rows",), fact=True)
    inner = [(shown, it) for shown, it in columns if shown.partition(".")[0][1:] not in hypothesis.outer]
    for shown, _ in (*values, *((one, it) for one, it in columns if (one, it) not in inner)):
        for other, _ in inner:
            yield Ask((f"`{shown}` refers to `{other}`",), fact=True)
    for shown, _ in values:
        yield Ask((f"`{shown}` is not nullable",), fact=True)
    for variable in variables:
        # One column of one table, wherever it is read.
        if variable.kind == "column":
            yield Ask(tuple(f"`@{it}.@{variable.name}` is not nullable" for it in variable.relations), fact=True)
    yield from _types([*values, *columns, *((f"@{it.name}", it) for it in variables if it.kind == "constant")])
    for shown, variable in values:
        if isinstance(variable.sample, exp.Column):
            yield Ask((f"`{shown}` is a column",), (f"`{shown}` is deterministic",))
        else:
            yield Ask((f"`{shown}` is deterministic",))
    yield from _constants([it for it in variables if it.kind == "constant"])
    if hypothesis.place == "condition":
        # Last: whether NULL and FALSE differ there shows only once NULL is allowed.
        yield Ask(("in a filter",))


def _structure(hypothesis: Hypothesis, columns: list[tuple[str, Variable]]) -> Iterator[Ask]:
    tables = [it.name for it in hypothesis.variables.values() if it.kind == "table"]
    for relation in hypothesis.outer:
        own = [shown for shown, _ in columns if shown.startswith(f"@{relation}.")]
        for table in tables:
            yield Ask(tuple(f"`{shown}` is a column of `@{table}`" for shown in own))
    for variable in hypothesis.variables.values():
        if variable.kind == "list" and variable.name.startswith("rest"):
            for other in hypothesis.variables.values():
                if other.kind == "relation" and other.name not in hypothesis.outer:
                    yield Ask((f"`@{variable.name}` reads only `@{other.name}`",))


def _about_place(hypothesis: Hypothesis) -> Iterator[Ask]:
    outermost = hypothesis.find.partition("SELECT")[2].partition("SELECT")[0]
    if outermost and "FROM" not in outermost and "SELECT" in hypothesis.replace:
        for clause in ("GROUP BY", "DISTINCT", "OFFSET", "LIMIT", "ORDER BY"):
            if clause not in hypothesis.find:
                yield Ask((f"without {clause}",))


def _types(shown: list[tuple[str, Variable]]) -> Iterator[Ask]:
    """One for all that have the same kind of type: they are compared with one another."""
    kinds: dict[str, list[str]] = {}
    for text, variable in shown:
        # Of a literal it is asked below that it is one of its kind.
        if not isinstance(variable.sample, exp.Literal):
            kinds.setdefault(kind_of(variable.type), []).append(text)
    for kind, texts in kinds.items():
        if kind in NAMED:
            wider = tuple(f"`{text}` is of type number" for text in texts) if kind == "integer" else ()
            yield Ask(tuple(f"`{text}` is of type {kind}" for text in texts), wider)


def _constants(constants: list[Variable]) -> Iterator[Ask]:
    numbers = [it.name for it in constants if isinstance(it.sample, exp.Literal) and it.sample.is_int]
    for one in numbers:
        for other in numbers:
            if one < other:
                yield Ask((f"`@{one}` differs from `@{other}`",))
            if one != other:
                yield Ask((f"`@{one}` is not less than `@{other}`",))
    for variable in constants:
        shown = f"`@{variable.name}`"
        if isinstance(variable.sample, exp.Literal) and variable.sample.is_int:
            yield Ask((f"{shown} is an integer literal",), (f"{shown} is a constant",))
        elif isinstance(variable.sample, exp.Literal) and variable.sample.is_string:
            yield Ask((f"{shown} is a string literal",), (f"{shown} is a constant",))
        else:
            yield Ask((f"{shown} is a constant",))
