"""Executable form of transitive_range.md."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from rules.build import COMPARISONS, column, conjunction, conjuncts, set_where
from rules.facts import Facts
from rules.join.conditions import column_pair, comparing, holding, joins_of, plain, readable, texts
from rules.sites import copied, owner, selects

# What the engines copy by themselves.
_COPIED: dict[str, tuple[type[exp.Expr], ...]] = {"postgres": (exp.EQ,), "duckdb": (*COMPARISONS, exp.Between)}
_TEXT = ("varchar", "text")


def rewrites(query: exp.Query, facts: Facts) -> Iterator[exp.Query]:
    """Filters on one column are said again of the columns that joins equate with it, for all joins of a SELECT."""
    for select in selects(query):
        if not readable(select):
            continue
        parts = holding(select)
        above = _implied(parts, parts, select, facts)
        within = {
            at: _implied(parts, conjuncts(join.args.get("on")), select, facts, join.this.alias_or_name)
            for at, join in enumerate(joins_of(select))
            if join.side == "LEFT"
        }
        if not above and not any(within.values()):
            continue
        copy, (site,) = copied(query, select)
        assert isinstance(site, exp.Select)
        set_where(site, [*conjuncts(site.args.get("where")), *above])
        for at, more in within.items():
            join = joins_of(site)[at]
            join.set("on", conjunction([*conjuncts(join.args.get("on")), *more]))
        yield copy


def _implied(
    known: list[exp.Expr], conditions: list[exp.Expr], select: exp.Select, facts: Facts, only: str = ""
) -> list[exp.Expr]:
    """The filters that follow from what is ``known`` and ``conditions`` for columns equated in the latter.

    With ``only``, the name of a left-joined relation, its columns alone are filtered: ON has no say in other rows.
    """
    classes = _classes(conditions, select, facts)
    found: list[exp.Expr] = []
    said = texts([*known, *conditions])
    for part in known if not only else [*known, *conditions]:
        if isinstance(part, _COPIED[facts.dialect]):
            continue
        filtered = _filtered(part, select)
        if filtered is None:
            continue
        for members in classes:
            if filtered not in members or filtered[0] == only:
                continue
            for table, name in members:
                new = _about(part, table, name)
                if (table, name) != filtered and (not only or table == only) and new.sql() not in said:
                    said.add(new.sql())
                    found.append(new)
    return found


def _classes(conditions: list[exp.Expr], select: exp.Select, facts: Facts) -> list[list[tuple[str, str]]]:
    """Sets of columns that are all equal and of one type, each as (relation, name) in order of appearance."""
    classes: list[list[tuple[str, str]]] = []
    for part in conditions:
        pair = column_pair(part, select)
        if pair is None or not _same_type(*pair, facts):
            continue
        left, right = ((side.table, side.name) for side in pair)
        joined = [members for members in classes if left in members or right in members]
        merged = list(dict.fromkeys([*(member for members in joined for member in members), left, right]))
        classes = [members for members in classes if members not in joined]
        classes.append(merged)
    return classes


def _same_type(left: exp.Column, right: exp.Column, facts: Facts) -> bool:
    one, other = (facts.type(side) for side in (left, right))
    if one.is_type("unknown") or other.is_type("unknown"):
        return False
    return one == other or (one.is_type(*_TEXT) and other.is_type(*_TEXT))


def _filtered(part: exp.Expr, select: exp.Select) -> tuple[str, str] | None:
    """The one column that a filter compares with constants; None for other conditions."""
    if not plain(part, select):
        return None
    columns = {(node.table, node.name) for node in part.find_all(exp.Column) if owner(node) is select}
    if len(columns) != 1 or not comparing(part):
        return None
    return columns.pop()


def _about(part: exp.Expr, table: str, name: str) -> exp.Expr:
    """A copy of a filter, about another column."""
    copy = part.copy()
    for node in list(copy.find_all(exp.Column)):
        node.replace(column(table, name))
    return copy
